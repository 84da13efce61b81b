// Single flight: one leads, the others get what it got; nobody is forgotten, nothing is lost, whoever leaves
// when.
#include "shmem/single_flight.hpp"

#include <gtest/gtest.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using steadytext::core::Digest;
using steadytext::core::Problem;
using steadytext::shmem::PayloadPool;
using steadytext::shmem::SingleFlight;
using Progress = SingleFlight::Progress;
using Role = SingleFlight::Role;
using Ticket = SingleFlight::Ticket;
using Numbers = std::vector<std::int32_t>;

constexpr std::size_t kChunk = PayloadPool::kChunkBytes;
constexpr std::uint32_t kFlights = 8;
constexpr std::uint32_t kProcesses = 100;
constexpr std::uint32_t kPoolChunks = 16;

Digest key_of(std::uint32_t number) {
    Digest key{};
    std::memcpy(key.bytes + 8, &number, sizeof number);
    key.bytes[0] = static_cast<unsigned char>(number / 4);  // buckets go by the first bytes: some share one
    return key;
}

// A table and a pool in memory of their own, aligned as the segment aligns them; and who was woken.
class SingleFlightTest : public testing::Test {
protected:
    ~SingleFlightTest() override {
        EXPECT_EQ(table->in_use(), 0U) << "every flight ends";
        EXPECT_EQ(pool->chunks_in_use(), 0U) << "every answer is freed";
        std::free(table_memory_);
        std::free(pool_memory_);
    }

    std::int64_t now_us = 1000;

    Ticket join(std::uint32_t key, std::int32_t who, Role expected) {
        Ticket ticket;
        EXPECT_EQ(table->join(key_of(key), who, now_us, ticket), expected);
        EXPECT_EQ(ticket.is_empty(), expected == Role::Alone || expected == Role::Led);
        return ticket;
    }
    Numbers complete(Ticket &ticket, std::string_view value) {
        Numbers woken;
        table->complete(ticket, value, *pool, [&](std::int32_t who) { woken.push_back(who); });
        EXPECT_TRUE(ticket.is_empty());
        return woken;
    }
    Numbers fail(Ticket &ticket, const Problem &problem) {
        Numbers woken;
        table->fail(ticket, problem, *pool, [&](std::int32_t who) { woken.push_back(who); });
        EXPECT_TRUE(ticket.is_empty());
        return woken;
    }
    Numbers leave(Ticket &ticket) {
        Numbers woken;
        table->leave(ticket, *pool, [&](std::int32_t who) { woken.push_back(who); });
        EXPECT_TRUE(ticket.is_empty());
        return woken;
    }
    std::string take(Ticket &ticket) {
        EXPECT_EQ(table->poll(ticket), Progress::Answered);
        std::string value(table->size(ticket), '\0');
        EXPECT_TRUE(table->take(ticket, value.data(), *pool));
        EXPECT_TRUE(ticket.is_empty());
        return value;
    }

private:
    static char *allocate(std::size_t bytes) {
        return static_cast<char *>(std::aligned_alloc(64, steadytext::shmem::round_up(bytes)));
    }
    char *table_memory_ = allocate(SingleFlight::bytes_needed(kFlights, kProcesses));
    char *pool_memory_ = allocate(PayloadPool::bytes_needed(kPoolChunks * kChunk));

protected:
    SingleFlight *table = SingleFlight::place(table_memory_, kFlights, kProcesses);
    PayloadPool *pool = PayloadPool::place(pool_memory_, kPoolChunks *kChunk);
};

TEST_F(SingleFlightTest, GivesTheLeadersAnswerToAllWhoWait) {
    for (const std::size_t size : {std::size_t{0}, std::size_t{5}, kChunk, 3 * kChunk + 1}) {
        const std::string answer(size, 'a');
        Ticket leader = join(1, 10, Role::Leader);
        Ticket first = join(1, 11, Role::Waiter);
        Ticket second = join(1, 12, Role::Waiter);
        EXPECT_EQ(table->poll(leader), Progress::Lead);
        EXPECT_EQ(table->poll(first), Progress::Pending);
        EXPECT_EQ(complete(leader, answer), (Numbers{11, 12}));
        EXPECT_EQ(take(first), answer);
        EXPECT_EQ(pool->chunks_in_use(), PayloadPool::chunks_for(size)) << "one has yet to take it";
        EXPECT_EQ(take(second), answer);
    }
}

