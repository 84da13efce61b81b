// The setting steadytext.daemons: a list of endpoints with options, read and written back.
//
// Called by the setting's check hook, by the gateway and by steadytext_daemon_register and its kin. Regime: pure.
//
//   tcp://localhost:5555 weight=2, ipc:///run/a.sock, https://host/v1 model=qwen provider=openai key_file=/etc/key
//
// Entries are separated by commas, options by white space; a value with white space or a comma is put in double quotes.
#pragma once

#include "src/core/endpoint.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace steadytext::core {

inline constexpr int kMaxWeight = 1000;

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
    char server_key_file[256] = "";  // CURVE: the daemon's public key
    bool valid = false;
    Problem problem;  // why it is not valid
};

// Reads up to `capacity` entries. A bad one comes back with valid = false and its own problem, and costs the others
// nothing; `first_problem` is that of the first bad one, if any.
[[nodiscard]] std::size_t parse_daemon_list(std::string_view list, DaemonEntry *entries, std::size_t capacity,
                                            Problem &first_problem);

// True if every entry is good and none stands twice.
[[nodiscard]] bool check_daemon_list(std::string_view list, Problem &problem);

// The entry as it would be written; parse_daemon_list reads it back the same.
[[nodiscard]] std::string format_daemon_entry(const DaemonEntry &entry);

}  // namespace steadytext::core
