// Threads beside the engine's own thread, for work that must not delay decoding for other requests.
//
// Owned by an engine. Regime: pure. The shortest task begins first, and at one turn of four the task that came first; so
// many long tasks delay a short task by little, and many short tasks delay a long task by a bounded number of them.
// The generator has as many threads as possible requests, so no task waits there. The threads have low priority, so the
// engine's threads come first. A pool for long tasks has the lowest priority: its threads use only the time that the
// engine and the other pools leave, in long slices, and wake up without interrupting other threads.
#pragma once

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
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

    // `length`: in any unit, the same for all tasks.
    void submit(std::function<void()> run, std::size_t length = 0) {
        {
            const std::lock_guard lock(mutex_);
            tasks_.push_back({length, std::move(run)});
        }
        condition_.notify_one();
    }

private:
    static constexpr int kNiceness = 5;
    static constexpr int kNicenessOfLong = 15;
    static constexpr unsigned kFirstComeEvery = 4;  // turns

    struct Task {
        std::size_t length;
        std::function<void()> run;
    };

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
            Task task;
            {
                std::unique_lock lock(mutex_);
                condition_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
                if (closed_)
                    return;
                task = take();
            }
            task.run();
        }
    }

    // The mutex is held, and there is a task.
    Task take() {
        const auto next = ++turn_ % kFirstComeEvery == 0
                              ? tasks_.begin()
                              : std::min_element(tasks_.begin(), tasks_.end(),
                                                 [](const Task &a, const Task &b) { return a.length < b.length; });
        Task task = std::move(*next);
        tasks_.erase(next);
        return task;
    }

    const bool are_long_;
    std::mutex mutex_;
    std::condition_variable condition_;
    std::deque<Task> tasks_;
    unsigned turn_ = 0;
    bool closed_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace steadytext::daemon
