// Counting and summing: see call_stats.hpp. Regime: pure.
#include "shmem/call_stats.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace steadytext::shmem {

namespace {

// Only the shard's process writes here, so this needs no locked instruction.
void add(std::atomic<std::uint64_t> &number, std::uint64_t amount) noexcept {
    number.store(number.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

void add(TimeCounts<std::atomic<std::uint64_t>> &times, std::int64_t took_us) noexcept {
    std::size_t bucket = 0;  // a cached call must cost almost nothing: its bucket is found first
    while (bucket < kTimeBounds.size() && took_us > kTimeBounds[bucket])
        bucket++;
    add(times.buckets[bucket], 1);
    add(times.total_us, static_cast<std::uint64_t>(std::max<std::int64_t>(took_us, 0)));
}

constexpr std::size_t kHeaderBytes = round_up(sizeof(CallStats));

}  // namespace

std::size_t CallStats::bytes_needed(std::uint32_t processes) noexcept {
    return kHeaderBytes + processes * round_up(sizeof(Shard));
}

CallStats *CallStats::place(void *memory, std::uint32_t processes) noexcept {
    return new (memory) CallStats(processes);
}

CallStats::CallStats(std::uint32_t processes) noexcept : processes_(processes) {
    for (std::uint32_t i = 0; i < processes; i++)
        new (&shard(static_cast<std::int32_t>(i))) Shard;
}

const CallStats::Shard *CallStats::shards() const noexcept {
    return reinterpret_cast<const Shard *>(reinterpret_cast<const char *>(this) + kHeaderBytes);
}

CallStats::Shard &CallStats::shard(std::int32_t process) noexcept {
    char *first = reinterpret_cast<char *>(this) + kHeaderBytes;
    return *reinterpret_cast<Shard *>(first +
                                      static_cast<std::uint32_t>(process) % processes_ * round_up(sizeof(Shard)));
}

void CallStats::count(std::int32_t process, const EndedCall &call) noexcept {
    CallCounts<Number> &counts = shard(process).kinds[static_cast<std::size_t>(call.kind)];
    add(counts.outcomes[static_cast<std::size_t>(call.outcome)], 1);
    add(counts.response_times[call.outcome == CallOutcome::Hit], call.took_us);
    if (call.saved_tokens != 0)
        add(counts.saved_tokens, call.saved_tokens);
    if (call.has_failed)
        add(counts.failures[static_cast<std::size_t>(call.cause)], 1);
    if (call.fell_back)
        add(counts.fallbacks, 1);
    if (!was_sent(call.outcome))
        return;
    add(counts.prompt_tokens, call.prompt_tokens);
    add(counts.completion_tokens, call.completion_tokens);
    for (std::size_t i = 0; i < kCallStages; i++)
        if (call.stages_us[i] >= 0)
            add(counts.stages[i], call.stages_us[i]);
}

void CallStats::count_lookup(std::int32_t process, CacheLevel level, bool hit) noexcept {
    Shard &mine = shard(process);
    add((hit ? mine.hits : mine.misses)[static_cast<std::size_t>(level)], 1);
}

CallTotals CallStats::totals() const noexcept {
    std::uint64_t sums[kNumbers];
    for (std::size_t i = 0; i < kNumbers; i++)
        sums[i] = offset_[i].load(std::memory_order_relaxed);
    for (std::uint32_t process = 0; process < processes_; process++) {
        const char *bytes = reinterpret_cast<const char *>(shards()) + process * round_up(sizeof(Shard));
        const auto *numbers = reinterpret_cast<const Number *>(bytes);
        for (std::size_t i = 0; i < kNumbers; i++)
            sums[i] += numbers[i].load(std::memory_order_relaxed);
    }
    CallTotals totals;
    std::memcpy(&totals, sums, sizeof totals);
    return totals;
}

void CallStats::reset() noexcept {
    if (resetting_.exchange(true, std::memory_order_acquire))  // pairs with the release below
        return;
    const CallTotals now = totals();
    std::uint64_t sums[kNumbers];
    std::memcpy(sums, &now, sizeof now);
    for (std::size_t i = 0; i < kNumbers; i++)
        offset_[i].fetch_sub(sums[i], std::memory_order_relaxed);
    resetting_.store(false, std::memory_order_release);
}

void CallStats::restore(const CallTotals &earlier) noexcept {
    std::uint64_t sums[kNumbers];
    std::memcpy(sums, &earlier, sizeof earlier);
    for (std::size_t i = 0; i < kNumbers; i++)
        offset_[i].store(sums[i], std::memory_order_relaxed);
}

}  // namespace steadytext::shmem
