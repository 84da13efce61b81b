// From what an engine answers to the reply a session reads. Regime: see openai.hpp.
#include "src/core/openai_json.hpp"
#include "src/core/utf8.hpp"

#include <cmath>
#include <limits>

namespace steadytext::core::openai {

namespace {

Reply answer(std::string message) { return {Verdict::Answer, std::move(message), {}}; }
Reply invalid(const char *why) { return {Verdict::Invalid, {}, why}; }
Reply unavailable(std::string why) { return {Verdict::Unavailable, {}, std::move(why)}; }

std::string error_text(std::string_view body) {
    Document document;
    return document.parse(body) ? error_of(document.root) : std::string();
}

// Of an answer that is no success. What is wrong with the request comes back to the caller, whom another engine would
// tell the same; what is wrong with the engine does not. An engine quotes the key it refuses, so that text is left out.
Reply read_failure(const Request &request, long status, std::string_view body) {
    if (status == 429)
        return {Verdict::Busy, {}, "it asks to come again later"};
    if (status == 401 || status == 403)
        return unavailable("it refuses the key (HTTP " + std::to_string(status) + ")");
    if (status >= 300 && status < 400)
        return unavailable("it redirects, which is not followed (HTTP " + std::to_string(status) + ")");
    const std::string error = error_text(body);
    const bool callers_fault = status == 400 || status == 413 || status == 422 || (status == 404 && !error.empty());
    if (!callers_fault)
        return unavailable("it answers HTTP " + std::to_string(status));
    return answer(error_reply(request.id, error.empty() ? "HTTP " + std::to_string(status) : error));
}

// Asked without its entry saying that it serves this. (What was asked before narrow() comes back after it.)
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

// The text of the first choice; chat and completion keep it in different places.
bool read_text(dom::element choice, std::string_view &text) {
    dom::element content;
    if (choice["message"].get(content) == simdjson::SUCCESS) {
        if (content["content"].get(content) != simdjson::SUCCESS)
            return false;
        text = {};
        return content.is_null() || content.get(text) == simdjson::SUCCESS;  // null: it said nothing
    }
    return choice["text"].get(text) == simdjson::SUCCESS;
}

Reply read_generated(const Request &request, const Engine &engine, dom::element root, double engine_ms) {
    dom::element choice;
    std::string_view text;
    if (root["choices"].at(0).get(choice) != simdjson::SUCCESS || !read_text(choice, text))
        return invalid("it sent no choice with a text");
    const auto &choices = request.choices;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), text) == choices.end())
        return answer(error_reply(request.id, "The engine does not hold to choices"));
    std::string out = begin_reply(request.id);
    if (!request.return_usage) {
        append_json_string(out, text, Escape::Utf8);
        return answer(out += ", \"error\": null}");
    }
    JsonObject result(out, Escape::Utf8);
    result.add("text", text);
    add_usage(result, request, engine,
              {text_of(choice, "finish_reason"), engine_ms, tokens_of(root, "prompt_tokens"), tokens_of(root, "completion_tokens")});
    result.close();
    return answer(out += ", \"error\": null}");
}

// One vector, appended as JSON; `dimensions` is the length all must have, 0 before the first.
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

// The vectors in the order of the texts, whatever order they came in; false unless there is exactly one for each.
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
    }
    return answer(out += ", \"error\": null}");
}

}  // namespace

std::string error_of(dom::element root) {
    constexpr std::size_t kLongestError = 500;
    dom::element error;
    std::string_view text;
    if (root["error"].get(error) == simdjson::SUCCESS) {
        if (error.get(text) != simdjson::SUCCESS && error.is_object())  // Ollama: a text; OpenAI: an object
            text = text_of(error, "message");
    } else {
        text = text_of(root, "message");  // older vLLM
        if (text.empty())
            text = text_of(root, "detail");  // FastAPI
    }
    return std::string(utf8_prefix(text, kLongestError));
}

std::int64_t tokens_of(dom::element root, const char *key) {
    std::int64_t count;
    return root["usage"][key].get(count) == simdjson::SUCCESS && count >= 0 && count <= 1'000'000'000 ? count : -1;
}

void add_usage(JsonObject &result, const Request &request, const Engine &engine, const Usage &usage) {
    result.add("finish_reason", usage.finish_reason.empty() ? "stop" : usage.finish_reason);
    result.add("model", shown_name(engine, request.model));
    result.add("fingerprint", std::string_view(fingerprint_of(engine, request.model)));
    result.add("engine_ms", usage.engine_ms);
    if (usage.prompt_tokens >= 0)
        result.add("prompt_tokens", usage.prompt_tokens);
    if (usage.completion_tokens >= 0)
        result.add("completion_tokens", usage.completion_tokens);
}

Reply read_reply(const Request &request, const Engine &engine, long status, std::string_view body, double engine_ms) {
    if (status == 501 && may_be_unserved(request.kind, engine))
        return {Verdict::Unserved, {}, "it does not serve such requests (HTTP 501)"};
    if (status < 200 || status >= 300)
        return read_failure(request, status, body);
    Document document;
    if (!document.parse(body))
        return invalid("it sent something else than a JSON object");
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
