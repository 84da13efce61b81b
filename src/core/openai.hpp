// Turns the wire request of a session into the request of an OpenAI-compatible engine, and the engine's answer into a
// daemon's reply.
//
// Called by bgworker/http_channel.cpp. Regime: pure (may throw std::bad_alloc). The engine is not trusted: simdjson
// reads its JSON within kMaxDepth; vectors must be complete, finite and all of the same length.
//
//   generate, generate_iter      POST base/chat/completions, or base/completions (a model without a chat template)
//   embed, embed_batch           POST base/embeddings
//   ping, and checks             GET base/models
//   info                         answered from the entry and from the list of base/models
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

// The purpose of the engine, as the end of the entry's path says.
enum class Api : std::uint8_t { Any, Chat, Completions, Embeddings };

// The form of the requests that an engine wants: from its entry, and from its refusals since.
struct Dialect {
    std::string max_tokens = "max_tokens";  // the engine's name for it
    std::uint8_t omitted = 0;               // bits of kOmittable

    [[nodiscard]] bool operator==(const Dialect &) const = default;
};

struct Engine {
    std::string base;   // the beginning of all paths: "/v1"
    std::string query;  // the end of all paths: "?api-version=2024-10-21", or nothing
    [[nodiscard]] std::string path_to(const char *what) const { return base + what + query; }
    Api api = Api::Any;
    std::string provider;
    std::string fingerprint;
    std::string prefix;                 // put before texts to be embedded
    bool is_model_given = false;        // by the entry
    std::int64_t reasoning_tokens = 0;  // room for reasoning, beside the answer's tokens
    Dialect dialect;                    // of a model that has taught nothing; `learned` has the others
    std::map<std::string, Dialect, std::less<>> learned;
    int batch = 1;  // how many texts a single message embeds
    bool strict = false;
    std::string variant;  // part of its fingerprint: a hash of all in its entry that may change answers
    // A JSON object, or nothing: its members go into each body, and replace members of the same names
    std::string extra_body;
    [[nodiscard]] const Dialect &dialect_of(std::string_view model) const {
        const auto found = learned.find(model);
        return found == learned.end() ? dialect : found->second;
    }
    // The model of the entry, or the models that the engine listed; the first is the default
    std::vector<std::string> models;
    bool has_more_models = false;            // it listed more than fit
    std::shared_ptr<const Secrets> secrets;  // values that its words must not repeat; null: none
    std::string owner;                       // the maker in the engine's words: "vllm"

    [[nodiscard]] bool generates() const { return api != Api::Embeddings; }
    [[nodiscard]] bool embeds() const { return api == Api::Any || api == Api::Embeddings; }
};

[[nodiscard]] Engine engine_of(const DaemonEntry &entry);
[[nodiscard]] bool is_object(std::string_view json);
// "+" and eight digits that differ for another text.
// Of the entry's prefix, reasoning_tokens, omit, and the content of its extra_body. Empty if it has none of these.
[[nodiscard]] std::string variant_of(const Engine &engine);

struct Request {
    enum class Kind : std::uint8_t { Generate, Embed, EmbedBatch, Ping, Info, Cancel, Refused };

    Kind kind = Kind::Refused;
    std::string id;
    std::string cancelled_id;  // of a Cancel
    std::string refusal;       // of a Refused: why it is not sent
    std::string path;
    std::string body;   // empty: GET
    std::string model;  // the engine's name for it
    bool return_usage = false;
    bool streams = false;                    // of a Generate: the answer comes as events; StreamReader reads them
    bool is_check = false;                   // known_good_request()
    Dialect dialect;                         // the dialect that it was made in
    std::shared_ptr<const Secrets> secrets;  // the engine's
    std::int64_t most_tokens = 0;      // of a Generate: that the answer may have, with reasoning; 0: no limit was sent
    std::size_t texts = 0;             // how many vectors the answer must have
    std::vector<std::string> choices;  // the answer must be among them
};

// False if the message is no request of the gateway. A request that this engine cannot serve comes back as Refused.
[[nodiscard]] bool read_request(std::string_view message, const Engine &engine, Request &request);

enum class Verdict : std::uint8_t {
    Answer,  // `message` is the reply, which may be an error that the caller caused
    Busy,    // it asks to come again later
    // It never does this: HTTP 501, as from llama-server when its model has another purpose, or no such path
    Unserved,
    Exhausted,  // the account is used up: another engine may do better, asking again does not help
    // `reason` says how it failed, with this request or with any. If only with this request, `message` is the reply;
    // empty: it may be sent again
    Suspect,
    Invalid,  // it sent something that is no answer; `reason` says why
};

