// The data of pg_stat_steadytext: numbers of calls by role, database, query id, model and operation.
//
// Sessions gather their own calls and add them here in a single step (src/session/observe.*); any session reads.
// Regime: pure, noexcept.
//
// A fixed number of sets of kWays entries; the key's hash chooses the set. A key that finds its set full takes the
// place of the entry with the least usage of the role that holds most of the set (fair_ways.hpp), and the usage of that role's other entries in the
// set is halved, so that formerly busy entries give way to busy entries (pg_stat_statements does so over its whole table; here no other set is
// disturbed, and nothing is sorted). Only where as many roles as there are ways hold one each does the
// least used of all give way, and all are halved.
//
// Locking: a spin word per set, held for the look at kWays entries or the copy of a set. No system call, and nothing
// that can raise, happens under it. A process killed there needs no recovery, as PostgreSQL then makes all shared
// memory anew.
#pragma once

#include "shmem/call_stats.hpp"
#include "shmem/slot_table.hpp"
#include "shmem/spin_word.hpp"

namespace steadytext::shmem {

struct StatementKey {
    std::uint32_t role = 0;
    std::uint32_t database = 0;
    std::uint64_t query_id = 0;  // 0: not computed
    CallKind kind = CallKind::Generate;
    char model[kModelNameBytes] = "";

    [[nodiscard]] bool operator==(const StatementKey &other) const noexcept;
};

struct StatementCounts {
    std::uint64_t calls = 0;
    std::uint64_t hits = 0;      // from the cache, or with another session's request
    std::uint64_t failures = 0;  // no real answer
    std::uint64_t limited = 0;
    std::uint64_t prompt_tokens = 0;
    std::uint64_t completion_tokens = 0;
    std::uint64_t saved_tokens = 0;
    std::int64_t total_us = 0;
    std::int64_t min_us = 0;
    std::int64_t max_us = 0;

    void add(const EndedCall &call) noexcept;
    void add(const StatementCounts &other) noexcept;
};

class StatementStats {
public:
    struct Entry {
        StatementKey key;
        StatementCounts counts;
        std::uint64_t usage = 0;  // 0: free
    };
    static constexpr std::uint32_t kWays = 16;

    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t entries) noexcept;
    static StatementStats *place(void *memory, std::uint32_t entries) noexcept;

    void add(const StatementKey &key, const StatementCounts &counts) noexcept;

    [[nodiscard]] std::uint32_t sets() const noexcept { return sets_; }
    // Copies the entries of a set, kWays at most; returns how many.
    [[nodiscard]] std::uint32_t copy(std::uint32_t set, Entry *entries) noexcept;
    void reset() noexcept;

    // Entries that made room for others.
    [[nodiscard]] std::uint64_t deallocations() const noexcept {
        return deallocations_.load(std::memory_order_relaxed);
    }

private:
    struct alignas(kCacheLine) Set {
        SpinWord lock;
        Entry entries[kWays];
    };

    explicit StatementStats(std::uint32_t sets) noexcept;
    [[nodiscard]] Set &set(std::uint32_t index) noexcept;
    [[nodiscard]] Entry &entry_for(Set &set, const StatementKey &key) noexcept;

    std::uint32_t sets_;
    std::atomic<std::uint64_t> deallocations_{0};
};

}  // namespace steadytext::shmem
