// Parses requests and writes answers: the JSON of the wire protocol, without sockets or models.
//
// Called by the server. Regime: pure; nothing that a peer sends makes it throw.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/messages.hpp"

namespace steadytext::daemon {

// Requests that the server answers itself.
enum class Control { Ping, Info, Shutdown };

struct Cancel {
    std::string id;  // as JSON text
};

// An answer that needs no model: `result` or `error` is set.
struct Immediate {
    std::string result;  // JSON text
    std::string error;
};

// The form of the reply to a request.
struct Form {
    enum class Kind { Text, TextWithLogprobs, Usage, Stream, StreamWithLogprobs, OneVector, Vectors, Ranking, Count };
    Kind kind = Kind::Text;
    bool usage = false;                  // tells usage: at the end of a stream, or beside vectors and a ranking
    bool acknowledged = false;           // a stream whose tokens the client acknowledges, each before the next
    bool scores = false;                 // a ranking with scores
    std::vector<std::string> documents;  // of a ranking
};

struct Request {
    std::string id = "null";               // as JSON text
    std::chrono::milliseconds timeout{0};  // 0: none
    bool is_background = false;            // requests that are not go first
    Form form;
    std::string model = {};  // by name; empty: the first that can do it
    std::variant<Immediate, Control, Cancel, GenerateTask, EmbedTask, RankTask, CountTask> task;
};

// Any text can be parsed: an error becomes an Immediate error.
[[nodiscard]] Request parse_request(std::string_view body);

// Ranks by the cosine of embeddings, of the query and of each document, if there is no reranker model.
[[nodiscard]] EmbedTask as_embeddings(RankTask task);

[[nodiscard]] std::string result_reply(const std::string &id, const std::string &result, const std::string &usage = "");
[[nodiscard]] std::string error_reply(const std::string &id, std::string_view message);

// The JSON result of an engine's answer. `model` is the model that gave it.
[[nodiscard]] std::string format_answer(const Form &form, const Answer &answer, const ModelInfo &model);
// The usage that stands beside this result, if it was asked for: as JSON text, or empty.
[[nodiscard]] std::string usage_of(const Form &form, const Answer &answer);
[[nodiscard]] std::string stream_end();
// The end of a stream in the form that its client asked for.
[[nodiscard]] std::string stream_end(const Form &form, const Answer &answer, const ModelInfo &model);

struct DaemonInfo {
    bool ready = false;
    bool cuts_texts = false;       // to embed
    bool has_more_models = false;  // than `models`
    int slots = 0;
    int slots_in_use = 0;
    double idle_ms = 0;  // while no slot is in use
    std::uint64_t resident_bytes = 0;
    std::vector<const ModelInfo *> models;  // a model that is loading has no fingerprint yet
};
[[nodiscard]] std::string format_info(const DaemonInfo &daemon);
[[nodiscard]] std::string json_text(std::string_view text);

}  // namespace steadytext::daemon
