// The places of the async queue: counts by role that survive whatever comes and goes beside them.
#include "shmem/queue_places.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace {

using steadytext::shmem::QueuePlaces;

TEST(QueuePlaces, CountsEachRoleAndAll) {
    QueuePlaces places;
    places.reserve(10, 3);
    EXPECT_EQ(places.of(10).held(), 3);
    EXPECT_EQ(places.held(), 3);
    places.add(10, 3);
    places.give_back(10, 3);
    places.reserve(11, 2);
    places.give_back(11, 2);
    EXPECT_EQ(places.of(10).held(), 3);
    EXPECT_EQ(places.of(11).held(), 0);
    EXPECT_EQ(places.length.load(), 3);
    EXPECT_EQ(places.reserved.load(), 0);
}

TEST(QueuePlaces, GivesTheRolesBeyondItsEntriesOneToShare) {
    QueuePlaces places;
    for (std::uint32_t role = 1; role < QueuePlaces::kRoles; role++)
        places.add(role, 1);
    places.add(1000, 1);
    places.add(1001, 1);
    EXPECT_EQ(places.of(1).held(), 1);
    EXPECT_EQ(&places.of(1000), &places.of(1001));
    EXPECT_EQ(places.of(1001).held(), 2);
    places.of(7).role.store(0);  // as the worker does with one that counts nothing
    EXPECT_NE(&places.of(1000), &places.of(1001)) << "one that has become free is taken";
}

TEST(QueuePlaces, FindsARoleBehindAnEntryThatHasBecomeFree) {
    QueuePlaces places;
    places.add(1, 1);
    places.add(2, 1);
    places.of(1).role.store(0);
    EXPECT_EQ(places.of(2).held(), 1);
}

TEST(QueuePlaces, KeepsWhatIsAddedWhileTheWorkerCounts) {
    QueuePlaces places;
    places.add(1, 5);
    const std::int32_t before = places.of(1).length.load();
    places.add(1, 2);
    QueuePlaces::correct(places.of(1).length, before, 4);
    EXPECT_EQ(places.of(1).length.load(), 6);
}

TEST(QueuePlaces, CountsRightWhileManyChangeIt) {
    constexpr int kThreads = 8, kTimes = 20'000;
    auto places = std::make_unique<QueuePlaces>();
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; thread++)
        threads.emplace_back([&places, thread] {
            for (int i = 0; i < kTimes; i++) {
                const auto role = static_cast<std::uint32_t>(1 + (thread + i) % 5);
                places->reserve(role, 1);
                places->add(role, 1);
                places->give_back(role, 1);
                places->add(role, -1);
            }
        });
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(places->held(), 0);
    for (std::uint32_t role = 1; role <= 5; role++)
        EXPECT_EQ(places->of(role).held(), 0) << role;
}

}  // namespace
