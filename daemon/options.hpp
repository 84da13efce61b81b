// steadytextd's command line.
//
// Read once by main.cpp, then passed on as const. Regime: pure.
#pragma once

#include <string>
#include <vector>

#include "src/core/problem.hpp"

namespace steadytext::daemon {

// What becomes of a text to embed that is longer than the model's window.
enum class Overflow { Error, Cut, Mean };

struct Options {
    std::vector<std::string> endpoints;
    std::string model;
    std::string embedding_model;
    std::string reranker_model;
    std::string embedding_prefix;
    Overflow embedding_overflow = Overflow::Error;
    std::string check;    // reports this model instead of serving
    std::string attempt;  // tries this model instead of serving
    int slots = 16;
    int context = 2048;  // tokens per slot
    int threads = 0;     // 0: one per CPU this process may run on, but one. Threads wait for each other by spinning, so
                         // one that must share its CPU with a busy server slows all of them down a hundredfold
    int max_queue = 1024;
    int prefix_memory = 256;  // megabytes
    int memory = 0;           // megabytes, of all models; 0: half of the machine's
    int gpu_layers = 0;       // of each model
    bool flash_attention = false;
    bool allow_shutdown = false;
    bool exit_on_stdin_eof = false;
    bool version = false;
    bool help = false;
};

[[nodiscard]] bool parse_options(int argc, char **argv, Options &options, core::Problem &problem);
void print_help();

}  // namespace steadytext::daemon
