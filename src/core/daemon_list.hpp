// The setting steadytext.daemons: a list of endpoints with options, read and written back.
//
// Called by the setting's check hook, by the gateway and by steadytext_daemon_register and its kin. Regime: pure. Changing one
// entry is in daemon_list_edit.cpp.
//
//   tcp://localhost:5555 weight=2, ipc:///run/a.sock, https://host/v1 model=qwen provider=openai key_file=/etc/key
//
// Entries are separated by commas, options by white space; a value with white space or a comma is put in double quotes.
#pragma once

#include "src/core/endpoint.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace steadytext::core {

inline constexpr int kMaxWeight = 1000;
inline constexpr int kMaxReasoningTokens = 1'000'000;
inline constexpr int kUsualBatch = 32;  // as many as Text Embeddings Inference takes unless it is told otherwise
inline constexpr int kMaxBatch = 2048;  // as many as OpenAI takes

// Parameters of a request that an engine may be spared.
inline constexpr std::string_view kOmittable[] = {"temperature", "seed", "stop", "stream_options", "encoding_format"};

struct DaemonEntry {
    char text[1024] = "";  // the entry as written
    Endpoint endpoint;
    int weight = 1;
    bool drain = false;
    char model[128] = "";
    char provider[64] = "";
    char key_file[256] = "";
    char fingerprint[80] = "";
    char prefix[64] = "";           // put before texts to be embedded
    char ca_file[256] = "";          // https: certificates to trust instead of the system's
    char server_key_file[256] = "";  // CURVE: the daemon's public key
    int reasoning_tokens = 0;        // HTTP: room for reasoning beside the answer's
    int batch = kUsualBatch;         // HTTP: how many texts are embedded by one message
    char max_tokens_param[64] = "";  // HTTP: what the engine calls max_tokens
    std::uint8_t omitted = 0;        // HTTP: parameters it is not sent, by their place in kOmittable
    bool strict = false;             // HTTP: schemas are binding by the engine's own word for it
    char headers[1024] = "";         // HTTP: "Name: value\n", each
    char extra_body_file[256] = "";  // HTTP: a JSON object whose members go into each body
    bool valid = false;
    Problem problem;  // why it is not valid
};

// Reads up to `capacity` entries. A bad one comes back with valid = false and its own problem, and costs the others
// nothing; `first_problem` is that of the first bad one, if any.
[[nodiscard]] std::size_t parse_daemon_list(std::string_view list, DaemonEntry *entries, std::size_t capacity,
                                            Problem &first_problem);

// True if every entry is good and none stands twice.
[[nodiscard]] bool check_daemon_list(std::string_view list, Problem &problem);

// True if an entry has that provider=, good or bad: what is wrong with it does not make its models another's.
[[nodiscard]] bool has_provider(std::string_view list, std::string_view provider);

// What stands before the colon in "provider:model"; empty if there is no colon.
[[nodiscard]] inline std::string_view provider_of(std::string_view model) noexcept {
    const std::size_t colon = model.find(':');
    return colon == std::string_view::npos ? std::string_view() : model.substr(0, colon);
}

// ---- one entry of the list changed; every other stays as it was written ----------------------------------------------
// An entry is found by its endpoint, a bad one by its first word. False, with 42704, if there is none.

// The endpoint of the entry whose core::stable_hash() it is; empty if there is none.
[[nodiscard]] std::string daemon_of_hash(std::string_view list, std::uint64_t hash);
[[nodiscard]] bool has_daemon(std::string_view list, std::string_view endpoint);
// Puts a new one at the end; false, with 22023, if the endpoint is none.
[[nodiscard]] bool add_daemon(std::string &list, std::string_view endpoint, int weight, Problem &problem);
[[nodiscard]] bool remove_daemon(std::string &list, std::string_view endpoint, Problem &problem);
[[nodiscard]] bool set_daemon_weight(std::string &list, std::string_view endpoint, int weight, Problem &problem);
[[nodiscard]] bool drain_daemon(std::string &list, std::string_view endpoint, bool drain, Problem &problem);

// The address of the first tcp daemon, made from its two parts, each checked; what is not given stays as it is. Without such a daemon
// a new one comes first, with localhost or 5555 for what is not given.
struct AddressParts {
    std::string_view host = {};  // empty: not given
    long port = 0;               // 0: not given
};
[[nodiscard]] bool set_first_daemon(std::string &list, const AddressParts &parts, Problem &problem);

// True if going from one to the other needs no new connection: only weight or drain differ.
[[nodiscard]] bool same_connection(const DaemonEntry &one, const DaemonEntry &other);

// The entry as it would be written; parse_daemon_list reads it back the same.
[[nodiscard]] std::string format_daemon_entry(const DaemonEntry &entry);

}  // namespace steadytext::core
