// The slot table: every arrow of its diagram, every race between a session and the gateway, and no slot lost.
#include "shmem/slot_table.hpp"
#include "src/core/fair_share.hpp"
#include "shmem/submit_ring.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

// Boost's free list reads the link of a node that another thread may just have taken, and lets the compare-and-swap on
// the tagged head throw the stale value away (boostorg/lockfree, detail/freelist.hpp). That read is not atomic; nothing
// of ours is excused.
extern "C" const char *__tsan_default_suppressions();
extern "C" const char *__tsan_default_suppressions() { return "race:boost::lockfree::queue"; }

namespace {

using namespace steadytext::shmem;
using steadytext::core::FairShare;

constexpr Claimant kMe{7, 100};

class Table {
public:
    explicit Table(std::uint32_t size, std::size_t payload = 1 << 20)
        : memory_(static_cast<char *>(std::aligned_alloc(64, round_up(SlotTable::bytes_needed(size))))),
          payload_memory_(static_cast<char *>(std::aligned_alloc(64, round_up(PayloadPool::bytes_needed(payload))))),
          slots(*SlotTable::place(memory_, size)), pool(*PayloadPool::place(payload_memory_, payload)),
          ring(std::make_unique<SubmitRing>()) {}
    ~Table() {
        std::free(memory_);
        std::free(payload_memory_);
    }

private:
    char *memory_;
    char *payload_memory_;

public:
    SlotTable &slots;
    PayloadPool &pool;
    std::unique_ptr<SubmitRing> ring;
};

SlotId published(Table &table) {
    SlotId id{};
    EXPECT_TRUE(table.slots.claim(0, kMe, id));
    table.slots.publish(id);
    return id;
}

TEST(SlotTable, CarriesARequestThroughAllItsStates) {
    Table table(2);
    SlotId id{};
    ASSERT_TRUE(table.slots.claim(1, kMe, id));
    EXPECT_EQ(id.index, 1U) << "the search begins where the session asks";
    EXPECT_EQ(table.slots.state(id.index), SlotState::Claimed);
    table.slots.publish(id);
    EXPECT_EQ(table.slots.state(id.index), SlotState::Queued);
    ASSERT_TRUE(table.slots.take(id));
    EXPECT_TRUE(table.slots.is_inflight(id));
    ASSERT_TRUE(table.slots.complete(id));
    EXPECT_TRUE(table.slots.is_done(id));
    table.slots.release(id, table.pool);
    EXPECT_EQ(table.slots.in_use(), 0U);
}

TEST(SlotTable, IsFullWhenEverySlotIsClaimed) {
    Table table(3);
    SlotId id{};
    for (int i = 0; i < 3; i++)
        ASSERT_TRUE(table.slots.claim(7, kMe, id));
    EXPECT_FALSE(table.slots.claim(7, kMe, id));
    table.slots.release(id, table.pool);
    EXPECT_TRUE(table.slots.claim(0, kMe, id));
}

TEST(SlotTable, ASlotUsedAgainIsAnotherRequest) {
    Table table(1);
    const SlotId old = published(table);
    ASSERT_TRUE(table.slots.abandon(old, Abandon::Cancelled));
    table.slots.reclaim(old, table.pool);

    const SlotId young = published(table);
    EXPECT_NE(old.generation, young.generation);
    EXPECT_FALSE(table.slots.take(old)) << "a stale hint cannot take the new request";
    ASSERT_TRUE(table.slots.take(young));
    EXPECT_FALSE(table.slots.complete(old)) << "a late reply cannot complete the new request";
    EXPECT_FALSE(table.slots.is_inflight(old));
    table.slots.reclaim(old, table.pool);
    EXPECT_TRUE(table.slots.is_inflight(young)) << "a late reclaim cannot free the new request";
}

TEST(SlotTable, WhoeverIsFirstWins) {
    Table table(2);
    const SlotId abandoned = published(table);
    ASSERT_TRUE(table.slots.take(abandoned));
    ASSERT_TRUE(table.slots.abandon(abandoned, Abandon::TimedOut));
    EXPECT_FALSE(table.slots.complete(abandoned)) << "the session gave up first: the gateway frees";

    const SlotId completed = published(table);
    ASSERT_TRUE(table.slots.take(completed));
    ASSERT_TRUE(table.slots.complete(completed));
    EXPECT_FALSE(table.slots.abandon(completed, Abandon::TimedOut)) << "the gateway was first: the session frees";
}

TEST(SlotTable, GivesBothPayloadsBackWithTheSlot) {
    Table table(1);
    SlotId id{};
    ASSERT_TRUE(table.slots.claim(0, kMe, id));
    ASSERT_TRUE(table.pool.store("question", table.slots[id.index].request));
    table.slots.publish(id);
    ASSERT_TRUE(table.slots.take(id));
    ASSERT_TRUE(table.pool.store("answer", table.slots[id.index].reply));
    ASSERT_TRUE(table.slots.abandon(id, Abandon::Cancelled));
    table.slots.reclaim(id, table.pool);
    EXPECT_EQ(table.pool.chunks_in_use(), 0U);
}

TEST(SlotTable, ARequestPutBackCanBeTakenAgain) {
    Table table(1);
    const SlotId id = published(table);
    ASSERT_TRUE(table.slots.take(id));
    ASSERT_TRUE(table.slots.put_back(id));
    EXPECT_TRUE(table.slots.take(id));
}

// ---- what is taken back --------------------------------------------------------------------------------------------

TEST(SlotTable, WhatIsPastItsDeadlineIsTakenBackInAnyPublishedState) {
    Table table(3);
    const SlotId queued = published(table), inflight = published(table), done = published(table);
    ASSERT_TRUE(table.slots.take(inflight));
    ASSERT_TRUE(table.slots.take(done));
    ASSERT_TRUE(table.slots.complete(done));
    for (const SlotId id : {queued, inflight, done}) {
        ASSERT_TRUE(table.slots.expire(id));
        EXPECT_EQ(table.slots.state(id.index), SlotState::Abandoned);
        EXPECT_EQ(table.slots.abandoned_because(id.index), Abandon::TimedOut);
        EXPECT_FALSE(table.slots.is_done(id));
        EXPECT_FALSE(table.slots.pin(id)) << "the session finds it gone";
        EXPECT_FALSE(table.slots.abandon(id, Abandon::Cancelled));
        table.slots.release(id, table.pool);
        EXPECT_EQ(table.slots.state(id.index), SlotState::Abandoned) << "and frees nothing";
        table.slots.reclaim(id, table.pool);
    }
    EXPECT_EQ(table.slots.in_use(), 0U);
}

TEST(SlotTable, WhatIsPinnedIsNotTakenBackAndStillMovesOn) {
    Table table(1);
    const SlotId id = published(table);
    ASSERT_TRUE(table.slots.pin(id));
    ASSERT_TRUE(table.slots.take(id)) << "the gateway does its work beside it";
    EXPECT_FALSE(table.slots.expire(id));
    ASSERT_TRUE(table.slots.complete(id));
    EXPECT_FALSE(table.slots.expire(id));
    table.slots.unpin(id);
    ASSERT_TRUE(table.slots.pin(id));
    table.slots.release(id, table.pool);
    EXPECT_EQ(table.slots.in_use(), 0U);
}

TEST(SlotTable, ASessionThatWasStoppedTouchesNoSlotThatIsAnothersNow) {
    Table table(1);
    const SlotId old = published(table);
    ASSERT_TRUE(table.slots.take(old));
    ASSERT_TRUE(table.slots.expire(old));
    table.slots.reclaim(old, table.pool);
    SlotId young{};
    ASSERT_TRUE(table.slots.claim(0, Claimant{8, 200}, young));
    ASSERT_EQ(young.index, old.index);
    EXPECT_EQ(table.slots.owner(young.index), 8);
    for (const bool is_published : {false, true}) {
        if (is_published)
            table.slots.publish(young);
        EXPECT_FALSE(table.slots.pin(old));
        EXPECT_FALSE(table.slots.is_done(old));
        EXPECT_FALSE(table.slots.abandon(old, Abandon::TimedOut));
        table.slots.release(old, table.pool);
        table.slots.publish(old);
        EXPECT_EQ(table.slots.state(young.index), is_published ? SlotState::Queued : SlotState::Claimed);
    }
}

TEST(SlotTable, WhatAProcessLeftBehindIsTakenBackPinnedOrNot) {
    Table table(2);
    SlotId claimed{};
    ASSERT_TRUE(table.slots.claim(0, kMe, claimed));
    const SlotId pinned = published(table);
    ASSERT_TRUE(table.slots.take(pinned));
    ASSERT_TRUE(table.slots.pin(pinned));
    for (const SlotId id : {claimed, pinned}) {
        ASSERT_TRUE(table.slots.bury(id));
        table.slots.reclaim(id, table.pool);
    }
    EXPECT_EQ(table.slots.in_use(), 0U);
    EXPECT_FALSE(table.slots.bury(claimed));
}

TEST(SlotTable, WhatRolesHoldIsCountedFromTheSlots) {
    Table table(4);
    SlotId first{}, second{}, others{};
    ASSERT_TRUE(table.slots.claim(0, kMe, first));
    ASSERT_TRUE(table.slots.claim(0, kMe, second));
    ASSERT_TRUE(table.slots.claim(0, Claimant{9, 200}, others));
    table.slots[first.index].chunks.store(3);
    table.slots[others.index].chunks.store(5);
    EXPECT_EQ(table.slots.held_by(100).slots, 2U);
    EXPECT_EQ(table.slots.held_by(100).chunks, 3U);
    EXPECT_EQ(table.slots.held_by(200).chunks, 5U);
    table.slots.release(first, table.pool);
    EXPECT_EQ(table.slots.held_by(100).slots, 1U);
    EXPECT_EQ(table.slots.held_by(100).chunks, 0U);
    EXPECT_EQ(table.slots.held_by(300).slots, 0U);
}

// ---- shares --------------------------------------------------------------------------------------------------------

TEST(FairShare, OneRoleLeavesAQuarterAndThereIsAlwaysRoomForAnother) {
    const auto most = [](std::uint32_t others, std::uint32_t size) {
        std::uint32_t held = 0;
        while (FairShare::allows(held, 1, held + others, size))
            held++;
        return held;
    };
    EXPECT_EQ(most(0, 256), 192U);
    EXPECT_EQ(most(192, 256), 48U) << "a second role";
    EXPECT_EQ(most(240, 256), 12U) << "a third";
    EXPECT_EQ(most(255, 256), 1U) << "who holds nothing gets the last one";
    EXPECT_EQ(most(256, 256), 0U);
    EXPECT_EQ(most(0, 4), 3U);
    EXPECT_EQ(most(0, 1), 1U);
}

TEST(FairShare, GreedyRolesEndUpEqual) {
    constexpr std::uint32_t kSize = 256;
    for (const std::size_t roles : {2U, 5U, 9U}) {
        std::vector<std::uint32_t> held(roles);
        std::uint32_t in_use = 0;
        std::mt19937 random(7);
        for (int step = 0; step < 100'000; step++) {
            std::uint32_t &mine = held[random() % roles];
            if (FairShare::allows(mine, 1, in_use, kSize)) {
                mine++;
                in_use++;
            }
            std::uint32_t &ends = held[random() % roles];
            if (random() % 2 == 0 && ends > 0) {
                ends--;
                in_use--;
            }
        }
        const double fair = 3.0 * kSize / static_cast<double>(3 * roles + 1);
        for (const std::uint32_t mine : held)
            EXPECT_NEAR(mine, fair, 0.3 * fair + 2) << roles << " roles";
        EXPECT_LT(in_use, kSize) << "something is left for a role that comes";
    }
}

TEST(FairShare, WhatIsAllowedToAnyoneNeedsNoCount) {
    for (std::uint32_t in_use = 0; in_use <= 64; in_use++)
        for (std::uint32_t held = 0; held <= in_use; held++)
            if (FairShare::allows_anyone(1, in_use, 64)) {
                EXPECT_TRUE(FairShare::allows(held, 1, in_use, 64)) << held << " of " << in_use;
            }
}

TEST(SubmitRing, IsLockFreeAndKeepsTheOrder) {
    auto ring = std::make_unique<SubmitRing>();
    EXPECT_TRUE(ring->is_lock_free());
    for (std::uint32_t i = 0; i < 100; i++)
        ASSERT_TRUE(ring->push(i));
    for (std::uint32_t i = 0; i < 100; i++) {
        std::uint32_t popped;
        ASSERT_TRUE(ring->pop(popped));
        EXPECT_EQ(popped, i);
    }
    std::uint32_t none;
    EXPECT_FALSE(ring->pop(none));
}

// Sessions ask, some give up at a random moment; the gateway answers "question!" to each question. Invariants: an
// answer is the answer to one's own question, every slot comes back, every chunk comes back.
class Traffic {
public:
    Traffic(std::uint32_t slots, int sessions, int rounds, bool expires = false)
        : table_(slots), sessions_(sessions), rounds_(rounds), expires_(expires) {}

