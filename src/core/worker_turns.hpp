// Decides which worker the launcher begins next, when more workers are wanted than there are places.
//
// Called by the launcher (bgworker/places.hpp). Regime: pure, noexcept.
//
// The owner of databases with the fewest places goes first. With few places, at each handover all owners have equally
// many: then the owner that got a place longest ago goes first. Only among the databases of a single owner the worker
// that has waited longest goes first. So an owner waits for at most one turn of each other owner, however many
// databases these have, and however long they have waited.
//
// A callback worker also needs a place for callback workers. Of these places a role has its fair share in the whole
// server (src/core/fair_share.hpp), so that no role has all and the last place is for a role without a place; a
// database has at most all but one. If more callback workers are wanted than there are such places, roles take turns as
// owners do: the role with the fewest places, then the role that got a place longest ago, then the longest wait.
#pragma once

#include "src/core/fair_share.hpp"

#include <algorithm>
#include <cstdint>
#include <span>

namespace steadytext::core {

// Owners or roles that got a place lately, the latest first. The others got a place longer ago, or never.
class LatestFirst {
public:
    static constexpr std::uint32_t kMost = 256;

    void got(std::uint32_t who) noexcept {
        std::uint32_t *const end = who_ + count_;
        std::uint32_t *at = std::find(who_, end, who);
        if (at == end && count_ < kMost)
            count_++;
        else if (at == end)
            at--;  // the entry of longest ago is forgotten
        std::move_backward(who_, at, at + 1);
        who_[0] = who;
    }
    // A greater age: longer ago.
    [[nodiscard]] std::uint32_t age(std::uint32_t who) const noexcept {
        const auto at = static_cast<std::uint32_t>(std::find(who_, who_ + count_, who) - who_);
        return at == count_ ? kMost : at;
    }

private:
    std::uint32_t who_[kMost]{};
    std::uint32_t count_ = 0;
};

class WorkerTurns {
public:
    static constexpr std::uint32_t kNone = UINT32_MAX;
    static constexpr std::uint32_t kCallbacks = 4;  // places for callback workers

    struct Place {
        std::uint32_t owner = 0;  // of the database
        std::uint32_t database = 0;
        std::uint32_t role = 0;  // of a callback worker; 0: a keeper or queue worker
    };
    struct Wish : Place {
        std::int64_t since_us = 0;
    };
    using Places = std::span<const Place>;

    // The index of the wish that has the next place. kNone: there is no wish, or only callback workers that wait for
    // their own places.
    template <class Wishes>
    [[nodiscard]] std::uint32_t next(const Wishes &wishes, Places held) const noexcept {
        const Line line = next_callbacks(wishes, held);
        std::uint32_t best = kNone;
        Rank best_rank;
        for (std::uint32_t i = 0; i < wishes.size(); i++) {
            const Wish &wish = wishes[i];
            const Rank rank{count(held, [&](const Place &place) { return place.owner == wish.owner; }),
                            owners_.age(wish.owner), wish.since_us};
            if ((wish.role != 0 && !line.has(i)) || (best != kNone && !rank.is_before(best_rank)))
                continue;
            best = i;
            best_rank = rank;
        }
        return best;
    }
    // Whether the callback worker's place would be within the shares of its role and database.
    [[nodiscard]] static bool is_within_shares(const Place &callback, Places held) noexcept {
        return is_within_shares(callback, held, {});
    }

    void got(const Place &place) noexcept {
        owners_.got(place.owner);
        if (place.role != 0)
            roles_.got(place.role);
    }

private:
    struct Rank {
        std::uint32_t places = 0, age = 0;
        std::int64_t since_us = 0;

        [[nodiscard]] bool is_before(const Rank &other) const noexcept {
            if (places != other.places)
                return places < other.places;
            return age != other.age ? age > other.age : since_us < other.since_us;
        }
    };
    // The wishes of callback workers that are next, as many as there are places for callback workers.
    struct Line {
        std::uint32_t at[kCallbacks]{};
        Place places[kCallbacks];
        std::uint32_t count = 0;

        [[nodiscard]] bool has(std::uint32_t wish) const noexcept {
            return std::find(at, at + count, wish) != at + count;
        }
        [[nodiscard]] Places all() const noexcept { return {places, count}; }
    };

    template <class Which>
    [[nodiscard]] static std::uint32_t count(Places places, Which which) noexcept {
        return static_cast<std::uint32_t>(std::count_if(places.begin(), places.end(), which));
    }
    [[nodiscard]] static bool is_within_shares(const Place &callback, Places held, Places ahead) noexcept {
        const auto both = [&](auto which) { return count(held, which) + count(ahead, which); };
        const std::uint32_t in_use = both([](const Place &place) { return place.role != 0; });
        const std::uint32_t of_role = both([&](const Place &place) { return place.role == callback.role; });
        const std::uint32_t of_database =
            both([&](const Place &place) { return place.role != 0 && place.database == callback.database; });
        return of_database + 1 < kCallbacks && FairShare::allows(of_role, 1, in_use, kCallbacks);
    }
    // Each wish is chosen as if the wishes before it had their places.
    template <class Wishes>
    [[nodiscard]] Line next_callbacks(const Wishes &wishes, Places held) const noexcept {
        Line line;
        while (line.count < kCallbacks) {
            std::uint32_t best = kNone;
            Rank best_rank;
            for (std::uint32_t i = 0; i < wishes.size(); i++) {
                const Wish &wish = wishes[i];
                if (wish.role == 0 || line.has(i) || !is_within_shares(wish, held, line.all()))
                    continue;
                const auto is_its = [&](const Place &place) { return place.role == wish.role; };
                const Rank rank{count(held, is_its) + count(line.all(), is_its), roles_.age(wish.role), wish.since_us};
                if (best != kNone && !rank.is_before(best_rank))
                    continue;
                best = i;
                best_rank = rank;
            }
            if (best == kNone)
                break;
            line.at[line.count] = best;
            line.places[line.count++] = wishes[best];
        }
        return line;
    }

    LatestFirst owners_, roles_;
};

}  // namespace steadytext::core
