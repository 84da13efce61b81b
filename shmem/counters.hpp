// Counters of single events, sharded so that sessions rarely write to the same cache line. call_stats.hpp counts the
// outcomes of whole calls.
//
// Sessions and workers raise the counters, the metrics sum them (shmem/metrics.*). Regime: pure. Relaxed: the counters
// are independent of each other.
#pragma once

#include "shmem/atomic.hpp"

namespace steadytext::shmem {

#define STEADYTEXT_COUNTERS(X)                                                                                         \
    X(CacheMisses, "cache_misses_total", "Calls whose answer was in no cache.")                                        \
    X(SingleFlightJoins, "single_flight_joins_total", "Calls that began to wait for another session's request.")       \
    X(CacheWritesDropped, "cache_writes_dropped_total", "Answers that were not written to steadytext_cache.")          \
    X(Sends, "sends_total", "Requests sent to daemons, retries included.")                                             \
    X(SharedSends, "shared_sends_total", "Messages to daemons that carried the embeddings of several calls.")          \
    X(Retries, "retries_total", "Requests sent again after a lost connection.")                                        \
    X(Cancels, "cancels_total", "Requests given up by cancel, ROLLBACK or termination.")                               \
    X(Timeouts, "timeouts_total", "Requests given up at steadytext.request_timeout.")                                  \
    X(OwnTimeouts, "own_timeouts_total",                                                                               \
      "Calls that gave up sooner than steadytext.breaker_timeout, which tells nothing of daemons.")                    \
    X(TakenBack, "taken_back_total",                                                                                   \
      "Requests that their sessions did not end at the deadline, ended by the gateway.")                               \
    X(LateReplies, "late_replies_total", "Replies to requests that had ended, dropped.")                               \
    X(ForeignReplies, "foreign_replies_total", "Replies to another server's requests, dropped.")                       \
    X(InvalidReplies, "invalid_replies_total", "Messages that are no reply to a request, dropped.")                    \
    X(RoomWaits, "room_waits_total", "Requests that waited in line for a slot or payload memory.")                     \
    X(QueueFull, "queue_full_total", "Requests refused: no slot became free for them by their deadline.")              \
    X(PayloadFull, "payload_full_total",                                                                               \
      "Requests (by their deadline) or replies that found no room in steadytext.payload_memory.")                      \
    X(PoolExhausted, "pool_exhausted_total", "Requests that found no free connection in steadytext.pool_wait.")        \
    X(NoDaemon, "no_daemon_total", "Requests while no daemon was configured.")                                         \
    X(NoModel, "no_model_total", "Requests for a model that no daemon serves.")                                        \
    X(DaemonsDown, "daemons_down_total", "Requests while every daemon was down, drained or invalid.")                  \
    X(BreakersOpen, "breakers_open_total", "Requests that only open circuit breakers kept from a daemon.")             \
    X(ConnectionsLost, "connections_lost_total", "Requests whose daemon went away, and no retry was left.")            \
    X(EnginesBusy, "engines_busy_total", "Requests while every engine asked to come again after their deadline.")      \
    X(ComeAgain, "come_again_total", "Requests that an engine put off (HTTP 429).")                                    \
    X(LimitWaits, "limit_waits_total", "Calls that waited for a rate limit.")                                          \
    X(LimitShadowRefusals, "limit_shadow_refusals_total", "Calls that steadytext.limit_shadow_mode let through.")      \
    X(SuspiciousInputs, "suspicious_inputs_total", "Arguments that look like an attack, refused or not.")              \
    X(AuditDropped, "audit_dropped_total", "Rows that were not written to steadytext_audit_log.")                      \
    X(UsageDropped, "usage_dropped_total",                                                                             \
      "Calls that steadytext_usage misses: more roles at once than there is room for.")                                \
    X(NotificationsLeftOut, "notifications_left_out_total",                                                            \
      "Notifications that a nearly full queue of the server's had no room for.")                                       \
    X(Probes, "probes_total", "Looks, one a second, whether a request would find a daemon.")                           \
    X(ProbesFailed, "probes_failed_total", "Such looks that found the gateway or every daemon away.")                  \
    X(HubSent, "hub_records_sent_total", "Answers, hits and usage that the hub has taken from this server.")           \
    X(HubRefused, "hub_records_refused_total",                                                                         \
      "Answers, hits and usage that the hub did not let this server write, or that were cleared meanwhile.")           \
    X(HubRetries, "hub_retries_total", "Batches for the hub that had to be sent again.")                               \
    X(HubTaken, "hub_records_taken_total", "Answers, hits and usage that this server, as a hub, has taken.")           \
    X(HubTurnedAway, "hub_records_turned_away_total",                                                                  \
      "Answers, hits and usage that this server, as a hub, has refused or found to be cleared.")

enum class Counter : std::uint8_t {
#define STEADYTEXT_COUNTER_NAME(name, text, help) name,
    STEADYTEXT_COUNTERS(STEADYTEXT_COUNTER_NAME)
#undef STEADYTEXT_COUNTER_NAME
        Count
};

inline constexpr std::size_t kCounterCount = static_cast<std::size_t>(Counter::Count);

struct CounterText {
    const char *name;
    const char *help;
};
inline constexpr CounterText kCounterTexts[kCounterCount] = {
#define STEADYTEXT_COUNTER_TEXT(name, text, help) {text, help},
    STEADYTEXT_COUNTERS(STEADYTEXT_COUNTER_TEXT)
#undef STEADYTEXT_COUNTER_TEXT
};

class Counters {
public:
    // `who` spreads callers over the shards: pass a PGPROC number.
    void add(std::uint32_t who, Counter counter, std::uint64_t amount = 1) noexcept {
        shards_[who % kShards].values[static_cast<std::size_t>(counter)].fetch_add(amount, std::memory_order_relaxed);
    }

    [[nodiscard]] std::uint64_t sum(Counter counter) const noexcept {
        std::uint64_t total = 0;
        for (const Shard &shard : shards_)
            total += shard.values[static_cast<std::size_t>(counter)].load(std::memory_order_relaxed);
        return total;
    }

    void reset() noexcept {
        for (Shard &shard : shards_)
            for (auto &value : shard.values)
                value.exchange(0, std::memory_order_relaxed);
    }

private:
    static constexpr std::size_t kShards = 32;
    struct alignas(kCacheLine) Shard {
        std::atomic<std::uint64_t> values[kCounterCount]{};
    };
    Shard shards_[kShards];
};

}  // namespace steadytext::shmem
