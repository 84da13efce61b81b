// Whose entry of a full set gives way: shmem/fair_ways.hpp.
#include "shmem/fair_ways.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace {

using steadytext::shmem::way_to_give;

struct Set {
    std::array<std::uint32_t, 8> holders{};
    std::array<int, 8> worths{};

    std::size_t give(std::uint32_t role) const {
        return way_to_give<8>(
            role, [&](std::size_t i) { return holders[i]; }, [&](std::size_t i) { return worths[i]; });
    }
    std::ptrdiff_t held_by(std::uint32_t role) const { return std::count(holders.begin(), holders.end(), role); }
};

TEST(FairWays, OfOneRoleTheLeastGoes) {
    const Set set{{1, 1, 1, 1, 1, 1, 1, 1}, {5, 4, 3, 2, 7, 8, 9, 6}};
    EXPECT_EQ(set.give(1), 3U);
    EXPECT_EQ(set.give(2), 3U);
}

TEST(FairWays, ARoleTakesNoMoreThanItsShareFromAnother) {
    Set set{{1, 1, 1, 1, 1, 1, 1, 1}, {}};
    for (int i = 0; i < 1000; i++)
        if (const std::size_t way = set.give(2); way < 8)
            set.holders[way] = 2;
    EXPECT_EQ(set.held_by(1), 4);
    EXPECT_EQ(set.held_by(2), 4);
    for (std::uint32_t role = 3; role < 100; role++)
        for (int i = 0; i < 100; i++)
            if (const std::size_t way = set.give(role); way < 8)
                set.holders[way] = role;
    EXPECT_GE(set.held_by(1), 1) << "and never its last, whoever comes";
    EXPECT_GE(set.held_by(2), 1);
}

TEST(FairWays, AFullSetOfOthersHasNoRoom) {
    const Set set{{1, 2, 3, 4, 5, 6, 7, 8}, {}};
    EXPECT_EQ(set.give(9), 8U);
    EXPECT_EQ(set.give(3), 2U) << "but each its own";
}

}  // namespace