TEST_F(SingleFlightTest, StoresNothingThatNobodyWaitsFor) {
    Ticket leader = join(1, 10, Role::Leader);
    EXPECT_EQ(complete(leader, std::string(2 * kPoolChunks * kChunk, 'a')), Numbers{});
}

TEST_F(SingleFlightTest, KeepsKeysApart) {
    std::vector<Ticket> leaders, waiters;
    for (std::uint32_t key = 0; key < kFlights; key++)
        leaders.push_back(join(key, static_cast<std::int32_t>(key), Role::Leader));
    for (std::uint32_t key = 0; key < kFlights; key++)
        waiters.push_back(join(key, static_cast<std::int32_t>(kFlights + key), Role::Waiter));
    for (const std::uint32_t key : {3, 0, 7, 1, 6, 2, 5, 4})
        complete(leaders[key], std::to_string(key));
    for (std::uint32_t key = 0; key < kFlights; key++)
        EXPECT_EQ(take(waiters[key]), std::to_string(key));
}

TEST_F(SingleFlightTest, LetsAWaiterLeaveAlone) {
    for (const std::size_t leaving : {0, 1, 2}) {  // at the head of the list, inside it, at its end
        Ticket leader = join(1, 10, Role::Leader);
        std::vector<Ticket> waiters;
        for (std::int32_t who : {0, 1, 2})
            waiters.push_back(join(1, who, Role::Waiter));
        EXPECT_EQ(leave(waiters[leaving]), Numbers{}) << "it is nobody else's business";
        complete(leader, "answer");
        for (Ticket &waiter : waiters) {
            if (waiter.is_empty())
                continue;
            EXPECT_EQ(take(waiter), "answer");
        }
    }
}

TEST_F(SingleFlightTest, HandsOverToTheOneWhoWaitedLongest) {
    Ticket leader = join(1, 10, Role::Leader);
    Ticket first = join(1, 11, Role::Waiter);
    Ticket second = join(1, 12, Role::Waiter);
    EXPECT_EQ(leave(leader), Numbers{11});
    EXPECT_EQ(table->poll(first), Progress::Lead);
    EXPECT_EQ(table->poll(first), Progress::Lead) << "and stays so";
    EXPECT_EQ(table->poll(second), Progress::Pending);
    Ticket third = join(1, 13, Role::Waiter);
    EXPECT_EQ(complete(first, "answer"), (Numbers{12, 13}));
    EXPECT_EQ(take(second), "answer");
    EXPECT_EQ(take(third), "answer");
}

TEST_F(SingleFlightTest, PassesTheLeadOnWhenTheHeirLeavesNoticedOrNot) {
    Ticket leader = join(1, 10, Role::Leader);
    Ticket first = join(1, 11, Role::Waiter);
    Ticket second = join(1, 12, Role::Waiter);
    Ticket third = join(1, 13, Role::Waiter);
    EXPECT_EQ(leave(leader), Numbers{11});
    EXPECT_EQ(leave(first), Numbers{12}) << "unnoticed";
    EXPECT_EQ(table->poll(second), Progress::Lead);
    EXPECT_EQ(leave(second), Numbers{13}) << "noticed";
    EXPECT_EQ(table->poll(third), Progress::Lead);
    EXPECT_EQ(leave(third), Numbers{}) << "the last";
    Ticket next = join(1, 11, Role::Leader);
    leave(next);
}

