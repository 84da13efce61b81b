// The line for slots and payload memory: whose turn it is, whom nobody may hold up, and that no wake is lost.
#include "shmem/waiting_line.hpp"
#include "src/core/fair_share.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace {

using namespace steadytext::shmem;
using steadytext::core::FairShare;

constexpr std::int64_t kNow = 1'000, kLater = 2'000;
constexpr std::size_t kChunk = PayloadPool::kChunkBytes;

class Room {
public:
    Room(std::uint32_t size, std::uint32_t chunks, std::uint32_t processes = 512)
        : slots_memory_(take(SlotTable::bytes_needed(size))),
          pool_memory_(take(PayloadPool::bytes_needed(chunks * kChunk))),
          line_memory_(take(WaitingLine::bytes_needed(processes))), slots(*SlotTable::place(slots_memory_.get(), size)),
          pool(*PayloadPool::place(pool_memory_.get(), chunks * kChunk)),
          line(*WaitingLine::place(line_memory_.get(), processes)) {}

    // A request of the role under way, with so much memory; fails the test if there is none.
    SlotId hold(std::uint32_t role, std::uint32_t chunks = 0) {
        SlotId id{};
        EXPECT_TRUE(slots.claim(0, {0, role}, id));
        EXPECT_TRUE(pool.allocate(chunks * kChunk, slots[id.index].request));
        slots[id.index].chunks.store(chunks);
        return id;
    }
    void join(std::int32_t process, std::uint32_t role, std::uint32_t chunks = 0, std::int64_t deadline_us = kLater) {
        line.join(process, {role, chunks, deadline_us});
    }
    // The processes that are called, in order.
    std::vector<std::int32_t> call(std::int64_t now_us = kNow) {
        std::vector<std::int32_t> called;
        line.call(slots, pool, now_us, [&](std::int32_t process) { called.push_back(process); });
        return called;
    }

private:
    using Memory = std::unique_ptr<char, decltype(&std::free)>;
    static Memory take(std::size_t bytes) {
        return {static_cast<char *>(std::aligned_alloc(64, round_up(bytes))), &std::free};
    }
    Memory slots_memory_, pool_memory_, line_memory_;

public:
    SlotTable &slots;
    PayloadPool &pool;
    WaitingLine &line;
};

using Processes = std::vector<std::int32_t>;

TEST(WaitingLine, CallsTheSessionsOfARoleInTheirOrderAsItsShareAllows) {
    Room room(4, 100);
    const SlotId held[] = {room.hold(1), room.hold(1), room.hold(1)};
    for (const int process : {7, 3, 5})
        room.join(process, 1);
    EXPECT_EQ(room.call(), Processes{}) << "its share is three of four";
    room.slots.release(held[0], room.pool);
    EXPECT_EQ(room.call(), Processes{7});
    EXPECT_TRUE(room.line.take_call(7));
    EXPECT_FALSE(room.line.take_call(7)) << "once";
    EXPECT_FALSE(room.line.take_call(3));
    room.line.leave(7);  // cancelled: it took nothing
    EXPECT_EQ(room.call(), Processes{3});
    room.slots.release(held[1], room.pool);
    EXPECT_EQ(room.call(), (Processes{3, 5})) << "who has not taken its room yet keeps its place";
    EXPECT_EQ(room.line.count(), 2U);
}

TEST(WaitingLine, DoesNotHaveOneRoleWaitForAnothersShare) {
    Room room(4, 100);
    for (int i = 0; i < 3; i++)
        room.hold(1);
    for (int process = 0; process < 100; process++)
        room.join(process, 1);
    room.join(200, 2);
    EXPECT_EQ(room.call(), Processes{200});
}

TEST(WaitingLine, GivesLargeRequestsNoRoomThatOthersHave) {
    Room room(64, 100);
    room.hold(1, 70);
    room.join(1, 1, 20);
    room.join(2, 2, 60);
    room.join(3, 3, 5);
    EXPECT_EQ(room.call(), Processes{3}) << "the first has its share, the second finds too little";
    room.join(4, 2, 1);
    EXPECT_EQ(room.call(), Processes{3}) << "of one role none overtakes another";
    room.line.leave(2);
    EXPECT_EQ(room.call(), (Processes{3, 4}));
}

TEST(WaitingLine, HasTheLinesOfRolesTakeTurns) {
    Room room(8, 100);
    std::vector<SlotId> held;
    for (std::uint32_t i = 0; i < 8; i++)
        held.push_back(room.hold(100 + i));
    for (const int process : {1, 2, 3})
        room.join(process, 1);
    for (const int process : {11, 12})
        room.join(process, 2);
    Processes order;
    for (int i = 0; i < 5; i++) {
        room.slots.release(held[static_cast<std::size_t>(i)], room.pool);
        const Processes called = room.call();
        ASSERT_EQ(called.size(), 1U);
        order.push_back(called[0]);
        held.push_back(room.hold(
            50 + static_cast<std::uint32_t>(i)));  // as it were for another role: shares are not at issue here
        room.line.leave(called[0]);
    }
    EXPECT_EQ(order, (Processes{1, 11, 2, 12, 3}));
}

