// A hub takes each batch once, and no role makes it forget another role's nodes.
#include "shmem/hub_nodes.hpp"

#include <gtest/gtest.h>
#include <memory>

namespace {

using steadytext::shmem::HubNodes;
using State = HubNodes::Claim::State;

TEST(HubNodes, ABatchIsTakenOnce) {
    auto nodes = std::make_unique<HubNodes>();
    const HubNodes::Who who{1, 2, 3};
    const HubNodes::Claim first = nodes->claim(who, 1, 100);
    EXPECT_EQ(first.state, State::Mine);
    EXPECT_EQ(nodes->claim(who, 1, 101).state, State::Busy) << "it is being taken";
    EXPECT_EQ(nodes->claim(who, 2, 101).state, State::Busy);
    nodes->settle(first.place, 7, 2);
    const HubNodes::Claim again = nodes->claim(who, 1, 102);
    EXPECT_EQ(again.state, State::Done);
    EXPECT_EQ(again.done, 7U) << "as many as the first time";
    const HubNodes::Claim next = nodes->claim(who, 2, 103);
    EXPECT_EQ(next.state, State::Mine);
    nodes->settle(next.place, 1, 0);
    EXPECT_EQ(nodes->claim(who, 1, 104).state, State::Passed) << "an earlier one is not the node's";

    HubNodes::Node seen[HubNodes::kNodes];
    ASSERT_EQ(nodes->copy(1, seen), 1U);
    EXPECT_EQ(seen[0].taken, 6U);
    EXPECT_EQ(seen[0].refused, 2U);
    EXPECT_EQ(seen[0].seen_us, 104);
    EXPECT_EQ(nodes->copy(9, seen), 0U) << "of another database";
}

TEST(HubNodes, OthersAreOthers) {
    auto nodes = std::make_unique<HubNodes>();
    for (const HubNodes::Who who : {HubNodes::Who{1, 2, 3}, {9, 2, 3}, {1, 9, 3}, {1, 2, 9}})
        EXPECT_EQ(nodes->claim(who, 1, 100).state, State::Mine);
}

TEST(HubNodes, ARoleHasItsShare) {
    auto nodes = std::make_unique<HubNodes>();
    const HubNodes::Who quiet{1, 1, 1};
    nodes->settle(nodes->claim(quiet, 5, 1).place, 1, 0);
    for (std::uint64_t i = 0; i < 10'000; i++)
        nodes->settle(nodes->claim({1, 2, i}, 1, 100 + static_cast<std::int64_t>(i)).place, 1, 0);
    EXPECT_EQ(nodes->claim(quiet, 5, 1'000'000).state, State::Done) << "the quiet node is known yet";
    HubNodes::Node seen[HubNodes::kNodes];
    EXPECT_EQ(nodes->copy(1, seen), HubNodes::kPerRole + 1);
    EXPECT_EQ(nodes->claim({1, 2, 9'999}, 1, 1'000'001).state, State::Done) << "of its own role's the latest";
}

TEST(HubNodes, AFullTableForgetsTheLongestSilent) {
    auto nodes = std::make_unique<HubNodes>();
    for (std::uint32_t i = 0; i < HubNodes::kNodes; i++)
        nodes->settle(nodes->claim({1, 100 + i, 1}, 1, 1 + i).place, 1, 0);
    nodes->settle(nodes->claim({1, 9, 1}, 1, 10'000).place, 1, 0);
    EXPECT_EQ(nodes->claim({1, 101, 1}, 1, 10'001).state, State::Done);
    EXPECT_EQ(nodes->claim({1, 100, 1}, 1, 10'002).state, State::Mine) << "this one was forgotten";
}

}  // namespace
