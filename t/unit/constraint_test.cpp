// What answers may be: networks of regexes, choices, number ranges and schemas, and shortest ways to their ends.
#include "src/core/constraint/day_range.hpp"
#include "src/core/constraint/number_range.hpp"
#include "t/unit/forms.hpp"

#include <charconv>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <random>

namespace {

using namespace steadytext::core;
using namespace steadytext::core::constraint;

// ---- regexes -------------------------------------------------------------------------------------------------------

struct RegexCase {
    const char *pattern;
    std::vector<std::string> match;
    std::vector<std::string> differ;
};

TEST(Regex, MatchesWholeTexts) {
    const RegexCase cases[] = {
        {"abc", {"abc"}, {"", "ab", "abcd", "xabc"}},
        {"a|bc|", {"a", "bc", ""}, {"b", "abc"}},
        {"(a|b)*c", {"c", "abbac"}, {"ab", "cc"}},
        {"(?:ab)+?", {"ab", "abab"}, {"", "aba"}},
        {"a{2}", {"aa"}, {"a", "aaa"}},
        {"a{2,}", {"aa", "aaaaa"}, {"a"}},
        {"a{1,3}?b", {"ab", "aaab"}, {"b", "aaaab"}},
        {"x{0}y", {"y"}, {"xy"}},
        {"[a-cx-z]", {"a", "c", "y"}, {"d", "w", "ab"}},
        {"[^a-y]+", {"z", "Z9\xC3\xA9"}, {"a", "za", "\n"}},
        {"[]a]", {"]", "a"}, {"b"}},
        {"[^]a]", {"b"}, {"]", "a"}},
        {"[a-]", {"a", "-"}, {"b"}},
        {"[\\d_]{3}", {"1_2"}, {"12", "a12"}},
        {"[[:upper:]][[:digit:]]", {"A1"}, {"a1", "A"}},
        {"\\d\\D\\w\\W\\s\\S", {"1a_- x"}, {"1a_-_x"}},
        {"\\.\\*\\\\\\[\\]\\(\\)\\{\\}\\^\\$\\|\\?\\+\\/", {".*\\[](){}^$|?+/"}, {"a"}},
        {"\\t\\n\\r\\f\\v", {"\t\n\r\f\v"}, {"tnrfv"}},
        {"\\u00e9.", {"\xC3\xA9\xE2\x82\xAC"}, {"\xC3\xA9", "e."}},
        {"^a$", {"a"}, {"^a$"}},
        {"^(a|^b)c$|^$", {"ac", "bc", ""}, {"c"}},
        {"(a|b)$", {"a"}, {"ab"}},
        {"(^a|b)+(c$|d)*", {"a", "ab", "bb", "abddc", "b"}, {"ba", "bcd", "aa"}},
        {"(^|x)a($|y)", {"a", "xa", "ay", "xay"}, {"xxa", "aa"}},
        {"a{,2}}", {"a{,2}}"}, {"aa"}},
        {"(a*)*b", {"b", "aaab"}, {"a"}},
        {"()", {""}, {"x"}},
        {"\xE2\x82\xAC+", {"\xE2\x82\xAC\xE2\x82\xAC"}, {"\xE2\x82"}},
    };
    for (const RegexCase &test : cases) {
        const auto compiled = regex(test.pattern);
        ASSERT_TRUE(compiled->good) << test.pattern << ": " << compiled->problem.message << compiled->problem.detail;
        for (const std::string &text : test.match)
            EXPECT_TRUE(matches(*compiled, text)) << test.pattern << " and " << text;
        for (const std::string &text : test.differ)
            EXPECT_FALSE(matches(*compiled, text)) << test.pattern << " and " << text;
    }
}

TEST(Regex, RefusesWhatIsBrokenOrNotSupportedAndSaysWhich) {
    for (const char *broken :
         {"(",      ")",   "(a",    "a)",      "[",  "[a",    "*",  "a**",  "a+*",          "+a",  "a{3,2}",
          "a{256}", "a{1", "[z-a]", "[a-\\d]", "\\", "\\u12", "^*", "\xFF", "[^\\w\\W -~]", "a^b", "a$b"})
        EXPECT_STREQ(regex(broken)->problem.sqlstate, "2201B") << broken;
    for (const char *more :
         {"(?=a)", "(?!a)", "(?<=a)b", "(?i)a", "(?P<n>a)", "(a)\\1", "\\bword\\b", "[[.a.]]", "[[:word:]]", "\\pL"})
        EXPECT_STREQ(regex(more)->problem.sqlstate, "0A000") << more;
    EXPECT_STREQ(regex("((((.{255}){255}){255}){255})")->problem.sqlstate, "54000");
}

TEST(Regex, KnowsTheShortestWayHomeFromEverywhere) {
    std::mt19937 random(7);
    for (const char *pattern :
         {"(abc|d{5}){2,4}", "[a-z]+@[a-z]+\\.(com|org)", "\\d{4}-\\d{2}-\\d{2}( \\d{2}:\\d{2})?", ".{3,}x{2}"}) {
        const auto compiled = regex(pattern);
        for (int round = 0; round < 60; round++)
            for (const std::size_t budget : {0, 16, 60})
                EXPECT_TRUE(matches(*compiled, wander(*compiled, random, budget))) << pattern;
    }
}

// What a schema's pattern makes of a string, and what is checked of an answer to a regex.
bool contains_match(const char *pattern, std::string_view text) {
    Problem problem;
    const std::string schema = R"({"type": "string", "pattern": )" + nlohmann::json(pattern).dump() + "}";
    return check_document(schema, nlohmann::json(text).dump(), problem);
}

bool answers(const char *pattern, std::string_view text) {
    Compiled compiled;
    EXPECT_TRUE(compile_regex(pattern, compiled.network, compiled.problem, nullptr, Alphabet::Postgres)) << pattern;
    return matches(compiled, text);
}

TEST(Regex, OfASchemaMatchesAnywhereUnlessAnchored) {
    const RegexCase cases[] = {
        {"b", {"b", "abc", "\nb"}, {"", "a"}},
        {"^b", {"b", "bc"}, {"ab", ""}},
        {"b$", {"b", "ab"}, {"bc", "b\n"}},
        {"^b$", {"b"}, {"ab", "bc"}},
        {"(^[a-z]+$)", {"abc"}, {"ABC abc 12", ""}},
        {"(^a|b$)", {"ax", "xb", "a"}, {"xaxx", "xbx"}},
        {"^a|b$", {"axx", "xxb"}, {"xax", "bx"}},
        {"^\\S+$", {"n\xC3\xA9", "\xE6\x97\xA5"}, {"a b", "a\xC2\xA0", ""}},
        {"^.+$", {"a\tb", "\xC3\xA9"}, {"a\nb", ""}},
        {"^[^,]*$", {"a\nb", "\x01", ""}, {"a,b"}},
        {"^\\w+$", {"az_9"}, {"n\xC3\xA9"}},
        {"^\\W+$", {"\xC3\xA9!"}, {"a"}},
        {"", {"", "x"}, {}},
        {"^https://", {"https://example.com/x"}, {"http://example.com", " https://"}},
    };
    for (const RegexCase &test : cases) {
        for (const std::string &text : test.match)
            EXPECT_TRUE(contains_match(test.pattern, text)) << test.pattern << " and " << text;
        for (const std::string &text : test.differ)
            EXPECT_FALSE(contains_match(test.pattern, text)) << test.pattern << " and " << text;
    }
}

TEST(Regex, OfAnAnswerIsCheckedAsAnyDatabaseWould) {
    const RegexCase cases[] = {
        {"\\S+", {"Jos\xC3\xA9", "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E"}, {"a b"}},
        {"\\w+", {"Jos\xC3\xA9"}, {"a-b"}},
        {"[[:alpha:]]+", {"Jos\xC3\xA9"}, {"a1"}},
        {".+", {"two\nlines", "tab\there"}, {""}},
        {"[^,]+", {"two\nlines"}, {","}},
        {"\\D", {"\xC3\xA9"}, {"1"}},
    };
    for (const RegexCase &test : cases) {
        for (const std::string &text : test.match)
            EXPECT_TRUE(answers(test.pattern, text)) << test.pattern << " and " << text;
        for (const std::string &text : test.differ)
            EXPECT_FALSE(answers(test.pattern, text)) << test.pattern << " and " << text;
    }
}

TEST(Regex, GeneratesEveryCharacterThatAllReadersTakeForOne) {
    const RegexCase cases[] = {
        {"\\S+", {"Jos\xC3\xA9", "\xE6\x97\xA5", "\xF0\x9F\x98\x80"}, {"\xC2\xA0", "\xE3\x80\x80", "\n"}},
        {"\\D+", {"\xC3\xA9 x"}, {"\xD9\xA3"}},  // a digit, the Arabic three
        {"\\W+", {"\xE2\x82\xAC!", "\xE3\x80\x82"}, {"\xC3\xA9"}},
        {"[^\\w]+", {"\xE2\x82\xAC!"}, {"\xC3\xA9"}},
        {"\\w+", {"az_9"}, {"\xC3\xA9"}},
        {".+", {"\xC3\xA9"}, {"\n", "\xE2\x80\xA8"}},
    };
    for (const RegexCase &test : cases) {
        const auto compiled = regex(test.pattern);
        for (const std::string &text : test.match)
            EXPECT_TRUE(matches(*compiled, text)) << test.pattern << " and " << text;
        for (const std::string &text : test.differ)
            EXPECT_FALSE(matches(*compiled, text)) << test.pattern << " and " << text;
    }
}

TEST(Matcher, TellsTheOnlyTextThatCanFollow) {
    struct Case {
        const char *pattern, *begun, *only;
        std::size_t most = 64;
    };
    const Case cases[] = {
        {"refund|return|other", "ref", "und"},
        {"refund|return|other", "re", ""},  // two can follow
        {"bill|billing", "b", ""},          // it may end there
        {"bill|billing", "billi", "ng"},
        {"a(b|[b])cd", "a", "bcd"},  // two ways, one text
        {"a[bc]d", "a", ""},
        {"ab*", "a", ""},
        {"abcdef", "a", "bcdef", 5},
        {"abcdef", "a", "", 4},
        {"abc", "abc", ""},
    };
    for (const auto &[pattern, begun, only, most] : cases) {
        const auto compiled = regex(pattern);
        ASSERT_TRUE(compiled->good) << pattern;
        Matcher matcher(compiled->network);
        EXPECT_EQ(matcher.only_completion(matcher.advance(matcher.start(), begun), most), only)
            << pattern << " after " << begun;
    }
}

// ---- choices -------------------------------------------------------------------------------------------------------

TEST(Choices, AreTakenWordForWord) {
    Compiled compiled;
    ASSERT_TRUE(compile_choices({"yes", "yes, but", "say \"\\no\"", ""}, compiled.network, compiled.problem));
    for (const char *choice : {"yes", "yes, but", "say \"\\no\"", ""})
        EXPECT_TRUE(matches(compiled, choice));
    for (const char *other : {"ye", "yes,", "no"})
        EXPECT_FALSE(matches(compiled, other));
}

// ---- numbers -------------------------------------------------------------------------------------------------------

TEST(NumberRange, HoldsTheIntegersBetweenItsBoundsAndNoOthers) {
    std::mt19937 random(3);
    for (int round = 0; round < 300; round++) {
        const int spread = round % 3 == 0 ? 20 : 2000;
        const int a = static_cast<int>(random() % static_cast<unsigned>(2 * spread)) - spread;
        const int b = a + static_cast<int>(random() % static_cast<unsigned>(spread));
        const bool exclusive = round % 2 == 1;
        Network network;
        add_number_range({.least = bound_of(decimal_of(std::to_string(a)), exclusive),
                          .most = bound_of(decimal_of(std::to_string(b)), exclusive),
                          .integer = true},
                         network, network.start(), network.end());
        network.finish();
        Matcher matcher(network);
        for (int n = a - 30; n <= b + 30; n++)
            ASSERT_EQ(matcher.matches(std::to_string(n)), exclusive ? n > a && n < b : n >= a && n <= b)
                << a << " " << n << " " << b;
        for (const char *odd : {"-0", "00", "01", "+1", "1.0", "", "-"})
            EXPECT_FALSE(matcher.matches(odd));
    }
}

TEST(NumberRange, HoldsDecimalsBetweenItsBoundsAndNoOthers) {
    std::mt19937 random(5);
    const auto number = [&] { return static_cast<double>(static_cast<int>(random() % 40'000) - 20'000) / 1000; };
    for (int round = 0; round < 300; round++) {
        const double a = number();
        const double b = a + static_cast<double>(random() % 3000) / 1000;
        const bool exclusive = round % 2 == 1;
        Network network;
        add_number_range({.least = bound_of(decimal_of(std::to_string(a)), exclusive),
                          .most = bound_of(decimal_of(std::to_string(b)), exclusive)},
                         network, network.start(), network.end());
        network.finish();
        Matcher matcher(network);
        for (int i = 0; i < 300; i++) {
            char text[32];
            std::snprintf(text, sizeof text, "%.*f", static_cast<int>(random() % 5), number());
            const double value = std::strtod(text, nullptr);
            const bool inside = exclusive ? value > a && value < b : value >= a && value <= b;
            if (std::string_view(text).starts_with("-0") && value == 0)
                continue;
            ASSERT_EQ(matcher.matches(text), inside) << a << " " << text << " " << b;
        }
    }
}

TEST(NumberRange, ComparesWithBoundsOfManyDigitsAsADoubleDoes) {
    std::mt19937 random(9);
    std::uniform_real_distribution<double> exponent(-7, 24), mantissa(-1, 1);
    int inside = 0;
    for (int round = 0; round < 2000; round++) {
        const double bound = round == 0 ? 11.572500000000002 : mantissa(random) * std::pow(10, exponent(random));
        const bool exclusive = round % 2 == 0, is_least = round % 4 > 1;
        NumberRange range;
        char written[64];
        const auto end = std::to_chars(written, written + sizeof written, bound, std::chars_format::fixed).ptr;
        (is_least ? range.least : range.most) = bound_of(decimal_of({written, end}), exclusive);
        Network network;
        add_number_range(range, network, network.start(), network.end());
        network.finish();
        Matcher matcher(network);
        for (int digits = 0; digits <= 18; digits++)
            for (const double near : {bound, std::nextafter(bound, -1e300), std::nextafter(bound, 1e300)}) {
                char text[64];
                std::snprintf(text, sizeof text, "%.*f", digits, near);
                if (!matcher.matches(text))
                    continue;
                const double value = std::strtod(text, nullptr);
                ASSERT_TRUE(is_least ? value > bound || (value == bound && !exclusive)
                                     : value < bound || (value == bound && !exclusive))
                    << text << (is_least ? " >" : " <") << (exclusive ? " " : "= ") << bound;
                inside++;
            }
    }
    EXPECT_GT(inside, 2000);
}

// ---- schemas -------------------------------------------------------------------------------------------------------

const char *const kSchemas[] = {
    R"({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150}}, "required": ["name"]})",
    R"({"type": "object", "properties": {"a": {"type": "null"}, "ab": {"const": 1}}, "additionalProperties": {"type": "boolean"}})",
    R"({"type": "object", "required": ["x", "y"]})",
    R"({"type": "array", "items": {"type": "number", "exclusiveMinimum": 0.1, "maximum": 2.5}, "minItems": 2, "maxItems": 4})",
    R"({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": false})",
    R"({"enum": [1, "two", null, {"three": [3]}], "type": ["integer", "object"]})",
    R"({"const": {"a": "\"quoted\"\n"}})",
    R"({"anyOf": [{"type": "string", "minLength": 2, "maxLength": 5}, {"type": "integer"}, {"type": "null"}]})",
    R"({"anyOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "additionalProperties": false})",
    R"({"oneOf": [{"type": "object", "properties": {"kind": {"const": "x"}, "n": {"type": "integer"}}, "required": ["kind", "n"]},
                  {"type": "object", "properties": {"kind": {"const": "y"}, "s": {"type": "string"}}, "required": ["kind", "s"]}]})",
    R"({"allOf": [{"type": "number", "minimum": -5}, {"type": "integer", "maximum": 5}]})",
    R"({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["value", "children"]}}})",
    R"({"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]})",
    R"({"type": "string", "pattern": "^[A-Z]{2}\"[0-9]+$"})",
    R"({"type": "string", "format": "date-time"})",
    R"({"type": "string", "pattern": "^https://"})",
    R"x({"type": "string", "pattern": "(^a|b$)"})x",
    R"x({"type": "string", "pattern": "[0-9]{3}|\"\\\\\"$"})x",
    R"({"type": "string", "format": "date", "minLength": 10, "maxLength": 10})",
    R"({"type": "string", "format": "time"})",
    R"({"type": "string", "format": "duration"})",
    R"({"type": "string", "format": "uuid", "maxLength": 36})",
    R"({"type": "string", "format": "email"})",
    R"({"type": "string", "format": "hostname"})",
    R"({"type": "string", "format": "ipv4"})",
    R"({"type": "string", "format": "ipv6"})",
    R"({"type": "string", "format": "uri"})",
    R"({"type": "string", "format": "local-time"})",
    R"({"type": "string", "pattern": "^[A-Z]+-[0-9]+$", "maxLength": 8})",
    R"({"type": "string", "pattern": "\\S", "minLength": 3, "maxLength": 5})",
    R"x({"type": "string", "pattern": "^(ab)*c?$", "minLength": 7})x",
    R"({"type": "string", "pattern": "^\"?[^,]*$", "minLength": 2, "maxLength": 9})",
    R"({"type": "string", "pattern": "^a", "maxLength": 1000000000})",
    R"({"type": "string", "pattern": "^https://", "maxLength": 200})",
    R"({"type": "string", "format": "email", "maxLength": 12})",
    R"({"type": "string", "format": "email", "pattern": "@example\\.com$", "minLength": 20})",
    R"({"type": "string", "format": "date", "pattern": "^2024-02-"})",
    R"({"type": "string", "format": "uri", "pattern": "^https://([a-z]+\\.)?example\\.(com|org)/", "maxLength": 40})",
    R"({"type": "string", "format": "date-time", "pattern": "Z$", "minLength": 1})",
    R"({"type": "string", "format": "local-date-time"})",
    R"({"enum": [12345678901234567890123, 1e400, -0.00000000000000000001]})",
    R"({"type": "integer", "minimum": 1e32, "maximum": 1e33})",
    R"({"type": "integer", "minimum": 12345678901234567890123, "maximum": 12345678901234567890200})",
    R"({"type": "number", "maximum": -1e400})",
    R"({"type": "martian"})",
    R"({"type": "martian", "minimum": 5, "maximum": 9, "minLength": 40, "minItems": 9, "required": ["a"]})",
    R"({})",
    R"(true)",
    R"({"type": "object"})",
    R"({"type": "boolean"})",
};

