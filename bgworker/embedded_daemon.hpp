// Supervision of the embedded daemon: makes the process match the settings and steadytext_daemon_stop().
//
// Called by the launcher whenever anything may have changed. Regime: pure, with the log lines handed back to the
// caller.
//
// It compares the desired state with the actual state and never relies on having seen an event. A daemon that ends is
// started again after a pause that doubles with each quick end (kFirstPauseUs .. kLongestPauseUs), so a broken model
// file only costs a log line now and then.
#pragma once

#include "bgworker/child_program.hpp"
#include "shmem/segment.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace steadytext::worker {

class EmbeddedDaemon {
public:
    explicit EmbeddedDaemon(shmem::EmbeddedState &state, std::string socket_path)
        : state_(state), socket_path_(std::move(socket_path)) {}

    // `arguments` is the wanted command line, empty if no daemon is wanted. Returns when to call again at the latest
    // (CLOCK_MONOTONIC, microseconds). Lines for the server's log are appended to `log`.
    [[nodiscard]] std::int64_t reconcile(const std::vector<std::string> &arguments, std::int64_t now_us,
                                         std::vector<std::string> &log);
    void shut_down(std::int64_t patience_us);
    [[nodiscard]] int log_fd() const { return child_.log_fd(); }

private:
    void start(std::int64_t now_us, std::vector<std::string> &log);
    void note_end(const std::string &how, std::int64_t now_us, std::vector<std::string> &log);
    void clean_up();

    shmem::EmbeddedState &state_;
    std::string socket_path_;
    ChildProgram child_;
    std::vector<std::string> running_arguments_;
    std::string last_line_;
    std::int64_t started_us_ = 0;
    std::int64_t start_not_before_us_ = 0;
    std::int64_t stop_deadline_us_ = 0;  // 0: not being stopped
    std::int64_t pause_us_ = 0;
};

}  // namespace steadytext::worker
