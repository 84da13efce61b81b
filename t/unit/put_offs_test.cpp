// Whom an engine has asked to come again later: a role, for a model, until a time or until the daemon is reset.
#include "src/core/put_offs.hpp"

#include <gtest/gtest.h>

#include <string>

namespace {

using steadytext::core::PutOffs;

TEST(PutOffs, ARoleIsPutOffForTheModelThatItAskedFor) {
    PutOffs put_offs;
    put_offs.put_off(7, "other", 50, 0);
    EXPECT_EQ(put_offs.until_us(7, "other", 0), 50);
    EXPECT_EQ(put_offs.until_us(7, "third", 0), 0);
    EXPECT_EQ(put_offs.until_us(8, "other", 0), 0);
    EXPECT_EQ(put_offs.until_us(PutOffs::kEverybody, "other", 0), 0);
}

TEST(PutOffs, AResetEndsThoseBeforeItAndNoneAfterItWheneverItIsNoticed) {
    PutOffs put_offs;
    put_offs.put_off(7, "before", 50, 0);
    put_offs.put_off(7, "after", 60, 1);
    EXPECT_EQ(put_offs.until_us(7, "before", 1), 0);
    EXPECT_EQ(put_offs.until_us(7, "after", 1), 60);
    put_offs.forget_past(10, 1);
    EXPECT_EQ(put_offs.until_us(7, "before", 0), 0) << "forgotten";
    EXPECT_EQ(put_offs.until_us(7, "after", 1), 60);
    put_offs.put_off(7, "before", 70, 1);
    EXPECT_EQ(put_offs.until_us(7, "before", 1), 70) << "put off again";
}

TEST(PutOffs, WhatIsOverIsForgotten) {
    PutOffs put_offs;
    put_offs.put_off(7, "m", 50, 0);
    put_offs.forget_past(49, 0);
    EXPECT_FALSE(put_offs.empty());
    put_offs.forget_past(50, 0);
    EXPECT_TRUE(put_offs.empty());
}

TEST(PutOffs, ManyModelsThatAskEverybodyToComeAgainPutOffNoOtherModel) {
    PutOffs put_offs;
    for (std::size_t i = 0; i < PutOffs::kMaxOfEverybody; i++)
        put_offs.put_off(PutOffs::kEverybody, "model " + std::to_string(i), 1'000 + static_cast<std::int64_t>(i), 0);
    EXPECT_EQ(put_offs.until_us(PutOffs::kEverybody, "good", 0), 0);
    put_offs.put_off(PutOffs::kEverybody, "another", 5'000, 0);
    EXPECT_EQ(put_offs.until_us(PutOffs::kEverybody, "good", 0), 0);
    EXPECT_EQ(put_offs.until_us(PutOffs::kEverybody, "another", 0), 5'000);
    EXPECT_EQ(put_offs.until_us(PutOffs::kEverybody, "model 0", 0), 0) << "the one that ends first makes room";
    EXPECT_EQ(put_offs.until_us(PutOffs::kEverybody, "model 1", 0), 1'001);
}

TEST(PutOffs, InventedModelsTakeABoundedRoomAndThenPutOffTheirRoleOnly) {
    PutOffs put_offs;
    for (std::size_t i = 0; i < 10 * PutOffs::kMaxModels; i++)
        put_offs.put_off(7, "invented " + std::to_string(i), 50, 0);
    EXPECT_EQ(put_offs.until_us(7, "another", 0), 50);
    EXPECT_EQ(put_offs.until_us(8, "another", 0), 0);
}

}  // namespace
