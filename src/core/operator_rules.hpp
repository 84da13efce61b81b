// Rules for the arguments of steadytext_if, _classify, _classify_all, _score and _count_tokens. NULL is no error there: the result is
// NULL. Used by parameters.cpp and src/functions/operators.cpp. Regime: pure.
#pragma once

#include "src/core/parameters.hpp"

namespace steadytext::core::rules {

constexpr Rule question(const char *name) {
    return {.kind = Kind::Text, .name = name, .form = Form::Prose, .least = 1, .most = kLongestPrompt};
}
constexpr Rule judged(const char *name) {
    Rule rule = question(name);
    rule.below.hint = "nullif(btrim(..., E' \\t\\r\\n'), '') makes it NULL, which is not asked and gives NULL.";
    return rule;
}

inline constexpr Rule kJudgedText = judged("Input");
inline constexpr Rule kCondition = question("Condition");
inline constexpr Rule kQuestion = question("Question");

// Of steadytext_count_tokens: no text is too short to be counted.
inline constexpr Rule kCountedText = free_text(kLongestPrompt).named("Input");

inline constexpr Rule kLabelText = {.kind = Kind::Text,
                                    .name = "Label",
                                    .form = Form::Prose,
                                    .needed = true,
                                    .least = 1,
                                    .most = constraint::kMaxChoiceBytes,
                                    .null = {"Labels cannot contain nulls"}};
inline constexpr Rule kLabels = list(2, 1000, kLabelText)
                                    .named("Labels")
                                    .if_below({"Labels must contain at least 2 texts"})
                                    .all_distinct({"Labels cannot contain duplicates"})
                                    .shown_by("ARRAY['a', 'b']", "ARRAY['a', 'b', 'a']");

}  // namespace steadytext::core::rules
