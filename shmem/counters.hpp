// Event counters, sharded so that sessions do not meet on one cache line.
//
// Raised by sessions and workers, summed by the metrics functions. Regime: pure. Relaxed: each counter stands for itself.
#pragma once

#include "shmem/atomic.hpp"

namespace steadytext::shmem {

#define STEADYTEXT_COUNTERS(X)                                                                                         \
    X(Requests, "requests_total")                                                                                      \
    X(RequestsFailed, "requests_failed_total")                                                                         \
    X(Fallbacks, "fallbacks_total")                                                                                    \
    X(CacheHits, "cache_hits_total")                                                                                   \
    X(CacheMisses, "cache_misses_total")                                                                               \
    X(SingleFlightJoins, "single_flight_joins_total")                                                                  \
    X(CacheWritesDropped, "cache_writes_dropped_total")                                                                \
    X(Sent, "sent_total")                                                                                              \
    X(Retries, "retries_total")                                                                                        \
    X(Cancels, "cancels_total")                                                                                        \
    X(Timeouts, "timeouts_total")                                                                                      \
    X(LateReplies, "late_replies_total")                                                                               \
    X(ForeignReplies, "foreign_replies_total")                                                                         \
    X(InvalidReplies, "invalid_replies_total")                                                                         \
    X(QueueFull, "queue_full_total")                                                                                   \
    X(PayloadFull, "payload_full_total")                                                                               \
    X(PoolExhausted, "pool_exhausted_total")                                                                           \
    X(NoDaemon, "no_daemon_total")                                                                                     \
    X(PromptTokens, "prompt_tokens_total")                                                                             \
    X(CompletionTokens, "completion_tokens_total")

enum class Counter : std::uint8_t {
#define STEADYTEXT_COUNTER_NAME(name, text) name,
    STEADYTEXT_COUNTERS(STEADYTEXT_COUNTER_NAME)
#undef STEADYTEXT_COUNTER_NAME
        Count
};

inline constexpr std::size_t kCounterCount = static_cast<std::size_t>(Counter::Count);

inline constexpr const char *kCounterNames[kCounterCount] = {
#define STEADYTEXT_COUNTER_TEXT(name, text) text,
    STEADYTEXT_COUNTERS(STEADYTEXT_COUNTER_TEXT)
#undef STEADYTEXT_COUNTER_TEXT
};

class Counters {
public:
    // `who` spreads callers over the shards: a PGPROC number will do.
    void add(std::uint32_t who, Counter counter, std::uint64_t amount = 1) noexcept {
        shards_[who % kShards].values[static_cast<std::size_t>(counter)].fetch_add(amount, std::memory_order_relaxed);
    }

    [[nodiscard]] std::uint64_t sum(Counter counter) const noexcept {
        std::uint64_t total = 0;
        for (const Shard &shard : shards_)
            total += shard.values[static_cast<std::size_t>(counter)].load(std::memory_order_relaxed);
        return total;
    }

private:
    static constexpr std::size_t kShards = 32;
    struct alignas(kCacheLine) Shard {
        std::atomic<std::uint64_t> values[kCounterCount]{};
    };
    Shard shards_[kShards];
};

}  // namespace steadytext::shmem
