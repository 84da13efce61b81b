// Requests as they come and answers as they go: the JSON of the wire protocol and nothing of sockets or models.
//
// Called by the server. Regime: pure; nothing a peer sends can throw out of here.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/messages.hpp"

namespace steadytext::daemon {

// What the server itself answers.
enum class Control { Ping, Info, Shutdown };

struct Cancel {
    std::string id;  // as JSON text
};

// An answer that needs no model: `result` or `error` is set.
struct Immediate {
    std::string result;  // JSON text
    std::string error;
};

// How an engine's answer is to be put.
struct Form {
    enum class Kind { Text, TextWithLogprobs, Usage, Stream, StreamWithLogprobs, OneVector, Vectors, Ranking };
    Kind kind = Kind::Text;
    bool usage = false;                  // a stream whose end, or vectors and a ranking beside which, usage is told
    bool acknowledged = false;           // a stream whose tokens the client acknowledges one by one
    bool scores = false;                 // a ranking with them
    std::vector<std::string> documents;  // of a ranking
};

struct Request {
    std::string id = "null";  // as JSON text
    std::chrono::milliseconds timeout{0};  // 0: none
    Form form;
    std::variant<Immediate, Control, Cancel, GenerateTask, EmbedTask, RankTask> task;
};

// Anything can be parsed: what is wrong becomes an Immediate error.
[[nodiscard]] Request parse_request(std::string_view body);

// Without a reranker model, a ranking is by the cosine of embeddings: the query's and each document's.
[[nodiscard]] EmbedTask as_embeddings(RankTask task);

[[nodiscard]] std::string result_reply(const std::string &id, const std::string &result, const std::string &usage = "");
[[nodiscard]] std::string error_reply(const std::string &id, std::string_view message);

// The JSON result of an engine's answer. `model` is the one that gave it.
[[nodiscard]] std::string format_answer(const Form &form, const Answer &answer, const ModelInfo &model);
// What stands beside that result, if it was asked for: as JSON text, or empty.
[[nodiscard]] std::string usage_of(const Form &form, const Answer &answer);
[[nodiscard]] std::string stream_end();
// The end of a stream as its client wants it told.
[[nodiscard]] std::string stream_end(const Form &form, const Answer &answer, const ModelInfo &model);

struct DaemonInfo {
    bool ready = false;
    int slots = 0;
    int slots_in_use = 0;
    double idle_ms = 0;  // while none is
    std::uint64_t resident_bytes = 0;
    std::vector<const ModelInfo *> models;  // loading ones have no fingerprint yet
};
[[nodiscard]] std::string format_info(const DaemonInfo &daemon);
[[nodiscard]] std::string json_text(std::string_view text);

}  // namespace steadytext::daemon
