// The hot cache: what goes in comes out whole or not at all, whoever is evicting, stopped or killed
// meanwhile.
#include "shmem/hot_cache.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <csignal>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace steadytext::shmem;
using steadytext::core::Digest;

constexpr std::int64_t kNow = 1'800'000'000'000'000;
constexpr std::size_t kMegabyte = 1U << 20;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr unsigned kSteps = 100'000;
#else
constexpr unsigned kSteps = 1'500'000;
#endif

// A cache in memory that forked processes share, as they share PostgreSQL's.
class OwnedCache {
public:
    explicit OwnedCache(const HotCacheConfig &config)
        : bytes_(HotCache::bytes_needed(config)),
          memory_(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
          cache_(HotCache::place(memory_, config)) {}
    ~OwnedCache() { munmap(memory_, bytes_); }
    OwnedCache(const OwnedCache &) = delete;
    OwnedCache &operator=(const OwnedCache &) = delete;
    HotCache *operator->() { return cache_; }
    HotCache &operator*() { return *cache_; }

private:
    std::size_t bytes_;
    void *memory_;
    HotCache *cache_;
};

Digest key_of(std::uint64_t number) {
    std::mt19937_64 random(number * 2 + 1);
    Digest key;
    for (int i = 0; i < 4; i++) {
        const std::uint64_t word = random();
        std::memcpy(key.bytes + i * 8, &word, 8);
    }
    return key;
}

// Every word follows from the key and the version, so a value with words of another is seen.
std::string value_of(std::uint64_t number, std::size_t size, unsigned version = 0) {
    std::string value(size + 7, '\0');
    std::uint64_t state = number * 0x9E37'79B9'7F4A'7C15U + version;
    for (std::size_t i = 0; i < size; i += 8) {
        state = state * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U;
        std::memcpy(&value[i], &state, std::min<std::size_t>(8, value.size() - i));
    }
    value.resize(size);
    return value;
}

std::size_t size_of(std::uint64_t number) { return 10 + number * 7919 % 3000; }

bool put(HotCache &cache, std::uint64_t number, const std::string &value, CacheValue like = {}) {
    like.bytes = value;
    return cache.insert(key_of(number), like, kNow);
}

// The value of a key, or nothing.
std::unique_ptr<std::string> get(HotCache &cache, std::uint64_t number, std::int64_t now = kNow) {
    CacheHit hit;
    std::string value;
    ReadResult result;
    while ((result = cache.read(key_of(number), now, value.data(), value.size(), hit)) == ReadResult::TooSmall)
        value.resize(hit.size);
    value.resize(result == ReadResult::Hit ? hit.size : 0);
    return result == ReadResult::Hit ? std::make_unique<std::string>(value) : nullptr;
}

std::map<std::string, std::uint64_t> drain(HotCache &cache) {
    std::map<std::string, std::uint64_t> hits;
    cache.drain_hits(0, [&](const KeyHits &each) {
        hits[std::string(reinterpret_cast<const char *>(each.key.bytes), 32)] += each.hits;
    });
    return hits;
}

std::uint64_t hits_of(const std::map<std::string, std::uint64_t> &hits, std::uint64_t number) {
    const Digest key = key_of(number);
    const auto found = hits.find(std::string(reinterpret_cast<const char *>(key.bytes), 32));
    return found == hits.end() ? 0 : found->second;
}

// ---- what a caller sees --------------------------------------------------------------------------------------------

TEST(HotCache, FindsWhatWasInsertedAtEverySize) {
    OwnedCache cache({64 * kMegabyte});
    for (const std::size_t size : {0, 1, 7, 8, 9, 63, 64, 65, 4096, 65'536, 1'000'000}) {
        ASSERT_TRUE(put(*cache, size, value_of(size, size))) << size;
        const auto found = get(*cache, size);
        ASSERT_TRUE(found) << size;
        EXPECT_EQ(*found, value_of(size, size));
    }
    EXPECT_FALSE(get(*cache, 12'345));
    EXPECT_EQ(cache->stats().hits, 11U);
    EXPECT_EQ(cache->stats().misses, 1U);
    EXPECT_EQ(cache->stats().entries, 11U);
}

TEST(HotCache, TellsWhatTheValueIs) {
    OwnedCache cache({kMegabyte});
    ASSERT_TRUE(cache->insert(key_of(1), {ValueKind::Embedding, "abc", {0xDEADBEEF, 0xCAFE, 7}, kNow + 1, 0xA5}, kNow));
    CacheHit hit;
    ASSERT_TRUE(cache->find(key_of(1), kNow, hit));
    EXPECT_EQ(hit.size, 3U);
    EXPECT_EQ(hit.kind, ValueKind::Embedding);
    EXPECT_EQ(hit.owner, (CacheOwner{0xDEADBEEF, 0xCAFE, 7}));
    EXPECT_EQ(hit.expires_us, kNow + 1);
    EXPECT_EQ(hit.flags, 0xA5);
}

TEST(HotCache, AnothersValueUnderTheSameKeyIsAMiss) {
    OwnedCache cache({kMegabyte});
    const CacheOwner owner{1, 2, 3};
    ASSERT_TRUE(cache->insert(key_of(1), {ValueKind::Text, "mine", owner}, kNow));
    CacheHit hit;
    EXPECT_TRUE(cache->find(key_of(1), owner, kNow, hit));
    for (const CacheOwner &other : {CacheOwner{9, 2, 3}, CacheOwner{1, 9, 3}, CacheOwner{1, 2, 9}})
        EXPECT_FALSE(cache->find(key_of(1), other, kNow, hit)) << "another database, role or epoch";
    EXPECT_EQ(cache->stats().misses, 3U);
}

TEST(HotCache, ReplacesAValueAndKeepsOneEntry) {
    OwnedCache cache({kMegabyte});
    for (unsigned version = 0; version < 10; version++) {
        ASSERT_TRUE(put(*cache, 1, value_of(1, 100 + version, version)));
        EXPECT_EQ(*get(*cache, 1), value_of(1, 100 + version, version));
    }
    EXPECT_EQ(cache->stats().entries, 1U);
    EXPECT_EQ(cache->stats().evictions, 0U);
}

TEST(HotCache, RefusesWhatIsTooLargeAndCountsIt) {
    OwnedCache cache({.bytes = kMegabyte, .max_value_bytes = 1000});
    EXPECT_EQ(cache->max_value_bytes(), 1000U);
    EXPECT_TRUE(put(*cache, 1, value_of(1, 1000)));
    EXPECT_FALSE(put(*cache, 2, value_of(2, 1001)));
    EXPECT_EQ(cache->stats().refused_size, 1U);
}

TEST(HotCache, KeepsALargestValueInAnEmptyCache) {
    OwnedCache cache({16 * kMegabyte});
    const std::string value = value_of(1, cache->max_value_bytes());
    ASSERT_TRUE(put(*cache, 1, value));
    EXPECT_EQ(*get(*cache, 1), value);
}

TEST(HotCache, ForgetsAtExpiry) {
    OwnedCache cache({kMegabyte});
    ASSERT_TRUE(put(*cache, 1, "soon gone", {.kind = ValueKind::Text, .bytes = {}, .expires_us = kNow + 10}));
    EXPECT_TRUE(get(*cache, 1, kNow + 9));
    EXPECT_FALSE(get(*cache, 1, kNow + 10));
}

TEST(HotCache, ErasesOneKey) {
    OwnedCache cache({kMegabyte});
    ASSERT_TRUE(put(*cache, 1, "one"));
    ASSERT_TRUE(put(*cache, 2, "two"));
    EXPECT_TRUE(cache->erase(key_of(1)));
    EXPECT_FALSE(cache->erase(key_of(1)));
    EXPECT_FALSE(get(*cache, 1));
    EXPECT_TRUE(get(*cache, 2));
    EXPECT_EQ(cache->stats().erased, 1U);
    EXPECT_EQ(cache->stats().entries, 1U);
}

TEST(HotCache, SaysWhenAFoundValueWentBeforeItWasCopied) {
    OwnedCache cache({kMegabyte});
    ASSERT_TRUE(put(*cache, 1, value_of(1, 500)));
    CacheHit hit;
    ASSERT_TRUE(cache->find(key_of(1), kNow, hit));
    for (std::uint64_t i = 2; i < 10'000; i++)
        put(*cache, i, value_of(i, 500));
    char buffer[500];
    EXPECT_FALSE(cache->copy_out(hit, kNow, buffer));
}

TEST(HotCache, WorksAtAnotherAddress) {
    const HotCacheConfig config{kMegabyte};
    const std::size_t bytes = HotCache::bytes_needed(config);
    const auto allocate = [&] { return static_cast<char *>(std::aligned_alloc(64, round_up(bytes))); };
    std::unique_ptr<char, void (*)(void *)> first(allocate(), std::free), second(allocate(), std::free);
    HotCache *cache = HotCache::place(first.get(), config);
    ASSERT_TRUE(put(*cache, 1, "the same"));
    std::memcpy(second.get(), first.get(), bytes);
    std::memset(first.get(), 0xFF, bytes);
    auto *moved = std::launder(reinterpret_cast<HotCache *>(second.get()));
    EXPECT_EQ(*get(*moved, 1), "the same");
    EXPECT_TRUE(put(*moved, 2, "and more"));
}

// ---- what stays ----------------------------------------------------------------------------------------------------

TEST(HotCache, KeepsWhatIsAskedForThroughAScan) {
    OwnedCache cache({8 * kMegabyte});
    constexpr std::uint64_t kWanted = 1000;
    for (int round = 0; round < 3; round++)
        for (std::uint64_t i = 0; i < kWanted; i++)
            if (!get(*cache, i))
                put(*cache, i, value_of(i, 1000));
    for (std::uint64_t i = 0; i < 50'000; i++)
        put(*cache, 1'000'000 + i, value_of(i, 1000));
    std::uint64_t kept = 0;
    for (std::uint64_t i = 0; i < kWanted; i++)
        kept += get(*cache, i) != nullptr;
    EXPECT_GT(kept, kWanted * 9 / 10);
}

TEST(HotCache, FillsItsMemoryAndNoMore) {
    OwnedCache cache({8 * kMegabyte});
    for (std::uint64_t i = 0; i < 50'000; i++)
        put(*cache, i, value_of(i, size_of(i)));
    const HotCacheStats stats = cache->stats();
    EXPECT_LE(stats.bytes_used, stats.bytes_total);
    EXPECT_GT(stats.bytes_used, stats.bytes_total * 9 / 10);
    EXPECT_LE(stats.bytes_total, 8 * kMegabyte);
    EXPECT_GT(stats.bytes_total, 8 * kMegabyte * 85 / 100);
    EXPECT_EQ(stats.inserts - stats.evictions, stats.entries);
}

// Against a plain map: a hit is always the last value inserted; sizes from 10 bytes to 64 kB never upset the
// accounts.
TEST(HotCache, AgreesWithAMapUnderRandomWork) {
    OwnedCache cache({32 * kMegabyte});
    std::map<std::uint64_t, unsigned> versions;
    std::mt19937_64 random(1);
    std::uint64_t hits = 0, inserted = 0;
    const auto size = [](std::uint64_t number, unsigned version) {
        return 10 + (std::size_t{1} << ((number + version) % 16)) + number * 31 % 500;
    };
    for (unsigned step = 1; step <= kSteps; step++) {
        const std::uint64_t number = random() % (1 + random() % 5000);
        const unsigned dice = random() % 1000;
        if (dice < 300) {
            if (put(*cache, number, value_of(number, size(number, step), step))) {
                versions[number] = step;
                inserted++;
            } else {
                versions.erase(number);  // refused: the former value may be there or not, so it must go
                cache->erase(key_of(number));
            }
        } else if (dice < 310) {
            cache->erase(key_of(number));
            versions.erase(number);
        } else if (const auto found = get(*cache, number)) {
            hits++;
            ASSERT_TRUE(versions.contains(number)) << number;
            ASSERT_EQ(*found, value_of(number, size(number, versions[number]), versions[number]));
        }
        if (step % 1000 == 0) {
            const HotCacheStats stats = cache->stats();
            ASSERT_LE(stats.bytes_used, stats.bytes_total);
            ASSERT_LE(stats.entries, versions.size());
            ASSERT_EQ(stats.inserts, inserted);
            ASSERT_EQ(stats.hits, hits);
        }
    }
    EXPECT_GT(hits, 10'000U);
}

// ---- hits are folded -----------------------------------------------------------------------------------------------

TEST(HotCache, ReportsEachHitOnceAndWhenItWas) {
    OwnedCache cache({kMegabyte});
    const std::int64_t begin = steadytext::core::unix_us();
    for (std::uint64_t i = 0; i < 20; i++) {
        ASSERT_TRUE(put(*cache, i, "x"));
        for (std::uint64_t hit = 0; hit < i; hit++)
            ASSERT_TRUE(get(*cache, i, begin + 100'000'000));
    }
    std::size_t reports = 0;
    cache->drain_hits(0, [&](const KeyHits &hits) {
        reports++;
        EXPECT_NEAR(static_cast<double>(hits.last_hit_us - begin), 100e6, 2e6);
    });
    EXPECT_EQ(reports, 19U) << "none for the key that was never hit";
    EXPECT_TRUE(drain(*cache).empty());
    ASSERT_TRUE(get(*cache, 7));
    EXPECT_EQ(hits_of(drain(*cache), 7), 1U);
    EXPECT_EQ(cache->stats().hits, 19U * 20 / 2 + 1);
}

TEST(HotCache, ReportsToEachOwnerItsOwnHits) {
    OwnedCache cache({kMegabyte});
    for (std::uint64_t i = 0; i < 20; i++) {
        ASSERT_TRUE(
            put(*cache, i, "x", {.kind = ValueKind::Text, .bytes = {}, .owner = {static_cast<std::uint32_t>(i % 2)}}));
        ASSERT_TRUE(get(*cache, i));
    }
    for (std::uint32_t owner : {1U, 0U}) {
        std::size_t reports = 0;
        cache->drain_hits(owner, [&](const KeyHits &hits) {
            reports++;
            EXPECT_EQ(hits.hits, 1U);
        });
        EXPECT_EQ(reports, 10U);
    }
}

TEST(HotCache, ReportsTheHitsOfEvictedValuesToo) {
    OwnedCache cache({kMegabyte});
    ASSERT_TRUE(put(*cache, 1, value_of(1, 500)));
    for (int i = 0; i < 5; i++)
        ASSERT_TRUE(get(*cache, 1));
    CacheHit hit;
    for (std::uint64_t i = 2; cache->find(key_of(1), kNow, hit); i++)
        for (int repeat = 0; repeat < 2; repeat++)
            if (!get(*cache, i))
                put(*cache, i, value_of(i, 500));
    EXPECT_EQ(hits_of(drain(*cache), 1), 5U);
}

// ---- many at once --------------------------------------------------------------------------------------------------

// A few thousand lookups and insertions of values that tell their key; false if one was torn or foreign.
bool work(HotCache &cache, std::uint64_t seed, int steps, std::uint64_t &hits) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < steps; i++) {
        const std::uint64_t number = random() % (1 + random() % 3000);
        const auto found = get(cache, number);
        if (found && *found != value_of(number, size_of(number)))
            return false;
        hits += found != nullptr;
        if (!found)
            put(cache, number, value_of(number, size_of(number)));
        if (random() % 64 == 0)
            cache.erase(key_of(random() % 3000));
    }
    return true;
}

TEST(HotCache, NeverGivesATornValueToThreads) {
    OwnedCache cache({kMegabyte});
    constexpr int kThreads = 4;
    std::atomic<bool> whole{true};
    std::atomic<std::uint64_t> hits{0}, reported{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; i++)
        threads.emplace_back([&, i] {
            std::uint64_t mine = 0;
            if (!work(*cache, static_cast<std::uint64_t>(i), 20'000, mine))
                whole = false;
            hits += mine;
        });
    std::thread keeper([&] {
        for (int i = 0; i < 50; i++) {
            cache->drain_hits(0, [&](const KeyHits &each) { reported += each.hits; });
        }
    });
    for (auto &thread : threads)
        thread.join();
    keeper.join();
    cache->drain_hits(0, [&](const KeyHits &each) { reported += each.hits; });
    EXPECT_TRUE(whole);
    const HotCacheStats stats = cache->stats();
    EXPECT_GT(hits, 0U);
    EXPECT_EQ(stats.hits, hits) << "no hit is lost";
    std::uint64_t present = 0;
    CacheHit hit;
    for (std::uint64_t i = 0; i < 3000; i++)
        present += cache->find(key_of(i), kNow, hit);
    EXPECT_EQ(stats.entries, present);
    EXPECT_EQ(reported + stats.unfolded_hits, hits) << "each is reported once, or counted as lost to erase()";
}

// Runs `body` in a child; its exit status is 0 if that was true.
template <class Body>
pid_t in_child(Body body) {
    std::fflush(nullptr);  // or the child would print it again
    const pid_t child = fork();
    if (child == 0)
        _exit(body() ? 0 : 1);
    return child;
}

bool succeeded(pid_t child) {
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Writers that only insert, so that a signal often finds them in the middle.
pid_t busy_writer(HotCache &cache, std::uint64_t seed) {
    return in_child([&cache, seed] {
        for (std::uint64_t i = seed;; i++)
            put(cache, i % 3000, value_of(i % 3000, size_of(i % 3000)));
        return true;
    });
}

TEST(HotCache, OutlivesWritersThatAreStoppedOrKilledAnywhere) {
    OwnedCache cache({kMegabyte});
    std::mt19937_64 random(2);
    for (int round = 0; round < 12; round++) {  // each may leave two of the 32 shards locked
        const pid_t stopped = busy_writer(*cache, random());
        const pid_t killed = busy_writer(*cache, random());
        const std::uint64_t busy_until = cache->stats().inserts + 100 + random() % 400;
        while (cache->stats().inserts < busy_until)
            std::this_thread::yield();
        kill(stopped, SIGSTOP);
        kill(killed, SIGKILL);
        waitpid(killed, nullptr, 0);
        int status;
        waitpid(stopped, &status, WUNTRACED);
        ASSERT_TRUE(WIFSTOPPED(status));

        std::uint64_t hits = 0;
        EXPECT_TRUE(succeeded(in_child([&] { return work(*cache, random(), 2000, hits); }))) << "others go on";
        const std::uint64_t number = random() % 3000;
        cache->erase(key_of(number));
        EXPECT_FALSE(get(*cache, number)) << "erasing asks no writer";
        drain(*cache);

        kill(stopped, SIGKILL);
        waitpid(stopped, nullptr, 0);
        // PostgreSQL would lay the memory out anew after a SIGKILL; here a locked shard stays so, and that is
        // all.
    }
}

TEST(HotCache, ServesReadersOfAShardWhoseWriterIsStopped) {
    OwnedCache cache({kMegabyte});
    const std::uint64_t kKeys = 500;
    for (std::uint64_t i = 0; i < kKeys; i++)
        put(*cache, i, "kept");
    const auto count_kept = [&] {
        std::uint64_t kept = 0;
        for (std::uint64_t i = 0; i < kKeys; i++)
            kept += get(*cache, i) != nullptr;
        return kept;
    };
    ASSERT_EQ(count_kept(), kKeys);
    const std::string large = value_of(0, 5000);
    const pid_t writer = in_child([&] {
        for (;;)
            put(*cache, 100'000, large);
        return true;
    });
    const auto stop_writer = [&] {
        const std::uint64_t inserts = cache->stats().inserts;
        while (cache->stats().inserts == inserts)
            std::this_thread::yield();
        kill(writer, SIGSTOP);
        int status;
        waitpid(writer, &status, WUNTRACED);
    };
    // Stopped again and again until it is caught with its shard held: an insertion beside it is then refused
    // as busy.
    std::uint64_t busy = 0;
    while (busy == 0) {
        stop_writer();
        const std::uint64_t before = cache->stats().refused_busy;
        put(*cache, 100'000, large);
        busy = cache->stats().refused_busy - before;
        if (busy == 0)
            kill(writer, SIGCONT);
    }
    EXPECT_EQ(busy, 1U);
    EXPECT_EQ(count_kept(), kKeys);
    kill(writer, SIGCONT);
    // One that gets its processor back a millisecond later is waited for, wherever it was stopped.
    for (int round = 0; round < 20; round++) {
        stop_writer();
        const std::uint64_t refused = cache->stats().refused_busy;
        const auto begin = std::chrono::steady_clock::now();
        std::chrono::steady_clock::duration stopped{};
        std::thread resume([&] {
            while (stopped < std::chrono::milliseconds(1))
                stopped = std::chrono::steady_clock::now() - begin;
            kill(writer, SIGCONT);
        });
        put(*cache, 100'000, large);
        resume.join();
        if (stopped < std::chrono::milliseconds(5)) {  // else this machine was too busy to resume it in time
            EXPECT_EQ(cache->stats().refused_busy, refused);
        }
    }
    kill(writer, SIGKILL);
    waitpid(writer, nullptr, 0);
}

}  // namespace
