// steadytextd: serves text generation, embeddings and reranking with llama.cpp over the SteadyText wire protocol.
//
// Started by the extension's launcher, by hand or by a service manager; docs/steadytextd.md describes it. This file
// only puts the parts together: options, signals, the socket, the server. Regime: pure.
#include <malloc.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "daemon/llama_model.hpp"
#include "daemon/log.hpp"
#include "daemon/lost_file.hpp"
#include "daemon/model_file.hpp"
#include "daemon/model_directory.hpp"
#include "daemon/model_report.hpp"
#include "daemon/model_trial.hpp"
#include "daemon/options.hpp"
#include "daemon/server.hpp"
#include "src/core/random_bytes.hpp"

namespace {

using namespace steadytext;
using daemon::ExitStatus;

int failed(ExitStatus status, const core::Problem &problem) {
    daemon::log_line("%s%s%s", problem.message, problem.detail[0] != '\0' ? ": " : "", problem.detail);
    return static_cast<int>(status);
}

// Signals are read from a file descriptor instead of handled. All threads inherit the mask, so no thread is
// interrupted.
int block_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

// Ends this process when the supervisor that holds the other end of standard input ends, however it ends and whatever
// is being computed.
void exit_on_stdin_eof(const daemon::Options &options) {
    std::thread([&options] {
        char discarded[256];
        while (read(STDIN_FILENO, discarded, sizeof discarded) > 0) {
        }
        daemon::remove_socket_files(options.endpoints);
        _exit(static_cast<int>(ExitStatus::Stopped));
    }).detach();
}

// A tokenizer inside a long text, or a model that is being loaded, cannot be interrupted, and nothing is lost with them:
// a process that has not ended by itself in a second ends.
void exit_within_a_second(const daemon::Options &options, ExitStatus status) {
    std::thread([&options, status] {
        std::this_thread::sleep_for(std::chrono::seconds(1));
        daemon::remove_socket_files(options.endpoints);
        _exit(static_cast<int>(status));
    }).detach();
}

bool check_models(const daemon::Options &options, core::Problem &problem) {
    for (const std::string *path : {&options.model, &options.embedding_model, &options.reranker_model})
        if (!path->empty() && !(path == &options.model && daemon::is_directory(*path)) &&
            !daemon::check_model_file(*path, problem))
            return false;
    return true;
}

}  // namespace

int main(int argc, char **argv) {
    static daemon::Options options;  // outlives the detached thread
    core::Problem problem;
    if (!daemon::parse_options(argc, argv, options, problem))
        return failed(ExitStatus::BadOptions, problem.with_hint("Try --help."));
    if (options.help)
        return daemon::print_help(), 0;
    if (options.version)
        return std::puts("steadytextd " STEADYTEXT_VERSION " (engine " STEADYTEXT_ENGINE_BUILD ")"), 0;
    if (!options.check.empty()) {
        return daemon::prepare_llama(options.gpu_layers, problem) && daemon::check_model_file(options.check, problem) &&
                       daemon::report_model(options, problem)
                   ? 0
                   : failed(ExitStatus::BadModel, problem);
    }
    if (!options.attempt.empty()) {
        return daemon::prepare_llama(options.gpu_layers, problem) && daemon::try_model(options.attempt, problem)
                   ? 0
                   : failed(ExitStatus::BadModel, problem);
    }
    if (!check_models(options, problem))
        return failed(ExitStatus::BadModel, problem);

    // Large allocations use mmap, so the memory of a huge message goes back to the system with the message.
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    daemon::end_when_a_file_is_lost();
    const int signals = block_signals();
    if (!core::seed_identities_of_clients()) {
        problem.set(core::sqlstate::kCannotConnect, "the system gives no random numbers");
        return failed(ExitStatus::CannotBind, problem);
    }
    zmq::context_t context;
    daemon::Server server(options, context);
    if (!server.bind(problem))
        return failed(ExitStatus::CannotBind, problem);
    if (options.exit_on_stdin_eof)
        exit_on_stdin_eof(options);
    if (!daemon::prepare_llama(options.gpu_layers, problem))
        return failed(ExitStatus::BadModel, problem);
    const ExitStatus status = server.run(signals);
    exit_within_a_second(options, status);
    return static_cast<int>(status);
}
