// The echo daemon's command line: one table gives the options, what they do and the help.
//
// Used by echo_daemon.cpp and the files it is made of. Regime: pure.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "t/tools/echo_faults.hpp"

namespace steadytext::echo {

struct Options {
    std::vector<std::string> endpoints;
    std::string name = "echo";
    std::string model = "echo";
    std::string fingerprint = "echo:1";
    int dimensions = 384;
    int slots = 1 << 20;
    std::chrono::milliseconds delay{0};
    std::vector<std::string> told;  // results of `info`, as they are: each answer takes the next; empty: the true one
    bool has_reranker = true;
    bool knows_priority = true;
    bool serial = false;
    bool exit_on_stdin_eof = false;
    bool help = false;
};

struct Option {
    std::string_view name;
    std::string_view argument;  // empty: takes none
    std::string_view help;
    void (*apply)(Options &options, const char *value);
};

inline constexpr Option kOptions[] = {
    {"--endpoint", "ENDPOINT", "where to listen: ipc:///tmp/echo, tcp://127.0.0.1:* ...; repeatable",
     [](Options &options, const char *value) { options.endpoints.emplace_back(value); }},
    {"--delay-ms", "MS", "time each request takes (0)",
     [](Options &options, const char *value) { options.delay = std::chrono::milliseconds(std::atol(value)); }},
    {"--slots", "N", "requests worked on at a time, the others wait (no limit)",
     [](Options &options, const char *value) { options.slots = std::atoi(value); }},
    {"--serial", "", "as the Python daemon: one request at a time; no info, cancel, embed_batch",
     [](Options &options, const char *) {
         options.serial = true;
         options.slots = 1;
     }},
    {"--name", "NAME", "name told by info (echo)", [](Options &options, const char *value) { options.name = value; }},
    {"--model", "NAME", "the model it generates with (echo)",
     [](Options &options, const char *value) { options.model = value; }},
    {"--fingerprint", "TEXT", "fingerprint of its models (echo:1)",
     [](Options &options, const char *value) { options.fingerprint = value; }},
    {"--dimensions", "N", "numbers in an embedding (384)",
     [](Options &options, const char *value) { options.dimensions = std::atoi(value); }},
    {"--without-reranker", "", "it tells of no reranker, and ranks by its embeddings",
     [](Options &options, const char *) { options.has_reranker = false; }},
    {"--without-priority", "", "it does not know of requests in the background",
     [](Options &options, const char *) { options.knows_priority = false; }},
    {"--prefix-memory", "MB", "taken, as steadytextd takes it, and of no effect", [](Options &, const char *) {}},
    {"--embedding-overflow", "HOW", "the same", [](Options &, const char *) {}},
    {"--exit-on-stdin-eof", "", "stop when standard input ends, so as not to outlive a test",
     [](Options &options, const char *) { options.exit_on_stdin_eof = true; }},
    {"--help", "", "this text", [](Options &options, const char *) { options.help = true; }},
};

inline void print_line(std::string_view name, std::string_view argument, std::string_view help) {
    const std::string head = std::string(name) + (argument.empty() ? "" : " ") + std::string(argument);
    std::printf("  %-20s  %.*s\n", head.c_str(), static_cast<int>(help.size()), help.data());
}

inline void print_help() {
    std::puts("echo-daemon - answers like a SteadyText daemon, without a model; for tests and measurements\n");
    for (const Option &option : kOptions)
        print_line(option.name, option.argument, option.help);
    std::puts(
        "\nPrints `listening on ENDPOINT` for each endpoint once it can be connected to.\n\n"
        "A prompt is answered with the prompt, each word a token; one with <say>ANSWER</say> in it with the last\n"
        "such ANSWER; one with <say KEY>ANSWER</say> with the first whose KEY stands before them all, too.\n\n"
        "Beyond the wire protocol it answers\n"
        "  stats                 requests by method, in_flight, processing, max_concurrent, cancelled,\n"
        "                        expired, background (requests with that priority), spoiled, malformed, peers\n"
        "  control               with any of: delay_ms, slots, fingerprint; release (ends every hold);\n"
        "                        info (texts, each of them the result of one info in its turn);\n"
        "                        fault (a list as below), count (1; -1 = until reset) and methods (all\n"
        "                        but ping, info and shutdown); reset (no faults, no delay)\n\n"
        "Faults: a prompt, query, text or one of several that starts with !fault:NAME[=ARGUMENT][,...]");
    for (const Fault &fault : kFaults)
        print_line(fault.name, fault.argument, fault.help);
}

// The option of this name, or nullptr.
inline const Option *find_option(std::string_view name) {
    for (const Option &option : kOptions)
        if (option.name == name)
            return &option;
    return nullptr;
}

// Takes `--name value` and `--name=value`. False where the program should not start; it has said why.
inline bool parse_options(int argc, char **argv, Options &options) {
    for (int i = 1; i < argc; i++) {
        const std::string_view word = argv[i];
        const auto equals = word.find('=');
        const Option *option = find_option(word.substr(0, equals));
        const bool needs_value = option != nullptr && !option->argument.empty();
        const char *value = equals == std::string_view::npos ? nullptr : argv[i] + equals + 1;
        if (needs_value && value == nullptr && i + 1 < argc)
            value = argv[++i];
        if (option == nullptr || needs_value != (value != nullptr)) {
            std::fprintf(stderr, "echo-daemon: cannot make sense of %s; see --help\n", argv[i]);
            return false;
        }
        option->apply(options, value);
    }
    if (options.help || (!options.endpoints.empty() && options.slots > 0 && options.dimensions > 0))
        return true;
    std::fputs("echo-daemon: needs an --endpoint, and --slots and --dimensions above 0; see --help\n", stderr);
    return false;
}

}  // namespace steadytext::echo
