// Starts, watches, backs off and stops: see embedded_daemon.hpp. Regime: pure.
#include "bgworker/embedded_daemon.hpp"

#include "src/core/clock.hpp"

#include <algorithm>
#include <poll.h>
#include <unistd.h>

namespace steadytext::worker {

namespace {

constexpr std::int64_t kFirstPauseUs = 200'000;
constexpr std::int64_t kLongestPauseUs = 30'000'000;
constexpr std::int64_t kShortPauseUs = 2'000'000;  // requests wait through a pause up to this
constexpr std::int64_t kSteadyUs = 10'000'000;     // after this time it did not fail at starting
constexpr std::int64_t kStopPatienceUs = 1'000'000;
constexpr std::int64_t kLookAgainUs = 1'000'000;

}  // namespace

std::int64_t EmbeddedDaemon::reconcile(const std::vector<std::string> &arguments, std::int64_t now_us,
                                       std::vector<std::string> &log) {
    for (std::string &line : child_.read_log()) {
        last_line_ = line;
        log.push_back(line);
    }
    if (std::string how; child_.has_ended(how))
        note_end(how, now_us, log);

    const bool wanted = !arguments.empty() && state_.wanted.load() == shmem::EmbeddedState::Wanted::BySetting;
    if (child_.is_running()) {
        const bool keep = wanted && arguments == running_arguments_ && !state_.restart_wanted.exchange(false);
        if (keep && stop_deadline_us_ == 0)
            return now_us + kLookAgainUs;
        if (stop_deadline_us_ == 0) {
            child_.ask_to_stop();
            stop_deadline_us_ = now_us + kStopPatienceUs;
        } else if (now_us >= stop_deadline_us_) {
            child_.kill();
            note_end("did not stop and was killed", now_us, log);
        }
        return child_.is_running() ? now_us + 50'000 : now_us;
    }
    if (!wanted)
        return now_us + kLookAgainUs;
    if (arguments != running_arguments_) {
        pause_us_ = 0;
        start_not_before_us_ = 0;
        running_arguments_ = arguments;
    }
    if (state_.restart_wanted.exchange(false)) {  // by steadytext_daemon_start(), which waits for it
        pause_us_ = 0;
        start_not_before_us_ = now_us;
    }
    if (now_us >= start_not_before_us_)
        start(now_us, log);
    return child_.is_running() ? now_us + kLookAgainUs : start_not_before_us_;
}

void EmbeddedDaemon::start(std::int64_t now_us, std::vector<std::string> &log) {
    unlink(socket_path_.c_str());  // a killed daemon leaves it behind
    last_line_.clear();
    started_us_ = now_us;
    state_.starts.fetch_add(1);
    std::string reason;
    if (!child_.start(running_arguments_, reason)) {
        note_end("could not be started: " + reason, now_us, log);
        return;
    }
    state_.started_us.store(now_us);
    state_.pid.store(child_.pid());
    state_.expected.store(true);
}

void EmbeddedDaemon::note_end(const std::string &how, std::int64_t now_us, std::vector<std::string> &log) {
    for (std::string &line : child_.read_log()) {
        last_line_ = line;
        log.push_back(line);
    }
    child_.kill();  // closes the pipes
    clean_up();
    const bool asked_for = stop_deadline_us_ != 0;
    stop_deadline_us_ = 0;
    if (asked_for) {
        state_.expected.store(false);
        pause_us_ = 0;
        start_not_before_us_ = now_us;
        log.push_back("embedded daemon stopped");
        return;
    }
    const bool was_steady = now_us - started_us_ >= kSteadyUs;
    pause_us_ = was_steady || pause_us_ == 0 ? kFirstPauseUs : std::min(pause_us_ * 2, kLongestPauseUs);
    start_not_before_us_ = now_us + pause_us_;
    state_.expected.store(pause_us_ <= kShortPauseUs);

    core::Problem problem;
    problem.set(core::sqlstate::kPrerequisiteState, "the embedded daemon %s", how.c_str());
    if (!last_line_.empty())
        problem.with_detail("Its last words: %s", last_line_.c_str());
    state_.last_problem.store(problem);
    log.push_back(std::string(problem.message) + "; starting it again in " + std::to_string(pause_us_ / 1000) + " ms");
}

void EmbeddedDaemon::clean_up() {
    state_.pid.store(0);
    unlink(socket_path_.c_str());
}

void EmbeddedDaemon::shut_down(std::int64_t patience_us) {
    if (!child_.is_running())
        return;
    child_.ask_to_stop();
    const std::int64_t deadline_us = core::monotonic_us() + patience_us;
    std::string how;
    // Its log pipe closes when it ends: this is the event to wait for.
    for (std::int64_t now_us; !child_.has_ended(how) && (now_us = core::monotonic_us()) < deadline_us;) {
        pollfd ended{child_.log_fd(), POLLIN, 0};
        ::poll(&ended, 1, static_cast<int>((deadline_us - now_us) / 1000) + 1);
        (void)child_.read_log();
    }
    child_.kill();
    clean_up();
}

}  // namespace steadytext::worker
