// PostgreSQL's regexes as patterns of schemas: what is the same, what is let in besides, what is not to be had.
#include "src/core/constraint/postgres_pattern.hpp"

#include <gtest/gtest.h>
#include <string>

namespace {

using steadytext::core::constraint::schema_pattern;
using steadytext::core::constraint::schema_pattern_of_like;
using steadytext::core::constraint::SchemaPattern;

std::string translated(std::string_view pattern, bool ascii = false) {
    SchemaPattern result;
    return schema_pattern(pattern, ascii, result) ? result.text : "none";
}

SchemaPattern of(std::string_view pattern) {
    SchemaPattern result;
    EXPECT_TRUE(schema_pattern(pattern, false, result)) << pattern;
    return result;
}

TEST(PostgresPattern, IsTheSameWhereBothReadersAgree) {
    for (const char *pattern : {"", "^[^@ ]+@[^@ ]+$", "^(?:a|bc)*d{2,3}$", "\\d+\\s\\D\\W", "\\.\\$", "[a-z\\d-]",
                                "a$|^b", "\\u00e9", "größe"})
        EXPECT_EQ(translated(pattern), pattern);
    EXPECT_EQ(translated("a+?b*?c??d{1,2}?"), "a+b*c?d{1,2}") << "the lazy forms match the same";
}

TEST(PostgresPattern, LetsInWhatALocaleMay) {
    const auto widened = [](const std::string &set) { return "(?:" + set + "|[^\\u0001-\\u007f])"; };
    EXPECT_EQ(translated("\\w"), widened("\\w"));
    EXPECT_EQ(translated("a[\\w.]+"), "a" + widened("[\\w.]") + "+");
    EXPECT_EQ(translated("[^\\w]"), "[^\\w]") << "there what is beyond ASCII is in it";
    EXPECT_EQ(translated("[[:alpha:]_]"), widened("[A-Za-z_]"));
    EXPECT_EQ(translated("[^[:alpha:]]"), "[^A-Za-z]");
    EXPECT_EQ(translated("[[:digit:][:space:]]"), "[\\d\\s]");
    EXPECT_EQ(translated("\\w[[:alnum:]]", true), "\\w[0-9A-Za-z]") << "in the locale C";
    EXPECT_EQ(translated("\\S[^\\s@][^[:space:]]", true), widened("\\S") + widened("[^\\s@]") + widened("[^\\s]"))
        << "some of Unicode's spaces are none to a locale";
    EXPECT_EQ(translated("."), "(?:.|[\\n\\r\\u2028\\u2029])") << "ends of lines are characters";
}

TEST(PostgresPattern, SaysWithABackslashWhatIsLiteralOnlyThere) {
    EXPECT_EQ(translated("[]a]"), "[\\]a]");
    EXPECT_EQ(translated("[^]a[]"), "[^\\]a\\[]");
    EXPECT_EQ(translated("a{b}]"), "a\\{b\\}\\]");
}

TEST(PostgresPattern, IsNotToBeHadForWhatOnlyPostgresqlKnows) {
    for (const char *pattern :
         {"(?i)a",   "(?=a)",  "(?!a)", "(?<=a)",  "***=a",         "***:a",       "\\ma\\M",  "\\ya",
          "\\Aa\\Z", "(a)\\1", "\\x41", "[[.a.]]", "[[=a=]]",       "[[:punct:]]", "[[:<:]]a", "[^\\D]",
          "a)",      "(a",     "[a",    "a\\",     "a{1,99999999}", "a{2}{3}",     "a**"})
        EXPECT_EQ(translated(pattern), "none") << pattern;
}

TEST(PostgresPattern, TellsHowLongItsTextsMayBe) {
    EXPECT_EQ(of("^abc$").longest, 3U);
    EXPECT_EQ(of("^[A-Z]{2}\\d{2,30}$").longest, 32U);
    EXPECT_EQ(of("^(a|bcd){2}x?(ef)?$").longest, 9U);
    EXPECT_EQ(of("^(a{3}){4}$").longest, 12U);
    EXPECT_EQ(of("^a{0}$").longest, 0U);
    for (const char *pattern : {"abc", "^abc", "abc$", "^a+$", "^a*$", "^a{2,}$", "^a$|b", "^abc\\$", "^(a|b+){2}$"})
        EXPECT_EQ(of(pattern).longest, SchemaPattern::kEndless) << pattern;
}

TEST(PostgresPattern, TellsWhetherItMayMatchABlank) {
    for (const char *pattern : {"a b", ".", "[^a]", "\\s", "\\W", "\\D", "[ -~]", "[[:space:]]", "\\u0020", "[\\t-z]"})
        EXPECT_TRUE(of(pattern).matches_blank) << pattern;
    for (const char *pattern : {"^[A-Z]{2}$", "\\d\\w\\S", "[[:alnum:]]", "[!-~]", "a\\.b"})
        EXPECT_FALSE(of(pattern).matches_blank) << pattern;
}

TEST(PostgresPattern, SaysWhatLikeDoes) {
    const auto of_like = [](std::string_view like) {
        SchemaPattern result;
        return schema_pattern_of_like(like, result) ? result.text : "none";
    };
    const std::string any = "(?:.|[\\n\\r\\u2028\\u2029])";
    EXPECT_EQ(of_like(""), "^$");
    EXPECT_EQ(of_like("AB-%"), "^AB\\-" + any + "*$");
    EXPECT_EQ(of_like("%%a_%"), "^" + any + "*a" + any + any + "*$");
    EXPECT_EQ(of_like("10\\%\\_\\\\"), "^10\\%\\_\\\\$") << "escaped";
    EXPECT_EQ(of_like("(a.b)*+?[]{}|^$"), "^\\(a\\.b\\)\\*\\+\\?\\[\\]\\{\\}\\|\\^\\$$") << "what is a letter to LIKE";
    EXPECT_EQ(of_like("größe"), "^größe$");
    EXPECT_EQ(of_like("a\\"), "none");
    SchemaPattern result;
    EXPECT_TRUE(schema_pattern_of_like("a_c", result));
    EXPECT_EQ(result.longest, 3U);
    EXPECT_TRUE(result.matches_blank);
    EXPECT_TRUE(schema_pattern_of_like("abc", result));
    EXPECT_FALSE(result.matches_blank);
    EXPECT_TRUE(schema_pattern_of_like("abc%", result));
    EXPECT_EQ(result.longest, SchemaPattern::kEndless);
}

}  // namespace
