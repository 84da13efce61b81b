// JSON as Python writes it, by examples; t/030_cache_key.pl compares with Python itself. Regime: pure.
#include "src/core/canonical_json.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace {

using namespace steadytext::core;

Problem last_problem;

// The canonical form, or "refused".
std::string canonical(std::string_view json) {
    const std::string padded = std::string(json) + std::string(PaddedText::kPadding, '\0');
    std::string out;
    last_problem = {};
    return canonical_json({{padded.data(), json.size()}}, out, last_problem) ? out : "refused";
}

std::string nested(int levels) { return std::string(levels, '[') + std::string(levels, ']'); }

TEST(CanonicalJson, SeparatesAsPythonDoes) {
    EXPECT_EQ(canonical(" {\"a\":[1,\r\n\t2] ,\"b\":{ } } \n"), R"({"a": [1, 2], "b": {}})");
    EXPECT_EQ(canonical(R"([[],{},[{}],"",true,false,null])"), R"([[], {}, [{}], "", true, false, null])");
    for (const std::string scalar : {"1", "\"x\"", "true", "null"})
        EXPECT_EQ(canonical(" " + scalar + " "), scalar) << "a document need not be an object";
}

TEST(CanonicalJson, SortsKeysByCodePoint) {
    EXPECT_EQ(canonical(R"({"b":1,"a":2,"aa":3,"":4,"B":5})"), R"({"": 4, "B": 5, "a": 2, "aa": 3, "b": 1})");
    EXPECT_EQ(canonical("{\"\U0001F600\":1,\"\uFFFF\":2,\"\\u00e9\":3,\"z\":4}"),
              R"({"z": 4, "\u00e9": 3, "\uffff": 2, "\ud83d\ude00": 1})")
        << "not by what the escapes look like, nor by UTF-16";
    EXPECT_EQ(canonical(R"({"b":{"d":1,"c":2},"a":[{"f":3,"e":4}]})"),
              R"({"a": [{"e": 4, "f": 3}], "b": {"c": 2, "d": 1}})");
}

TEST(CanonicalJson, KeepsTheLastOfEqualKeys) {
    EXPECT_EQ(canonical(R"({"a":1,"a":2})"), R"({"a": 2})");
    EXPECT_EQ(canonical(R"({"a":{"x":1},"b":0,"\u0061":[]})"), R"({"a": [], "b": 0})");
}

TEST(CanonicalJson, Escapes) {
    EXPECT_EQ(canonical("\"\\u0000\\b\\f\\n\\r\\t\\\"\\\\\\/\x7F\u00E9\u2028\\ud83d\\ude00\""),
              R"("\u0000\b\f\n\r\t\"\\/\u007f\u00e9\u2028\ud83d\ude00")");
}

TEST(CanonicalJson, LeavesIntegersAlone) {
    for (const std::string_view number : {"0", "7", "-1", "9223372036854775808", "-1000000000000000000000000000000"})
        EXPECT_EQ(canonical(number), number);
    EXPECT_EQ(canonical("-0"), "0") << "an int has no negative zero";
}

TEST(CanonicalJson, WritesFloatsAsPythonDoes) {
    const std::pair<std::string_view, std::string_view> examples[] = {{"1.0", "1.0"},
                                                                      {"1.50", "1.5"},
                                                                      {"-0.0", "-0.0"},
                                                                      {"1e5", "100000.0"},
                                                                      {"1E+16", "1e+16"},
                                                                      {"1e15", "1000000000000000.0"},
                                                                      {"0.0001", "0.0001"},
                                                                      {"0.00001", "1e-05"},
                                                                      {"123e-2", "1.23"},
                                                                      {"5e-324", "5e-324"},
                                                                      {"1e-400", "0.0"},
                                                                      {"1e400", "Infinity"},
                                                                      {"-1e400", "-Infinity"},
                                                                      {"9007199254740993.0", "9007199254740992.0"},
                                                                      {"0.30000000000000004", "0.30000000000000004"}};
    for (const auto &[number, form] : examples) {
        EXPECT_EQ(canonical(number), form);
        EXPECT_EQ(canonical("[" + std::string(number) + "]"), "[" + std::string(form) + "]");
    }
}

TEST(CanonicalJson, RefusesWhatIsNotJson) {
    for (const std::string_view bad :
         {"",           " ",         "{",           "[",        "]",     "[1",       "[1,]", "[,1]", "[1 2]",
          "{\"a\":1,}", "{\"a\" 1}", "{\"a\"}",     "{a:1}",    "{1:1}", "[] []",    "1 2",  "01",   "-",
          "+1",         "1.",        ".5",          "1e",       "1e+",   "0x1",      "1a",   "--1",  "tru",
          "truex",      "false1",    "nul",         "nulll",    "NaN",   "Infinity", "'a'",  "\"a",  "\"\\x\"",
          "\"\\u12\"",  "\"\n\"",    "\"\\ud800\"", "\"\xFF\"", "{} x"}) {
        EXPECT_EQ(canonical(bad), "refused") << bad;
        EXPECT_STREQ(last_problem.sqlstate, sqlstate::kInvalidTextRepresentation) << bad;
        const std::string inside = "[0, " + std::string(bad) + "]";
        EXPECT_EQ(canonical(inside), "refused") << inside;
    }
}

TEST(CanonicalJson, RefusesDeepNesting) {
    EXPECT_EQ(canonical(nested(kCanonicalDepth)), nested(kCanonicalDepth));
    EXPECT_EQ(canonical(nested(kCanonicalDepth + 1)), "refused");
    EXPECT_STREQ(last_problem.sqlstate, sqlstate::kProgramLimitExceeded);
    EXPECT_EQ(canonical(nested(100'000)), "refused");
    EXPECT_STREQ(last_problem.sqlstate, sqlstate::kProgramLimitExceeded);
    EXPECT_EQ(canonical("[]"), "[]") << "and the next document is as good as ever";
}

TEST(CanonicalJson, TakesGiantDocuments) {
    const std::string giant = "\"" + std::string(3 << 20, 'x') + "\"";
    EXPECT_EQ(canonical(giant), giant);
    EXPECT_EQ(canonical("{}"), "{}");
}

}  // namespace