TEST(Schema, WhateverIsWrittenSatisfiesIt) {
    std::mt19937 random(11);
    for (const char *text : kSchemas) {
        const auto compiled = schema(text);
        ASSERT_TRUE(compiled->good) << text << compiled->problem.message << compiled->problem.detail;
        for (int round = 0; round < 20; round++)
            for (const std::size_t budget : {0, 30, 300}) {
                const std::string document = wander(*compiled, random, budget);
                Problem problem;
                EXPECT_TRUE(check_document(text, document, problem)) << text << "\n"
                                                                     << document << "\n"
                                                                     << problem.message << problem.detail;
            }
    }
}

// All texts of two letters up to six of them: what is generated is what the pattern, the format and the length take,
// and nothing else.
TEST(Schema, TakesOfAStringWhatPatternFormatAndLengthAllTake) {
    const std::vector<std::string> patterns{"^a*b$",      "ab", "^(a|bb)+$", "b$|^a", "(^a|b$)",
                                            "^a{2,4}b*$", "",   "^$",        "a.a",   "^[^b]*$"};
    std::vector<std::string> texts{""};
    for (std::size_t i = 0; texts[i].size() < 6; i++)
        for (const char letter : {'a', 'b'})
            texts.push_back(texts[i] + letter);
    int taken = 0;
    for (const std::string &pattern : patterns)
        for (int least = 0; least <= 5; least++)
            for (int most = -1; most <= 5; most++) {
                nlohmann::json wanted{{"type", "string"}, {"pattern", pattern}};
                if (least > 0)
                    wanted["minLength"] = least;
                if (most >= 0)
                    wanted["maxLength"] = most;
                const auto compiled = schema(wanted.dump());
                Matcher matcher(compiled->network);
                for (const std::string &text : texts) {
                    Problem problem;
                    const std::string document = nlohmann::json(text).dump();
                    const bool good = check_document(wanted.dump(), document, problem);
                    ASSERT_EQ(compiled->good && matcher.matches(document), good) << wanted << document;
                    taken += good;
                }
            }
    EXPECT_GT(taken, 1000);
}