    void run() {
        std::thread gateway([this] { answer_until_stopped(); });
        std::vector<std::thread> sessions;
        for (int s = 0; s < sessions_; s++)
            sessions.emplace_back([this, s] { ask_many(s); });
        for (std::thread &session : sessions)
            session.join();
        stop_.store(true);
        gateway.join();
        EXPECT_EQ(table_.slots.in_use(), 0U);
        EXPECT_EQ(table_.pool.chunks_in_use(), 0U);
        EXPECT_GT(answered_.load(), 0);
        EXPECT_GT(given_up_.load(), 0);
        EXPECT_EQ(taken_back_.load() > 0, expires_);
    }

private:
    void ask_many(int session) {
        std::mt19937 random(static_cast<unsigned>(session));
        for (int round = 0; round < rounds_; round++) {
            SlotId id{};
            while (!table_.slots.claim(random(), kMe, id))
                std::this_thread::yield();
            const std::string question = std::to_string(session) + ":" + std::to_string(round);
            ASSERT_TRUE(table_.pool.store(question, table_.slots[id.index].request));
            table_.slots.publish(id);
            (void)table_.ring->push(id.index);
            wait_or_give_up(id, question, random() % 4 == 0 ? static_cast<int>(random() % 20) : INT32_MAX);
        }
    }

