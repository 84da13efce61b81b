// Rules for the arguments of steadytext_if, _classify, _classify_all, _score and _count_tokens. NULL is no error there: the result is
// NULL. Used by parameters.cpp and src/functions/operators.cpp. Regime: pure.
#pragma once

#include "src/core/parameters.hpp"

namespace steadytext::core::rules {

constexpr Rule question(const char *name) {
    return {.kind = Kind::Text, .name = name, .form = Form::Prose, .least = 1, .most = kLongestPrompt};
}

inline constexpr Rule kJudgedText = question("input");
inline constexpr Rule kCondition = question("condition");
inline constexpr Rule kQuestion = question("question");

// Of steadytext_count_tokens: no text is too short to be counted.
inline constexpr Rule kCountedText = {.kind = Kind::Text, .name = "input", .least = 0, .most = kLongestPrompt};

inline constexpr Rule kLabelText = {.kind = Kind::Text,
                                    .name = "label",
                                    .needed = true,
                                    .least = 1,
                                    .most = constraint::kMaxChoiceBytes,
                                    .null = {"labels cannot contain nulls"}};
inline constexpr Rule kLabels = {.kind = Kind::Texts,
                                 .name = "labels",
                                 .least = 2,
                                 .most = 1000,
                                 .distinct = true,
                                 .element = &kLabelText,
                                 .below = {"labels must contain at least 2 texts"},
                                 .malformed = {"labels cannot contain duplicates"},
                                 .sample = "ARRAY['a', 'b']",
                                 .bad_sample = "ARRAY['a', 'b', 'a']"};

}  // namespace steadytext::core::rules
