// The common base of the embedder and the reranker: a thread that takes jobs of many items and computes an item of
// each job in turn, so that a long job does not delay a short job. A long text is tokenized on another thread, as that
// takes up to seconds: its job comes back into the inbox then, and the engine computes other jobs meanwhile.
//
// Every item is computed alone: other jobs change neither its result nor its bits. Jobs in the background have the time
// that the others leave, and a share; an item of theirs is broken off when another job comes (background.hpp). A derived
// class calls start() at the end of its constructor and stop() at the beginning of its destructor. Regime: pure.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "daemon/background.hpp"
#include "daemon/mailbox.hpp"
#include "daemon/text_pools.hpp"

namespace steadytext::daemon {

// `Progress`: the result, or what derives from it.
template <typename Task, typename Result, typename Progress = Result>
class ItemEngine {
public:
    explicit ItemEngine(Outbox &outbox) : outbox_(outbox) {}
    ItemEngine(const ItemEngine &) = delete;
    ItemEngine &operator=(const ItemEngine &) = delete;

    void submit(Job<Task> job) { put({std::move(job)}); }

protected:
    virtual ~ItemEngine() = default;

    virtual bool load(ModelInfo &info, core::Problem &problem) = 0;
    virtual std::size_t count_items(const Task &task) const = 0;
    // What tokenize() has to read, in bytes.
    virtual std::size_t bytes_of(const Task &task, std::size_t item) const = 0;
    // Puts the item's tokens into `progress`; or sets `error` and returns false. On either thread: it reads of the engine
    // what does not change once the model is loaded.
    virtual bool tokenize(const Task &task, std::size_t item, Progress &progress, std::string &error) const = 0;
    enum class Step { Failed, BrokenOff, Partly, Done };
    // Adds the part of the item, whose tokens are there, to `progress`, or a step towards it; or sets `error`. BrokenOff:
    // nothing is added, and is_in_vain() was the reason; it is called again with the same.
    virtual Step process(Progress &progress, std::string &error) = 0;

    void start() {
        thread_ = std::thread([this] { run(); });
    }

    void stop() {
        stopping_.store(true, std::memory_order_relaxed);
        inbox_.close();
        thread_.join();
        long_texts_.reset();
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
        bool is_tokenized = false;  // the next item
        std::string error = {};
        Progress progress = {};
    };

    void put(Work work) {
        const bool is_background = work.job.is_background;
        inbox_.put(std::move(work));
        if (!is_background)
            yield_.raise();
    }

    bool has_next(const Work &work) const { return work.next_item < count_items(work.job.task); }

    // On either thread.
    void tokenize_next(Work &work) const {
        work.is_tokenized = tokenize(work.job.task, work.next_item, work.progress, work.error);
    }

    void run() {
        ModelInfo info;
        core::Problem problem;
        if (!load(info, problem)) {
            outbox_.post(0, LoadFailure{info.role, info.name, problem});
            return;
        }
        outbox_.post(0, std::move(info));
        while (take()) {
            const auto next = next_work();
            Work work = std::move(*next);
            works_.erase(next);
            if (is_long(work))
                tokenize_elsewhere(std::move(work));
            else if (!advance(work))
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

    bool is_long(const Work &work) const {
        return has_next(work) && !work.is_tokenized && work.error.empty() &&
               bytes_of(work.job.task, work.next_item) > TextPools::kShortBytes;
    }

    void tokenize_elsewhere(Work work) {
        const std::size_t bytes = bytes_of(work.job.task, work.next_item);
        const auto moved = std::make_shared<Work>(std::move(work));
        const auto run = [this, moved] {
            if (moved->job.is_abandoned() || stopping_.load(std::memory_order_relaxed))
                return;
            tokenize_next(*moved);
            put(std::move(*moved));
        };
        long_texts_->submit(run, bytes);
    }

    // True when the work is over: finished, failed or abandoned.
    bool advance(Work &work) {
        if (work.job.is_abandoned())
            return true;
        if (has_next(work) && work.error.empty())
            process_next(work);
        if (!work.error.empty()) {
            outbox_.post(work.job.serial, Failure{std::move(work.error)});
            return true;
        }
        if (has_next(work))
            return false;
        outbox_.post(work.job.serial, static_cast<Result &&>(std::move(work.progress)));
        return true;
    }

    void process_next(Work &work) {
        const auto start = std::chrono::steady_clock::now();
        yield_.begin_step(!others_wait_);
        if (!work.is_tokenized)
            tokenize_next(work);
        if (work.is_tokenized && process(work.progress, work.error) == Step::Done) {
            work.next_item++;
            work.is_tokenized = false;
        }
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        work.progress.engine_ms += 1000 * seconds;
        if (!work.job.is_background)
            background_.others_computed(seconds);
        else if (others_wait_)
            background_.computed_beside_others(seconds);
    }

    Outbox &outbox_;
    Inbox<Work> inbox_;
    std::deque<Work> works_;
    bool others_wait_ = false;  // there is a job that is not in the background
    BackgroundShare background_;
    YieldSignal yield_;
    std::optional<TextPools> long_texts_{std::in_place};
    std::thread thread_;
};

}  // namespace steadytext::daemon
