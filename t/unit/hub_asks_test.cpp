// Questions of a node's sessions to the hub: each slot has one owner, and none is lost, whoever leaves first; who computes on a hub; what nodes wish.
#include "shmem/hub_asks.hpp"
#include "shmem/hub_leases.hpp"
#include "shmem/hub_links.hpp"

#include <gtest/gtest.h>
#include <memory>
#include <thread>
#include <vector>

namespace {

using namespace steadytext;
using shmem::HubAsks;
using shmem::HubLeases;
using State = HubAsks::State;

class Asks : public testing::Test {
protected:
    Asks()
        : memory(shmem::PayloadPool::bytes_needed(1 << 20)), pool(*shmem::PayloadPool::place(memory.data(), 1 << 20)) {}
    struct alignas(64) Line {
        char bytes[64];
    };
    struct Memory : std::vector<Line> {
        explicit Memory(std::size_t bytes) : std::vector<Line>(bytes / sizeof(Line) + 1) {}
    } memory;
    shmem::PayloadPool &pool;
    std::unique_ptr<HubAsks> asks = std::make_unique<HubAsks>();
    core::Digest key{};
};

TEST_F(Asks, AnAnswerGoesToWhoAsked) {
    const std::uint32_t slot = asks->ask(5, 7, key, false, "database/role");
    ASSERT_NE(slot, HubAsks::kNone);
    EXPECT_FALSE(asks->take(slot, 6, State::Asked)) << "of another database";
    ASSERT_TRUE(asks->take(slot, 5, State::Asked));
    ASSERT_TRUE(pool.store("an answer", (*asks)[slot].answer));
    EXPECT_TRUE(asks->answer(slot, State::Found, pool));
    EXPECT_EQ(asks->state(slot), State::Found);
    EXPECT_FALSE(asks->leave(slot, false, pool));
    EXPECT_EQ(asks->state(slot), State::Free);
    EXPECT_EQ(pool.chunks_in_use(), 0U);
}

TEST_F(Asks, WhoLeavesLeavesNothing) {
    const std::uint32_t slot = asks->ask(5, 7, key, false, "s");
    ASSERT_TRUE(asks->take(slot, 5, State::Asked));
    EXPECT_FALSE(asks->leave(slot, false, pool));
    EXPECT_EQ(asks->state(slot), State::Left);
    ASSERT_TRUE(pool.store("an answer", (*asks)[slot].answer));
    EXPECT_FALSE(asks->answer(slot, State::Found, pool));
    EXPECT_EQ(asks->state(slot), State::Free);
    EXPECT_EQ(pool.chunks_in_use(), 0U);
}

TEST_F(Asks, WhoComputesTellsTheEnd) {
    const std::uint32_t slot = asks->ask(5, 7, key, false, "s");
    ASSERT_TRUE(asks->take(slot, 5, State::Asked));
    EXPECT_TRUE(asks->answer(slot, State::Lead, pool));
    EXPECT_TRUE(asks->leave(slot, true, pool)) << "the worker is to be woken";
    EXPECT_TRUE(asks->take(slot, 5, State::Kept));
    asks->free(slot);
    const std::uint32_t other = asks->ask(5, 7, key, false, "s");
    ASSERT_TRUE(asks->take(other, 5, State::Asked));
    EXPECT_FALSE(asks->leave(other, false, pool));
    EXPECT_FALSE(asks->answer(other, State::Lead, pool)) << "it has left";
    EXPECT_EQ(asks->state(other), State::Failed) << "but the hub keeps others waiting for it";
}

TEST_F(Asks, AScopeThatIsTooLongIsNotAsked) {
    EXPECT_EQ(asks->ask(5, 7, key, false, std::string(HubAsks::kScopeBytes + 1, 'x')), HubAsks::kNone);
}

TEST_F(Asks, SessionsAndWorkerAtOnceLoseNoSlot) {
    std::atomic<bool> is_over{false};
    std::vector<std::thread> sessions;
    for (int each = 0; each < 4; each++)
        sessions.emplace_back([&, each] {
            for (int i = 0; i < 20'000; i++) {
                const std::uint32_t slot = asks->ask(5, each, key, false, "s");
                if (slot == HubAsks::kNone)
                    continue;
                for (int look = 0; look < (i % 3) * 40; look++)
                    if (asks->state(slot) != State::Asked && asks->state(slot) != State::Taken)
                        break;
                (void)asks->leave(slot, i % 2 == 0, pool);
            }
        });
    std::thread worker([&] {
        for (int round = 0; !is_over.load() || round < 2; round = is_over.load() ? round + 1 : 0)
            for (std::uint32_t i = 0; i < HubAsks::kSlots; i++) {
                if (asks->take(i, 5, State::Kept) || asks->take(i, 5, State::Failed)) {
                    asks->free(i);
                } else if (asks->take(i, 5, State::Asked)) {
                    const bool is_stored = i % 3 == 0 && pool.store("an answer", (*asks)[i].answer);
                    (void)asks->answer(i, is_stored ? State::Found : i % 3 == 1 ? State::Lead : State::None, pool);
                }
            }
    });
    for (std::thread &each : sessions)
        each.join();
    is_over.store(true);
    worker.join();
    for (std::uint32_t i = 0; i < HubAsks::kSlots; i++)
        EXPECT_EQ(asks->state(i), State::Free) << i;
    EXPECT_EQ(pool.chunks_in_use(), 0U);
}

TEST(HubLeases, OneHolderAtATime) {
    auto leases = std::make_unique<HubLeases>();
    const HubLeases::What what{1, 2, {}}, other_role{1, 3, {}};
    EXPECT_EQ(leases->claim(what, 10, 100), HubLeases::Verdict::Mine);
    EXPECT_EQ(leases->claim(what, 10, 100), HubLeases::Verdict::Mine) << "again";
    EXPECT_EQ(leases->claim(what, 11, 100), HubLeases::Verdict::Others);
    EXPECT_EQ(leases->claim(other_role, 11, 100), HubLeases::Verdict::Mine) << "roles do not share";
    leases->end(what, 11, false, 100);
    EXPECT_EQ(leases->claim(what, 11, 100), HubLeases::Verdict::Others) << "only its holder ends it";
    leases->end(what, 10, true, 100);
    EXPECT_EQ(leases->claim(what, 11, 101), HubLeases::Verdict::Others) << "the answer is on its way";
    EXPECT_EQ(leases->claim(what, 11, 100 + HubLeases::kSettleUs), HubLeases::Verdict::Mine);
    leases->end_of(11);
    EXPECT_EQ(leases->claim(what, 12, 101), HubLeases::Verdict::Mine) << "with its holder";
    EXPECT_EQ(leases->claim(what, 13, 101 + HubLeases::kLongestUs), HubLeases::Verdict::Mine)
        << "or when it has lasted too long";
}

TEST(HubLeases, NobodyTakesAllPlaces) {
    auto leases = std::make_unique<HubLeases>();
    std::uint32_t held = 0;
    HubLeases::What what{1, 2, {}};
    for (std::uint32_t i = 0; i < 10'000; i++) {
        std::memcpy(what.key.bytes, &i, sizeof i);
        held += leases->claim(what, 10, 100) == HubLeases::Verdict::Mine;
    }
    EXPECT_EQ(held, HubLeases::kPerHolder);
    EXPECT_EQ(leases->claim(what, 10, 101 + HubLeases::kLongestUs), HubLeases::Verdict::Mine)
        << "what is over is of no account";
    what.role = 9;
    std::uint32_t others = 0;
    for (std::uint32_t i = 0; i < 100; i++) {
        const std::uint32_t spread = i * 20;
        std::memcpy(what.key.bytes, &spread, sizeof spread);
        others += leases->claim(what, 11, 100) == HubLeases::Verdict::Mine;
    }
    EXPECT_GT(others, 50U);
}

TEST(HubLinks, WishesAreTakenTogetherAndComeBack) {
    auto link = std::make_unique<shmem::HubLink>();
    const std::uint32_t roles[] = {5, 6, 5}, all[] = {0};
    EXPECT_EQ(link->wish(roles, 3), 1U);
    EXPECT_EQ(link->wish(roles, 1), 2U);
    shmem::HubLink::Wishes wishes;
    link->take_wishes(wishes);
    EXPECT_EQ(wishes.last, 2U);
    EXPECT_EQ(wishes.count, 2U);
    EXPECT_FALSE(wishes.all);
    link->wish_again(wishes);
    (void)link->wish(all, 1);
    link->take_wishes(wishes);
    EXPECT_EQ(wishes.last, 4U);
    EXPECT_EQ(wishes.count, 2U);
    EXPECT_TRUE(wishes.all);
    for (std::uint32_t role = 1; role < 100; role++)
        (void)link->wish(&role, 1);
    link->take_wishes(wishes);
    EXPECT_TRUE(wishes.all) << "more roles than are kept apart";
}

TEST(HubLinks, CurrentnessHasABound) {
    auto link = std::make_unique<shmem::HubLink>();
    EXPECT_FALSE(link->is_current(100, 50));
    EXPECT_FALSE(link->is_current(100, 0)) << "nothing was heard yet";
    link->current_as_of_us.store(60);
    EXPECT_TRUE(link->is_current(100, 50));
    EXPECT_FALSE(link->is_current(110, 50));
    EXPECT_TRUE(link->is_current(100'000, 0)) << "no bound";
}

}  // namespace
