// Prose taken apart, states of summaries that do not depend on how their values come, vectors and texts that say
// nothing new.
#include "src/core/near_duplicates.hpp"
#include "src/core/prose.hpp"
#include "src/core/summary_state.hpp"
#include "src/core/utf8.hpp"

#include <gtest/gtest.h>
#include <algorithm>
#include <numeric>
#include <random>

namespace {

using namespace steadytext::core;

std::vector<std::string> sentences(std::string_view text) {
    std::vector<std::string> found;
    each_sentence(text, [&](std::string_view sentence) {
        found.emplace_back(sentence);
        return true;
    });
    return found;
}

using Strings = std::vector<std::string>;

TEST(Prose, IsCutAfterMarksOnceAChunkIsLongerThanTenCharacters) {
    EXPECT_EQ(sentences("The first is here. The second! And a third? Rest"),
              (Strings{"The first is here.", "The second!", "And a third?", "Rest"}));
    EXPECT_EQ(sentences("0123456789."), Strings{"0123456789."});
    EXPECT_EQ(sentences("012345678. x"), Strings{"012345678. x"}) << "ten characters are too few";
    EXPECT_EQ(sentences("éééééééééé. x"), (Strings{"éééééééééé.", "x"})) << "characters count, not bytes";
    EXPECT_EQ(sentences("ééééééééé. x"), Strings{"ééééééééé. x"});
    EXPECT_EQ(sentences(" \n "), Strings{});
    EXPECT_EQ(sentences(""), Strings{});
    EXPECT_EQ(sentences("..............."), (Strings{"...........", "...."}));
}

TEST(Prose, IsStrippedOfAllWhiteSpaceThatPythonKnows) {
    EXPECT_EQ(stripped("\u3000\u00a0 a b\t\u2028"), "a b");
    EXPECT_EQ(stripped("\u3000\u2003"), "");
    EXPECT_EQ(first_characters("äöü", 2), "äö");
    EXPECT_EQ(first_characters("äöü", 5), "äöü");
    EXPECT_EQ(count_characters("äö\U0001F600"), 3u);
}

TEST(Prose, PiecesHaveAllWordsAndAreNeverLongerThanTheyMay) {
    std::mt19937 random(7);
    const Strings words = {
        "word", "größer", "句子", "end.", "line\n", "x", std::string(300, 'y'), "\U0001F600\U0001F600"};
    for (int round = 0; round < 200; round++) {
        std::string text;
        for (int i = 0; i < 50; i++)
            text += words[random() % words.size()] + (random() % 4 == 0 ? "" : " ");
        const std::size_t most = 4 + random() % 200;
        std::string together;
        for (const std::string_view piece : pieces_of(text, most)) {
            EXPECT_LE(piece.size(), most);
            EXPECT_FALSE(piece.empty());
            EXPECT_TRUE(utf8_is_valid(piece));
            together += piece;
        }
        const auto bare = [](std::string s) {
            std::erase_if(s, [](char c) { return c == ' ' || c == '\n'; });
            return s;
        };
        EXPECT_EQ(bare(together), bare(text));
    }
    EXPECT_EQ(pieces_of("One is here. Two is there. Three", 30),
              (std::vector<std::string_view>{"One is here. Two is there.", "Three"}));
}

TEST(Prose, PartsHoldTextsInTheirOrderAndAreAsManyAsThereMayBe) {
    EXPECT_EQ(packed({"a", "b"}, 100, 9), Strings{"- a\n- b"});
    EXPECT_EQ(packed({"a"}, 100, 9), Strings{"a"});
    EXPECT_EQ(packed({}, 100, 9), Strings{});
    EXPECT_EQ(packed({"12345678", "12345678", "1"}, 10, 9), (Strings{"12345678", "12345678", "1"}));
    Strings texts;
    for (int i = 0; i < 2000; i++)
        texts.push_back("text " + std::to_string(i) + std::string(static_cast<std::size_t>(i % 60), '.'));
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    for (const std::size_t most_parts : {1u, 3u, 20u, 128u}) {
        const Strings parts = packed(views, 256, most_parts);
        EXPECT_LE(parts.size(), most_parts);
        EXPECT_GE(parts.size(), most_parts / 2) << "there is more than enough to fill them";
        for (const std::string &part : parts)
            EXPECT_LE(part.size(), 256u);
        EXPECT_EQ(parts, packed(views, 256, most_parts));
    }
}

TEST(Prose, EnginesSayInManyWordsThatAPromptIsBeyondTheWindow) {
    for (const char *words :
         {"the daemon reported an error: Input is too long: 9 tokens. Maximum allowed: 5",
          "Input is beyond the model's window: 9 tokens.", "This model's maximum context length is 4096 tokens.",
          "the request exceeds the available context size", "ContextWindowExceeded: Context window"})
        EXPECT_TRUE(tells_of_window(words)) << words;
    for (const char *words : {"", "the daemon reported an error: out of memory", "no answer within 30000 ms"})
        EXPECT_FALSE(tells_of_window(words)) << words;
}

std::string written(const SummaryState &state) {
    std::string json;
    state.write(json);
    return json;
}

// Texts of which some are equal, some empty, some long; together far more than a state keeps.
Strings values_of(unsigned seed) {
    std::mt19937 random(seed);
    Strings values;
    for (int i = 0; i < 4000; i++)
        values.push_back(i % 50 == 0 ? ""
                                     : "Value " + std::to_string(random() % 3000) + ". It is said here. " +
                                           std::string(random() % 500, 'x'));
    values.push_back(std::string(200'000, 'l'));
    return values;
}

TEST(SummaryState, IsTheSameInWhateverOrderAndDivisionItsValuesCome) {
    for (unsigned seed = 1; seed <= 8; seed++) {
        const Strings values = values_of(seed);
        SummaryState whole(std::pmr::get_default_resource());
        for (const std::string &value : values)
            whole.add_value(value);
        EXPECT_FALSE(whole.is_whole());
        std::mt19937 random(seed);
        for (int division = 0; division < 4; division++) {
            Strings shuffled = values;
            std::shuffle(shuffled.begin(), shuffled.end(), random);
            std::vector<SummaryState> parts;
            for (unsigned i = 0; i < 1 + random() % 9; i++)
                parts.emplace_back(std::pmr::get_default_resource());
            for (const std::string &value : shuffled)
                parts[random() % parts.size()].add_value(value);
            // Merged by twos, at random.
            Problem problem;
            while (parts.size() > 1) {
                const std::size_t i = random() % (parts.size() - 1);
                ASSERT_TRUE(parts[i].merge(parts.back(), problem));
                parts.pop_back();
            }
            ASSERT_EQ(written(parts[0]), written(whole)) << "seed " << seed;
        }
    }
}

TEST(SummaryState, KeepsNoMoreThanItMay) {
    std::size_t used = 0, most = 0;
    struct Counting final : std::pmr::memory_resource {
        std::size_t &used, &most;
        Counting(std::size_t &u, std::size_t &m) : used(u), most(m) {}
        void *do_allocate(std::size_t bytes, std::size_t alignment) override {
            most = std::max(most, used += bytes);
            return std::pmr::new_delete_resource()->allocate(bytes, alignment);
        }
        void do_deallocate(void *memory, std::size_t bytes, std::size_t alignment) override {
            used -= bytes;
            std::pmr::new_delete_resource()->deallocate(memory, bytes, alignment);
        }
        [[nodiscard]] bool do_is_equal(const memory_resource &other) const noexcept override { return this == &other; }
    } memory(used, most);
    SummaryState state(&memory);
    for (int i = 0; i < 100'000; i++)
        state.add_value("v" + std::to_string(i));
    for (int i = 0; i < 50; i++)
        state.add_value(std::string(70'000, 'a') + std::to_string(i));
    for (const std::string &value : values_of(3))
        state.add_value(value);
    EXPECT_LE(most, 1'000'000u);
    EXPECT_LE(written(state).size(), 2 * SummaryState::kMaxSamples);
}

TEST(SummaryState, TellsOfFactsOnlyThatNoSampleHas) {
    SummaryState state(std::pmr::get_default_resource());
    state.add_value("One is odd. Two is even.");
    state.add_fact("A model said this.");
    EXPECT_EQ(state.texts(), (std::vector<std::string_view>{"One is odd. Two is even.", "A model said this."}));
    EXPECT_TRUE(state.is_whole());
}

TEST(SummaryState, RefusesMetadataWithoutEnd) {
    SummaryState state(std::pmr::get_default_resource());
    Problem problem;
    EXPECT_TRUE(state.add_metadata("a", "2", problem));
    EXPECT_TRUE(state.add_metadata("a", "1", problem));
    EXPECT_TRUE(state.add_metadata("a", "3", problem));
    EXPECT_EQ(state.metadata().find("a")->second, "1");
    EXPECT_FALSE(state.add_metadata("b", std::string(SummaryState::kMaxMetadataBytes, 'x'), problem));
    EXPECT_STREQ(problem.sqlstate, sqlstate::kProgramLimitExceeded);
}

TEST(SummaryState, HasOneInstruction) {
    SummaryState a(std::pmr::get_default_resource()), b(std::pmr::get_default_resource());
    Problem problem;
    EXPECT_TRUE(a.set_prompt("Why?", problem));
    EXPECT_TRUE(a.merge(b, problem)) << "a part without rows has none";
    EXPECT_TRUE(b.set_prompt("How?", problem));
    EXPECT_FALSE(a.merge(b, problem));
}

TEST(NearDuplicates, AreThoseCloserThanTheThresholdToOneThatStays) {
    const float vectors[][2] = {{1, 0}, {0.8F, 0.6F}, {0.6F, 0.8F}, {0, 1}, {1, 0}};
    std::vector<std::span<const float>> spans;
    for (const auto &vector : vectors)
        spans.emplace_back(vector);
    spans.emplace_back();
    Work work;
    EXPECT_EQ(that_differ(spans, 0.7, work), (std::vector<bool>{true, false, true, false, false, true}));
    EXPECT_EQ(that_differ(spans, 0.9, work), (std::vector<bool>{true, true, false, true, false, true}));
    EXPECT_EQ(that_differ(spans, 1.0, work), (std::vector<bool>(6, true)));
    Work little(3);
    (void)that_differ(spans, 0.7, little);
    EXPECT_TRUE(little.has_ended());
    const std::vector<std::string_view> texts = {" A b", "a B\n", "a c", "", " "};
    EXPECT_EQ(that_differ(texts), (std::vector<bool>{true, false, true, true, false}));
}

}  // namespace
