// What a session tells the keeper arrives whole, or not at all.
#include "src/core/cache_record.hpp"

#include <gtest/gtest.h>

namespace {

using steadytext::core::CacheRecord;
using steadytext::core::decode;
using steadytext::core::encode;

CacheRecord example() {
    CacheRecord record;
    record.numbers.kind = CacheRecord::Kind::Answer;
    record.numbers.key.bytes[31] = 7;
    record.numbers.seed = 42;
    record.numbers.at_us = 1'234'567;
    record.prompt = std::string_view("a prompt\0 with a NUL", 20);
    record.text = "an answer";
    record.params = "{}";
    record.finish_reason = "stop";
    return record;
}

TEST(CacheRecord, ComesBackAsItWas) {
    std::string bytes;
    encode(example(), bytes);
    CacheRecord back;
    ASSERT_TRUE(decode(bytes, back));
    EXPECT_EQ(back.numbers.kind, CacheRecord::Kind::Answer);
    EXPECT_EQ(back.numbers.key.bytes[31], 7);
    EXPECT_EQ(back.numbers.seed, 42);
    EXPECT_EQ(back.numbers.at_us, 1'234'567);
    EXPECT_EQ(back.prompt, example().prompt);
    EXPECT_EQ(back.text, "an answer");
    EXPECT_EQ(back.legacy_key, "");
    EXPECT_EQ(back.finish_reason, "stop");
}

TEST(CacheRecord, RefusesEveryTruncationAndWhatFollows) {
    std::string bytes;
    encode(example(), bytes);
    CacheRecord back;
    for (std::size_t size = 0; size < bytes.size(); size++)
        EXPECT_FALSE(decode(std::string(bytes, 0, size), back)) << size;
    EXPECT_FALSE(decode(bytes + "x", back));
}

}  // namespace
