// Turns an engine's answer into the reply that a session reads. Regime: see openai.hpp.
#include "src/core/openai_json.hpp"
#include "src/core/plain_words.hpp"
#include "src/core/utf8.hpp"

#include <cmath>
#include <limits>

namespace steadytext::core::openai {

namespace {

Reply answer(std::string message) { return {Verdict::Answer, std::move(message), {}}; }
Reply invalid(const char *why) { return {Verdict::Invalid, {}, why}; }
// True if the request was sent although the entry does not say that the engine serves it. (Answers to requests sent
// before narrow() may come after it.)
bool may_be_unserved(Request::Kind kind, const Engine &engine) {
    switch (kind) {
    case Request::Kind::Generate:
        return engine.api == Api::Any || !engine.generates();
    case Request::Kind::Embed:
    case Request::Kind::EmbedBatch:
        return engine.api == Api::Any || !engine.embeds();
    default:
        return false;
    }
}

// Embeddings are often a path that does not exist. If an engine reports in JSON that it found nothing, it may mean the
// model.
bool is_of_what_is_unserved(const Request &request, long status, std::string_view body) {
    const bool embeds = request.kind == Request::Kind::Embed || request.kind == Request::Kind::EmbedBatch;
    return status == 501 || (embeds && (status == 405 || (status == 404 && !read_error(body).is_json)));
}

// A choice's text, and the content beside it; chat and completion keep it in different places. False if it has neither.
bool read_choice(dom::element choice, std::string &storage, std::string_view &text, Sidetrack &beside) {
    dom::element message, content;
    text = {};
    if (choice["message"].get(message) != simdjson::SUCCESS)
        return choice["text"].get(content) == simdjson::SUCCESS && content.get(text) == simdjson::SUCCESS;
    beside.add(message, true);
    const bool has_content = message["content"].get(content) == simdjson::SUCCESS;
    return has_content ? read_content(content, storage, text) : !beside.why_empty("").empty();
}

Reply read_generated(const Request &request, const Engine &engine, dom::element root, double engine_ms) {
    dom::element choice, content;
    std::string storage;
    std::string_view text;
    Sidetrack beside;
    if (root["choices"].at(0).get(choice) != simdjson::SUCCESS || !read_choice(choice, storage, text, beside))
        return invalid("it sent no choice with a text");
    const std::string_view finish_reason = text_of(choice, "finish_reason");
    if (is_blank(text)) {
        std::string why = beside.why_empty(finish_reason);
        if (why.empty() && choice["message"]["content"].get(content) == simdjson::SUCCESS && content.is_null())
            why = "the engine gave no text";
        if (!why.empty())
            return answer(error_reply(request.id, why));
    }
    const auto &choices = request.choices;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end())
        return answer(error_reply(request.id, "The engine does not hold to choices"));
    const Usage usage{finish_reason, engine_ms, tokens_of(root, "prompt_tokens"), tokens_of(root, "completion_tokens"),
                      beside.reasoning};
    if (contains_nul(text))
        return invalid("it sent a text with a NUL character");
    if (request.streams) {
        if (text == kStreamEnd)
            return invalid("it sent a text that cannot be streamed");
        return {Verdict::Answer,
                stream_end_message(request, engine, usage),
                {},
                text.empty() ? std::string() : piece_message(request.id, text)};
    }
    std::string out = begin_reply(request.id);
    if (!request.return_usage) {
        append_json_string(out, text, Escape::Utf8);
        return answer(out += ", \"error\": null}");
    }
    JsonObject result(out, Escape::Utf8);
    result.add("text", text);
    add_usage(result, request, engine, usage);
    result.close();
    return answer(out += ", \"error\": null}");
}

// Appends a vector as JSON; `dimensions` is the length that all vectors must have, 0 before the first.
bool append_vector(std::string &out, dom::element embedding, std::size_t &dimensions) {
    dom::array numbers;
    if (embedding.get(numbers) != simdjson::SUCCESS || numbers.size() == 0 || numbers.size() > kMaxDimensions ||
        (dimensions != 0 && numbers.size() != dimensions))
        return false;
    dimensions = numbers.size();
    out += '[';
    for (const dom::element element : numbers) {
        double number;
        if (element.get(number) != simdjson::SUCCESS || std::abs(number) > std::numeric_limits<float>::max())
            return false;
        if (out.back() != '[')
            out += ", ";
        append_json_number(out, number);
    }
    out += ']';
    return true;
}

// Puts the vectors in the order of the texts; false unless there is exactly one vector for each text.
bool order_vectors(dom::element root, std::size_t count, std::vector<dom::element> &vectors) {
    dom::array data;
    if (root["data"].get(data) != simdjson::SUCCESS || data.size() != count)
        return false;
    vectors.resize(count);
    std::vector<bool> seen(count);
    std::uint64_t position = 0;
    for (const dom::element item : data) {
        std::uint64_t index;
        if (item["index"].get(index) != simdjson::SUCCESS)
            index = position;
        if (index >= count || seen[index] || item["embedding"].get(vectors[index]) != simdjson::SUCCESS)
            return false;
        seen[index] = true;
        position++;
    }
    return true;
}

Reply read_embedded(const Request &request, const Engine &engine, dom::element root) {
    std::vector<dom::element> vectors;
    if (!order_vectors(root, request.texts, vectors))
        return invalid("it did not send one vector for each text");
    std::string out = begin_reply(request.id);
    const bool batch = request.kind == Request::Kind::EmbedBatch;
    std::size_t dimensions = 0;
    if (batch)
        out += "{\"embeddings\": [";
    for (const dom::element &vector : vectors) {
        if (&vector != &vectors.front())
            out += ", ";
        if (!append_vector(out, vector, dimensions))
            return invalid("it sent something else than vectors of finite numbers of one length");
    }
    if (batch) {
        out += "], \"dimensions\": " + std::to_string(dimensions) + ", \"model\": ";
        append_json_string(out, shown_name(engine, request.model), Escape::Utf8);
        out += ", \"fingerprint\": ";
        append_json_string(out, fingerprint_of(engine, request.model), Escape::Utf8);
        if (const std::int64_t count = tokens_of(root, "prompt_tokens"); count >= 0)
            out += ", \"prompt_tokens\": " + std::to_string(count);
        out += '}';
    } else {
        out += ", \"usage\": {\"fingerprint\": ";
        append_json_string(out, fingerprint_of(engine, request.model), Escape::Utf8);
        out += '}';
    }
    return answer(out += ", \"error\": null}");
}

}  // namespace

