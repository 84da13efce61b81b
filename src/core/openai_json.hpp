// Shared by the files openai*.cpp: a parsed text, and functions that read it. Regime: pure.
#pragma once

#include "src/core/json_text.hpp"
#include "src/core/openai.hpp"
#include "src/core/reply.hpp"

#include <algorithm>
#include <new>
#include <simdjson.h>

namespace steadytext::core::openai {

namespace dom = simdjson::dom;

// A JSON text and its tree, of at most kMaxDepth levels.
struct Document {
    dom::parser parser;
    dom::element root;

    [[nodiscard]] bool parse_any(std::string_view text) {
        if (parser.allocate(std::max(text.size(), std::size_t{4096}), kMaxDepth) != simdjson::SUCCESS)
            throw std::bad_alloc();
        return parser.parse(text.data(), text.size()).get(root) == simdjson::SUCCESS;
    }
    [[nodiscard]] bool parse(std::string_view text) { return parse_any(text) && root.is_object(); }
};

// Empty if there is no such member, or it is no text.
inline std::string_view text_of(dom::element object, const char *key) {
    std::string_view text;
    return object[key].get(text) == simdjson::SUCCESS ? text : std::string_view();
}

// `{"id": ..., "result": `
[[nodiscard]] std::string begin_reply(std::string_view id);

// The name that callers use: with the provider in front, if there is one.
[[nodiscard]] std::string shown_name(const Engine &engine, const std::string &model);
[[nodiscard]] std::string fingerprint_of(const Engine &engine, std::string_view model);

// ---- failures (openai_failure.cpp) ----

// The account is used up, whatever number the engine sends: no HTTP status.
inline constexpr long kQuotaUsedUp = 1;

struct EngineError {
    bool is_told = false;  // the answer reports an error, whatever its HTTP status
    bool is_json = false;
    long status = 0;        // as an HTTP status, from its code or its name; kQuotaUsedUp; 0: not reported
    std::string words;      // the engine's own words, fit for a message
    std::string parameter;  // of the request, if the error names any
    std::string code;
};
// Reads an object that may report an error; `is_told` says whether it does.
[[nodiscard]] EngineError error_of(dom::element root);
// Reads the body of any answer with a status of failure.
[[nodiscard]] EngineError read_error(std::string_view body);
// `says_when`: the answer came with Retry-After.
[[nodiscard]] Reply failure_reply(const Request &request, const EngineError &error, long status, bool says_when);
[[nodiscard]] bool contains_word(std::string_view text, std::string_view lower);

// ---- answers (openai_answer.cpp) ----

// The content of a choice beside its text, whole or in pieces: why there may be no text.
struct Sidetrack {
    std::string reasoning;
    std::string refusal;
    bool has_reasoned = false;
    bool has_called_tool = false;

    // Adds the content of a message, or of a piece of a message. Without `keeps_reasoning` it only notes that there was
    // reasoning.
    void add(dom::element message, bool keeps_reasoning);
    // Why a message without a text is no answer, in words; empty if the model may simply have had nothing to say.
    [[nodiscard]] std::string why_empty(std::string_view finish_reason) const;
};

// The text of a message or of a piece: a string, or parts of which some are texts. False for anything else but null.
[[nodiscard]] bool read_content(dom::element content, std::string &storage, std::string_view &text);
[[nodiscard]] bool is_blank(std::string_view text);

// A piece of a stream, and its end, in the form that a daemon sends.
[[nodiscard]] std::string piece_message(std::string_view id, std::string_view text);

// A count of `usage`; -1: not reported.
[[nodiscard]] std::int64_t tokens_of(dom::element root, const char *key);

// The report of a whole answer, or of the end of a stream, beside the text.
struct Usage {
    std::string_view finish_reason;
    double engine_ms;
    std::int64_t prompt_tokens;
    std::int64_t completion_tokens;
    std::string_view reasoning = {};
};
[[nodiscard]] std::string stream_end_message(const Request &request, const Engine &engine, const Usage &usage);
void add_usage(JsonObject &result, const Request &request, const Engine &engine, const Usage &usage);

}  // namespace steadytext::core::openai
