// What hostile inputs cost, in steps: twice the input is at most a little more than twice the steps, and what nests is
// no recursion.
#include "src/core/constraint/limits.hpp"
#include "src/core/constraint/matcher.hpp"
#include "src/core/constraint/regex.hpp"
#include "src/core/constraint/schema.hpp"
#include "src/core/json_shape.hpp"
#include "src/core/lexical_score.hpp"
#include "src/core/nfc.hpp"
#include "src/core/work.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <random>
#include <utf8proc.h>

namespace {

using namespace steadytext::core;
using namespace steadytext::core::constraint;

std::string repeated(std::string_view text, std::size_t times) {
    std::string all;
    for (std::size_t i = 0; i < times; i++)
        all += text;
    return all;
}

std::string joined(std::size_t count, const std::function<std::string(std::size_t)> &each) {
    std::string all;
    for (std::size_t i = 0; i < count; i++)
        all.append(i == 0 ? "" : ",").append(each(i));
    return all;
}

std::uint64_t steps_of_schema(const std::string &text, const char *sqlstate = nullptr) {
    Work work(kMaxCompilingSteps);
    Network network;
    Problem problem;
    const bool good = compile_schema(text, network, problem, &work);
    EXPECT_EQ(good, sqlstate == nullptr) << text.substr(0, 200) << ": " << problem.message << problem.detail;
    EXPECT_STREQ(problem.sqlstate, sqlstate == nullptr ? "" : sqlstate)
        << text.substr(0, 200) << ": " << problem.message << problem.detail;
    return work.used();
}

void expect_linear(const char *what, std::size_t size, const std::function<std::uint64_t(std::size_t)> &steps) {
    const std::uint64_t once = steps(size);
    const std::uint64_t twice = steps(2 * size);
    EXPECT_GT(once, 0U) << what;
    EXPECT_LE(twice, 5 * once / 2) << what << ": " << once << " steps, and " << twice << " of twice the size";
}

// ---- work ----------------------------------------------------------------------------------------------------------

TEST(Work, EndsAtItsLimitAndStaysSo) {
    Work work(10'000);
    for (int i = 0; i < 10'000; i++)
        ASSERT_TRUE(work.spend());
    EXPECT_FALSE(work.spend());
    EXPECT_FALSE(work.spend(0));
    EXPECT_TRUE(work.has_ended());
    Problem problem;
    EXPECT_FALSE(work.tell(problem, "this"));
    EXPECT_STREQ(problem.sqlstate, sqlstate::kProgramLimitExceeded);
}

TEST(Work, EndsSoonAfterItIsStopped) {
    bool stop = false;
    Work work(
        Work::kUnlimited, [](void *flag) { return *static_cast<bool *>(flag); }, &stop);
    for (int i = 0; i < 100'000; i++)
        ASSERT_TRUE(work.spend());
    stop = true;
    int more = 0;
    while (work.spend())
        more++;
    EXPECT_LE(more, 5000);
    EXPECT_TRUE(work.was_stopped());
    Problem problem;
    EXPECT_FALSE(work.tell(problem, "this"));
    EXPECT_STREQ(problem.sqlstate, sqlstate::kQueryCanceled);
}

// ---- texts ---------------------------------------------------------------------------------------------------------

TEST(Nfc, CostsTheLengthWhateverTheOrderOfMarks) {
    for (const char *marks : {"\u0301\u0323\u0300", "\u0345\u0327", "a\u0345\u0301\u0316", "\u1112\u1161\u11AB"})
        expect_linear(marks, 50'000, [&](std::size_t size) {
            Work work;
            std::string storage;
            const std::string_view normal = nfc(repeated(marks, size), storage, work);
            EXPECT_FALSE(normal.empty());
            return work.used();
        });
}

TEST(Nfc, IsWhatTheLibraryMakesOfIt) {
    std::mt19937 random(21);
    const std::uint32_t marks[] = {0x300, 0x301,  0x316,   0x323,   0x327,  0x334,  0x345,  0x35C,  0x5B0,
                                   0x64B, 0x93C,  0xE38,   0x1DFC,  'a',    'e',    0x1112, 0x1161, 0x11AB,
                                   0xC5,  0x212B, 0x1D157, 0x1D165, 0xAC00, 0x2126, 0xFB1D, 0x9C7,  0x9BE};
    for (int round = 0; round < 20'000; round++) {
        std::string text;
        for (std::size_t i = 0, size = 1 + random() % 12; i < size; i++) {
            utf8proc_uint8_t bytes[4];
            text.append(reinterpret_cast<char *>(bytes),
                        static_cast<std::size_t>(utf8proc_encode_char(
                            static_cast<utf8proc_int32_t>(marks[random() % std::size(marks)]), bytes)));
        }
        std::string storage;
        utf8proc_uint8_t *expected = utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t *>(text.c_str()));
        ASSERT_EQ(nfc(text, storage), reinterpret_cast<char *>(expected)) << text;
        std::free(expected);
    }
}

TEST(LexicalScore, CostsTheLengthOfTheDocumentHoweverManyWords) {
    const std::string document = repeated("a document about nothing ", 2000);
    const auto steps = [&](std::size_t words) {
        Work work;
        WordFinder finder(joined(words, [](std::size_t i) { return " w" + std::to_string(i); }), work);
        Work of_document;
        EXPECT_EQ(finder.count_in(document, of_document), 0);
        return of_document.used();
    };
    EXPECT_EQ(steps(10), steps(100'000));
}

TEST(LexicalScore, FindsWordsWithinOthersAndCountsThemAsOften) {
    Work work;
    WordFinder finder("She he hers  her he\tx", work);
    EXPECT_EQ(finder.count_in("USHERS", work), 5) << "she, he twice, hers, her";
    EXPECT_EQ(finder.count_in("hello", work), 2);
    EXPECT_EQ(finder.count_in("", work), 0);
    LexicalScorer scorer("one Two", "three", work);
    EXPECT_DOUBLE_EQ(scorer.score("one and three", 1, work), 0.35 + 0.25 + 0.1);
    EXPECT_DOUBLE_EQ(scorer.score("TWO, one, three", 2, work), 1.0);
}

TEST(JsonShape, SeesDepthAndMembersWithoutRecursion) {
    EXPECT_EQ(shape_of(R"({"a": [{"[[[[": "\"]]{{"}]})", {3}), JsonShape::Good);
    EXPECT_EQ(shape_of(R"({"a": [{"b": []}]})", {3}), JsonShape::TooDeep);
    EXPECT_EQ(shape_of(repeated("[", 1'000'000), {200}), JsonShape::TooDeep);
    EXPECT_EQ(shape_of("]}]\"", {1}), JsonShape::Good);
    const auto object = [](std::size_t members) {
        return "{" + joined(members, [](std::size_t i) { return "\"m" + std::to_string(i) + "\":1"; }) + "}";
    };
    EXPECT_EQ(shape_of(object(3000), {1}), JsonShape::Good);
    EXPECT_EQ(shape_of(object(20'000), {1}), JsonShape::TooManyMembers);
    EXPECT_EQ(shape_of("[" + joined(20'000, [](std::size_t) { return "{\"a\":1}"; }) + "]", {2}), JsonShape::Good);
}

// ---- schemas -------------------------------------------------------------------------------------------------------

TEST(Schema, CostsItsSize) {
    expect_linear("oneOf of constants", 800, [](std::size_t size) {
        return steps_of_schema(R"({"oneOf": [)" +
                               joined(size, [](std::size_t i) { return R"({"const": )" + std::to_string(i) + "}"; }) +
                               "]}");
    });
    expect_linear("enum", 2000, [](std::size_t size) {
        return steps_of_schema(R"({"type": "integer", "enum": [)" +
                               joined(size, [](std::size_t i) { return std::to_string(i); }) + "]}");
    });
    expect_linear("properties", 600, [](std::size_t size) {
        return steps_of_schema(
            R"({"properties": {)" +
            joined(size, [](std::size_t i) { return "\"p" + std::to_string(i) + "\": {\"type\": \"integer\"}"; }) +
            "}}");
    });
    expect_linear("required", 1500, [](std::size_t size) {
        return steps_of_schema(R"({"required": [)" +
                               joined(size, [](std::size_t i) { return "\"p" + std::to_string(i) + "\""; }) + "]}");
    });
    expect_linear("a chain of references", 700, [](std::size_t size) {
        return steps_of_schema(R"({"$ref": "#/$defs/0", "$defs": {)" +
                               joined(size,
                                      [&](std::size_t i) {
                                          return "\"" + std::to_string(i) + "\": " +
                                                 (i + 1 == size
                                                      ? "{\"type\": \"null\"}"
                                                      : R"({"$ref": "#/$defs/)" + std::to_string(i + 1) + "\"}");
                                      }) +
                               "}}");
    });
    expect_linear("a long name", 5000, [](std::size_t size) {
        return steps_of_schema(R"({"additionalProperties": true, "properties": {")" + repeated("x", size) +
                               R"(": {}}})");
    });
    expect_linear("a pattern beside a length", 1000, [](std::size_t size) {
        return steps_of_schema(R"({"type": "string", "pattern": "^[^@ ]+@[^@ ]+$", "maxLength": )" +
                               std::to_string(size) + "}");
    });
    expect_linear("a pattern beside a format", 40, [](std::size_t size) {
        return steps_of_schema(R"({"type": "string", "format": "email", "pattern": ")" + repeated("[a-z0-9.]", size) +
                               "\"}");
    });
    expect_linear("alternatives with a discriminator", 150, [](std::size_t size) {
        return steps_of_schema(
            R"({"oneOf": [)" +
            joined(size,
                   [](std::size_t i) {
                       return R"({"type": "object", "required": ["k"], "properties": {"k": {"const": )" +
                              std::to_string(i) + "}}}";
                   }) +
            "]}");
    });
}

TEST(Schema, IsRefusedWhereItWouldCostTooMuch) {
    steps_of_schema(R"({"description": ")" + repeated("x", kMaxSchemaBytes) + "\"}", "54000");
    for (const char *length : {R"("minLength": 1000000000000)", R"("maxLength": 2000)", R"("format": "uri")"})
        steps_of_schema(R"x({"type": "string", "pattern": "^([^x]{0,250}[^y]{0,250}[^z]{0,250}){30}$", )x" +
                            std::string(length) + "}",
                        "54000");
    steps_of_schema(repeated(R"({"items":)", 5000) + "{}" + repeated("}", 5000), "54000");
    steps_of_schema(repeated(R"({"items":)", 150) + "{}" + repeated("}", 150));
    steps_of_schema("{" + joined(10'000, [](std::size_t i) { return "\"" + std::to_string(i) + "\":1"; }) + "}",
                    "54000");
    steps_of_schema(R"({"additionalProperties": true, "properties": {")" + repeated("x", 50'000) + R"(": {}}})",
                    "54000");
    steps_of_schema(
        R"({"oneOf": [)" +
            joined(500,
                   [](std::size_t i) {
                       return R"({"type":"object","required":["k"],"properties":{"k":{"type":"string"},"a)" +
                              std::to_string(i) + "\":true}}";
                   }) +
            "]}",
        "0A000");
    steps_of_schema(
        R"({"maxItems": 10000, "items": {"maxItems": 10000, "items": {"anyOf": [)" +
            joined(40, [](std::size_t i) { return R"({"maxItems": 10000, "minItems": )" + std::to_string(i) + "}"; }) +
            "]}}}",
        "54000");
}

TEST(Schema, FollowsReferencesToSchemasThatAllowAll) {
    steps_of_schema(
        R"({"$ref": "#/$defs/any", "type": "array", "items": {"type": "integer"}, "$defs": {"any": true}})");
    steps_of_schema(
        R"({"allOf": [{"$ref": "#/$defs/any", "type": "array", "items": {"type": "null"}}, {"minItems": 1}], "$defs": {"any": true}})");
}

TEST(Schema, ChecksAnswersInProportion) {
    const auto steps = [](const std::string &schema, const std::string &document) {
        Work work(kMaxCheckingSteps);
        Problem problem;
        EXPECT_TRUE(check_document(schema, document, problem, &work)) << problem.message << problem.detail;
        return work.used();
    };
    expect_linear("an enum and its values", 3000, [&](std::size_t size) {
        const std::string values = "[" + joined(size, [](std::size_t i) { return std::to_string(i); }) + "]";
        return steps(R"({"items": {"enum": )" + values + "}}", values);
    });
    expect_linear("a pattern for each of them", 2000, [&](std::size_t size) {
        return steps(R"({"items": {"pattern": "^([a-z]{0,9}){9}$"}})",
                     "[" + joined(size, [](std::size_t i) { return "\"abc" + std::string(i % 3, 'x') + "\""; }) + "]");
    });
    expect_linear("members", 10'000, [&](std::size_t size) {
        return steps(R"({"additionalProperties": {"type": "integer"}})",
                     "{" + joined(size, [](std::size_t i) { return "\"m" + std::to_string(i) + "\":1"; }) + "}");
    });
    Problem problem;
    EXPECT_FALSE(check_document("{}", repeated("[", 200'000) + repeated("]", 200'000), problem));
    EXPECT_FALSE(check_document(R"({"enum": [[]]})", repeated("[", 400) + repeated("]", 400), problem));
}

// ---- patterns ------------------------------------------------------------------------------------------------------

TEST(Regex, CostsItsSize) {
    const auto compiling = [](const std::string &pattern) {
        Work work(kMaxCompilingSteps);
        Network network;
        Problem problem;
        EXPECT_TRUE(compile_regex(pattern, network, problem, &work)) << problem.message << problem.detail;
        return work.used();
    };
    expect_linear("anchors", 900,
                  [&](std::size_t size) { return compiling(repeated("^", size) + "a" + repeated("$", size)); });
    expect_linear("members of a class", 500, [&](std::size_t size) {
        return compiling(
            "[" + joined(size, [](std::size_t i) { return std::string(1, static_cast<char>('a' + i % 26)) + "-z"; }) +
            "]");
    });
    Network network;
    Problem problem;
    EXPECT_FALSE(compile_regex(repeated("a", kMaxPatternBytes + 1), network, problem));
    EXPECT_STREQ(problem.sqlstate, "54000");
}

TEST(Regex, MatchesInProportionToTheText) {
    Network network;
    Problem problem;
    ASSERT_TRUE(compile_regex("(([a-z]{0,50}x?){0,20}|.*)*", network, problem)) << problem.detail;
    expect_linear("a long text", 20'000, [&](std::size_t size) {
        Work work;
        EXPECT_TRUE(Matcher(network, &work).matches(repeated("a", size)));
        return work.used();
    });
}

TEST(Matcher, GoesOnWhereItsWorkEnded) {
    Network network;
    Problem problem;
    ASSERT_TRUE(compile_regex("([^b]{0,250}){6}", network, problem));
    const auto walk = [&](std::uint64_t piece) {
        Matcher matcher(network);
        Matcher::Position at = matcher.start();
        for (std::size_t i = 0; i < 40;) {
            Work work(piece);
            matcher.charge_to(&work);
            const Matcher::Position next = matcher.step(at, 'a');
            if (!work.has_ended())
                at = next, i++;
            else
                piece *= 2;
        }
        return std::pair(at, matcher.distance(at));
    };
    EXPECT_EQ(walk(1000), walk(Work::kUnlimited)) << "with the same positions in the same order";
}

TEST(Network, WritesItsShortestTextWithoutRecursion) {
    Network network;
    constexpr std::uint32_t kChain = 100'000;
    Rule inner = network.add_rule();
    network.add_bytes(network.start(inner), 'x', 'x', network.end(inner));
    for (std::uint32_t i = 0; i < kChain; i++) {
        const Rule outer = network.add_rule();
        network.add_call(network.start(outer), inner, network.end(outer));
        inner = outer;
    }
    network.add_call(network.start(), inner, network.end());
    network.finish();
    std::string text;
    network.append_shortest(network.start(), text);
    EXPECT_EQ(text, "x");
    EXPECT_TRUE(Matcher(network).matches("x"));
}

}  // namespace
