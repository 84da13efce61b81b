// Threads beside the engine's own thread, for work that must not delay decoding for other requests.
//
// Owned by the generator. Regime: pure. Tasks begin in the order in which they came. There are as many threads as
// possible requests, so no task waits for the end of another task. The threads have low priority, so the engine's
// threads come first. A pool for long tasks has the lowest priority: its threads use only the time that the engine and
// the other pool leave, in long slices, and wake up without interrupting other threads.
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

    // Changes this thread only, on Linux. If the system refuses, the thread works all the same.
    void lower_priority() const {
        (void)setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)),
                          are_long_ ? kNicenessOfLong : kNiceness);
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
