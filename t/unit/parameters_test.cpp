// The validator table: rules held against values, and the table itself. (t/027_parameters.sql holds it against the
// functions.)
#include "src/core/parameters.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace steadytext::core;

constexpr std::size_t kLongest = 100;

// SQLSTATE and message, or nothing if the value is accepted.
std::string said(const Rule &rule, const Value &value, const char *name = "it") {
    Problem problem;
    if (check(rule, rule.name != nullptr ? rule.name : name, value, kLongest, problem)) {
        EXPECT_FALSE(problem.is_set());
        return "";
    }
    return std::string(problem.sqlstate) + " " + problem.message;
}

TEST(Rules, NumbersHaveBothBounds) {
    EXPECT_EQ(said(rules::kMaxTokens, 0), "22023 max_tokens must be at least 1");
    EXPECT_EQ(said(rules::kMaxTokens, 1), "");
    EXPECT_EQ(said(rules::kMaxTokens, 4096), "");
    EXPECT_EQ(said(rules::kMaxTokens, 4097), "22023 max_tokens exceeds system limit");
    EXPECT_EQ(said(rules::kSeed, -1), "22023 seed must be non-negative");
    EXPECT_EQ(said(rules::kSeed, std::int64_t{INT32_MAX} + 1), "22023 seed must be at most 2147483647");
    EXPECT_EQ(said(rules::kAnySeed, -1), "");
    EXPECT_EQ(said(rules::kTemperature, 2.0), "");
    for (const double bad : {-1e-9, 2.0000001, std::nan(""), std::numeric_limits<double>::infinity()})
        EXPECT_EQ(said(rules::kTemperature, bad), "22023 temperature must be between 0 and 2") << bad;
}

TEST(Rules, NullIsRefusedWhereAValueIsNeeded) {
    EXPECT_EQ(said(rules::kPrompt, Value()), "22004 Prompt cannot be null");
    EXPECT_EQ(said(rules::kSchema, Value()), "22004 Schema cannot be empty");
    EXPECT_EQ(said(rules::kTopK, Value()), "22023 top_k must be greater than 0");
    EXPECT_EQ(said(rules::kModel, Value()), "");
}

TEST(Rules, TextsAreMeasuredAndDecoded) {
    using namespace std::string_view_literals;
    EXPECT_EQ(said(rules::kPrompt, " \t\u00A0\u3000"sv), "22023 Prompt cannot be empty");
    EXPECT_EQ(said(rules::kPrompt, std::string_view(std::string(kLongest, 'a'))), "");
    EXPECT_EQ(said(rules::kPrompt, std::string_view(std::string(kLongest + 1, 'a'))), "54000 Prompt is too long");
    EXPECT_EQ(said(rules::kPrompt, "a\xC3"sv), "22021 Prompt is not valid UTF-8");
    EXPECT_EQ(said(rules::kPrompt, "line\nand\ttab"sv), "") << "prose has lines";
    EXPECT_EQ(said(rules::kModel, "a\nb"sv), "22023 model contains a control character");
    EXPECT_EQ(said(rules::kModel, "a\x7F"sv), "22023 model contains a control character");
    EXPECT_EQ(said(rules::kEosString, "\n"sv), "") << "a line end may end an answer";
    EXPECT_EQ(said(rules::kEosString, ""sv), "22023 eos_string cannot be empty");
    EXPECT_EQ(said(rules::word("one two"), "two"sv), "");
    for (const std::string_view bad : {""sv, "one two"sv, "on"sv, "ONE"sv})
        EXPECT_EQ(said(rules::word("one two"), bad), "22023 invalid value for \"it\"") << bad;
}

TEST(Rules, ArraysAreCountedAndLookedInto) {
    const auto texts = [](std::vector<TextArgument> all) { return all; };
    const std::vector<TextArgument> two = texts({{false, "a"}, {false, "b"}});
    EXPECT_EQ(said(rules::kChoices, std::span<const TextArgument>(two)), "");
    EXPECT_EQ(said(rules::kChoices, std::span<const TextArgument>(two).first(1)),
              "22023 Choices array must contain at least 2 options");
    const std::vector<TextArgument> twice = texts({{false, "a"}, {false, "a"}});
    EXPECT_EQ(said(rules::kChoices, std::span<const TextArgument>(twice)),
              "22023 Choices array cannot contain duplicates");
    const std::vector<TextArgument> hole = texts({{false, "a"}, {}});
    EXPECT_EQ(said(rules::kChoices, std::span<const TextArgument>(hole)), "22004 Choices array cannot contain nulls");
    EXPECT_EQ(said(rules::kDocuments, std::span<const TextArgument>(hole)),
              "22004 Documents cannot contain null elements");
    const std::vector<TextArgument> many(kMaxDocuments + 1, {false, "a"});
    EXPECT_EQ(said(rules::kDocuments, std::span<const TextArgument>(many).first(kMaxDocuments)), "");
    EXPECT_EQ(said(rules::kDocuments, std::span<const TextArgument>(many)), "54000 Documents array is too long");
}

TEST(Parameters, ShortNamesHaveTheRowsOfTheLongOnes) {
    EXPECT_EQ(arguments_of("st_embed").data(), arguments_of("steadytext_embed").data());
    EXPECT_STREQ(arguments_of("st_rerank_top_k")[2].name, "k");
    EXPECT_TRUE(arguments_of("st_no_such").empty());
    EXPECT_TRUE(arguments_of("st_" + std::string(100, 'x')).empty());
}

TEST(Parameters, AFunctionsRowsStandTogether) {
    for (const Parameter &row : arguments()) {
        const std::span<const Parameter> rows = arguments_of(row.owner);
        EXPECT_TRUE(&row >= rows.data() && &row < rows.data() + rows.size()) << row.owner << "." << row.name;
    }
}

TEST(Parameters, KeysOfTheConfigTableHaveRules) {
    const auto config = [](std::string_view key, std::string_view value) {
        Problem problem;
        return check_config(key, value, problem) ? std::string() : std::string(problem.message);
    };
    EXPECT_EQ(config("daemon_host", "::1"), "");
    EXPECT_EQ(config("Daemon_Host", "x;y"), "Invalid host format");
    EXPECT_EQ(config("daemon_port", "65536"), "Invalid port format");
    EXPECT_EQ(config("daemon_port", "0x10"), "Invalid port format");
    EXPECT_EQ(config("model_path", "a/../b"), "Invalid file path");
    EXPECT_EQ(config("model_path", "a/..b"), "");
    EXPECT_EQ(config("some_TABLE_name", "x\"y"), "Invalid table name");
    EXPECT_EQ(config("default_max_tokens", "4097"), "max_tokens exceeds system limit");
    EXPECT_EQ(config("cache_enabled", "maybe"), "invalid value for \"cache_enabled\"");
    EXPECT_EQ(config("cache_max_size_mb", "1.5"), "");
    EXPECT_EQ(config("anything_else", "is; free"), "");
    EXPECT_EQ(config("", ""), "");
}

}  // namespace
