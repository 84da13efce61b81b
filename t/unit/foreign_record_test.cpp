// A node brings only what a session of its roles could have left, whatever it says of itself.
#include "src/core/cache_key.hpp"
#include "src/core/foreign_record.hpp"

#include <gtest/gtest.h>
#include <limits>

namespace {

using namespace steadytext::core;

constexpr std::int64_t kNow = 1'700'000'000'000'000;
constexpr std::string_view kScope = "db/role";
constexpr std::string_view kParams =
    R"({"fingerprint": "f", "max_tokens": 5, "model": "", "scope": "db/role", "seed": 42})";

Digest key_of(std::string_view prefix, std::string_view prompt, std::string_view params) {
    Digest key;
    Problem problem;
    EXPECT_TRUE(cache_key(prefix, prompt, params, key, problem));
    return key;
}

CacheRecord answer() {
    CacheRecord record;
    record.operation = "generate";
    record.scope = kScope;
    record.prompt = "a prompt";
    record.text = "an answer";
    record.model = "m";
    record.fingerprint = "f";
    record.params = "{}";
    record.key_params = kParams;
    record.numbers.at_us = kNow - 1;
    record.numbers.key = key_of("generate:", record.prompt, kParams);
    return record;
}

bool holds(CacheRecord record) {
    Problem problem;
    const bool good = check_foreign(record, kScope, kNow, problem);
    EXPECT_NE(good, problem.is_set());
    return good;
}

template <class Change>
bool holds_with(Change &&change) {
    CacheRecord record = answer();
    change(record);
    return holds(record);
}

TEST(ForeignRecord, WhatASessionLeavesHolds) {
    EXPECT_TRUE(holds(answer()));
    EXPECT_TRUE(holds_with([](CacheRecord &r) { r.operation = "generate_json"; }));
    CacheRecord hit;
    hit.numbers.kind = CacheRecord::Kind::Hit;
    hit.numbers.hits = 7;
    EXPECT_TRUE(holds(hit));
}

// It would take the place of the other's answer.
TEST(ForeignRecord, TheKeyOfAnotherScopeIsRefused) {
    static const std::string theirs = R"({"fingerprint": "f", "scope": "db/victim", "seed": 42})";
    const auto take = [](CacheRecord &r) {
        r.key_params = theirs;
        r.numbers.key = key_of("generate:", r.prompt, theirs);
    };
    EXPECT_FALSE(holds_with(take)) << "the parameters name another scope";
    EXPECT_FALSE(holds_with([](CacheRecord &r) { r.numbers.key = key_of("generate:", r.prompt, theirs); }))
        << "the parameters are its own, the key is not";
    EXPECT_FALSE(holds_with([&](CacheRecord &r) {
        take(r);
        r.scope = "db/victim";
    })) << "the scope is the other's";
    EXPECT_FALSE(holds_with([](CacheRecord &r) {
        static const std::string both = R"({"scope": "db/role", "scope": "db/victim"})";
        r.key_params = both;
        r.numbers.key = key_of("generate:", r.prompt, both);
    })) << "two scopes";
    EXPECT_FALSE(holds_with([](CacheRecord &r) {
        static const std::string nested = R"({"a": {"scope": "db/role"}, "scope": "db/victim"})";
        r.key_params = nested;
        r.numbers.key = key_of("generate:", r.prompt, nested);
    })) << "the scope of a part";
    EXPECT_FALSE(holds_with([](CacheRecord &r) {
        static const std::string spaced = R"({"scope":"db/role"})";
        r.key_params = spaced;
        r.numbers.key = key_of("generate:", r.prompt, spaced);
    })) << "another way to write it";
    EXPECT_FALSE(holds_with([](CacheRecord &r) { r.operation = "embed"; })) << "another operation";
}

TEST(ForeignRecord, WhatNoTableHoldsIsRefused) {
    EXPECT_FALSE(holds_with([](CacheRecord &r) { r.text = std::string_view("a\0b", 3); }));
    EXPECT_FALSE(holds_with([](CacheRecord &r) { r.text = "\xFF"; }));
    EXPECT_FALSE(holds_with([](CacheRecord &r) { r.params = "\xC3"; }));
    EXPECT_FALSE(holds_with([](CacheRecord &r) { r.fingerprint = "legacy"; }));
    EXPECT_FALSE(holds_with([](CacheRecord &r) { r.fingerprint = ""; }));
    EXPECT_FALSE(holds_with([](CacheRecord &r) { r.operation = "drop"; }));
    EXPECT_FALSE(holds_with([](CacheRecord &r) { r.numbers.kind = CacheRecord::Kind::Rekey; }));
    EXPECT_FALSE(holds_with([](CacheRecord &r) { r.numbers.kind = static_cast<CacheRecord::Kind>(99); }));
    EXPECT_FALSE(holds_with([](CacheRecord &r) {
        static const std::string longest(2000, 'm');
        r.model = longest;
    }));
    CacheRecord hit;
    hit.numbers.kind = CacheRecord::Kind::Hit;
    hit.numbers.hits = 0;
    EXPECT_FALSE(holds(hit));
}

TEST(ForeignRecord, VectorsAreFinite) {
    const auto embedding = [](const float *values, std::size_t bytes) {
        CacheRecord record = answer();
        record.operation = "embed";
        record.text = record.params = {};
        record.vector = {reinterpret_cast<const char *>(values), bytes};
        record.numbers.key = key_of("embed:", record.prompt, kParams);
        return holds(record);
    };
    const float good[] = {1, 2};
    EXPECT_TRUE(embedding(good, sizeof good));
    EXPECT_FALSE(embedding(good, sizeof good - 1));
    EXPECT_FALSE(embedding(good, 0));
    const float bad[] = {1, std::numeric_limits<float>::quiet_NaN()};
    EXPECT_FALSE(embedding(bad, sizeof bad));
    static const float many[16'001] = {};
    EXPECT_FALSE(embedding(many, sizeof many));
}

TEST(ForeignRecord, TimesAreBroughtWithinBounds) {
    CacheRecord record = answer();
    record.numbers.at_us = std::numeric_limits<std::int64_t>::max();
    record.numbers.expires_us = std::numeric_limits<std::int64_t>::max();
    Problem problem;
    EXPECT_TRUE(check_foreign(record, kScope, kNow, problem));
    EXPECT_EQ(record.numbers.at_us, kNow);
    EXPECT_LT(record.numbers.expires_us, 2 * kNow + std::int64_t{100} * 366 * 86'400'000'000);
    record.numbers.at_us = record.numbers.expires_us = std::numeric_limits<std::int64_t>::min();
    EXPECT_TRUE(check_foreign(record, kScope, kNow, problem));
    EXPECT_EQ(record.numbers.at_us, 1);
    EXPECT_EQ(record.numbers.expires_us, kNow);
}

}  // namespace
