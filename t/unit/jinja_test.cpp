// Templates without Python at hand: the bounds, and what no comparison with Python shows. t/041_templates.pl compares
// what they give.
#include "src/core/jinja/jinja.hpp"

#include <algorithm>
#include <ctime>
#include <gtest/gtest.h>

namespace {

using namespace steadytext::core;

struct Result {
    std::string text;
    Problem problem;
    std::uint64_t steps = 0;
};

Result render(std::string_view source, std::string_view variables = "{}", bool strict = true) {
    Work work(jinja::kMaxSteps);
    Result result;
    if (jinja::render(source, variables, strict, work, result.text, result.problem))
        EXPECT_FALSE(result.problem.is_set());
    else
        EXPECT_TRUE(result.problem.is_set());
    result.steps = work.used();
    return result;
}

std::string names(std::string_view source) {
    Work work(jinja::kMaxSteps);
    std::vector<std::string> found;
    Problem problem;
    if (!jinja::check(source, work, found, problem))
        return problem.message;
    std::string out;
    for (const std::string &name : found)
        out += (out.empty() ? "" : " ") + name;
    return out;
}

TEST(Jinja, PutsVariablesIn) {
    EXPECT_EQ(render("Hello {{ name }}!", R"({"name": "Ada"})").text, "Hello Ada!");
    EXPECT_EQ(render("{% for x in l %}{{ loop.index }}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
                     R"({"l": ["a", 1.50, null, true]})")
                  .text,
              "1a, 21.5, 3None, 4True");
    EXPECT_EQ(render("{{ a }}", R"({"a": "\u00e9\ud83d\ude00\n"})").text, "é😀\n");
    EXPECT_EQ(render("{{ a }}", R"({"a": 123456789012345678901234567890})").text, "123456789012345678901234567890");
}

TEST(Jinja, NamesWhatATemplateTakes) {
    EXPECT_EQ(names("{{ b }}{{ a|default(1) }}{% for x in c %}{{ x }}{{ loop.index }}{% endfor %}{{ range(3) }}"),
              "a b c");
    EXPECT_EQ(names("{% set a = 1 %}{{ a }}{% macro m(p) %}{{ p }}{{ q }}{% endmacro %}{{ m(1) }}"), "q");
    EXPECT_EQ(names("{{ name"),
              "Invalid Jinja2 template: unexpected end of template, expected 'end of print statement'.");
}

TEST(Jinja, TellsAllThatIsMissing) {
    EXPECT_STREQ(render("{{ b }}{{ a }}").problem.message, "Missing required variables: a, b");
    EXPECT_EQ(render("{{ b }}{{ a }}", "{}", false).text, "");
    EXPECT_STREQ(render("{{ a.b }}", R"({"a": {}})").problem.message,
                 "Undefined variable in template: 'dict object' has no attribute 'b'");
}

TEST(Jinja, NothingButVariablesIsReached) {
    for (const std::string_view source : {"{{ ''.__class__ }}", "{{ x.__init__ }}", "{{ x['__class__'] }}",
                                          "{{ cycler.__init__ }}", "{{ self }}", "{{ lipsum() }}"})
        EXPECT_STREQ(render(source, R"({"x": [1]})").problem.sqlstate, "0A000") << source;
}

TEST(Jinja, StepsMemoryOutputAndDepthAreBounded) {
    for (const std::string_view source :
         {"{% for i in range(10 ** 18) %}{% endfor %}", "{{ 'x' * 10 ** 12 }}", "{{ [0] * 10 ** 12 }}",
          "{% for i in range(10 ** 9) %}0123456789{% endfor %}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
          "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}", "{{ ('a' * 10 ** 7)|wordwrap(1) }}"}) {
        const Result result = render(source);
        EXPECT_STREQ(result.problem.sqlstate, "54000") << source;
        EXPECT_LE(result.steps, jinja::kMaxSteps + (64U << 20)) << source;
    }
}

TEST(Jinja, AsksWhetherToStop) {
    Work work(
        Work::kUnlimited, [](void *) { return true; }, nullptr);
    std::string out;
    Problem problem;
    EXPECT_FALSE(jinja::render("{% for i in range(10 ** 18) %}{% endfor %}", "{}", true, work, out, problem));
    EXPECT_TRUE(work.was_stopped());
}

TEST(Jinja, SearchesAreCounted) {
    Work work(1'000'000);
    std::string out;
    Problem problem;
    EXPECT_FALSE(jinja::render("{{ (('a' * 10 ** 5 ~ 'b') * 100).count('a' * 10 ** 5 ~ 'c') }}", "{}", true, work, out,
                               problem));
    EXPECT_TRUE(work.has_ended());
}

// What a filter walks is counted, so that a statement can be cancelled meanwhile.
TEST(Jinja, LongTextsAreCountedByFiltersAndMethods) {
    const std::size_t bytes = 1U << 20;
    const std::string text(bytes, 'a'), variables = R"({"t": ")" + text + R"(", "k": ")" + text + R"("})";
    for (const std::string_view expression :
         {"t|trim(k)", "t.strip(k)", "t.startswith((k, k))", "t.endswith(k)", "t|urlencode", "{k: 1}[t]", "t in {k: 1}",
          "t|wordwrap(8)|length", "t|center(80)|length", "t|truncate(8)", "t|indent|length", "t|upper|length",
          "t|title|length", "t|capitalize|length", "t|wordcount", "t|reverse|length", "t|escape|length"}) {
        const Result empty = render("{{ 1 }}", variables);
        const Result result = render("{{ " + std::string(expression) + " }}", variables);
        EXPECT_STREQ(result.problem.sqlstate, "") << expression << ": " << result.problem.message;
        EXPECT_GE(result.steps - empty.steps, bytes / 64) << expression;
    }
}

// What a filter needs while it is at work counts as memory, and is free again when the filter ends.
TEST(Jinja, FiltersCountTheirOwnMemory) {
    const std::string large = R"({"t": ")" + std::string(6U << 20, 'a') + R"("})";
    for (const std::string_view expression : {"t|reverse|length", "t[::-1]|length", "t[::2]|length",
                                              "t|wordwrap(1)|length", "(t|replace('a', '\\n')).splitlines()|length"})
        EXPECT_STREQ(render("{{ " + std::string(expression) + " }}", large).problem.sqlstate, "54000") << expression;
    const std::string small = R"({"t": ")" + std::string(1U << 20, 'a') + R"("})";
    EXPECT_STREQ(render("{% for i in range(20) %}{{ t[::-1]|length }}{% endfor %}", small).problem.sqlstate, "");
}

double seconds_of(const std::string &source, const std::string &variables) {
    double least = 1e9;
    for (int i = 0; i < 3; i++) {
        const std::clock_t begin = std::clock();
        (void)render(source, variables);
        least = std::min(least, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
    }
    return least;
}

// Of the processor's time, four times the text takes some four times as long, and not sixteen.
TEST(Jinja, LongTextsTakeTheirTimeOnce) {
    const auto variables = [](std::size_t count) {
        std::string spaces;
        for (std::size_t i = 0; i < count; i++)
            spaces += "\u00a0";
        return R"({"t": "b )" + spaces + R"(a", "k": ")" + std::string(count, 'b') + R"(a"})";
    };
    for (const std::string source : {"{{ t|wordwrap|length }}", "{{ k|trim(k)|length }}"})
        EXPECT_LT(seconds_of(source, variables(200'000)), 9 * seconds_of(source, variables(50'000))) << source;
}

TEST(Jinja, ALoopBehindItsEndIsNotReached) {
    EXPECT_STREQ(render("{% set ns = namespace() %}{% for x in [1] %}{% set ns.l = loop %}{% endfor %}{{ ns.l.index }}")
                     .problem.sqlstate,
                 "0A000");
}

TEST(Jinja, BrokenVariablesFail) {
    for (const std::string_view json :
         {"", "{", R"({"a": })", R"({"a": "\ud800"})", R"({"a": tru})", "{} {}", R"({"a": 1e})"})
        EXPECT_FALSE(render("{{ a }}", json).problem.sqlstate[0] == '\0') << json;
}

}  // namespace
