// Two that were written apart agree: patterns with RE2, and what is generated for a schema with what is checked of an
// answer.
#include "t/unit/forms.hpp"

#include <nlohmann/json.hpp>
#include <re2/re2.h>

namespace {

using namespace steadytext::core;
using namespace steadytext::core::constraint;
using nlohmann::json;

// There are no threads here for ThreadSanitizer, which makes it ten times slower.
#ifdef __SANITIZE_THREAD__
constexpr int kPairs = 500;
#else
constexpr int kPairs = 10'000;
#endif

class Random {
public:
    explicit Random(unsigned seed) : engine_(seed) {}
    std::mt19937 &engine() { return engine_; }
    unsigned below(unsigned most) { return engine_() % most; }
    bool one_in(unsigned most) { return below(most) == 0; }
    template <class T>
    const T &of(const std::vector<T> &items) {
        return items[below(static_cast<unsigned>(items.size()))];
    }

private:
    std::mt19937 engine_;
};

// ---- patterns ------------------------------------------------------------------------------------------------------

std::string random_pattern(Random &random, int depth) {
    static const std::vector<std::string> kAtoms{"a",      "b",       "1",      "-",   "\xC3\xA9", "\\.",  ".",
                                                 "\\d",    "\\w",     "\\S",    "\\D", "\\W",      "[ab]", "[^a]",
                                                 "[a-c1]", "[^\\d-]", "[\\w.]", "\\n", "^",        "$"};
    static const std::vector<std::string> kCounts{"?", "*", "+", "{2}", "{1,}", "{0,2}", "*?", "+?"};
    std::string pattern;
    for (unsigned parts = random.below(3) + 1; parts > 0; parts--) {
        std::string part =
            depth > 0 && random.one_in(3) ? "(" + random_pattern(random, depth - 1) + ")" : random.of(kAtoms);
        if (part != "^" && part != "$" && random.one_in(3))
            part += random.of(kCounts);
        pattern += part;
        if (random.one_in(6))
            pattern += "|";
    }
    return pattern;
}

std::string random_text(Random &random) {
    static const std::vector<std::string> kCharacters{
        "a", "b", "c", "1", "2", "-", ".", " ", "\n", "\xC3\xA9", "\xE6\x97\xA5", "_"};
    std::string text;
    for (unsigned size = random.below(7); size > 0; size--)
        text += random.of(kCharacters);
    return text;
}

TEST(Agreement, ASchemasPatternMatchesWhereRE2FindsAMatch) {
    Random random(17);
    int matching = 0, compared = 0;
    RE2::Options quiet;
    quiet.set_log_errors(false);
    while (compared < kPairs) {
        const std::string pattern = random_pattern(random, 2);
        const RE2 other(pattern, quiet);
        ASSERT_TRUE(other.ok()) << pattern << ": " << other.error();
        const std::string wanted = json{{"type", "string"}, {"pattern", pattern}}.dump();
        for (int i = 0; i < 10; i++, compared++) {
            const std::string text = random_text(random);
            Problem problem;
            const bool match = check_document(wanted, json(text).dump(), problem);
            ASSERT_EQ(match, RE2::PartialMatch(text, other))
                << pattern << " and " << json(text) << problem.message << problem.detail;
            matching += match;
        }
    }
    EXPECT_GT(matching, kPairs / 10);
    EXPECT_LT(matching, kPairs - kPairs / 20);
}

TEST(Agreement, AnAnswerToARegexMatchesAsAWholeWhereRE2Does) {
    Random random(19);
    int matching = 0, compared = 0;
    while (compared < kPairs) {
        const std::string pattern = random_pattern(random, 2);
        const RE2 other("(?s:" + pattern + ")");  // as in PostgreSQL, . is any character
        const auto compiled = regex(pattern);
        if (!compiled->good)  // nothing can match it
            continue;
        for (int i = 0; i < 10; i++, compared++) {
            const std::string text = wander(*compiled, random.engine(), random.below(12));
            // \w of RE2 is of ASCII, and what is generated for \W and \D is no letter or digit of any script.
            ASSERT_TRUE(RE2::FullMatch(text, other)) << pattern << " and " << json(text);
            matching++;
        }
    }
    EXPECT_EQ(matching, compared);
}

// ---- schemas -------------------------------------------------------------------------------------------------------

json random_number(Random &random) {
    return random.one_in(2) ? json(static_cast<int>(random.below(40)) - 20)
                            : json((static_cast<int>(random.below(4000)) - 2000) / 100.0);
}

json random_schema(Random &random, int depth) {
    json schema = json::object();
    switch (random.below(depth > 0 ? 9 : 6)) {
    case 0:
        schema = {{"type", "string"}, {"minLength", random.below(3)}, {"maxLength", 2 + random.below(5)}};
        break;
    case 1:
        schema = {{"type", random.one_in(2) ? "integer" : "number"}};
        if (random.one_in(2))
            schema[random.one_in(2) ? "minimum" : "exclusiveMinimum"] = random_number(random);
        if (random.one_in(2))
            schema[random.one_in(2) ? "maximum" : "exclusiveMaximum"] = random_number(random);
        break;
    case 2:
        schema = {{"enum", json::array({1, "two", nullptr, random_number(random), json::array({1.5}), {{"k", "v"}}})}};
        break;
    case 3:
        schema = {{"type", "string"}, {"pattern", random_pattern(random, 1)}};
        if (random.one_in(3))
            schema["minLength"] = random.below(3);
        if (random.one_in(3))
            schema["maxLength"] = 4 + random.below(20);
        break;
    case 4:
        schema = {{"type", "string"},
                  {"format", random.of(std::vector<std::string>{"date", "time", "date-time", "duration", "uuid",
                                                                "email", "hostname", "ipv4", "ipv6", "uri"})}};
        if (random.one_in(3))
            schema["pattern"] = random.of(std::vector<std::string>{"[0-9a]", "^[a-f0-9:P]", "1|e", "^\\S*$", ".{3}"});
        if (random.one_in(3))
            schema["maxLength"] = 10 + random.below(40);
        break;
    case 5:
        schema = {{"type", json::array({"boolean", "null"})}};
        break;
    case 6:
        schema = {{"type", "array"},
                  {"items", random_schema(random, depth - 1)},
                  {"minItems", random.below(3)},
                  {"maxItems", 2 + random.below(2)}};
        if (random.one_in(3))
            schema["prefixItems"] = json::array({random_schema(random, depth - 1)});
        break;
    case 7:
        schema = {{"type", "object"}, {"properties", json::object()}, {"required", json::array()}};
        for (const char *name : {"a", "b", "quoted \" name"})
            if (random.one_in(2)) {
                schema["properties"][name] = random_schema(random, depth - 1);
                if (random.one_in(2))
                    schema["required"].push_back(name);
            }
        if (random.one_in(2))
            schema["additionalProperties"] = random.one_in(2) ? json(false) : random_schema(random, depth - 1);
        break;
    default:
        schema = {{random.one_in(2) ? "anyOf" : "allOf",
                   json::array({random_schema(random, depth - 1), random_schema(random, depth - 1)})}};
    }
    return schema;
}

TEST(Agreement, WhatIsGeneratedForASchemaIsWhatIsCheckedOfAnAnswer) {
    Random random(23);
    int documents = 0, refused = 0;
    while (documents < kPairs) {
        const std::string text = random_schema(random, 2).dump();
        const auto compiled = schema(text);
        if (!compiled->good) {  // nothing satisfies it, or two parts of it cannot be brought together
            refused++;
            continue;
        }
        for (int i = 0; i < 10; i++, documents++) {
            const std::string document = wander(*compiled, random.engine(), random.below(60));
            Problem problem;
            ASSERT_TRUE(check_document(text, document, problem)) << text << "\n"
                                                                 << document << "\n"
                                                                 << problem.message << problem.detail;
        }
    }
    EXPECT_LT(refused, documents / 10);
}

}  // namespace
