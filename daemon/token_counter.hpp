// Counts the tokens of texts on a thread of its own, as a long text takes seconds: nobody else waits for it.
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
        pool_.emplace(1, WorkerPool::Tasks::Short);
        for (Job<CountTask> &job : early_)
            count(std::move(job));
        early_.clear();
    }

    // Called by the server's thread.
    void submit(Job<CountTask> job) {
        const std::lock_guard lock(mutex_);
        if (pool_.has_value())
            count(std::move(job));
        else
            early_.push_back(std::move(job));
    }

private:
    void count(Job<CountTask> job) {
        pool_->submit([this, job = std::move(job)] {
            if (!job.is_abandoned())
                outbox_.post(job.serial, Count{tokenizer_->count(job.task.text)});
        });
    }

    Outbox &outbox_;
    std::mutex mutex_;
    const Tokenizer *tokenizer_ = nullptr;
    std::vector<Job<CountTask>> early_;  // that came while the model was loaded
    std::optional<WorkerPool> pool_;     // last: its thread uses the others
};

}  // namespace steadytext::daemon
