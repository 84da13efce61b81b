// What roles have used and no table knows yet: calls and tokens by role, database, model and day.
//
// Sessions add what they gathered (src/session/observe.*); the database's keeper takes it out and adds it to steadytext_usage
// (bgworker/keeper_usage.*). So an entry is here for seconds, and on a standby until it is promoted. Regime: pure, noexcept.
//
// Sets of kWays entries; a key begins at the set its hash names and goes on to the next one while those are full. It may come
// to have two entries, when room was made in between: both are sums, and the keeper adds sums. What finds no room at all
// is refused, and counted by the caller: nothing makes room for others here, since this is what budgets rest on.
//
// Locking: one spin word per set, as in statement_stats.hpp.
#pragma once

#include "shmem/spin_word.hpp"
#include "shmem/statement_stats.hpp"

namespace steadytext::shmem {

struct UsageKey {
    std::uint32_t role = 0;
    std::uint32_t database = 0;
    std::int32_t day = 0;  // since 1970, UTC
    char model[kModelNameBytes] = "";

    [[nodiscard]] bool operator==(const UsageKey &other) const noexcept;
};

class Usage {
public:
    struct Entry {
        UsageKey key;
        StatementCounts counts;  // calls 0: free
    };
    static constexpr std::uint32_t kWays = 16;
    static constexpr std::uint32_t kSets = 256;
    static constexpr std::uint32_t kEntries = kWays * kSets;

    // False: there is no room.
    [[nodiscard]] bool add(const UsageKey &key, const StatementCounts &counts) noexcept;

    // Takes a database's entries out, as many as `entries` has room for; how many.
    [[nodiscard]] std::uint32_t take(std::uint32_t database, Entry *entries, std::uint32_t room) noexcept;

    // Copies all entries, kEntries at most; how many.
    [[nodiscard]] std::uint32_t copy(Entry *entries) noexcept;

private:
    struct alignas(kCacheLine) Set {
        SpinWord lock;
        Entry entries[kWays];
    };
    [[nodiscard]] static bool add(Set &set, const UsageKey &key, const StatementCounts &counts) noexcept;

    Set sets_[kSets];
};

}  // namespace steadytext::shmem
