// Computed prefixes are found by scope and tokens, and the one that was used longest ago makes room.
#include "daemon/prefix_cache.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

using steadytext::daemon::PrefixCache;

namespace {

constexpr std::size_t kEntry = 1000;
constexpr std::size_t kRoom = 4000;  // for three entries with all that belongs to them

std::string key_of(std::string_view scope, std::vector<int> tokens) {
    return PrefixCache::key(scope, tokens.data(), tokens.size());
}

PrefixCache::Bytes bytes(std::uint8_t value) { return PrefixCache::Bytes(kEntry, value); }

}  // namespace

TEST(PrefixCache, FindsWhatWasKept) {
    PrefixCache cache(kRoom);
    EXPECT_EQ(cache.find(key_of("a", {1, 2})), nullptr);
    cache.keep(key_of("a", {1, 2}), bytes(7));
    ASSERT_NE(cache.find(key_of("a", {1, 2})), nullptr);
    EXPECT_EQ(*cache.find(key_of("a", {1, 2})), bytes(7));
}

TEST(PrefixCache, OtherTokensOrScopesFindNothing) {
    PrefixCache cache(kRoom);
    cache.keep(key_of("a", {1, 2}), bytes(7));
    EXPECT_EQ(cache.find(key_of("a", {1, 3})), nullptr);
    EXPECT_EQ(cache.find(key_of("a", {1})), nullptr);
    EXPECT_EQ(cache.find(key_of("b", {1, 2})), nullptr);
    EXPECT_EQ(cache.find(key_of("", {1, 2})), nullptr);
}

TEST(PrefixCache, NoScopeReachesIntoTokens) {
    const int token = 0x61616161;  // "aaaa"
    EXPECT_NE(PrefixCache::key("aaaa", &token, 1), PrefixCache::key("aaaaaaaa", &token, 0));
    EXPECT_NE(PrefixCache::key("1:", &token, 0), PrefixCache::key("", &token, 1));
}

TEST(PrefixCache, TheOneUsedLongestAgoMakesRoom) {
    PrefixCache cache(kRoom);
    for (int i = 1; i <= 3; i++)
        cache.keep(key_of("a", {i}), bytes(1));
    ASSERT_EQ(cache.size(), 3U);
    EXPECT_NE(cache.find(key_of("a", {1})), nullptr);  // now the second was used longest ago
    cache.keep(key_of("a", {4}), bytes(1));
    EXPECT_EQ(cache.find(key_of("a", {2})), nullptr);
    EXPECT_NE(cache.find(key_of("a", {1})), nullptr);
    EXPECT_NE(cache.find(key_of("a", {3})), nullptr);
    EXPECT_NE(cache.find(key_of("a", {4})), nullptr);
}

TEST(PrefixCache, StaysWithinItsBound) {
    PrefixCache cache(kRoom);
    for (int i = 0; i < 100; i++) {
        cache.keep(key_of("a", {i}), bytes(1));
        EXPECT_LE(cache.used(), kRoom);
    }
    cache.keep(key_of("a", {1000}), PrefixCache::Bytes(kRoom, 1));
    EXPECT_EQ(cache.find(key_of("a", {1000})), nullptr);
    EXPECT_NE(cache.find(key_of("a", {99})), nullptr);  // and what does not fit takes nothing along
}

TEST(PrefixCache, WithoutMemoryKeepsNothing) {
    PrefixCache cache(0);
    EXPECT_FALSE(cache.has_room_for(1));
    cache.keep(key_of("a", {1}), bytes(1));
    EXPECT_EQ(cache.size(), 0U);
}