// A session that leads and does something else for long: who asks then asks for itself, and so do its waiters.
TEST_F(SingleFlightTest, ALeaderThatTurnsAwayLosesItsFollowers) {
    Ticket leader = join(1, 10, Role::Leader);
    Ticket waiter = join(1, 11, Role::Waiter);
    table->look_after(10);
    now_us = 10 * SingleFlight::kPatienceUs;
    EXPECT_FALSE(table->is_abandoned(waiter, now_us)) << "however long it waits for the answer";
    table->turn_away(10, now_us);
    now_us += SingleFlight::kPatienceUs;
    EXPECT_FALSE(table->is_abandoned(waiter, now_us));
    now_us++;
    EXPECT_TRUE(table->is_abandoned(waiter, now_us));
    Ticket another = join(1, 12, Role::Leader);
    EXPECT_EQ(leave(waiter), Numbers{});
    waiter = join(1, 11, Role::Waiter);
    EXPECT_EQ(complete(leader, "late"), Numbers{}) << "nobody waits for it any longer";
    EXPECT_EQ(complete(another, "in time"), Numbers{11});
    EXPECT_EQ(take(waiter), "in time");
}

TEST_F(SingleFlightTest, ALeaderThatTurnsAwayStillTellsWhoHasNotLeft) {
    Ticket leader = join(1, 10, Role::Leader);
    Ticket waiter = join(1, 11, Role::Waiter);
    table->turn_away(10, now_us);
    now_us += SingleFlight::kPatienceUs + 1;
    Ticket another = join(1, 12, Role::Leader);
    EXPECT_EQ(complete(leader, "late"), Numbers{11});
    EXPECT_EQ(take(waiter), "late");
    leave(another);
}

TEST_F(SingleFlightTest, FreesAnAnswerThatAWaiterLeavesBehind) {
    Ticket leader = join(1, 10, Role::Leader);
    Ticket first = join(1, 11, Role::Waiter);
    Ticket second = join(1, 12, Role::Waiter);
    complete(leader, "answer");
    EXPECT_EQ(take(first), "answer");
    EXPECT_EQ(leave(second), Numbers{});
    EXPECT_EQ(pool->chunks_in_use(), 0U);
}

TEST_F(SingleFlightTest, SharesTheLeadersFailure) {
    Ticket leader = join(1, 10, Role::Leader);
    Ticket first = join(1, 11, Role::Waiter);
    Ticket second = join(1, 12, Role::Waiter);
    Problem problem;
    (void)problem.set(steadytext::core::sqlstate::kCannotConnect, "no daemon");
    problem.with_hint("Start one.");
    EXPECT_EQ(fail(leader, problem), (Numbers{11, 12}));
    for (Ticket *waiter : {&first, &second}) {
        EXPECT_EQ(table->poll(*waiter), Progress::Failed);
        EXPECT_STREQ(table->problem(*waiter).sqlstate, problem.sqlstate);
        EXPECT_STREQ(table->problem(*waiter).message, problem.message);
        EXPECT_STREQ(table->problem(*waiter).hint, problem.hint);
        leave(*waiter);
    }
}

TEST_F(SingleFlightTest, BeginsANewFlightWhileAnAnswerIsYetToBeTaken) {
    Ticket leader = join(1, 10, Role::Leader);
    Ticket waiter = join(1, 11, Role::Waiter);
    complete(leader, "old");
    Ticket next_leader = join(1, 12, Role::Leader);
    Ticket next_waiter = join(1, 13, Role::Waiter);
    EXPECT_EQ(complete(next_leader, "new"), Numbers{13});
    EXPECT_EQ(take(waiter), "old");
    EXPECT_EQ(take(next_waiter), "new");
}

TEST_F(SingleFlightTest, LetsWaitersLeadOneAfterAnotherWhenThePoolHasNoRoom) {
    const std::string answer((kPoolChunks + 1) * kChunk, 'a');
    Ticket leader = join(1, 10, Role::Leader);
    Ticket first = join(1, 11, Role::Waiter);
    Ticket second = join(1, 12, Role::Waiter);
    EXPECT_EQ(complete(leader, answer), Numbers{11});
    EXPECT_EQ(table->poll(first), Progress::Lead);
    EXPECT_EQ(table->poll(second), Progress::Pending);
    EXPECT_EQ(complete(first, answer), Numbers{12});
    EXPECT_EQ(table->poll(second), Progress::Lead);
    EXPECT_EQ(complete(second, answer), Numbers{});
}

