// Threads beside the engine's own, for work that must not hold up what is decoded for others.
//
// Owned by the generator. Regime: pure. Tasks begin in the order in which they came. As many threads as requests can be under way, each
// at low priority: the system's scheduler shares the processor among them, a short task before long ones, and the engine's threads
// come first.
#pragma once

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
    explicit WorkerPool(std::size_t threads) {
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
    static constexpr int kNiceness = 10;

    void run() {
        (void)setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNiceness);  // of this thread alone, on Linux
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

    std::mutex mutex_;
    std::condition_variable condition_;
    std::deque<std::function<void()>> tasks_;
    bool closed_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace steadytext::daemon
