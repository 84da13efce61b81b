// For whom the launcher begins the next worker: an owner waits for one turn of each other owner at most, a role with
// callbacks for one of each other role, whatever these have to do.
#include "src/core/worker_turns.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace {

using steadytext::core::LatestFirst;
using steadytext::core::WorkerTurns;

TEST(WorkerTurns, TheOwnerWithFewestPlacesThenWhoGotOneLongestAgoThenTheLongestWait) {
    WorkerTurns turns;
    const std::vector<WorkerTurns::Place> nothing;
    std::vector<WorkerTurns::Wish> wishes{{{1, 11, 0}, 10}, {{1, 12, 0}, 5}, {{2, 21, 0}, 20}};
    EXPECT_EQ(turns.next(wishes, nothing), 1U) << "nobody got any yet: the longest wait";
    EXPECT_EQ(turns.next(wishes, std::vector<WorkerTurns::Place>{{1, 13, 0}}), 2U) << "the fewest places";
    turns.got(wishes[1]);
    EXPECT_EQ(turns.next(wishes, nothing), 2U) << "longest ago";
    turns.got(wishes[2]);
    EXPECT_EQ(turns.next(wishes, nothing), 1U) << "of one owner's the longest wait";
    wishes.clear();
    EXPECT_EQ(turns.next(wishes, nothing), WorkerTurns::kNone);
}

TEST(WorkerTurns, WhoIsForgottenGotItLongestAgo) {
    LatestFirst latest;
    for (std::uint32_t who = 0; who <= LatestFirst::kMost; who++)
        latest.got(who);
    latest.got(2);
    EXPECT_EQ(latest.age(0), LatestFirst::kMost);
    EXPECT_EQ(latest.age(1), LatestFirst::kMost - 1);
    EXPECT_EQ(latest.age(2), 0U);
    EXPECT_EQ(latest.age(LatestFirst::kMost), 1U);
}

TEST(WorkerTurns, ARoleHasItsShareOfCallbackPlacesAndTheLastIsForARoleThatHasNone) {
    constexpr std::uint32_t kHer = 7, kHim = 8, kThem = 9;
    WorkerTurns turns;
    std::vector<WorkerTurns::Wish> wishes{
        {{1, 11, kHer}, 1}, {{1, 12, kHer}, 2}, {{1, 13, kHer}, 3}, {{1, 14, kHer}, 4}};
    std::vector<WorkerTurns::Place> held;
    const auto give = [&] {
        const std::uint32_t at = turns.next(wishes, held);
        if (at == WorkerTurns::kNone)
            return 0U;
        const WorkerTurns::Wish chosen = wishes[at];
        turns.got(chosen);
        held.push_back(chosen);
        wishes.erase(wishes.begin() + at);
        return chosen.database;
    };
    EXPECT_EQ(give(), 11U);
    EXPECT_EQ(give(), 12U);
    wishes.push_back({{1, 15, kHim}, 5});
    EXPECT_EQ(give(), 15U) << "who has none goes before who has some";
    EXPECT_EQ(give(), 0U) << "the last is for a role that has none";
    wishes.push_back({{1, 16, kThem}, 6});
    EXPECT_EQ(give(), 16U);
    EXPECT_EQ(give(), 0U) << "all are taken";
    wishes.push_back({{1, 17, 0}, 7});
    EXPECT_EQ(give(), 17U) << "which keeps no other worker";
}

// Workers that leave their places at random times; owners with 1 to 40 databases, in which roles have callbacks, that
// nearly always want something.
struct History {
    struct Desire : WorkerTurns::Wish {
        bool is_one = false;
    };
    std::mt19937 random;
    std::uint32_t places, owners, roles;
    std::vector<Desire> desires;
    std::vector<WorkerTurns::Place> held;
    WorkerTurns turns;
    std::map<std::uint32_t, std::uint32_t> owner_passed,
        role_passed;  // places given to others while it had none, wanted one and could have had it

