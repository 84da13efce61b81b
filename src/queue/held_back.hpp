// Roles whose jobs are left alone for now, and until when: a rate limit stands against them, or another transaction has
// locked their rows.
//
// Kept by src/queue/worker.hpp and passed to the statements that claim (queue_sql.hpp). If there are more roles
// than entries, the role whose time ends first is released. Regime: pure. Times are CLOCK_MONOTONIC.
#pragma once

#include "src/pg/postgres.hpp"

#include <algorithm>
#include <cstdint>

namespace steadytext::queue {

class HeldBack {
public:
    static constexpr int kMost = 16;

    void hold(Oid role, std::int64_t us, std::int64_t now_us) {
        Entry &entry = entry_of(role);
        if (entry.role != role)
            entry = {role, 0, 0};
        entry.until_us = now_us + us;
    }

    // The role has due jobs that cannot be claimed, as their rows are locked. Each claim skips all of them, so the role
    // is held back; twice as long as last time if that was recent.
    void hold_locked(Oid role, std::int64_t now_us) {
        constexpr std::int64_t kFirstUs = 5'000, kLongestUs = 4'000'000;
        const Entry &known = entry_of(role);
        const bool again = known.role == role && now_us < known.until_us + known.pause_us;
        const std::int64_t pause_us = again ? std::clamp(known.pause_us * 2, kFirstUs, kLongestUs) : kFirstUs;
        hold(role, pause_us, now_us);
        entry_of(role).pause_us = pause_us;
    }

    // When the first held role is released; INT64_MAX: none is held.
    [[nodiscard]] std::int64_t next_us(std::int64_t now_us) const {
        std::int64_t next_us = INT64_MAX;
        each(now_us, [&](Oid, std::int64_t until_us) { next_us = std::min(next_us, until_us); });
        return next_us;
    }

    // Calls take(role, until_us) for each role that is held.
    template <class Take>
    void each(std::int64_t now_us, Take take) const {
        for (const Entry &entry : entries_)
            if (entry.until_us > now_us)
                take(entry.role, entry.until_us);
    }

private:
    struct Entry {
        Oid role;
        std::int64_t until_us;
        std::int64_t pause_us;  // the last pause for locked rows
    };

    // The role's entry, else the entry whose time ends first.
    [[nodiscard]] Entry &entry_of(Oid role) {
        Entry *found = &entries_[0];
        for (Entry &entry : entries_) {
            if (entry.role == role)
                return entry;
            if (entry.until_us < found->until_us)
                found = &entry;
        }
        return *found;
    }

    Entry entries_[kMost] = {};
};

}  // namespace steadytext::queue
