// Turns the events of a streamed answer into the messages of a daemon's stream. Regime: see openai.hpp.
#include "src/core/openai_json.hpp"
#include "src/core/utf8.hpp"

namespace steadytext::core::openai {

namespace {

constexpr std::size_t kLongestRefusal = 300;

// The text in a choice; chat and completion keep it in different places. False if the text cannot be passed on: the
// mark that ends a daemon's stream may not be part of it.
bool read_piece(dom::element choice, std::string &storage, std::string_view &text, Sidetrack &beside) {
    dom::element delta;
    dom::element part;
    const bool is_chat = choice["delta"].get(delta) == simdjson::SUCCESS;
    if (is_chat)
        beside.add(delta, false);
    if ((is_chat ? delta["content"] : choice["text"]).get(part) != simdjson::SUCCESS)
        return true;  // this event names the speaker, or is the end
    return read_content(part, storage, text) && text != kStreamEnd && !contains_nul(text);
}

// True if the event is an object: engines, and proxies before them, send other words to keep a connection alive.
bool begins_object(std::string_view data) {
    const std::size_t first = data.find_first_not_of(" \t\r\n");
    return first != std::string_view::npos && data[first] == '{';
}

bool is_end(std::string_view data) {
    const std::size_t first = std::min(data.find_first_not_of(' '), data.size());
    return data.substr(first).starts_with("[DONE]");
}

}  // namespace

StreamReader::Event StreamReader::read(const Request &request, std::string_view data, std::string &message) {
    is_done_ |= is_end(data);
    if (is_done_ || !begins_object(data))
        return Event::Nothing;
    Document document;
    if (!document.parse(data))
        return Event::Invalid;
    if (const EngineError error = error_of(document.root); error.is_told) {
        failure_ = failure_reply(request, error, has_told_ || error.status == 0 ? 400 : error.status, false);
        return Event::Failed;
    }
    if (const std::int64_t told = tokens_of(document.root, "prompt_tokens"); told >= 0)
        prompt_tokens_ = told;
    if (const std::int64_t told = tokens_of(document.root, "completion_tokens"); told >= 0)
        completion_tokens_ = told;
    dom::array choices;
    dom::element choice;
    if (document.root["choices"].get(choices) != simdjson::SUCCESS)
        return Event::Nothing;
    has_begun_ = true;
    if (choices.at(0).get(choice) != simdjson::SUCCESS || !choice.is_object())
        return Event::Nothing;  // the last event often has only the counts
    return read_choice(request, choice, message);
}

StreamReader::Event StreamReader::read_choice(const Request &request, simdjson::dom::element choice,
                                              std::string &message) {
    if (const std::string_view reason = text_of(choice, "finish_reason"); !reason.empty())
        finish_reason_ = reason;
    Sidetrack beside;
    std::string storage;
    std::string_view text;
    if (!read_piece(choice, storage, text, beside))
        return Event::Invalid;
    has_reasoned_ |= beside.has_reasoned;
    has_called_tool_ |= beside.has_called_tool;
    refusal_ = utf8_prefix(refusal_ + beside.refusal, kLongestRefusal);
    if (text.empty())
        return Event::Nothing;
    has_told_ = true;
    has_text_ |= !is_blank(text);
    message = piece_message(request.id, text);
    return Event::Piece;
}

Reply StreamReader::end(const Request &request, const Engine &engine, double engine_ms) const {
    if (!has_begun_)
        return {Verdict::Invalid, {}, "it sent something else than a stream"};
    if (!is_done_ && finish_reason_.empty())
        return {Verdict::Suspect, {}, "it stopped in the middle of its answer"};
    if (!has_text_) {
        const Sidetrack beside{{}, refusal_, has_reasoned_, has_called_tool_};
        if (const std::string why = beside.why_empty(finish_reason_); !why.empty())
            return {Verdict::Answer, error_reply(request.id, why), {}};
    }
    return {Verdict::Answer,
            stream_end_message(request, engine, {finish_reason_, engine_ms, prompt_tokens_, completion_tokens_}),
            {}};
}

std::string piece_message(std::string_view id, std::string_view text) {
    std::string out = begin_reply(id);
    JsonObject result(out, Escape::Utf8);
    result.add("token", text);
    result.close();
    return out += ", \"error\": null}";
}

std::string stream_end_message(const Request &request, const Engine &engine, const Usage &usage) {
    std::string out = begin_reply(request.id);
    JsonObject result(out, Escape::Utf8);
    result.add("token", kStreamEnd);
    add_usage(result, request, engine, usage);
    result.close();
    return out += ", \"error\": null}";
}

}  // namespace steadytext::core::openai
