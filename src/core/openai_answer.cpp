// Reads an engine's message: its text, or the reason why it has none. Regime: see openai.hpp.
//
// A model that reasons, calls a tool or is held back by a filter may give no text at all. This is no answer: an empty
// text would be taken for an answer, stored and cached. Called for whole answers (openai_reply.cpp) and for pieces of
// them (openai_stream.cpp).
#include "src/core/openai_json.hpp"
#include "src/core/plain_words.hpp"
#include "src/core/utf8.hpp"

namespace steadytext::core::openai {

namespace {

constexpr std::size_t kLongestRefusal = 300;

// The members in which engines put the reasoning: first vLLM, llama-server and DeepSeek; then newer vLLM, Ollama and
// OpenRouter.
constexpr const char *kReasoningKeys[] = {"reasoning_content", "reasoning"};

bool has_calls(dom::element message) {
    dom::array calls;
    dom::element call;
    return (message["tool_calls"].get(calls) == simdjson::SUCCESS && calls.size() > 0) ||
           (message["function_call"].get(call) == simdjson::SUCCESS && !call.is_null());
}

}  // namespace

void Sidetrack::add(dom::element message, bool keeps_reasoning) {
    for (const char *key : kReasoningKeys) {
        const std::string_view thought = text_of(message, key);
        if (thought.empty())
            continue;
        has_reasoned = true;
        if (keeps_reasoning)
            reasoning += thought;
        break;  // some engines send it under both names
    }
    if (refusal.size() < kLongestRefusal)
        refusal += utf8_prefix(text_of(message, "refusal"), kLongestRefusal);
    has_called_tool |= has_calls(message);
}

std::string Sidetrack::why_empty(std::string_view finish_reason) const {
    if (!is_blank(refusal))
        return "the model refused to answer: " + plain_words(refusal, kLongestRefusal);
    if (finish_reason == "content_filter")
        return "the engine's content filter held the answer back";
    if (has_called_tool || finish_reason == "tool_calls" || finish_reason == "function_call")
        return "the model called a tool instead of answering";
    if (finish_reason == "length")
        return has_reasoned ? "reasoning used up max_tokens before an answer began"
                            : "max_tokens was used up before an answer began";
    return has_reasoned ? "the model reasoned and gave no answer" : "";
}

bool read_content(dom::element content, std::string &storage, std::string_view &text) {
    dom::array parts;
    text = {};
    if (content.is_null() || content.get(text) == simdjson::SUCCESS)
        return true;
    if (content.get(parts) != simdjson::SUCCESS)
        return false;
    for (const dom::element part : parts) {
        if (!part.is_object())
            return false;
        storage += text_of(part, "text");
    }
    text = storage;
    return true;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

}  // namespace steadytext::core::openai
