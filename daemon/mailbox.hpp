// The two hand-offs between threads: Inbox (from the server to an engine) and Outbox (from all engines to the
// server).
//
// Both are plain queues under a mutex that is held for a move or a swap and no longer. An engine waits on the inbox's
// condition; the server polls the outbox's eventfd next to its socket. Regime: pure.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "daemon/messages.hpp"

namespace steadytext::daemon {

template <typename T>
class Inbox {
public:
    void put(T item) {
        {
            const std::lock_guard lock(mutex_);
            items_.push_back(std::move(item));
        }
        condition_.notify_one();
    }

    // Ends all waiting: take() returns false from now on.
    void close() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        condition_.notify_one();
    }

    // Appends the items that have come to `taken`; if `wait`, waits for at least one item. False once closed.
    [[nodiscard]] bool take(std::deque<T> &taken, bool wait) {
        std::unique_lock lock(mutex_);
        if (wait)
            condition_.wait(lock, [this] { return closed_ || !items_.empty(); });
        while (!items_.empty()) {
            taken.push_back(std::move(items_.front()));
            items_.pop_front();
        }
        return !closed_;
    }

private:
    std::mutex mutex_;
    std::condition_variable condition_;
    std::deque<T> items_;
    bool closed_ = false;
};

class Outbox {
public:
    Outbox() : wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
    Outbox(const Outbox &) = delete;
    Outbox &operator=(const Outbox &) = delete;
    ~Outbox() { close(wake_); }

    [[nodiscard]] int wake_fd() const noexcept { return wake_; }

    void post(std::uint64_t serial, Answer answer) {
        bool first = false;
        {
            const std::lock_guard lock(mutex_);
            first = outcomes_.empty();
            outcomes_.push_back({serial, std::move(answer)});
        }
        if (first)
            eventfd_write(wake_, 1);
    }

    [[nodiscard]] std::vector<Outcome> take_all() {
        eventfd_t ignored = 0;
        eventfd_read(wake_, &ignored);
        const std::lock_guard lock(mutex_);
        return std::exchange(outcomes_, {});
    }

private:
    int wake_;
    std::mutex mutex_;
    std::vector<Outcome> outcomes_;
};

}  // namespace steadytext::daemon
