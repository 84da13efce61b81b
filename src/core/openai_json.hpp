// What openai.cpp, openai_request.cpp, openai_reply.cpp and openai_stream.cpp share: a parsed text, and ways to ask it. Regime: pure.
#pragma once

#include "src/core/json_text.hpp"
#include "src/core/openai.hpp"
#include "src/core/reply.hpp"

#include <algorithm>
#include <new>
#include <simdjson.h>

namespace steadytext::core::openai {

namespace dom = simdjson::dom;

// One JSON text and its tree, of at most kMaxDepth levels.
struct Document {
    dom::parser parser;
    dom::element root;

    [[nodiscard]] bool parse(std::string_view text) {
        if (parser.allocate(std::max(text.size(), std::size_t{4096}), kMaxDepth) != simdjson::SUCCESS)
            throw std::bad_alloc();
        return parser.parse(text.data(), text.size()).get(root) == simdjson::SUCCESS && root.is_object();
    }
};

// Empty if there is no such member, or it is no text.
inline std::string_view text_of(dom::element object, const char *key) {
    std::string_view text;
    return object[key].get(text) == simdjson::SUCCESS ? text : std::string_view();
}

// `{"id": ..., "result": `
[[nodiscard]] std::string begin_reply(std::string_view id);

// As callers name it: with the provider in front, if there is one.
[[nodiscard]] std::string shown_name(const Engine &engine, const std::string &model);
[[nodiscard]] std::string fingerprint_of(const Engine &engine, std::string_view model);

// The engine's own words for what went wrong, in one of the forms they are found in; empty if there are none.
[[nodiscard]] std::string error_of(dom::element root);
// A count of `usage`; -1: not told.
[[nodiscard]] std::int64_t tokens_of(dom::element root, const char *key);

// What a whole answer, or the end of a stream, tells beside the text.
struct Usage {
    std::string_view finish_reason;
    double engine_ms;
    std::int64_t prompt_tokens;
    std::int64_t completion_tokens;
};
void add_usage(JsonObject &result, const Request &request, const Engine &engine, const Usage &usage);

}  // namespace steadytext::core::openai
