// A single table gives the options, their effects and the help: see options.hpp. Regime: pure.
#include "daemon/options.hpp"

#include <algorithm>
#include <sched.h>

#include <charconv>
#include <cstdio>
#include <string_view>
#include <utility>

namespace steadytext::daemon {

namespace {

// An option sets at most one of the pointers, which gives the type of its argument; --endpoint sets none.
struct Option {
    std::string_view name;
    std::string_view argument;  // empty: takes none
    std::string_view help;
    std::string Options::*text = nullptr;
    int Options::*number = nullptr;
    bool Options::*flag = nullptr;
    int least = 0;
    int most = 0;
    Overflow Options::*overflow = nullptr;
};

constexpr std::string_view kEndpoint = "--endpoint";
constexpr std::string_view kDefaultEndpoint = "tcp://127.0.0.1:5555";

constexpr Option kOptions[] = {
    {kEndpoint, "ENDPOINT", "where to listen, repeatable (tcp://127.0.0.1:5555)"},
    {"--model", "FILE|DIR", "GGUF model that generates, or a directory of models, asked for by name", &Options::model},
    {"--embedding-model", "FILE", "GGUF model that embeds", &Options::embedding_model},
    {"--reranker-model", "FILE", "GGUF model that reranks; without one the embeddings' cosine does",
     &Options::reranker_model},
    {"--embedding-prefix", "TEXT", "put before every text to embed, as some models want: 'Query: '",
     &Options::embedding_prefix},
    {"--embedding-overflow", "error|cut|mean",
     "a text beyond the model's window: refuse, cut, or average its parts (error)", nullptr, nullptr, nullptr, 0, 0,
     &Options::embedding_overflow},
    {"--memory", "MB", "for the models of a directory and all others, 0: half of the machine's (0)", nullptr,
     &Options::memory, nullptr, 0, 1 << 30},
    {"--check", "FILE", "say what this model is and how fast it is here, and stop", &Options::check},
    {"--try", "FILE", "say whether this model can be loaded and computes, and stop", &Options::attempt},
    {"--slots", "N", "requests generated side by side (16)", nullptr, &Options::slots, nullptr, 1, 256},
    {"--context", "TOKENS", "prompt and answer of one request together (2048)", nullptr, &Options::context, nullptr, 64,
     1 << 20},
    {"--threads", "N", "threads that compute (one per CPU but one)", nullptr, &Options::threads, nullptr, 1, 1024},
    {"--max-queue", "N", "requests taken on at a time, more are refused (1024)", nullptr, &Options::max_queue, nullptr,
     1, 1 << 20},
    {"--prefix-memory", "MB", "keeps computed prefixes of prompts, 0: none (256)", nullptr, &Options::prefix_memory,
     nullptr, 0, 1 << 20},
    {"--gpu-layers", "N", "layers of each model computed on a GPU, if this is built for one (0)", nullptr,
     &Options::gpu_layers, nullptr, 0, 100'000},
    {"--flash-attention", "", "faster at full batches; answers may then change with --threads", nullptr, nullptr,
     &Options::flash_attention},
    {"--allow-shutdown", "", "obey the request `shutdown`", nullptr, nullptr, &Options::allow_shutdown},
    {"--exit-on-stdin-eof", "", "stop at once when standard input ends", nullptr, nullptr, &Options::exit_on_stdin_eof},
    {"--version", "", "print the version and stop", nullptr, nullptr, &Options::version},
    {"--help", "", "print this text and stop", nullptr, nullptr, &Options::help},
};

bool set_number(Options &options, const Option &option, std::string_view value, core::Problem &problem) {
    int number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || number < option.least || number > option.most)
        return problem.set(core::sqlstate::kInvalidParameterValue, "%s takes a number from %d to %d, not \"%.*s\"",
                           option.name.data(), option.least, option.most, static_cast<int>(value.size()), value.data());
    options.*option.number = number;
    return true;
}

bool set_overflow(Options &options, const Option &option, std::string_view value, core::Problem &problem) {
    constexpr std::pair<std::string_view, Overflow> kWords[] = {
        {"error", Overflow::Error}, {"cut", Overflow::Cut}, {"mean", Overflow::Mean}};
    for (const auto &[word, overflow] : kWords)
        if (value == word) {
            options.*option.overflow = overflow;
            return true;
        }
    return problem.set(core::sqlstate::kInvalidParameterValue, "%s takes error, cut or mean, not \"%.*s\"",
                       option.name.data(), static_cast<int>(value.size()), value.data());
}

bool apply(Options &options, const Option &option, std::string_view value, core::Problem &problem) {
    if (option.number != nullptr)
        return set_number(options, option, value, problem);
    if (option.overflow != nullptr)
        return set_overflow(options, option, value, problem);
    if (option.flag != nullptr)
        options.*option.flag = true;
    else if (option.text != nullptr)
        options.*option.text = value;
    else
        options.endpoints.emplace_back(value);
    return true;
}

const Option *find_option(std::string_view name) {
    for (const Option &option : kOptions)
        if (option.name == name)
            return &option;
    return nullptr;
}

int usable_cpus() {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
}

}  // namespace

bool parse_options(int argc, char **argv, Options &options, core::Problem &problem) {
    for (int i = 1; i < argc; i++) {
        const std::string_view argument = argv[i];
        const std::size_t equals = argument.find('=');
        const std::string_view name = argument.substr(0, equals);
        const Option *option = find_option(name);
        if (option == nullptr)
            return problem.set(core::sqlstate::kInvalidParameterValue, "unknown option \"%s\"", argv[i]);
        std::string_view value;
        if (equals != std::string_view::npos)
            value = argument.substr(equals + 1);
        else if (!option->argument.empty() && i + 1 < argc)
            value = argv[++i];
        else if (!option->argument.empty())
            return problem.set(core::sqlstate::kInvalidParameterValue, "%s needs an argument", option->name.data());
        if (!apply(options, *option, value, problem))
            return false;
    }
    if (options.endpoints.empty())
        options.endpoints.emplace_back(kDefaultEndpoint);
    if (options.threads == 0)
        options.threads = std::max(1, usable_cpus() - 1);
    return true;
}

void print_help() {
    std::puts("steadytextd - answers requests for text, embeddings and rankings with llama.cpp, over ZeroMQ\n");
    for (const Option &option : kOptions) {
        std::string head(option.name);
        if (!option.argument.empty())
            head.append(" ").append(option.argument);
        std::printf("  %-25s  %s\n", head.c_str(), option.help.data());
    }
    std::puts("\nExit status: 0 asked to stop, 2 bad command line, 3 a model cannot be used, 4 an endpoint\n"
              "cannot be bound.");
}

}  // namespace steadytext::daemon