std::int64_t tokens_of(dom::element root, const char *key) {
    std::int64_t count;
    return root["usage"][key].get(count) == simdjson::SUCCESS && count >= 0 && count <= 1'000'000'000 ? count : -1;
}

void add_usage(JsonObject &result, const Request &request, const Engine &engine, const Usage &usage) {
    constexpr std::size_t kLongestReason = 64;
    result.add("finish_reason", usage.finish_reason.empty()
                                    ? "stop"
                                    : std::string_view(plain_words(usage.finish_reason, kLongestReason)));
    result.add("model", shown_name(engine, request.model));
    result.add("fingerprint", std::string_view(fingerprint_of(engine, request.model)));
    result.add("engine_ms", usage.engine_ms);
    if (usage.prompt_tokens >= 0)
        result.add("prompt_tokens", usage.prompt_tokens);
    // Beyond the limit that was sent, with a few for an end that some count: not believed, as limits charge it.
    constexpr std::int64_t kEndTokens = 16;
    if (usage.completion_tokens >= 0 &&
        (request.most_tokens == 0 || usage.completion_tokens <= request.most_tokens + kEndTokens))
        result.add("completion_tokens", usage.completion_tokens);
    if (!usage.reasoning.empty() && !contains_nul(usage.reasoning))
        result.add("reasoning", usage.reasoning);
}

Reply read_reply(const Request &request, const Engine &engine, long status, std::string_view body, double engine_ms,
                 bool says_when) {
    if (is_of_what_is_unserved(request, status, body) && may_be_unserved(request.kind, engine))
        return {Verdict::Unserved, {}, "it does not serve such requests (HTTP " + std::to_string(status) + ")"};
    if (status < 200 || status >= 300)
        return failure_reply(request, read_error(body), status, says_when);
    Document document;
    if (!document.parse(body))
        return invalid("it sent something else than a JSON object");
    // Some engines report an error with HTTP 200: then its code decides; without a code, the error is about the
    // request.
    if (const EngineError error = error_of(document.root); error.is_told && request.kind != Request::Kind::Ping)
        return failure_reply(request, error, error.status == 0 ? 400 : error.status, says_when);
    switch (request.kind) {
    case Request::Kind::Generate:
        return read_generated(request, engine, document.root, engine_ms);
    case Request::Kind::Embed:
    case Request::Kind::EmbedBatch:
        return read_embedded(request, engine, document.root);
    case Request::Kind::Ping:
        return answer(pong_reply(request.id));
    case Request::Kind::Info:
    case Request::Kind::Cancel:
    case Request::Kind::Refused:
        break;
    }
    return invalid("it answered what it was not asked");
}

}  // namespace steadytext::core::openai
