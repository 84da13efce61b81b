// Threads beside the engine's own, for work that must not hold up what is decoded for others.
//
// Owned by the generator. Regime: pure. Tasks begin in the order in which they came. As many threads as requests can be under way, so
// none waits for another's end; each at low priority, so the engine's threads come first. A pool for long tasks has the lowest: its threads
// take only what the engine's and the other pool's leave, in long slices, and wake up without interrupting any of them.
#pragma once

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace steadytext::daemon {

class WorkerPool {
public:
    enum class Tasks { Short, Long };

    WorkerPool(std::size_t threads, Tasks tasks) : are_long_(tasks == Tasks::Long) {
        threads_.reserve(threads);
        for (std::size_t i = 0; i < threads; i++)
            threads_.emplace_back([this] { run(); });
    }
    WorkerPool(const WorkerPool &) = delete;
    WorkerPool &operator=(const WorkerPool &) = delete;

    // Waits for the tasks that have begun and drops the others.
    ~WorkerPool() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        condition_.notify_all();
        for (std::thread &thread : threads_)
            thread.join();
    }

    void submit(std::function<void()> task) {
        {
            const std::lock_guard lock(mutex_);
            tasks_.push_back(std::move(task));
        }
        condition_.notify_one();
    }

private:
    static constexpr int kNiceness = 5;
    static constexpr int kNicenessOfLong = 15;

    // Of this thread alone, on Linux. Where the system does not let it, the thread works all the same.
    void lower_priority() const {
        (void)setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), are_long_ ? kNicenessOfLong : kNiceness);
        const sched_param none = {};
        if (are_long_)
            (void)sched_setscheduler(0, SCHED_BATCH, &none);
    }

    void run() {
        lower_priority();
        for (;;) {
            std::function<void()> task;
            {
                std::unique_lock lock(mutex_);
                condition_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
                if (closed_)
                    return;
                task = std::move(tasks_.front());
                tasks_.pop_front();
            }
            task();
        }
    }

    const bool are_long_;
    std::mutex mutex_;
    std::condition_variable condition_;
    std::deque<std::function<void()>> tasks_;
    bool closed_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace steadytext::daemon