TEST_F(SingleFlightTest, SendsAwayWhoFindsNoFreeFlight) {
    std::vector<Ticket> leaders;
    for (std::uint32_t key = 0; key < kFlights; key++)
        leaders.push_back(join(key, static_cast<std::int32_t>(key), Role::Leader));
    join(kFlights, 90, Role::Alone);
    Ticket waiter = join(0, 90, Role::Waiter);
    leave(waiter);
    complete(leaders[0], "answer");
    Ticket later = join(kFlights, 90, Role::Leader);
    leave(later);
    for (Ticket &leader : leaders)
        leave(leader);
}

TEST_F(SingleFlightTest, KnowsOnlyTheProcessesItHasSeatsFor) {
    join(1, -1, Role::Alone);
    join(1, kProcesses, Role::Alone);
    Ticket last = join(1, kProcesses - 1, Role::Leader);
    leave(last);
}

// Two who lead and wait for each other would wait for ever.
TEST_F(SingleFlightTest, DoesNotLetALeaderWait) {
    Ticket one = join(1, 10, Role::Leader);
    Ticket two = join(2, 11, Role::Leader);
    join(2, 10, Role::Led);
    join(1, 11, Role::Led);
    join(1, 10, Role::Led);  // nor for itself
    Ticket three = join(3, 10, Role::Leader);
    leave(one);
    join(2, 10, Role::Led);  // it leads the third still
    leave(three);
    Ticket waiting = join(2, 10, Role::Waiter);
    EXPECT_EQ(leave(two), Numbers{10});
    EXPECT_EQ(table->poll(waiting), Progress::Lead);
    two = join(4, 11, Role::Leader);
    join(4, 10, Role::Led);  // an heir is a leader
    leave(waiting);
    leave(two);
}

TEST_F(SingleFlightTest, DoesNotLetASessionWaitTwice) {
    Ticket one = join(1, 10, Role::Leader);
    Ticket two = join(2, 11, Role::Leader);
    Ticket waiting = join(1, 12, Role::Waiter);
    join(2, 12, Role::Led);
    Ticket three = join(3, 12, Role::Leader);
    leave(three);
    EXPECT_EQ(table->poll(waiting), Progress::Pending) << "what it leads besides is another matter";
    complete(one, "answer");
    EXPECT_EQ(take(waiting), "answer");
    leave(two);
}

TEST_F(SingleFlightTest, WakesEachOfManyOnce) {
    Ticket leader = join(1, 0, Role::Leader);
    std::vector<Ticket> waiters;
    Numbers expected;
    for (std::int32_t who = 1; who < static_cast<std::int32_t>(kProcesses); who++) {
        waiters.push_back(join(1, who, Role::Waiter));
        expected.push_back(who);
    }
    EXPECT_EQ(complete(leader, "answer"), expected);
    for (Ticket &waiter : waiters)
        EXPECT_EQ(take(waiter), "answer");
}

TEST_F(SingleFlightTest, LetsTheWokenActBeforeTheLeaderIsDone) {
    Ticket leader = join(1, 0, Role::Leader);
    std::vector<Ticket> waiters(1);
    for (std::int32_t who = 1; who < static_cast<std::int32_t>(kProcesses); who++)
        waiters.push_back(join(1, who, Role::Waiter));
    std::size_t taken = 0;
    // What a waiter may do once woken it does in the middle of complete(); the last one leaves before its
    // turn.
    table->complete(leader, "answer", *pool, [&](std::int32_t who) {
        EXPECT_EQ(take(waiters[static_cast<std::size_t>(who)]), "answer");
        Ticket again = join(1, who, Role::Leader);
        leave(again);
        if (taken++ == 0)
            leave(waiters.back());
    });
    EXPECT_EQ(taken, kProcesses - 2);
}

