// Which entry of a full set makes room for another: one of the role that holds most of the set, and only if that leaves it no fewer than the role
// that wants room then has. So who fills a set loses what is beyond its share of it, and no role loses an entry to another that has as many.
//
// Used by answer_counts.hpp, prompt_sizes.hpp and statement_stats.*, whose sets have a few ways, under their rules for locking. Regime: pure, noexcept.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace steadytext::shmem {

// The way that makes room for `role`; kWays: none does. `holder(way)`: its role, of a set without a free entry; `worth(way)`: of entries of one
// role the one of least worth goes.
template <std::size_t kWays, class Holder, class Worth>
[[nodiscard]] std::size_t way_to_give(std::uint32_t role, Holder holder, Worth worth) noexcept {
    std::array<std::size_t, kWays> held{};  // by the role that holds this way
    std::size_t own = 0, most = 0;
    for (std::size_t i = 0; i < kWays; i++) {
        for (std::size_t j = 0; j < kWays; j++)
            held[i] += holder(i) == holder(j);
        if (holder(i) == role)
            own = held[i];
        else if (held[i] > most)
            most = held[i];
    }
    const bool is_others = most > own + 1;
    std::size_t least = kWays;
    for (std::size_t i = 0; i < kWays; i++) {
        const bool may_go = is_others ? holder(i) != role && held[i] == most : holder(i) == role;
        if (may_go && (least == kWays || worth(i) < worth(least)))
            least = i;
    }
    return least;
}

}  // namespace steadytext::shmem
