// Chooses one of several daemons: in turn by weight, with the least outstanding work as tie-break; or by the request's
// key.
//
// Called by the gateway, which keeps a running weight per daemon. Regime: pure.
// Sources: smooth weighted round-robin as in nginx (commit 52327e0627f4, 2012): in each turn every candidate's current
// weight grows by its weight; the largest wins and gives back the sum. Over any run of turns each candidate gets its
// share, evenly spread. Weighted rendezvous hashing (Thaler and Ravishankar 1998; Schindelhauer and Schomaker 2005):
// each candidate draws a lot from its name and the key. When a candidate leaves, only its own keys move. Bounded loads
// (Mirrokni, Thorup and Zadimoghaddam 2016): a candidate with a quarter more work than its share leaves keys to the next.
#pragma once

#include "src/core/mix.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace steadytext::core {

struct Candidate {
    std::int64_t *current;  // the daemon's running weight, kept from turn to turn
    std::int64_t weight;
    std::size_t outstanding;
    std::uint64_t name;  // hash of the daemon's name
};

// FNV-1a: the same in every process and on every machine, unlike std::hash.
[[nodiscard]] inline std::uint64_t stable_hash(std::string_view text) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hash;
}

// The index of the winner; there must be at least one candidate.
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

// The lot that a candidate draws for a key; the largest lot wins. The chance to win is in proportion to the weight.
[[nodiscard]] inline double affinity(const Candidate &candidate, std::uint64_t key) noexcept {
    const std::uint64_t mixed = mix(candidate.name ^ (key * kGoldenRatio));
    const double lot = (static_cast<double>(mixed >> 11) + 0.5) * 0x1p-53;  // above 0, below 1
    return static_cast<double>(candidate.weight) / -std::log(lot);
}

// The index of the winner for this key; there must be at least one candidate. Many requests of one key do not wait for a
// single daemon while the others have nothing to do.
[[nodiscard]] inline std::size_t choose_for_key(std::span<const Candidate> candidates, std::uint64_t key) noexcept {
    constexpr double kMostOfShare = 1.25;
    double work = 1, weights = 0;  // with the request itself
    for (const Candidate &candidate : candidates) {
        work += static_cast<double>(candidate.outstanding);
        weights += static_cast<double>(candidate.weight);
    }
    const auto has_room = [&](const Candidate &candidate) {
        const double share = work * static_cast<double>(candidate.weight) / weights;
        return static_cast<double>(candidate.outstanding) < std::ceil(kMostOfShare * share);
    };
    std::size_t best = candidates.size();
    for (std::size_t i = 0; i < candidates.size(); i++)
        if (has_room(candidates[i]) &&
            (best == candidates.size() || affinity(candidates[i], key) > affinity(candidates[best], key)))
            best = i;
    return best;  // all shares together are all the work, so one has room
}

}  // namespace steadytext::core
