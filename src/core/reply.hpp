// Reads the answers of daemons. A daemon is not trusted.
//
// Called by the gateway (envelope_id, read_stream_message) and by sessions (the rest). Regime: pure (may throw
// std::bad_alloc). Library: simdjson's DOM, which validates the whole text, in about a tenth of the time that a tree of
// objects takes. Refused: text that is not a single JSON value of at most kMaxDepth levels, invalid UTF-8, NUL
// characters (PostgreSQL cannot store them), numbers that are not finite, vectors of absurd length.
#pragma once

#include "src/core/problem.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core {

inline constexpr std::size_t kMaxDepth = 64;
inline constexpr std::size_t kMaxDimensions = 65'536;

// The reply's id, if it is a string. Fast if the text begins with it, as our own daemons write it; else it is kept in
// `storage`. In a message of more than a megabyte it is found where it is the first member or the last: looking through
// all of 16 MB would take the gateway 100 ms, and whoever sends such messages need not have been asked.
[[nodiscard]] bool envelope_id(std::string_view body, std::string_view &id, std::string &storage);

// A message with room behind it: the parser reads in blocks and may look at, never change, kPadding bytes past the end.
struct PaddedText {
    std::string_view text;
    static constexpr std::size_t kPadding = 64;
};

// Texts are valid until the next reply is read.
struct GenerateReply {
    bool is_null = false;  // the daemon has no answer, for example because it has no model
    std::string_view text;
    std::string_view model;
    std::string_view fingerprint;
    std::string_view finish_reason;
    std::string_view reasoning;  // of a model that reports its reasoning
    int prompt_tokens = -1;      // -1: not reported
    int completion_tokens = -1;
    double engine_ms = -1;
};

[[nodiscard]] bool read_generate_reply(PaddedText body, GenerateReply &reply, Problem &problem);

// The last result of a stream on the wire; every other result is a piece of text.
inline constexpr std::string_view kStreamEnd = "##STREAM_END##";

enum class StreamMessage { Piece, End, Invalid };
// A message of a stream; a message with an error is the stream's end. The piece is valid until the next reply is read.
[[nodiscard]] StreamMessage read_stream_message(PaddedText body, std::string_view &piece);
// The end of a stream, with the daemon's report of the whole; `text` is the sum of the pieces. A daemon that sent no
// piece and reports nothing has no answer.
[[nodiscard]] bool read_stream_end(PaddedText body, std::string_view text, GenerateReply &reply, Problem &problem);

// The report beside a result that has no room for it; -1: not reported.
struct ReplyUsage {
    int prompt_tokens = -1;
    double engine_ms = -1;
    std::string_view fingerprint = {};  // of the model; empty: not reported. Valid until the next reply is read
    int cut_tokens = 0;                 // left out of a text that is too long for the model
};

// An answer to count_tokens.
[[nodiscard]] bool read_count_reply(PaddedText body, std::int32_t &tokens, Problem &problem);

// A flat array of finite numbers.
[[nodiscard]] bool read_embed_reply(PaddedText body, std::vector<float> &vector, ReplyUsage &usage, Problem &problem);

// Pairs of document and score from 0 to 1, in any order. The scores are put in the order of `documents`; each document
// must have a score.
[[nodiscard]] bool read_rerank_reply(PaddedText body, std::span<const std::string_view> documents,
                                     std::vector<double> &scores, ReplyUsage &usage, Problem &problem);

}  // namespace steadytext::core
