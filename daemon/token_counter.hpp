// Counts the tokens of texts on threads of its own, as a long text takes seconds: only texts of its kind wait for it.
//
// Owned by an engine, which starts it when its model is loaded; until then the texts wait. Regime: pure.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "daemon/mailbox.hpp"
#include "daemon/text_pools.hpp"
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
        long_.emplace();
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
    void count(Job<CountTask> job) {
        const std::size_t bytes = job.task.text.size();
        const auto run = [this, job = std::move(job)] {
            if (!job.is_abandoned())
                outbox_.post(job.serial, Count{tokenizer_->count(job.task.text)});
        };
        if (bytes <= TextPools::kShortBytes)
            short_->submit(run, bytes);
        else
            long_->submit(run, bytes);
    }

    Outbox &outbox_;
    std::mutex mutex_;
    const Tokenizer *tokenizer_ = nullptr;
    std::vector<Job<CountTask>> early_;  // that came while the model was loaded
    std::optional<WorkerPool> short_;    // the pools last: their threads use the others
    std::optional<TextPools> long_;
};

}  // namespace steadytext::daemon
