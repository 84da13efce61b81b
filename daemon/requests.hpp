// Parses requests: the JSON of the wire protocol, without sockets or models. Their answers: answers.hpp.
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

// What a request's "method" may be.
[[nodiscard]] std::vector<const char *> method_names();

}  // namespace steadytext::daemon
