// Whose request gets the next slot: hundreds of one peer do not keep another out.
#include "daemon/peer_line.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

struct Item {
    std::uint64_t peer;
    int number;
    bool is_background = false;
};
using Line = steadytext::daemon::PeerLine<Item>;

TEST(PeerLine, OfOnePeerInTheOrderTheyCame) {
    Line line;
    EXPECT_TRUE(line.empty());
    for (int i = 0; i < 5; i++)
        line.put({7, i});
    Line::AtWork at_work;
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(line.take(at_work).number, i);
        at_work[7]++;
    }
    EXPECT_TRUE(line.empty());
}

TEST(PeerLine, APeerThatHasNoneAtWorkIsNext) {
    Line line;
    for (int i = 0; i < 300; i++)
        line.put({1, i});
    line.put({2, 1000});
    line.put({3, 1001});
    Line::AtWork at_work{{1, 8}};
    EXPECT_EQ(line.take(at_work).number, 1000);
    at_work[2]++;
    EXPECT_EQ(line.take(at_work).number, 1001);
    at_work[3]++;
    EXPECT_EQ(line.take(at_work).number, 0);
}

TEST(PeerLine, SlotsAreSharedEvenly) {
    Line line;
    for (int i = 0; i < 100; i++)
        line.put({static_cast<std::uint64_t>(i < 80 ? 1 : 2), i});
    Line::AtWork at_work;
    for (int i = 0; i < 8; i++)
        at_work[line.take(at_work).peer]++;
    EXPECT_EQ(at_work[1], 4U);
    EXPECT_EQ(at_work[2], 4U);
}

TEST(PeerLine, WhatIsInTheBackgroundComesLast) {
    Line line;
    line.put({1, 0, true});
    line.put({2, 1, true});
    EXPECT_FALSE(line.has_interactive());
    line.put({1, 2});
    line.put({1, 3});
    EXPECT_TRUE(line.has_interactive());
    Line::AtWork at_work{{1, 8}};
    EXPECT_EQ(line.take(at_work).number, 2) << "also of a peer that has many at work";
    EXPECT_EQ(line.take(at_work).number, 3);
    EXPECT_FALSE(line.has_interactive());
    EXPECT_EQ(line.take(at_work).number, 1) << "among themselves they take turns";
    EXPECT_EQ(line.take(at_work).number, 0);
}

TEST(PeerLine, WhatIsGivenUpIsTakenOut) {
    Line line;
    for (int i = 0; i < 6; i++)
        line.put({1, i});
    line.erase_if([](const Item &item) { return item.number % 2 == 0; });
    EXPECT_EQ(line.take({}).number, 1);
    EXPECT_EQ(line.take({}).number, 3);
    EXPECT_EQ(line.take({}).number, 5);
    EXPECT_TRUE(line.empty());
}

}  // namespace
