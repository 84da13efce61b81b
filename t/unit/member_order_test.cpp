// The order of an answer's members: what a schema's canonical form has lost, and what it takes to know it again.
#include "src/core/constraint/limits.hpp"
#include "src/core/constraint/member_order.hpp"

#include <gtest/gtest.h>
#include <string>

namespace {

using steadytext::core::constraint::with_member_order;

constexpr const char *kCanonical =
    R"({"properties": {"answer": {"type": "string"}, "reasoning": {"type": "string"}}, "required": ["reasoning", "answer"], "type": "object"})";

TEST(MemberOrder, IsThatOfRequiredWhereNothingElseTells) {
    EXPECT_EQ(
        with_member_order(kCanonical, ""),
        R"({"properties":{"reasoning":{"type":"string"},"answer":{"type":"string"}},"required":["reasoning","answer"],"type":"object"})");
    EXPECT_EQ(with_member_order(R"({"properties": {"a": true, "b": true, "c": true}, "required": ["c"]})", ""),
              R"({"properties":{"c":true,"a":true,"b":true},"required":["c"]})")
        << "others come behind";
}

TEST(MemberOrder, IsThatOfTheTextWhereThereIsOne) {
    EXPECT_EQ(with_member_order(R"({"properties": {"a": true, "b": {"properties": {"x": {}, "y": {}}}}})",
                                R"({"properties":{"b":{"properties":{"y":{},"x":{}}},"a":true}})"),
              R"({"properties":{"b":{"properties":{"y":{},"x":{}}},"a":true}})");
    EXPECT_EQ(with_member_order(R"({"properties": {"a": 1, "b": 2}, "required": ["b", "a"]})",
                                R"({"required": ["b", "a"], "properties": {"a": 1, "b": 2}})"),
              R"({"properties": {"a": 1, "b": 2}, "required": ["b", "a"]})")
        << "the text counts, not required";
}

TEST(MemberOrder, LeavesTheCanonicalFormAsItIsWhereTheOrderIsThatOfTheNames) {
    for (const char *canonical :
         {"{}", "true", R"({"properties": {"a": true, "b": true}, "required": ["a", "b"]})",
          R"({"enum": [{"b": 1, "a": 2}], "required": []})", R"({"properties": {"required": {"type": "string"}}})",
          R"({"properties": 1, "required": ["a"]})", R"({"properties": {"b": 1}, "required": 7})"})
        EXPECT_EQ(with_member_order(canonical, ""), canonical);
    EXPECT_EQ(with_member_order(R"({"properties": {"a": 1}, "type": "object"})",
                                R"({ "type":"object", "properties" : {"a":1}})"),
              R"({"properties": {"a": 1}, "type": "object"})");
}

TEST(MemberOrder, IsOfSchemasNotOfValuesAndNotOfWhatHasTheNameOfAKeyword) {
    EXPECT_EQ(with_member_order(R"({"const": {"properties": {"a": 1, "b": 2}, "required": ["b"]}})", ""),
              R"({"const": {"properties": {"a": 1, "b": 2}, "required": ["b"]}})");
    EXPECT_EQ(
        with_member_order(R"({"properties": {"const": {"properties": {"a": 1, "b": 2}, "required": ["b"]}}})", ""),
        R"({"properties":{"const":{"properties":{"b":2,"a":1},"required":["b"]}}})");
    EXPECT_EQ(
        with_member_order(R"({"$defs": {"properties": {"properties": {"a": 1, "b": 2}, "required": ["b"]}}})", ""),
        R"({"$defs":{"properties":{"properties":{"b":2,"a":1},"required":["b"]}}})");
}

TEST(MemberOrder, KeepsDigitsAndHasNoOpinionOfWhatIsTooLarge) {
    EXPECT_EQ(with_member_order(
                  R"({"properties": {"a": {"maximum": 12345678901234567890123}, "b": {}}, "required": ["b"]})", ""),
              R"({"properties":{"b":{},"a":{"maximum":12345678901234567890123}},"required":["b"]})");
    const std::string deep = R"({"required": [], "a": )" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
    EXPECT_EQ(with_member_order(deep, ""), deep);
}

}  // namespace
