// From the events of a streamed answer to the messages of a daemon's stream. Regime: see openai.hpp.
#include "src/core/openai_json.hpp"
#include "src/core/utf8.hpp"

namespace steadytext::core::openai {

namespace {

// The text that came with a choice; chat and completion keep it in different places. False if it is none that can be told: what ends
// a daemon's stream is no part of it.
bool read_piece(dom::element choice, std::string_view &text) {
    dom::element delta;
    dom::element part;
    const bool is_chat = choice["delta"].get(delta) == simdjson::SUCCESS;
    if ((is_chat ? delta["content"] : choice["text"]).get(part) != simdjson::SUCCESS || part.is_null())
        return true;  // it says who speaks, or that this is the end
    return part.get(text) == simdjson::SUCCESS && text != kStreamEnd && !contains_nul(text);
}

std::string piece_message(std::string_view id, std::string_view text) {
    std::string out = begin_reply(id);
    JsonObject result(out, Escape::Utf8);
    result.add("token", text);
    result.close();
    return out += ", \"error\": null}";
}

}  // namespace

StreamReader::Event StreamReader::read(const Request &request, std::string_view data, std::string &message) {
    is_done_ |= data == "[DONE]";
    if (is_done_)
        return Event::Nothing;
    Document document;
    if (!document.parse(data))
        return Event::Invalid;
    if (const std::string error = error_of(document.root); !error.empty()) {
        message = error_reply(request.id, error);
        return Event::Failed;
    }
    dom::array choices;
    dom::element choice;
    std::string_view text;
    if (document.root["choices"].get(choices) != simdjson::SUCCESS)
        return Event::Invalid;
    has_begun_ = true;
    if (const std::int64_t told = tokens_of(document.root, "prompt_tokens"); told >= 0)
        prompt_tokens_ = told;
    if (const std::int64_t told = tokens_of(document.root, "completion_tokens"); told >= 0)
        completion_tokens_ = told;
    if (choices.at(0).get(choice) != simdjson::SUCCESS)
        return Event::Nothing;  // the last one often has nothing but the counts
    if (const std::string_view reason = text_of(choice, "finish_reason"); !reason.empty())
        finish_reason_ = reason;
    if (!read_piece(choice, text))
        return Event::Invalid;
    message = piece_message(request.id, text);
    return text.empty() ? Event::Nothing : Event::Piece;
}

Reply StreamReader::end(const Request &request, const Engine &engine, double engine_ms) const {
    if (!has_begun_)
        return {Verdict::Invalid, {}, "it sent something else than a stream"};
    if (!is_done_ && finish_reason_.empty())
        return {Verdict::Unavailable, {}, "it stopped in the middle of its answer"};
    std::string out = begin_reply(request.id);
    JsonObject result(out, Escape::Utf8);
    result.add("token", kStreamEnd);
    add_usage(result, request, engine, {finish_reason_, engine_ms, prompt_tokens_, completion_tokens_});
    result.close();
    return {Verdict::Answer, out + ", \"error\": null}", {}};
}

}  // namespace steadytext::core::openai