struct Reply {
    Verdict verdict = Verdict::Invalid;
    std::string message;
    std::string reason;
    // Of an engine that answers a streamed request in a single piece: the part before `message`
    std::string piece{};
    bool is_loading = false;  // of Busy: it is not ready yet
    // `reason` without the engine's words, which may repeat the request; empty: `reason` has none
    std::string shown{};
};

// `says_when`: the answer came with Retry-After.
[[nodiscard]] Reply read_reply(const Request &request, const Engine &engine, long status, std::string_view body,
                               double engine_ms, bool says_when = false);

// After HTTP 400 or 422: the parameter that the answer names as refused, if the request can be made without it; else
// empty. Only the answer's field for the parameter's name counts, never its prose, which may quote a prompt.
[[nodiscard]] std::string refused_parameter(const Request &request, long status, std::string_view body);
// True if the request would be made in another form now, because the engine has taught something since.
[[nodiscard]] bool is_outdated(const Engine &engine, const Request &request);
// True if the gateway's own request `check` would be made in another form now: the engine has just refused a parameter
// and so taught to leave it out (then `lesson` says so in words), or the request is_outdated().
[[nodiscard]] bool learn(Engine &engine, const Request &check, long status, std::string_view body, std::string &lesson);

// A request that any working engine can answer. It tells a failing engine from a request that makes the engine fail;
// with `parameter` in it, it tells an engine that refuses the parameter from a text that makes the engine say so. It
// goes to `model`.
[[nodiscard]] Request known_good_request(Request::Kind kind, const std::string &model, const Engine &engine,
                                         std::string_view parameter = {});

// Reads an answer that comes as server-sent events (event_stream.hpp), each with a piece, and writes the messages of a
// daemon's stream. Events that are no part of the answer, such as keep-alive events, are skipped.
class StreamReader {
public:
    enum class Event : std::uint8_t {
        Nothing,  // nothing to pass on
        Piece,    // `message` is a piece of the text
        Failed,   // failure() says how: nothing more will come
        Invalid,  // the event is damaged
    };
    [[nodiscard]] Event read(const Request &request, std::string_view data, std::string &message);
    // After Failed: before the first piece the failure is treated as the answer to the request; after it, it is an
    // error in the engine's words.
    [[nodiscard]] Reply take_failure() { return std::move(failure_); }
    // After the last event: the message that ends the stream, or how the stream broke off. A stream that gave a finish
    // reason is complete.
    [[nodiscard]] Reply end(const Request &request, const Engine &engine, double engine_ms) const;
    // The stream is complete, whatever happens to the connection.
    [[nodiscard]] bool is_done() const { return is_done_; }

private:
    [[nodiscard]] Event read_choice(const Request &request, simdjson::dom::element choice, std::string &message);

    bool has_begun_ = false;
    bool has_told_ = false;  // a piece was passed on
    bool has_text_ = false;  // with more than white space
    bool is_done_ = false;
    Reply failure_;
    bool has_reasoned_ = false;
    bool has_called_tool_ = false;
    std::string refusal_;
    std::string finish_reason_;
    std::int64_t prompt_tokens_ = -1;  // not reported
    std::int64_t completion_tokens_ = -1;
};

// After Unserved: if the engine was taken to serve both kinds, it now serves only the other kind.
void narrow(Engine &engine, Request::Kind unserved);

inline constexpr std::size_t kMaxModels = 1024;  // of a single engine: a proxy may list any number

// Takes the models that base/models lists, unless the entry names a model; false if the body is no such list.
[[nodiscard]] bool read_models(std::string_view body, Engine &engine);
// Reads a whole answer to base/models. Returns why the engine cannot be used, in words, or empty. An engine without a
// list can be used if the entry names the model.
[[nodiscard]] std::string read_listing(long status, std::string_view body, Engine &engine, bool says_when,
                                       bool &is_loading);

[[nodiscard]] std::string info_reply(std::string_view id, const Engine &engine);
[[nodiscard]] std::string pong_reply(std::string_view id);
[[nodiscard]] std::string error_reply(std::string_view id, std::string_view error);

}  // namespace steadytext::core::openai
