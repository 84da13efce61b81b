// The slot table: every arrow of its diagram, every race between a session and the gateway, and no slot lost.
#include "shmem/slot_table.hpp"
#include "shmem/submit_ring.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

// Boost's free list reads the link of a node that another thread may just have taken, and lets the compare-and-swap on
// the tagged head throw the stale value away (boostorg/lockfree, detail/freelist.hpp). That read is not atomic; nothing of
// ours is excused.
extern "C" const char *__tsan_default_suppressions();
extern "C" const char *__tsan_default_suppressions() { return "race:boost::lockfree::queue"; }

namespace {

using namespace steadytext::shmem;

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
    EXPECT_TRUE(table.slots.claim(0, id));
    table.slots.publish(id);
    return id;
}

TEST(SlotTable, CarriesARequestThroughAllItsStates) {
    Table table(2);
    SlotId id{};
    ASSERT_TRUE(table.slots.claim(1, id));
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
        ASSERT_TRUE(table.slots.claim(7, id));
    EXPECT_FALSE(table.slots.claim(7, id));
    table.slots.release(id, table.pool);
    EXPECT_TRUE(table.slots.claim(0, id));
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
    ASSERT_TRUE(table.slots.claim(0, id));
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

// Sessions ask, some give up at a random moment; the gateway answers "question!" to each question. Invariants: an answer
// is the answer to one's own question, every slot comes back, every chunk comes back.
class Traffic {
public:
    Traffic(std::uint32_t slots, int sessions, int rounds) : table_(slots), sessions_(sessions), rounds_(rounds) {}

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
    }

private:
    void ask_many(int session) {
        std::mt19937 random(static_cast<unsigned>(session));
        for (int round = 0; round < rounds_; round++) {
            SlotId id{};
            while (!table_.slots.claim(random(), id))
                std::this_thread::yield();
            const std::string question = std::to_string(session) + ":" + std::to_string(round);
            ASSERT_TRUE(table_.pool.store(question, table_.slots[id.index].request));
            table_.slots.publish(id);
            (void)table_.ring->push(id.index);
            wait_or_give_up(id, question, random() % 4 == 0 ? static_cast<int>(random() % 20) : INT32_MAX);
        }
    }

    void wait_or_give_up(SlotId id, const std::string &question, int patience) {
        while (!table_.slots.is_done(id) && patience-- > 0)
            std::this_thread::yield();
        if (!table_.slots.is_done(id) && table_.slots.abandon(id, Abandon::Cancelled)) {
            given_up_.fetch_add(1);
            (void)table_.ring->push(id.index);
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
    std::atomic<bool> stop_{false};
    std::atomic<int> answered_{0};
    std::atomic<int> given_up_{0};
};

TEST(SlotTable, LosesAndMixesUpNothingUnderTraffic) { Traffic(16, 4, 3000).run(); }

TEST(SlotTable, LosesAndMixesUpNothingWhenSlotsAreScarce) { Traffic(2, 4, 1500).run(); }

}  // namespace
