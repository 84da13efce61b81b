// The setting steadytext.daemons: a list of endpoints with options, read and written back.
//
// Called by the setting's check hook, by the gateway, and by steadytext_daemon_register and similar functions. Regime:
// pure. daemon_list_edit.cpp changes single entries.
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
inline constexpr int kUsualBatch = 32;  // the default limit of Text Embeddings Inference
inline constexpr int kMaxBatch = 2048;  // the limit of OpenAI

// Parameters of a request that an entry may leave out.
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
    char prefix[64] = "";            // put before texts to be embedded
    char ca_file[256] = "";          // https: certificates to trust instead of the system's
    char server_key_file[256] = "";  // CURVE: the daemon's public key
    int reasoning_tokens = 0;        // HTTP: room for reasoning, beside the answer's tokens
    int batch = kUsualBatch;         // HTTP: how many texts a single message embeds
    char max_tokens_param[64] = "";  // HTTP: the engine's name for max_tokens
    std::uint8_t omitted = 0;        // HTTP: parameters that are not sent, by their place in kOmittable
    bool strict = false;             // HTTP: the engine says itself that schemas are binding
    char headers[1024] = "";         // HTTP: lines "Name: value\n"
    char extra_body_file[256] = "";  // HTTP: a JSON object whose members are added to each body
    bool valid = false;
    Problem problem;  // why it is not valid
};

// Reads up to `capacity` entries. A bad entry has valid = false and its own problem, and does not affect other entries;
// `first_problem` is the problem of the first bad entry, if any.
[[nodiscard]] std::size_t parse_daemon_list(std::string_view list, DaemonEntry *entries, std::size_t capacity,
                                            Problem &first_problem);

// True if every entry is good and no endpoint stands twice.
[[nodiscard]] bool check_daemon_list(std::string_view list, Problem &problem);

// True if an entry has this provider=, good or bad: an error in the entry does not make its models the models of
// another provider.
[[nodiscard]] bool has_provider(std::string_view list, std::string_view provider);

// The part before the colon in "provider:model"; empty if there is no colon.
[[nodiscard]] inline std::string_view provider_of(std::string_view model) noexcept {
    const std::size_t colon = model.find(':');
    return colon == std::string_view::npos ? std::string_view() : model.substr(0, colon);
}

// ---- changes to a single entry; every other entry stays as it was written ----------------
// An entry is found by its endpoint, a bad entry by its first word. False, with 42704, if there is no such entry.

// The endpoint of the entry with this core::stable_hash(); empty if there is none.
[[nodiscard]] std::string daemon_of_hash(std::string_view list, std::uint64_t hash);
[[nodiscard]] bool has_daemon(std::string_view list, std::string_view endpoint);
// Appends a new entry; false, with 22023, if the endpoint is invalid.
[[nodiscard]] bool add_daemon(std::string &list, std::string_view endpoint, int weight, Problem &problem);
[[nodiscard]] bool remove_daemon(std::string &list, std::string_view endpoint, Problem &problem);
[[nodiscard]] bool set_daemon_weight(std::string &list, std::string_view endpoint, int weight, Problem &problem);
[[nodiscard]] bool drain_daemon(std::string &list, std::string_view endpoint, bool drain, Problem &problem);

// Changes the address of the first tcp daemon. Host and port are checked; a part that is not given stays. Without a tcp
// daemon, a new entry comes first, with localhost or 5555 for a part that is not given.
struct AddressParts {
    std::string_view host = {};  // empty: not given
    long port = 0;               // 0: not given
};
[[nodiscard]] bool set_first_daemon(std::string &list, const AddressParts &parts, Problem &problem);

// True if the change needs no new connection: the entries differ at most in weight or drain.
[[nodiscard]] bool same_connection(const DaemonEntry &one, const DaemonEntry &other);

// The entry as text; parse_daemon_list reads it back the same.
[[nodiscard]] std::string format_daemon_entry(const DaemonEntry &entry);

}  // namespace steadytext::core
