// The longest answer of a form: src/core/constraint/longest.hpp.
#include "src/core/constraint/longest.hpp"
#include "t/unit/forms.hpp"

namespace {

using namespace steadytext::core;
using namespace steadytext::core::constraint;

std::uint32_t longest(const Compiled &compiled, std::uint64_t steps = Work::kUnlimited) {
    EXPECT_TRUE(compiled.good) << compiled.problem.message;
    Work work(steps);
    return longest_text(compiled.network, work);
}

TEST(Longest, OfRegexes) {
    const std::pair<const char *, std::uint32_t> cases[] = {
        {"", 0},           {"abc", 3},          {"a|bcd|", 3},  {"\\d{4}-\\d{2}-\\d{2}", 10},
        {"a{2,5}", 5},     {"(ab?){1,3}", 6},   {"a*", kNever}, {"a+b", kNever},
        {"a{2,}", kNever}, {"(a|b)*c", kNever}, {"\\u20ac", 3}, {"x{0}y", 1},
    };
    for (const auto &[pattern, bytes] : cases)
        EXPECT_EQ(longest(*regex(pattern)), bytes) << pattern;
}

TEST(Longest, OfSchemas) {
    EXPECT_EQ(longest(*schema(R"({"enum": ["yes", "no"]})")), 5U);
    EXPECT_EQ(longest(*schema(R"({"type": "string"})")), kNever);
    const std::uint32_t verdicts = longest(*schema(
        R"({"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "boolean"}}, "required": ["a", "b"], "additionalProperties": false})"));
    EXPECT_GE(verdicts, std::string_view(R"({"a":false,"b":false})").size());
    EXPECT_LE(verdicts, std::string_view(R"({ "a" : false , "b" : false })").size());
}

TEST(Longest, NoneBeyondTheWork) {
    const auto compiled = regex("(a|b|c|d){200}");
    EXPECT_EQ(longest(*compiled), 200U);
    EXPECT_EQ(longest(*compiled, 100), kNever);
}

// No text that a network allows is longer, and a wanderer without a limit finds the longest now and then.
TEST(Longest, BoundsWhatIsWritten) {
    std::mt19937 random(7);
    for (const char *pattern : {"[ab]{1,3}(c|dd)?", "(x(y|zz)){0,4}", "(one|two|three|)-(a|bb|ccc)"}) {
        const auto compiled = regex(pattern);
        std::size_t most = 0;
        for (int i = 0; i < 500; i++)
            most = std::max(most, wander(*compiled, random, 100).size());
        EXPECT_EQ(most, longest(*compiled)) << pattern;
    }
}

}  // namespace
