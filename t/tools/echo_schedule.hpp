// The requests the echo daemon has accepted and not finished: waiting for a slot, for their time, for an ACK.
//
// Used by echo_daemon.cpp, on its one thread. Regime: pure. Nothing here waits: the daemon asks until when it
// may sleep, and calls run_due when it wakes.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "t/tools/echo_faults.hpp"

namespace steadytext::echo {

class Schedule {
public:
    using Send = std::function<void(const std::string &peer, const std::string &body, int frames)>;

    Schedule(int slots, Send send) : slots_(slots), send_(std::move(send)) {}

    void admit(Work &&work) {
        const Number number = next_++;
        if (work.deadline != Clock::time_point::max())
            timers_.emplace(work.deadline, number);
        const bool takes_slot = work.takes_slot;
        works_.emplace(number, std::move(work));
        if (takes_slot)
            waiting_.push_back(number);
        else
            start(number);
        start_waiting();
        run_due();
    }

    // Ends the request with this id from this peer; false if there is none, or none that listens.
    bool cancel(const std::string &peer, const std::string &id) {
        for (const auto &[number, work] : works_)
            if (work.id == id && work.peer == peer && !work.deaf) {
                cancelled_++;
                note_cut_off();
                end(number, "Request cancelled");
                return true;
            }
        return false;
    }

    // The peer has taken a stream's token; false if none was sent to it.
    bool acknowledge(const std::string &peer) {
        for (auto &[number, work] : works_)
            if (work.awaiting_ack && work.peer == peer) {
                work.awaiting_ack = false;
                work.deadline = Clock::time_point::max();
                schedule(number, work);
                run_due();
                return true;
            }
        return false;
    }

    // As the Python daemon, at anything but an ACK: the stream ends. False if none awaits one from this peer.
    bool stop_stream(const std::string &peer) {
        for (auto &[number, work] : works_)
            if (work.awaiting_ack && work.peer == peer) {
                stopped_++;
                note_cut_off();
                send_(peer, work.replies.back(), 1);
                finish(number);
                return true;
            }
        return false;
    }

    int release_held() {
        int released = 0;
        for (auto &[number, work] : works_)
            if (work.held) {
                work.held = false;
                released++;
                if (work.started)
                    schedule(number, work);
            }
        run_due();
        return released;
    }

    void run_due() {
        while (!timers_.empty() && timers_.begin()->first <= Clock::now()) {
            const Number number = timers_.begin()->second;
            timers_.erase(timers_.begin());
            const auto found = works_.find(number);
            if (found == works_.end())
                continue;
            Work &work = found->second;
            if (work.deadline <= Clock::now() && !work.deaf) {
                expired_++;
                end(number, "Deadline exceeded");
            } else if (work.due <= Clock::now()) {
                step(number, work);
            }
        }
    }

    // The end of time if nothing will be.
    [[nodiscard]] Clock::time_point next_due() const {
        return timers_.empty() ? Clock::time_point::max() : timers_.begin()->first;
    }

    void set_slots(int slots) {
        slots_ = slots;
        start_waiting();
    }

    // A request that was answered at once has held a slot too, if only for that moment.
    void note_instant_work() { max_active_ = std::max(max_active_, active_ + 1); }

    // What is in the background makes room for the others, as steadytextd's does, but goes on.
    [[nodiscard]] bool has_free_slot(bool is_background) const {
        return active_ - (is_background ? 0 : active_background_) < slots_;
    }
    [[nodiscard]] std::size_t in_flight() const { return works_.size(); }
    [[nodiscard]] int active() const { return active_; }
    [[nodiscard]] int max_active() const { return max_active_; }
    [[nodiscard]] long cancelled() const { return cancelled_; }
    [[nodiscard]] long expired() const { return expired_; }
    [[nodiscard]] long stopped() const { return stopped_; }
    // When work was last ended by its client, in microseconds of CLOCK_MONOTONIC.
    [[nodiscard]] long cut_off_us() const { return cut_off_us_; }

private:
    using Number = std::uint64_t;  // of arrival

    static constexpr int kDiedOfFault = 3;
    static constexpr auto kAckWait = std::chrono::seconds(5);  // a client that vanished must not keep a slot

    void note_cut_off() {
        cut_off_us_ = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch()).count();
    }

    void start_waiting() {
        while (!waiting_.empty()) {
            auto next =
                std::find_if(waiting_.begin(), waiting_.end(), [&](Number number) { return !is_background(number); });
            next = next == waiting_.end() ? waiting_.begin() : next;
            if (!has_free_slot(is_background(*next)))
                return;
            const Number number = *next;
            waiting_.erase(next);
            if (works_.contains(number)) {  // else it ended while it waited
                active_++;
                active_background_ += works_.at(number).is_background;
                max_active_ = std::max(max_active_, active_);
                start(number);
            }
        }
    }

    [[nodiscard]] bool is_background(Number number) const {
        const auto found = works_.find(number);
        return found != works_.end() && found->second.is_background;
    }

    void start(Number number) {
        Work &work = works_.at(number);
        work.started = true;
        if (!work.held)
            schedule(number, work);
    }

    void schedule(Number number, Work &work) {
        work.due = Clock::now() + work.delay;
        timers_.emplace(work.due, number);
    }

    // Sends the next reply of a work that is due, or finishes it.
    void step(Number number, Work &work) {
        if (work.kills_daemon || (work.kills_daemon_at_end && work.replies.empty()))
            _exit(kDiedOfFault);
        if (!work.replies.empty()) {
            send_(work.peer, work.replies.front(), work.frames_per_reply);
            work.replies.pop_front();
        }
        if (work.replies.empty() && !work.kills_daemon_at_end)
            return finish(number);
        if (!work.wants_ack)
            return schedule(number, work);
        work.awaiting_ack = true;
        work.due = Clock::time_point::max();
        work.deadline = Clock::now() + kAckWait;
        timers_.emplace(work.deadline, number);
    }

    void end(Number number, std::string_view why) {
        const Work &work = works_.at(number);
        send_(work.peer, failure(work.id, why), 1);
        finish(number);
    }

    void finish(Number number) {
        const auto found = works_.find(number);
        const bool has_slot = found->second.started && found->second.takes_slot;
        active_ -= has_slot;
        active_background_ -= has_slot && found->second.is_background;
        works_.erase(found);
        start_waiting();
    }

    int slots_;
    Send send_;
    Number next_ = 1;
    std::map<Number, Work> works_;
    std::deque<Number> waiting_;                       // for a slot
    std::multimap<Clock::time_point, Number> timers_;  // a stale one finds its work gone or not due
    int active_ = 0;                                   // works that hold a slot
    int active_background_ = 0;
    int max_active_ = 0;
    long cancelled_ = 0;
    long expired_ = 0;
    long stopped_ = 0;
    long cut_off_us_ = 0;
};

}  // namespace steadytext::echo