    void wait_or_give_up(SlotId id, const std::string &question, int patience) {
        while (!table_.slots.is_done(id) && patience-- > 0 && table_.slots.generation(id.index) == id.generation)
            std::this_thread::yield();
        if (!table_.slots.is_done(id) && table_.slots.abandon(id, Abandon::Cancelled)) {
            given_up_.fetch_add(1);
            (void)table_.ring->push(id.index);
            return;
        }
        if (!table_.slots.pin(id)) {
            taken_back_.fetch_add(1);
            table_.slots.release(id, table_.pool);  // does nothing
            return;
        }
        ASSERT_TRUE(table_.slots.is_done(id));
        const Chain &reply = table_.slots[id.index].reply;
        std::string answer(reply.bytes, '\0');
        ASSERT_TRUE(table_.pool.copy_out(reply, answer.data()));
        EXPECT_EQ(answer, question + "!");
        answered_.fetch_add(1);
        table_.slots.release(id, table_.pool);
    }

    void answer_until_stopped() {
        for (bool last_round = false;; last_round = stop_.load()) {
            for (std::uint32_t index; table_.ring->pop(index);)
                look_at(index);
            for (std::uint32_t index = 0; index < table_.slots.size(); index++)  // the sweep
                look_at(index);
            if (last_round)
                return;
            std::this_thread::yield();
        }
    }