TEST_F(SingleFlightTest, LeavingTwiceIsHarmless) {
    Ticket leader = join(1, 10, Role::Leader);
    Ticket waiter = join(1, 11, Role::Waiter);
    Ticket another = join(1, 12, Role::Waiter);
    leave(waiter);
    leave(waiter);
    EXPECT_EQ(complete(leader, "answer"), Numbers{12});
    EXPECT_EQ(leave(leader), Numbers{});
    EXPECT_EQ(take(another), "answer");
    leave(another);
}

// Processes map the segment where they like.
TEST(SingleFlight, WorksThroughMappingsAtDifferentAddresses) {
    const std::size_t table_bytes = steadytext::shmem::round_up(SingleFlight::bytes_needed(kFlights, kProcesses));
    const std::size_t bytes = table_bytes + PayloadPool::bytes_needed(kPoolChunks * kChunk);
    const int memory = memfd_create("single_flight", 0);
    ASSERT_EQ(ftruncate(memory, static_cast<off_t>(bytes)), 0);
    char *maps[2];
    for (char *&map : maps) {
        map = static_cast<char *>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0));
        ASSERT_NE(map, MAP_FAILED);
    }
    SingleFlight *here = SingleFlight::place(maps[0], kFlights, kProcesses);
    PayloadPool *pool_here = PayloadPool::place(maps[0] + table_bytes, kPoolChunks * kChunk);
    auto *there = reinterpret_cast<SingleFlight *>(maps[1]);
    auto *pool_there = reinterpret_cast<PayloadPool *>(maps[1] + table_bytes);

    Ticket leader, waiter;
    ASSERT_EQ(here->join(key_of(1), 10, 0, leader), Role::Leader);
    ASSERT_EQ(there->join(key_of(1), 11, 0, waiter), Role::Waiter);
    here->complete(leader, "answer", *pool_here, [](std::int32_t who) { EXPECT_EQ(who, 11); });
    ASSERT_EQ(there->poll(waiter), Progress::Answered);
    std::string value(there->size(waiter), '\0');
    EXPECT_TRUE(there->take(waiter, value.data(), *pool_there));
    EXPECT_EQ(value, "answer");
    EXPECT_EQ(here->in_use(), 0U);
    for (char *map : maps)
        munmap(map, bytes);
    close(memory);
}

// ---- many at once ----------------------------------------------------------------------------------------

// A session of the stress test: asks for one of a few keys, again and again, and changes its mind at random.
class Session {
public:
    // What all sessions share.
    struct World {
        static constexpr std::uint32_t kKeys = 4;
        static constexpr std::int32_t kSessions = 8;
        SingleFlight *table;
        PayloadPool *pool;
        std::atomic<int> leading[kKeys]{};             // never more than one
        std::atomic<std::uint64_t> outcomes[kKeys]{};  // so many were made, and numbered
        std::atomic<std::uint64_t> told[kKeys]{};      // the number of one whose flight is closed
        std::atomic<std::uint32_t> latches[kSessions]{};
    };
    struct Tally {
        int led = 0, inherited = 0, answered = 0, failed = 0, left = 0, alone = 0;
    };

    Session(World &world, std::int32_t number)
        : world_(world), number_(number), random_(static_cast<unsigned>(number)) {}

    void ask() {
        key_ = static_cast<std::uint32_t>(random_() % World::kKeys);
        told_before_ = world_.told[key_].load();
        switch (world_.table->join(key_of(key_), number_, 0, ticket_)) {
        case Role::Leader:
            lead();
            break;
        case Role::Waiter:
            wait();
            break;
        case Role::Alone:
        case Role::Led:
            tally.alone++;
            break;
        }
        ASSERT_TRUE(ticket_.is_empty());
    }

    Tally tally;

private:
    [[nodiscard]] auto wake() {
        return [this](std::int32_t who) {
            world_.latches[who].fetch_add(1);
            world_.latches[who].notify_one();
        };
    }

