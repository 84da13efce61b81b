// The chunk pool: what goes in comes out, nothing is lost, nothing is given twice.
#include "shmem/payload_pool.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using steadytext::shmem::Chain;
using steadytext::shmem::PayloadPool;

constexpr std::size_t kChunk = PayloadPool::kChunkBytes;

// A pool in memory of its own, aligned as the segment aligns it.
class OwnedPool {
public:
    explicit OwnedPool(std::size_t bytes)
        : memory_(static_cast<char *>(std::aligned_alloc(64, (PayloadPool::bytes_needed(bytes) + 63) / 64 * 64))),
          pool_(PayloadPool::place(memory_, bytes)) {}
    ~OwnedPool() { std::free(memory_); }
    PayloadPool *operator->() { return pool_; }

private:
    char *memory_;
    PayloadPool *pool_;
};

std::string text_of(OwnedPool &pool, const Chain &chain) {
    std::string text(chain.bytes, '\0');
    EXPECT_TRUE(pool->copy_out(chain, text.data()));
    return text;
}

TEST(PayloadPool, ReturnsWhatWasStoredAtEverySizeAroundTheChunk) {
    OwnedPool pool(64 * kChunk);
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kChunk - 1, kChunk, kChunk + 1, 5 * kChunk + 7}) {
        std::string text(size, '\0');
        for (std::size_t i = 0; i < size; i++)
            text[i] = static_cast<char>(i * 31 + size);
        Chain chain;
        ASSERT_TRUE(pool->store(text, chain));
        EXPECT_EQ(text_of(pool, chain), text);
        pool->free(chain);
        EXPECT_EQ(pool->chunks_in_use(), 0U);
    }
}

TEST(PayloadPool, RefusesWhatDoesNotFitAndTakesNothing) {
    OwnedPool pool(4 * kChunk);
    Chain first, second;
    ASSERT_TRUE(pool->allocate(3 * kChunk, first));
    EXPECT_FALSE(pool->allocate(2 * kChunk, second));
    EXPECT_EQ(pool->chunks_in_use(), 3U);
    EXPECT_TRUE(pool->allocate(kChunk, second)) << "the last chunk is still there";
    EXPECT_FALSE(pool->allocate(5 * kChunk, second)) << "more than the pool ever had";
}

TEST(PayloadPool, FreeingTwiceIsHarmless) {
    OwnedPool pool(4 * kChunk);
    Chain chain;
    ASSERT_TRUE(pool->allocate(2 * kChunk, chain));
    pool->free(chain);
    pool->free(chain);
    EXPECT_EQ(pool->chunks_in_use(), 0U);
}

TEST(PayloadPool, NotesDamageInsteadOfReadingOutOfBounds) {
    OwnedPool pool(4 * kChunk);
    char target[64];
    EXPECT_FALSE(pool->copy_out(Chain{1000, 64}, target));
}

// Threads store, check and free texts of random sizes. A chunk given to two of them at once would show in the text.
TEST(PayloadPool, KeepsTextsApartUnderConcurrency) {
    constexpr int kThreads = 4;
    constexpr int kRounds = 4000;
    OwnedPool pool(48 * kChunk);
    std::atomic<int> refused{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; t++) {
        threads.emplace_back([&, t] {
            std::mt19937 random(static_cast<unsigned>(t));
            for (int round = 0; round < kRounds; round++) {
                const std::string text(random() % (6 * kChunk), static_cast<char>('a' + (t * kRounds + round) % 23));
                Chain chain;
                if (!pool->store(text, chain)) {
                    refused.fetch_add(1);
                    continue;
                }
                std::string back(chain.bytes, '\0');
                ASSERT_TRUE(pool->copy_out(chain, back.data()));
                ASSERT_EQ(back, text);
                pool->free(chain);
            }
        });
    }
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(pool->chunks_in_use(), 0U);
    EXPECT_LT(refused.load(), kThreads * kRounds / 2);
    Chain all;
    EXPECT_TRUE(pool->allocate(48 * kChunk, all)) << "every chunk came back";
}

}  // namespace
