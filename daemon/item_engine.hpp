// The common base of the embedder and the reranker: a thread that takes jobs of many items and computes an item of
// each job in turn, so that a long job does not delay a short job.
//
// Every item is computed alone: other jobs change neither its result nor its bits. A derived class calls start() at
// the end of its constructor and stop() at the beginning of its destructor. Regime: pure.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <string>
#include <thread>

#include "daemon/mailbox.hpp"

namespace steadytext::daemon {

// `Progress`: the result, or what derives from it.
template <typename Task, typename Result, typename Progress = Result>
class ItemEngine {
public:
    explicit ItemEngine(Outbox &outbox) : outbox_(outbox) {}
    ItemEngine(const ItemEngine &) = delete;
    ItemEngine &operator=(const ItemEngine &) = delete;

    void submit(Job<Task> job) { inbox_.put({std::move(job)}); }

protected:
    virtual ~ItemEngine() = default;

    virtual bool load(ModelInfo &info, core::Problem &problem) = 0;
    virtual std::size_t count_items(const Task &task) const = 0;
    enum class Step { Failed, Partly, Done };
    // Adds the item's part to `result`, or a step towards it; or sets `error`.
    virtual Step process(const Task &task, std::size_t item, Progress &result, std::string &error) = 0;

    void start() {
        thread_ = std::thread([this] { run(); });
    }

    void stop() {
        stopping_.store(true, std::memory_order_relaxed);
        inbox_.close();
        thread_.join();
    }

    std::atomic<bool> stopping_ = false;  // relaxed: read often while computing, publishes nothing

private:
    struct Work {
        Job<Task> job;
        std::size_t next_item = 0;
        Progress result = {};
    };

    void run() {
        ModelInfo info;
        core::Problem problem;
        if (!load(info, problem)) {
            outbox_.post(0, LoadFailure{problem});
            return;
        }
        outbox_.post(0, std::move(info));
        while (inbox_.take(works_, works_.empty())) {
            Work work = std::move(works_.front());
            works_.pop_front();
            if (!advance(work))
                works_.push_back(std::move(work));
        }
    }

    // True when the work is over: finished, failed or abandoned.
    bool advance(Work &work) {
        if (work.job.is_abandoned())
            return true;
        std::string error;
        if (work.next_item < count_items(work.job.task) && !process_next(work, error)) {
            outbox_.post(work.job.serial, Failure{std::move(error)});
            return true;
        }
        if (work.next_item < count_items(work.job.task))
            return false;
        outbox_.post(work.job.serial, static_cast<Result &&>(std::move(work.result)));
        return true;
    }

    bool process_next(Work &work, std::string &error) {
        const auto start = std::chrono::steady_clock::now();
        const Step step = process(work.job.task, work.next_item, work.result, error);
        if (step == Step::Done)
            work.next_item++;
        work.result.engine_ms +=
            std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
        return step != Step::Failed;
    }

    Outbox &outbox_;
    Inbox<Work> inbox_;
    std::deque<Work> works_;
    std::thread thread_;
};

}  // namespace steadytext::daemon
