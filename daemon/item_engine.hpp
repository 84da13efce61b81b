// The common base of the embedder and the reranker: a thread that takes jobs of many items and computes an item of
// each job in turn, so that a long job does not delay a short job.
//
// Every item is computed alone: other jobs change neither its result nor its bits. Jobs in the background have the time
// that the others leave, and a share; an item of theirs is broken off when another job comes (background.hpp). A derived
// class calls start() at the end of its constructor and stop() at the beginning of its destructor. Regime: pure.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <string>
#include <thread>

#include "daemon/background.hpp"
#include "daemon/mailbox.hpp"

namespace steadytext::daemon {

// `Progress`: the result, or what derives from it.
template <typename Task, typename Result, typename Progress = Result>
class ItemEngine {
public:
    explicit ItemEngine(Outbox &outbox) : outbox_(outbox) {}
    ItemEngine(const ItemEngine &) = delete;
    ItemEngine &operator=(const ItemEngine &) = delete;

    void submit(Job<Task> job) {
        const bool is_background = job.is_background;
        inbox_.put({std::move(job)});
        if (!is_background)
            yield_.raise();
    }

protected:
    virtual ~ItemEngine() = default;

    virtual bool load(ModelInfo &info, core::Problem &problem) = 0;
    virtual std::size_t count_items(const Task &task) const = 0;
    enum class Step { Failed, BrokenOff, Partly, Done };
    // Adds the item's part to `result`, or a step towards it; or sets `error`. BrokenOff: nothing is added, and is_in_vain()
    // was the reason; it is called again with the same.
    virtual Step process(const Task &task, std::size_t item, Progress &result, std::string &error) = 0;

    void start() {
        thread_ = std::thread([this] { run(); });
    }

    void stop() {
        stopping_.store(true, std::memory_order_relaxed);
        inbox_.close();
        thread_.join();
    }

    // Also on the threads that compute: what is computed now is not wanted, or not now.
    [[nodiscard]] bool is_in_vain() const noexcept {
        return stopping_.load(std::memory_order_relaxed) || yield_.breaks_off();
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
        while (take()) {
            const auto next = next_work();
            Work work = std::move(*next);
            works_.erase(next);
            if (!advance(work))
                works_.push_back(std::move(work));
        }
    }

    bool take() {
        yield_.lower();
        return inbox_.take(works_, works_.empty());
    }

    // The jobs of a class take turns.
    typename std::deque<Work>::iterator next_work() {
        const auto first = [&](bool is_background) {
            return std::find_if(works_.begin(), works_.end(),
                                [&](const Work &work) { return work.job.is_background == is_background; });
        };
        const auto other = first(false), background = first(true);
        others_wait_ = other != works_.end();
        if (!others_wait_ || (background != works_.end() && background_.has_turn()))
            return background;
        return other;
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
        yield_.begin_step(!others_wait_);
        const Step step = process(work.job.task, work.next_item, work.result, error);
        if (step == Step::Done)
            work.next_item++;
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        work.result.engine_ms += 1000 * seconds;
        if (!work.job.is_background)
            background_.others_computed(seconds);
        else if (others_wait_)
            background_.computed_beside_others(seconds);
        return step != Step::Failed;
    }

    Outbox &outbox_;
    Inbox<Work> inbox_;
    std::deque<Work> works_;
    bool others_wait_ = false;  // there is a job that is not in the background
    BackgroundShare background_;
    YieldSignal yield_;
    std::thread thread_;
};

}  // namespace steadytext::daemon
