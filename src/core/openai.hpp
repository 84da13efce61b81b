// The wire request of a session as an OpenAI-compatible engine wants it, and the engine's answer as a daemon's reply.
//
// Called by bgworker/http_channel.cpp. Regime: pure (may throw std::bad_alloc). Nothing an engine says is trusted: JSON is read
// by simdjson within kMaxDepth, vectors must be complete, finite and of one length.
//
//   generate, generate_iter      POST base/chat/completions, or base/completions (a model without a chat template)
//   embed, embed_batch           POST base/embeddings
//   ping, and whether it is up   GET base/models
//   info                         answered from the entry and from what base/models listed
#pragma once

#include "src/core/daemon_list.hpp"
#include "src/core/problem.hpp"
#include "src/core/secrets.hpp"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace simdjson::dom {
class element;
}

namespace steadytext::core::openai {

// What the end of an entry's path says the engine is for.
enum class Api : std::uint8_t { Any, Chat, Completions, Embeddings };

// How an engine wants its requests: what its entry says, and what it has taught since.
struct Dialect {
    std::string max_tokens = "max_tokens";  // what it calls it
    std::uint8_t omitted = 0;               // of kOmittable

    [[nodiscard]] bool operator==(const Dialect &) const = default;
};

struct Engine {
    std::string base;  // the path all others start with: "/v1"
    std::string query; // and what they end with: "?api-version=2024-10-21", or nothing
    [[nodiscard]] std::string path_to(const char *what) const { return base + what + query; }
    Api api = Api::Any;
    std::string provider;
    std::string fingerprint;
    std::string prefix;               // put before texts to be embedded
    bool is_model_given = false;      // by the entry
    std::int64_t reasoning_tokens = 0;  // room for reasoning, beside the answer's
    Dialect dialect;                  // of any model; of one that has taught another:
    std::map<std::string, Dialect, std::less<>> learned;
    int batch = 1;                    // how many texts are embedded by one message
    bool strict = false;
    std::string variant;              // in its fingerprint: what extra_body makes of it
    std::string extra_body;           // a JSON object, or nothing: its members go into each body, instead of those of the same names
    [[nodiscard]] const Dialect &dialect_of(std::string_view model) const {
        const auto found = learned.find(model);
        return found == learned.end() ? dialect : found->second;
    }
    std::vector<std::string> models;  // the entry's one, or those the engine listed; the first is the default
    bool has_more_models = false;     // it listed more than there is room for
    std::shared_ptr<const Secrets> secrets;  // what its words must not repeat; null: nothing
    std::string owner;                // who made it, in the engine's words: "vllm"

    [[nodiscard]] bool generates() const { return api != Api::Embeddings; }
    [[nodiscard]] bool embeds() const { return api == Api::Any || api == Api::Embeddings; }
};

[[nodiscard]] Engine engine_of(const DaemonEntry &entry);
[[nodiscard]] bool is_object(std::string_view json);
// "+" and eight digits that are others for another text.
[[nodiscard]] std::string variant_of(std::string_view extra_body);

struct Request {
    enum class Kind : std::uint8_t { Generate, Embed, EmbedBatch, Ping, Info, Cancel, Refused };