    // Callbacks only have `places` enough that only their own places are short.
    History(std::uint32_t seed, bool calls)
        : random(seed), places(calls ? 100 : below(4) + 1), owners(below(6) + 1), roles(calls ? below(8) + 1 : 0) {
        for (std::uint32_t owner = 1, database = 1; owner <= owners; owner++)
            for (std::uint32_t i = below(2) == 0 ? 1 : 1 + below(40); i > 0; i--, database++)
                desires.push_back({{{owner, database, roles == 0 ? 0 : below(roles) + 1}, 0}, false});
    }
    std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random() % limit); }
    template <class Which>
    std::uint32_t held_by(Which which) const {
        return static_cast<std::uint32_t>(std::count_if(held.begin(), held.end(), which));
    }

    void run(std::int64_t steps) {
        for (std::int64_t now = 1; now <= steps; now++) {
            for (Desire &each : desires)
                if (!each.is_one && below(3) != 0)
                    each.is_one = true, each.since_us = now;
            if (held.size() == places || (roles > 0 && !held.empty() && below(2) == 0))
                held.erase(held.begin() + below(static_cast<std::uint32_t>(held.size())));
            while (give() && roles > 0) {
            }  // while one has to leave first, a single one
        }
    }
    bool give() {
        std::vector<WorkerTurns::Wish> wishes;
        std::vector<Desire *> whose;
        for (Desire &each : desires)
            if (each.is_one)
                wishes.push_back(each), whose.push_back(&each);
        const std::uint32_t at = turns.next(wishes, held);
        if (at == WorkerTurns::kNone)
            return check_nobody_could(wishes), false;
        const WorkerTurns::Wish chosen = wishes[at];
        if (chosen.role == 0)
            pass(wishes, chosen, &WorkerTurns::Place::owner, owner_passed, owners - 1);
        else
            pass(wishes, chosen, &WorkerTurns::Place::role, role_passed,
                 roles - 1 + WorkerTurns::kCallbacks - 1);  // and by those let in with it
        turns.got(chosen);
        held.push_back(chosen);
        whose[at]->is_one = false;
        for (std::uint32_t role = 1; role <= roles; role++)
            EXPECT_LT(held_by([&](const WorkerTurns::Place &place) { return place.role == role; }),
                      WorkerTurns::kCallbacks)
                << "one role has all";
        EXPECT_LE(held_by([](const WorkerTurns::Place &place) { return place.role != 0; }), WorkerTurns::kCallbacks);
        return true;
    }
    void check_nobody_could(const std::vector<WorkerTurns::Wish> &wishes) const {
        for (const WorkerTurns::Wish &wish : wishes)
            ASSERT_FALSE(wish.role == 0 || WorkerTurns::is_within_shares(wish, held));
    }
    void pass(const std::vector<WorkerTurns::Wish> &wishes, const WorkerTurns::Wish &chosen,
              std::uint32_t WorkerTurns::Place::*who, std::map<std::uint32_t, std::uint32_t> &passed,
              std::uint32_t most) {
        std::map<std::uint32_t, bool> waits;
        for (const WorkerTurns::Wish &wish : wishes) {
            const bool could = wish.role == 0 || WorkerTurns::is_within_shares(wish, held);
            const bool has = held_by([&](const WorkerTurns::Place &place) { return place.*who == wish.*who; }) > 0;
            waits[wish.*who] = waits[wish.*who] || (could && !has && wish.*who != chosen.*who);
            ASSERT_TRUE(wish.*who != chosen.*who || !could || wish.since_us >= chosen.since_us)
                << "of one's own the longest wait";
        }
        for (const auto &[each, does] : waits)
            ASSERT_LE(passed[each] = does ? passed[each] + 1 : 0, most)
                << "it was passed over more than once by each other";
        for (auto &[each, times] : passed)
            times = waits[each] ? times : 0;
    }
};

TEST(WorkerTurns, AnOwnerIsPassedOverOnceByEachOtherOwnerAtMostInAnyHistory) {
    for (std::uint32_t seed = 0; seed < 100 && !::testing::Test::HasFailure(); seed++)
        History(seed, false).run(300);
}

TEST(WorkerTurns, ARoleWithCallbacksIsPassedOverOnceByEachOtherRoleAtMostInAnyHistory) {
    for (std::uint32_t seed = 0; seed < 100 && !::testing::Test::HasFailure(); seed++)
        History(seed, true).run(300);
}

}  // namespace