    void look_at(std::uint32_t index) {
        const SlotId id{index, table_.slots.generation(index)};
        if (expires_ && expiring_() % 8 == 0)
            (void)table_.slots.expire(id);
        if (table_.slots.state(index) == SlotState::Abandoned)
            table_.slots.reclaim(id, table_.pool);
        if (!table_.slots.take(id))
            return;
        Slot &slot = table_.slots[index];
        std::string text(slot.request.bytes, '\0');
        ASSERT_TRUE(table_.pool.copy_out(slot.request, text.data()));
        ASSERT_TRUE(table_.pool.store(text + "!", slot.reply));
        if (!table_.slots.complete(id))
            table_.slots.reclaim(id, table_.pool);
    }

    Table table_;
    int sessions_;
    int rounds_;
    bool expires_;
    std::mt19937 expiring_{1};  // the gateway's
    std::atomic<int> taken_back_{0};
    std::atomic<bool> stop_{false};
    std::atomic<int> answered_{0};
    std::atomic<int> given_up_{0};
};

TEST(SlotTable, LosesAndMixesUpNothingUnderTraffic) { Traffic(16, 4, 3000).run(); }

TEST(SlotTable, LosesAndMixesUpNothingWhenTheGatewayTakesBack) { Traffic(4, 4, 1500, true).run(); }

TEST(SlotTable, LosesAndMixesUpNothingWhenSlotsAreScarce) { Traffic(2, 4, 1500).run(); }

}  // namespace