    void lead() {
        tally.led++;
        ASSERT_EQ(world_.leading[key_].fetch_add(1), 0) << "two lead the same flight";
        const auto mood = random_() % 8;
        for (auto pause = random_() % 8; pause > 0; pause--)
            std::this_thread::yield();  // so that others come to wait
        const std::uint64_t number = world_.outcomes[key_].fetch_add(1) + 1;
        const std::string outcome = std::to_string(key_) + ":" + std::to_string(number) + ":";
        world_.leading[key_].fetch_sub(1);
        if (mood == 0) {
            world_.table->leave(ticket_, *world_.pool, wake());
        } else if (mood == 1) {
            Problem problem;
            (void)problem.set(steadytext::core::sqlstate::kCannotConnect, "%s", outcome.c_str());
            world_.table->fail(ticket_, problem, *world_.pool, wake());
            world_.told[key_].store(number);
        } else {
            const std::string answer = outcome + std::string(random_() % (6 * kChunk), 'x');
            world_.table->complete(ticket_, answer, *world_.pool, wake());
        }
    }

    void wait() {
        auto patience = random_() % 4 == 0 ? random_() % 3 : UINT32_MAX;
        for (;; patience--) {
            const std::uint32_t latch = world_.latches[number_].load();
            if (patience == 0) {
                tally.left++;
                world_.table->leave(ticket_, *world_.pool, wake());
                return;
            }
            switch (world_.table->poll(ticket_)) {
            case Progress::Pending:
                if (patience > kPolls)
                    world_.latches[number_].wait(latch);  // nobody who waits is forgotten, or this never ends
                else
                    std::this_thread::yield();
                break;
            case Progress::Lead:
                tally.inherited++;
                return lead();
            case Progress::Answered:
                tally.answered++;
                return check_answer();
            case Progress::Failed:
                tally.failed++;
                expect_ours(world_.table->problem(ticket_).message);
                return world_.table->leave(ticket_, *world_.pool, wake());
            case Progress::None:
                FAIL() << "somebody else emptied the seat";
            }
        }
    }

    void check_answer() {
        std::string value(world_.table->size(ticket_), '\0');
        ASSERT_TRUE(world_.table->take(ticket_, value.data(), *world_.pool));
        expect_ours(value);
        EXPECT_EQ(value.find_first_not_of('x', value.rfind(':') + 1), std::string::npos);
    }

    // Of the key that was asked for, and of a flight that was not over before it was asked.
    void expect_ours(const std::string &outcome) {
        const std::size_t colon = outcome.find(':');
        ASSERT_NE(colon, std::string::npos);
        EXPECT_EQ(outcome.substr(0, colon), std::to_string(key_));
        EXPECT_GT(std::stoull(outcome.substr(colon + 1)), told_before_);
    }

    static constexpr std::uint32_t kPolls = 8;  // above this a session waits for its latch
    World &world_;
    std::int32_t number_;
    std::mt19937 random_;
    std::uint32_t key_ = 0;
    std::uint64_t told_before_ = 0;
    Ticket ticket_;
};

TEST_F(SingleFlightTest, KeepsItsPromisesUnderConcurrency) {
    constexpr int kRounds = 5000;
    Session::World world;
    world.table = table;
    world.pool = pool;
    std::vector<Session> sessions;
    for (std::int32_t i = 0; i < Session::World::kSessions; i++)
        sessions.emplace_back(world, i);
    std::vector<std::thread> threads;
    for (Session &session : sessions)
        threads.emplace_back([&session] {
            for (int round = 0; round < kRounds; round++)
                session.ask();
        });
    for (std::thread &thread : threads)
        thread.join();

    Session::Tally sum;
    for (const Session &session : sessions) {
        const Session::Tally &one = session.tally;
        EXPECT_EQ(one.led + one.answered + one.failed + one.left + one.alone, kRounds) << "each asking ends in one way";
        sum.led += one.led;
        sum.inherited += one.inherited;
        sum.answered += one.answered;
        sum.failed += one.failed;
        sum.left += one.left;
    }
    EXPECT_GT(sum.led, 0);
    for (const int seen : {sum.inherited, sum.answered, sum.failed, sum.left})
        EXPECT_GT(seen, 0) << "a way to end that was not tried";
}

}  // namespace
