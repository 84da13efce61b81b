// Counts the tokens of texts on two threads of its own, as a long text takes seconds: only long texts wait for it.
//
// Owned by an engine, which starts it when its model is loaded; until then the texts wait. Regime: pure.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "daemon/mailbox.hpp"
#include "daemon/tokenizer.hpp"
#include "daemon/worker_pool.hpp"

namespace steadytext::daemon {

class TokenCounter {
public:
    explicit TokenCounter(Outbox &outbox) : outbox_(outbox) {}
    TokenCounter(const TokenCounter &) = delete;
    TokenCounter &operator=(const TokenCounter &) = delete;

    // Called by the engine's thread. The tokenizer outlives this.
    void start(const Tokenizer &tokenizer) {
        const std::lock_guard lock(mutex_);
        tokenizer_ = &tokenizer;
        short_.emplace(1, WorkerPool::Tasks::Short);
        long_.emplace(1, WorkerPool::Tasks::Long);
        for (Job<CountTask> &job : early_)
            count(std::move(job));
        early_.clear();
    }

    // Called by the server's thread.
    void submit(Job<CountTask> job) {
        const std::lock_guard lock(mutex_);
        if (tokenizer_ != nullptr)
            count(std::move(job));
        else
            early_.push_back(std::move(job));
    }

private:
    static constexpr std::size_t kShortBytes = 16 * 1024;  // counted in up to 20 ms

    void count(Job<CountTask> job) {
        const std::size_t bytes = job.task.text.size();
        const auto run = [this, job = std::move(job)] {
            if (!job.is_abandoned())
                outbox_.post(job.serial, Count{tokenizer_->count(job.task.text)});
        };
        (bytes <= kShortBytes ? short_ : long_)->submit(run, bytes);
    }

    Outbox &outbox_;
    std::mutex mutex_;
    const Tokenizer *tokenizer_ = nullptr;
    std::vector<Job<CountTask>> early_;       // that came while the model was loaded
    std::optional<WorkerPool> short_, long_;  // last: their threads use the others
};

}  // namespace steadytext::daemon
