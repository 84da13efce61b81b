// Totals of ended calls by operation: outcomes, causes of failure, tokens, lookups and times.
//
// src/session/observe.* counts when a call ends, the metrics read (shmem/metrics.*), shmem/stats_file.* keeps the
// totals over restarts. Regime: pure, noexcept.
//
// Each process counts in its own shard, chosen by its process number. A shard has a single writer, so counting is a
// plain addition, and no two sessions write to the same cache line. A call is counted once, when it ends, by its
// outcome. The number of calls is the sum of the outcomes, not a counter of its own. So these equations hold in every
// snapshot, also after a reset or a crash:
//
//    requests = refused + limited + hit + joined + sent + degraded
//    sent     = ok + failed + timed_out + cancelled
//
// reset() and restore() change an offset beside the shards, which no counting process writes. Ordering: relaxed
// throughout; the numbers are independent of each other.
#pragma once

#include "shmem/atomic.hpp"

#include <array>

namespace steadytext::shmem {

// Kinds of calls, as metrics, views and budgets name them.
#define STEADYTEXT_CALL_KINDS(X)                                                                                       \
    X(Generate, "generate")                                                                                            \
    X(Embed, "embed")                                                                                                  \
    X(Rerank, "rerank")                                                                                                \
    X(Json, "json")                                                                                                    \
    X(Regex, "regex")                                                                                                  \
    X(Choice, "choice")                                                                                                \
    X(Stream, "stream")

// How a call ended. A call that was sent to a daemon has one of the last four outcomes.
#define STEADYTEXT_CALL_OUTCOMES(X)                                                                                    \
    X(Refused, "refused")   /* turned away for lack of room, or ended before a daemon was asked */                     \
    X(Limited, "limited")   /* by a rate limit or a budget */                                                          \
    X(Hit, "hit")           /* answered from the cache */                                                              \
    X(Joined, "joined")     /* got what another session's request got */                                               \
    X(Degraded, "degraded") /* no daemon could be asked */                                                             \
    X(Ok, "ok")                                                                                                        \
    X(Failed, "failed")                                                                                                \
    X(TimedOut, "timed_out")                                                                                           \
    X(Cancelled, "cancelled") /* by its session: cancel, ROLLBACK, termination */

// Why a call got no real answer. Each cause has a counter, whatever steadytext.on_failure made of it.
#define STEADYTEXT_FAILURE_CAUSES(X)                                                                                   \
    X(NoRoom, "no_room")               /* slots or payload memory */                                                   \
    X(PoolExhausted, "pool_exhausted") /* no connection became free */                                                 \
    X(NotConfigured, "not_configured") /* no daemon, or none with such a model */                                      \
    X(Unreachable, "unreachable")      /* every daemon down, its breaker open or drained */                            \
    X(ConnectionLost, "connection_lost")                                                                               \
    X(Timeout, "timeout")                                                                                              \
    X(InvalidReply, "invalid_reply")                                                                                   \
    X(Engine, "engine") /* the daemon said that it failed */                                                           \
    X(Other, "other")

// Where an answer was looked for, and found.
#define STEADYTEXT_CACHE_LEVELS(X)                                                                                     \
    X(Hot, "hot")                                                                                                      \
    X(Table, "table")                                                                                                  \
    X(Legacy, "legacy")

// Where the time of a call that was sent went.
#define STEADYTEXT_CALL_STAGES(X)                                                                                      \
    X(Queue, "queue")            /* until the gateway took it */                                                       \
    X(Pool, "pool")              /* until a connection had it */                                                       \
    X(Network, "network")        /* on the way and in the daemon's queue */                                            \
    X(Engine, "engine")          /* as the daemon says */                                                              \
    X(FirstPiece, "first_piece") /* of a stream: from sending to its first text; the others count it too */

#define STEADYTEXT_ENUMERATOR(name, text) name,
#define STEADYTEXT_ENUM_TEXT(name, text) text,
enum class CallKind : std::uint8_t { STEADYTEXT_CALL_KINDS(STEADYTEXT_ENUMERATOR) };
enum class CallOutcome : std::uint8_t { STEADYTEXT_CALL_OUTCOMES(STEADYTEXT_ENUMERATOR) };
enum class FailureCause : std::uint8_t { STEADYTEXT_FAILURE_CAUSES(STEADYTEXT_ENUMERATOR) };
enum class CacheLevel : std::uint8_t { STEADYTEXT_CACHE_LEVELS(STEADYTEXT_ENUMERATOR) };
enum class CallStage : std::uint8_t { STEADYTEXT_CALL_STAGES(STEADYTEXT_ENUMERATOR) };

inline constexpr const char *kCallKindNames[] = {STEADYTEXT_CALL_KINDS(STEADYTEXT_ENUM_TEXT)};
inline constexpr const char *kCallOutcomeNames[] = {STEADYTEXT_CALL_OUTCOMES(STEADYTEXT_ENUM_TEXT)};
inline constexpr const char *kFailureCauseNames[] = {STEADYTEXT_FAILURE_CAUSES(STEADYTEXT_ENUM_TEXT)};
inline constexpr const char *kCacheLevelNames[] = {STEADYTEXT_CACHE_LEVELS(STEADYTEXT_ENUM_TEXT)};
inline constexpr const char *kCallStageNames[] = {STEADYTEXT_CALL_STAGES(STEADYTEXT_ENUM_TEXT)};
#undef STEADYTEXT_ENUMERATOR
#undef STEADYTEXT_ENUM_TEXT

inline constexpr std::size_t kCallKinds = std::size(kCallKindNames);
inline constexpr std::size_t kCallOutcomes = std::size(kCallOutcomeNames);
inline constexpr std::size_t kFailureCauses = std::size(kFailureCauseNames);
inline constexpr std::size_t kCacheLevels = std::size(kCacheLevelNames);
inline constexpr std::size_t kCallStages = std::size(kCallStageNames);

[[nodiscard]] constexpr bool was_sent(CallOutcome outcome) noexcept { return outcome >= CallOutcome::Ok; }
[[nodiscard]] constexpr const char *name_of(CallKind kind) noexcept {
    return kCallKindNames[static_cast<std::size_t>(kind)];
}

// Upper bounds of the buckets of every histogram, in microseconds; a last bucket takes all longer times.
inline constexpr std::array<std::int64_t, 16> kTimeBounds = {
    10,      100,     1'000,   2'500,     5'000,     10'000,     25'000,     50'000,
    100'000, 250'000, 500'000, 1'000'000, 2'500'000, 10'000'000, 30'000'000, 60'000'000};
inline constexpr std::size_t kTimeBuckets = kTimeBounds.size() + 1;

// Times in buckets, with their sum.
template <class Number>
struct TimeCounts {
    std::array<Number, kTimeBuckets> buckets{};
    Number total_us{};
};

// The numbers of an operation. The shards hold them as atomics, a snapshot as plain numbers, in the same order.
template <class Number>
struct CallCounts {
    std::array<Number, kCallOutcomes> outcomes{};
    std::array<Number, kFailureCauses> failures{};
    Number fallbacks{};  // something else was given instead of an answer
    Number prompt_tokens{};
    Number completion_tokens{};
    Number saved_tokens{};                             // completion tokens of answers that no daemon had to make again
    std::array<TimeCounts<Number>, 2> response_times;  // [0]: of calls that were no cache hits, [1]: of cache hits
    std::array<TimeCounts<Number>, kCallStages> stages;

    [[nodiscard]] Number requests() const noexcept {
        Number sum{};
        for (const Number &count : outcomes)
            sum += count;
        return sum;
    }
    [[nodiscard]] Number sent() const noexcept {
        Number sum{};
        for (std::size_t i = static_cast<std::size_t>(CallOutcome::Ok); i < kCallOutcomes; i++)
            sum += outcomes[i];
        return sum;
    }
    [[nodiscard]] Number failed() const noexcept {
        Number sum{};
        for (const Number &count : failures)
            sum += count;
        return sum;
    }
};

template <class Number>
struct CallTotalsOf {
    std::array<CallCounts<Number>, kCallKinds> kinds;
    std::array<Number, kCacheLevels> hits{};
    std::array<Number, kCacheLevels> misses{};
};
using CallTotals = CallTotalsOf<std::uint64_t>;

// A call that has ended.
struct EndedCall {
    CallKind kind;
    CallOutcome outcome;
    bool has_failed;  // then `cause` says why
    FailureCause cause;
    bool fell_back;
    std::int64_t took_us;
    std::uint32_t prompt_tokens;
    std::uint32_t completion_tokens;
    std::uint32_t saved_tokens;
    std::array<std::int64_t, kCallStages> stages_us;  // negative: not known
};

class CallStats {
    using Number = std::atomic<std::uint64_t>;
    using Shard = CallTotalsOf<Number>;
    static constexpr std::size_t kNumbers = sizeof(CallTotals) / sizeof(std::uint64_t);
    static_assert(sizeof(Shard) == sizeof(CallTotals), "a shard and a snapshot are laid out alike");

public:
    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t processes) noexcept;
    // Process numbers run from 0 to `processes` - 1.
    static CallStats *place(void *memory, std::uint32_t processes) noexcept;

    // By the process with this number, in no signal handler.
    void count(std::int32_t process, const EndedCall &call) noexcept;
    void count_lookup(std::int32_t process, CacheLevel level, bool hit) noexcept;

    [[nodiscard]] CallTotals totals() const noexcept;
    // Counts from zero again. Any process may call it at any time; of two concurrent calls a single call does the work.
    void reset() noexcept;
    // Adds the totals of an earlier life of the server. Called before any process counts.
    void restore(const CallTotals &earlier) noexcept;

private:
    explicit CallStats(std::uint32_t processes) noexcept;
    [[nodiscard]] Shard &shard(std::int32_t process) noexcept;
    [[nodiscard]] const Shard *shards() const noexcept;

    std::uint32_t processes_;
    std::atomic<bool> resetting_{false};
    std::array<std::atomic<std::uint64_t>, kNumbers> offset_{};  // added to the shards' sum, modulo 2^64
};

}  // namespace steadytext::shmem