TEST(Schema, KnowsDaysBetweenOthers) {
    std::mt19937 random(29);
    const auto text = [](const Day &day) {
        char written[16];
        std::snprintf(written, sizeof written, "%04d-%02d-%02d", day.year, day.month, day.day);
        return std::string(written);
    };
    const auto any_day = [&](int from, int years) {
        return Day{from + static_cast<int>(random() % static_cast<unsigned>(years)),
                   1 + static_cast<int>(random() % 12), 1 + static_cast<int>(random() % 28)};
    };
    int within = 0;
    for (int round = 0; round < 200; round++) {
        Day first = any_day(1, 9999), last = round % 2 == 0 ? any_day(1, 9999) : any_day(first.year, 1);
        if (text(last) < text(first))
            std::swap(first, last);
        const std::string wanted = nlohmann::json{
            {"type", "string"},
            {"format", "date"},
            {"pattern", "^" + day_range_pattern(first, last) +
                            "$"}}.dump();
        for (int i = 0; i < 40; i++) {
            const Day day = i == 0       ? first
                            : i == 1     ? last
                            : i % 2 == 0 ? any_day(1, 9999)
                                         : any_day(first.year, std::min(2, 10'000 - first.year));
            Problem problem;
            const bool good = check_document(wanted, nlohmann::json(text(day)).dump(), problem);
            ASSERT_EQ(good, text(first) <= text(day) && text(day) <= text(last))
                << text(first) << " " << text(day) << " " << text(last) << wanted;
            within += good;
        }
        const auto compiled = schema(wanted);
        if (first.year >= 1000) {
            const std::string written = wander(*compiled, random, 12).substr(1, 10);
            EXPECT_TRUE(text(first) <= written && written <= text(last)) << written;
        }
    }
    EXPECT_GT(within, 1000);
}

struct SchemaCase {
    const char *schema;
    const char *good;
    const char *bad;
};

TEST(Schema, TellsGoodDocumentsFromBad) {
    const SchemaCase cases[] = {
        {kSchemas[0], R"({ "age" : 3, "name":"x", "more": [] })", R"({"name": "x", "age": 151})"},
        {kSchemas[1], R"({"a": null, "abc": true})", R"({"ab": 2})"},
        {kSchemas[2], R"({"x": 1, "y": 2})", R"({"x": 1})"},
        {kSchemas[3], "[0.2, 2.5e0]", "[0.1, 1]"},
        {kSchemas[4], R"(["a", 1])", R"(["a", 1, 2])"},
        {kSchemas[5], R"({"three":[3.0]})", R"("two")"},
        {kSchemas[7], R"("\u00e9\u00e9")", R"("x")"},
        {kSchemas[8], R"({"b": "x"})", R"({})"},
        {kSchemas[9], R"({"kind": "y", "s": ""})", R"({"kind": "y", "n": 1})"},
        {kSchemas[10], "5.0", "6"},
        {kSchemas[11], R"({"value": 1, "children": [{"value": 2, "children": []}]})",
         R"({"value": 1, "children": [{"value": 2}]})"},
        {kSchemas[12], R"({"next": {"next": null}})", R"({"next": {}})"},
        {kSchemas[13], R"("AB\"1")", R"("AB1")"},
        {R"({"type": "string", "pattern": "b"})", R"("abc")", R"("ac")"},
        {R"({"minimum": 3})", R"("text")", "2"},
        {R"({"type": "integer", "maximum": 9007199254740992.0})", "9007199254740992", "9007199254740993"},
        {R"({"const": 12345678901234567890123})", "1234567890123456789012.3e1", "12345678901234567890124"},
        {R"({"minimum": 18446744073709551616})", "18446744073709551616", "18446744073709551615"},
        {R"({"exclusiveMaximum": 1e400})", "9.9e399", "1e400"},
        {R"({"enum": [1, 18446744073709551615]})", "18446744073709551615", "-1"},
        {R"({"const": 1.0})", "1", "1.0000000000000000000001"},
        {R"({"format": "date"})", R"("2024-02-29")", R"("2023-02-31")"},
        {R"({"format": "date", "minLength": 1})", R"("2000-02-29")", R"("1900-02-29")"},
        {R"({"format": "date"})", R"("0001-01-01")", R"("0000-01-01")"},
        {R"({"format": "time"})", R"("23:59:60Z")", R"("22:59:60Z")"},
        {R"({"format": "time"})", R"("15:59:60.5-08:00")", R"("12:00:00")"},
        {R"({"format": "date-time"})", R"("1985-04-12t23:20:50.52z")", R"("1985-04-12 23:20:50Z")"},
        {R"({"format": "duration"})", R"("P3Y6M4DT12H30M5S")", R"("P1Y2D")"},
        {R"({"format": "duration"})", R"("P2W")", R"("PT")"},
        {R"({"format": "uuid"})", R"("2EB8AA08-aa98-11ea-b4aa-73b441d16380")", R"("2eb8aa08aa9811eab4aa73b441d16380")"},
        {R"({"format": "email"})", R"("joe.bloggs@[127.0.0.1]")", R"("te..st@example.com")"},
        {R"({"format": "hostname"})", R"("www.example.com")", R"("-bad.example")"},
        {R"({"format": "ipv4"})", R"("192.168.0.1")", R"("256.1.1.1")"},
        {R"({"format": "ipv6"})", R"("::ffff:192.168.0.1")", R"("1::2::3")"},
        {R"({"format": "uri"})", R"("http://user@[::1]:80/a%20b?c=d#e")", R"("//no.scheme/")"},
        {R"({"format": "uri"})", R"("urn:oasis:names:specification:docbook:dtd:xml:4.1.2")", R"("http://a b/")"},
        {R"({"format": "no-such-format"})", R"("anything")", nullptr},
        {"false", nullptr, "1"},
    };
    for (const SchemaCase &test : cases) {
        Problem problem;
        if (test.good != nullptr) {
            EXPECT_TRUE(check_document(test.schema, test.good, problem)) << test.schema << test.good << problem.detail;
        }
        if (test.bad == nullptr)
            continue;
        EXPECT_FALSE(check_document(test.schema, test.bad, problem)) << test.schema << test.bad;
        EXPECT_STREQ(problem.sqlstate, sqlstate::kProtocolViolation);
    }
}

TEST(Schema, RefusesWhatItCannotPromise) {
    for (const char *text :
         {R"({"not": {}})", R"({"uniqueItems": true})", R"({"multipleOf": 2})",
          R"({"type": "object", "minProperties": 1})", R"({"oneOf": [{"type": "integer"}, {"minimum": 2}]})",
          R"({"$ref": "http://x/y"})", R"x({"pattern": "(?=a)", "type": "string"})x", R"({"pattern": "[[:digit:]]"})",
          R"({"format": "idn-email"})", R"x({"format": "date", "pattern": "(?=a)"})x",
          R"({"format": "iri", "pattern": "a", "maxLength": 9})"})
        EXPECT_STREQ(schema(text)->problem.sqlstate, "0A000") << text;
    for (const char *text : {"",
                             "[]",
                             "1",
                             "{",
                             R"({"$ref": "#/nowhere"})",
                             R"({"$ref": 1})",
                             R"({"properties": 1})",
                             R"({"required": [1]})",
                             R"({"minLength": -1})",
                             R"({"minimum": "1"})",
                             R"({"anyOf": []})",
                             R"({"enum": 1})",
                             R"({"allOf": [{"$ref": "#"}]})",
                             R"({"type": "string", "pattern": "^abc$", "maxLength": 2})",
                             R"({"type": "string", "pattern": "^a{0,3}$", "minLength": 4})",
                             R"({"type": "string", "format": "date", "pattern": "x"})",
                             R"({"type": "string", "format": "uuid", "maxLength": 35})",
                             "false",
                             R"({"type": "integer", "minimum": 3, "maximum": 2})",
                             R"({"$ref": "#"})",
                             R"({"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]})",
                             R"({"items": 7})"})
        EXPECT_STREQ(schema(text)->problem.sqlstate, "22023") << text;
}

}  // namespace