TEST(WaitingLine, PassesOverASessionThatIsPastItsDeadline) {
    Room room(4, 100);
    for (int i = 0; i < 2; i++)
        room.hold(1);
    room.join(1, 1, 0, kNow);  // stopped, say
    room.join(2, 1);
    EXPECT_EQ(room.call(), Processes{2});
    EXPECT_EQ(room.call(kLater), Processes{});
}

TEST(WaitingLine, IsLeftFromAnyPlaceAndByWhoIsNotInIt) {
    Room room(8, 100);
    room.line.leave(1);
    room.line.leave(-1);
    room.join(-1, 1);
    room.join(9'999, 1);
    EXPECT_FALSE(room.line.take_call(9'999));
    EXPECT_TRUE(room.line.is_empty());
    for (int process = 1; process <= 5; process++)
        room.join(process, 1);
    room.line.leave(3);
    room.line.leave(5);
    room.line.leave(1);
    room.join(2, 1);  // it comes again: behind the other
    room.join(6, 1);
    EXPECT_EQ(room.line.count(), 3U);
    EXPECT_EQ(room.call(), (Processes{4, 2, 6}));
    for (const int process : {4, 2, 6, 6})
        room.line.leave(process);
    EXPECT_TRUE(room.line.is_empty());
    EXPECT_EQ(room.call(), Processes{});
}

TEST(WaitingLine, CallsAllOfManyAsTheyLeave) {
    Room room(400, 1'000);
    for (std::int32_t process = 0; process < 300; process++)
        room.join(process, static_cast<std::uint32_t>(process));  // more roles than are reckoned at once
    std::vector<bool> called(300);
    for (Processes some = room.call(); !some.empty(); some = room.call())
        for (const std::int32_t process : some) {
            called[static_cast<std::size_t>(process)] = true;
            room.line.leave(process);
        }
    EXPECT_EQ(std::count(called.begin(), called.end(), true), 300);
}

// Sessions as threads that sleep until they are woken, with no time after which they would look by themselves: a lost
// wake stops the test.
TEST(WaitingLine, LosesNoWake) {
    constexpr int kSessions = 12, kRounds = 300;
    Room room(4, 16, kSessions);
    std::vector<std::atomic<std::uint32_t>> latches(kSessions);
    std::atomic<int> under_way{0}, done{0}, given_up{0};
    const auto call_next = [&] {
        room.line.call(room.slots, room.pool, kNow, [&](std::int32_t process) {
            latches[static_cast<std::size_t>(process)].store(1);
            latches[static_cast<std::size_t>(process)].notify_one();
        });
    };
    const auto claim = [&](std::int32_t me, std::uint32_t role, std::uint32_t chunks, SlotId &id) {
        const std::uint32_t in_use = room.slots.in_use();
        const Holdings held = room.slots.held_by(role);
        if (!FairShare::allows(held.slots, 1, in_use, room.slots.size()) ||
            !FairShare::allows(held.chunks, chunks, room.pool.chunks_in_use(), room.pool.chunk_count()) ||
            !room.slots.claim(static_cast<std::uint32_t>(me), {me, role}, id))
            return false;
        if (room.pool.allocate(chunks * kChunk, room.slots[id.index].request)) {
            room.slots[id.index].chunks.store(chunks);
            return true;
        }
        room.slots.release(id, room.pool);
        call_next();
        return false;
    };
    const auto session = [&](std::int32_t me) {
        std::minstd_rand random(static_cast<unsigned>(me) + 1);
        std::atomic<std::uint32_t> &latch = latches[static_cast<std::size_t>(me)];
        for (int round = 0; round < kRounds; round++) {
            const std::uint32_t role = 1 + static_cast<std::uint32_t>(me) % 3;
            const std::uint32_t chunks = 1 + static_cast<std::uint32_t>(random()) % 9;
            SlotId id{};
            bool is_claimed = room.line.is_empty() && claim(me, role, chunks, id);
            if (!is_claimed) {
                room.line.join(me, {role, chunks, kLater});
                const bool gives_up = random() % 8 == 0;  // cancelled at its first wake
                for (;;) {
                    call_next();
                    if ((is_claimed = room.line.take_call(me) && claim(me, role, chunks, id)))
                        break;
                    latch.wait(0);
                    latch.store(0);
                    if (gives_up)
                        break;
                }
                room.line.leave(me);
                call_next();
            }
            if (!is_claimed) {
                given_up++;
                continue;
            }
            EXPECT_LE(++under_way, 4);
            if (random() % 4 == 0)
                std::this_thread::yield();
            under_way--;
            room.slots.release(id, room.pool);
            call_next();
            done++;
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < kSessions; i++)
        threads.emplace_back(session, i);
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(done + given_up, kSessions * kRounds);
    EXPECT_GT(done.load(), kSessions * kRounds / 2);
    EXPECT_TRUE(room.line.is_empty());
    EXPECT_EQ(room.slots.in_use(), 0U);
    EXPECT_EQ(room.pool.chunks_in_use(), 0U);
}

}  // namespace
