// Choosing one of several daemons: smooth weighted round-robin, least outstanding work as tie-break.
//
// Called by the gateway, which keeps one Share per daemon. Regime: pure.
// Source: the algorithm of nginx (commit 52327e0627f4, 2012): each turn every candidate's current weight grows by its
// weight, the largest wins and gives back the sum. Over any run of turns each gets its share, evenly spread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace steadytext::core {

struct Candidate {
    std::int64_t *current;  // the daemon's running weight, kept from turn to turn
    std::int64_t weight;
    std::size_t outstanding;
};

// The index of the winner among at least one candidate.
[[nodiscard]] inline std::size_t choose(std::span<const Candidate> candidates) noexcept {
    std::int64_t total = 0;
    std::size_t best = 0;
    for (std::size_t i = 0; i < candidates.size(); i++) {
        const Candidate &candidate = candidates[i];
        *candidate.current += candidate.weight;
        total += candidate.weight;
        const std::int64_t lead = *candidate.current - *candidates[best].current;
        if (lead > 0 || (lead == 0 && candidate.outstanding < candidates[best].outstanding))
            best = i;
    }
    *candidates[best].current -= total;
    return best;
}

}  // namespace steadytext::core
