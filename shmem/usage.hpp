// Usage that no table has yet: calls and tokens by role, database, model and day.
//
// Sessions add the usage they gathered (src/session/observe.*). The database's keeper takes it out and adds it to
// steadytext_usage (bgworker/keeper_usage.*). So an entry stays here for seconds; on a standby, until its promotion.
// Regime: pure, noexcept.
//
// Sets of kWays entries. A key begins at the set that its hash names, and goes on to the next set while sets are full.
// A key may get two entries if room was made in between: both are sums, and the keeper adds sums. Nothing is evicted
// here, as budgets rely on this data: a role has its share of the entries (src/core/fair_share.hpp). Usage beyond that
// share is added to the role's entry of the same day and database without a model, for which there is room as long as
// there is any. Usage that finds no room at all is refused; the caller counts it.
//
// Roles that hash to the same cell share a share.
//
// Locking: a spin word per set, as in statement_stats.hpp. The counts of held entries are relaxed atomics that change
// under a set's lock together with the set: a look at both may be a few entries off.
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

    // False: there is no room, even without the model.
    [[nodiscard]] bool add(const UsageKey &key, const StatementCounts &counts) noexcept;

    // Takes out a database's entries, as many as `entries` has room for, and returns how many.
    [[nodiscard]] std::uint32_t take(std::uint32_t database, Entry *entries, std::uint32_t room) noexcept;

    // Copies all entries, kEntries at most, and returns how many.
    [[nodiscard]] std::uint32_t copy(Entry *entries) noexcept;

private:
    struct alignas(kCacheLine) Set {
        SpinWord lock;
        Entry entries[kWays];
    };
    enum class Added { Yes, SetIsFull, BeyondShare };
    static constexpr std::size_t kRoleCells = 256;

    [[nodiscard]] Added add(Set &set, const UsageKey &key, const StatementCounts &counts) noexcept;
    [[nodiscard]] bool add_as(const UsageKey &key, const StatementCounts &counts) noexcept;
    [[nodiscard]] std::atomic<std::uint32_t> &held_by(std::uint32_t role) noexcept {
        return held_[(role * 2'654'435'761U) >> 24];
    }
    [[nodiscard]] bool may_take(const UsageKey &key) noexcept;

    Set sets_[kSets];
    std::atomic<std::uint32_t> in_use_{0};
    std::atomic<std::uint32_t> held_[kRoleCells]{};
};

}  // namespace steadytext::shmem