    Kind kind = Kind::Refused;
    std::string id;
    std::string cancelled_id;  // of a Cancel
    std::string refusal;       // of a Refused: why it is not sent at all
    std::string path;
    std::string body;          // empty: GET
    std::string model;         // as the engine calls it
    bool return_usage = false;
    bool streams = false;      // of a Generate: the answer comes as events, which StreamReader reads
    bool is_check = false;     // known_good_request()
    Dialect dialect;           // in which it is made
    std::shared_ptr<const Secrets> secrets;  // the engine's
    std::size_t texts = 0;     // how many vectors the answer must have
    std::vector<std::string> choices;  // the answer must be one of them
};

// False if the message is none of the gateway's requests. One that this engine cannot serve comes back as Refused.
[[nodiscard]] bool read_request(std::string_view message, const Engine &engine, Request &request);

enum class Verdict : std::uint8_t {
    Answer,       // `message` is the reply, which may well be an error of the caller's making
    Busy,         // it asks to come again later
    Unserved,     // it does not do this at all: HTTP 501, as llama-server answers what its model is not for, or no such path
    Exhausted,    // the account has nothing left: another engine may do better, asking again does not help
    Suspect,      // `reason` says how it failed: at this request, or at any? If at this one, `message` is the reply; empty: it may be sent again
    Invalid,      // what it sent is no answer; `reason` says why
};

struct Reply {
    Verdict verdict = Verdict::Invalid;
    std::string message;
    std::string reason;
    std::string piece{};      // of an engine that answers a streamed request at once: what comes before `message`
    bool is_loading = false;  // of Busy: it is not ready yet
};

// `says_when`: the answer came with Retry-After.
[[nodiscard]] Reply read_reply(const Request &request, const Engine &engine, long status, std::string_view body,
                               double engine_ms, bool says_when = false);

// After HTTP 400 or 422: the parameter that the answer names as one that is not taken, if the same can be asked without it; else empty. Only what
// stands in the answer as the parameter's name counts, never its prose, in which a prompt may be quoted.
[[nodiscard]] std::string refused_parameter(const Request &request, long status, std::string_view body);
// It would be made otherwise now: the engine has taught something meanwhile.
[[nodiscard]] bool is_outdated(const Engine &engine, const Request &request);
// Whether the same request as this one, of the gateway's own, would be made otherwise now: the engine has refused a parameter of it and so taught
// to leave it out, once (then `lesson` says so in words), or it is_outdated().
[[nodiscard]] bool learn(Engine &engine, const Request &check, long status, std::string_view body, std::string &lesson);

// A request that any engine which works can answer, to tell one that fails from a request that makes it fail, or one that refuses `parameter`, which
// is in it then, from a text that makes it say so. It goes to `model`.
[[nodiscard]] Request known_good_request(Request::Kind kind, const std::string &model, const Engine &engine, std::string_view parameter = {});

// An answer that comes as server-sent events (event_stream.hpp), each with a piece of it: as the messages of a daemon's stream. What is no part
// of it, such as an event that keeps the connection alive, is passed over.
class StreamReader {
public:
    enum class Event : std::uint8_t {
        Nothing,  // there is nothing to tell
        Piece,    // `message` is a piece of the text
        Failed,   // failure() says how: no more will come
        Invalid,  // it is damaged
    };
    [[nodiscard]] Event read(const Request &request, std::string_view data, std::string &message);
    // After Failed: before the first piece as if it had come instead of a stream, then an error in the engine's words.
    [[nodiscard]] Reply take_failure() { return std::move(failure_); }
    // After the last event: the message that ends the stream, or how it broke off. One that said why it ends is whole.
    [[nodiscard]] Reply end(const Request &request, const Engine &engine, double engine_ms) const;
    // All has come, whatever becomes of the connection.
    [[nodiscard]] bool is_done() const { return is_done_; }

private:
    [[nodiscard]] Event read_choice(const Request &request, simdjson::dom::element choice, std::string &message);

    bool has_begun_ = false;
    bool has_told_ = false;  // a piece
    bool has_text_ = false;  // that is more than white space
    bool is_done_ = false;
    Reply failure_;
    bool has_reasoned_ = false;
    bool has_called_tool_ = false;
    std::string refusal_;
    std::string finish_reason_;
    std::int64_t prompt_tokens_ = -1;  // not told
    std::int64_t completion_tokens_ = -1;
};

// After Unserved: the engine is for what the request was not, if it was taken to be for both.
void narrow(Engine &engine, Request::Kind unserved);

inline constexpr std::size_t kMostModels = 1024;  // of one engine: a proxy lists many, and may list any number

// Takes over the models that base/models lists, unless the entry named one; false if it is no such list.
[[nodiscard]] bool read_models(std::string_view body, Engine &engine);
// The same for a whole answer to base/models; why the engine cannot be used, in words, or empty. One that has no list can, if
// the entry names the model.
[[nodiscard]] std::string read_listing(long status, std::string_view body, Engine &engine, bool says_when, bool &is_loading);

[[nodiscard]] std::string info_reply(std::string_view id, const Engine &engine);
[[nodiscard]] std::string pong_reply(std::string_view id);
[[nodiscard]] std::string error_reply(std::string_view id, std::string_view error);

}  // namespace steadytext::core::openai
