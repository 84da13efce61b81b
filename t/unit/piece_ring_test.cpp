// The ring of a stream's pieces: what goes in comes out, whole and in order, and nobody waits for a wake-up that does
// not come.
#include "shmem/piece_ring.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>

namespace {

using steadytext::shmem::PayloadPool;
using steadytext::shmem::PieceRing;

class OwnedRing {
public:
    OwnedRing() : ring_(PieceRing::place(std::aligned_alloc(64, PayloadPool::kChunkBytes))) {}
    ~OwnedRing() { std::free(ring_); }
    OwnedRing(const OwnedRing &) = delete;
    OwnedRing &operator=(const OwnedRing &) = delete;
    PieceRing *operator->() { return ring_; }

    // The oldest piece, or "nothing".
    std::string taken() {
        char piece[PieceRing::kMaxPieceBytes];
        std::size_t bytes = 0;
        return ring_->take(piece, bytes) ? std::string(piece, bytes) : "nothing";
    }

private:
    PieceRing *ring_;
};

TEST(PieceRing, GivesBackWhatWasPutInOrder) {
    OwnedRing ring;
    EXPECT_EQ(ring.taken(), "nothing");
    ASSERT_TRUE(ring->put("one"));
    ASSERT_TRUE(ring->put(""));
    ASSERT_TRUE(ring->put(std::string(PieceRing::kMaxPieceBytes, 'x')));
    EXPECT_EQ(ring.taken(), "one");
    EXPECT_EQ(ring.taken(), "") << "an empty piece is one too";
    EXPECT_EQ(ring.taken(), std::string(PieceRing::kMaxPieceBytes, 'x'));
    EXPECT_EQ(ring.taken(), "nothing");
}

TEST(PieceRing, RefusesWhatHasNoRoomAndTellsOnceWhenThereIs) {
    OwnedRing ring;
    EXPECT_FALSE(ring->producer_waits());
    const std::string piece(PieceRing::kMaxPieceBytes, 'x');
    int count = 0;
    while (ring->put(piece))
        count++;
    EXPECT_EQ(count, 3) << "with their lengths four do not fit into one chunk";
    EXPECT_FALSE(ring->put(piece)) << "and it stays full";
    EXPECT_EQ(ring.taken(), piece);
    EXPECT_TRUE(ring->producer_waits());
    EXPECT_FALSE(ring->producer_waits()) << "it has been told";
    EXPECT_TRUE(ring->put(piece));
}

// Every length at every place of the ring, so that lengths and bytes are cut by its end in all ways.
TEST(PieceRing, WrapsAnywhere) {
    OwnedRing ring;
    std::mt19937 random(7);
    for (int i = 0; i < 100'000; i++) {
        std::string piece(random() % (PieceRing::kMaxPieceBytes + 1), '\0');
        for (char &c : piece)
            c = static_cast<char>(i + (&c - piece.data()));
        ASSERT_TRUE(ring->put(piece));
        ASSERT_EQ(ring.taken(), piece) << "piece " << i;
    }
}

// Both sides sleep when they can do nothing, as the gateway and a session do, and each is woken by the other alone.
TEST(PieceRing, LosesNothingAndNoWakeUpBetweenTwoThreads) {
    constexpr int kPieces = 20'000;
    OwnedRing ring;
    std::atomic<int> for_producer{0}, for_consumer{0};
    const auto wake = [](std::atomic<int> &sleeper) {
        sleeper.fetch_add(1);
        sleeper.notify_one();
    };
    std::thread producer([&] {
        for (int i = 0; i < kPieces; i++) {
            const std::string piece = std::to_string(i) + std::string(static_cast<std::size_t>(i % 97), '.');
            for (;;) {
                const int seen = for_producer.load();
                if (ring->put(piece))
                    break;
                for_producer.wait(seen);
            }
            wake(for_consumer);
        }
    });
    int mismatches = 0;
    for (int i = 0; i < kPieces;) {
        const int seen = for_consumer.load();
        const std::string piece = ring.taken();
        if (piece == "nothing") {
            for_consumer.wait(seen);
            continue;
        }
        mismatches += piece != std::to_string(i) + std::string(static_cast<std::size_t>(i % 97), '.');
        i++;
        if (ring->producer_waits())
            wake(for_producer);
    }
    producer.join();
    EXPECT_EQ(mismatches, 0);
    EXPECT_EQ(ring.taken(), "nothing");
}

}  // namespace
