// A pattern as read: a tree of characters, sequences, alternatives and repetitions.
//
// Called by regex.cpp and string_product.cpp; regex_builder.hpp turns the tree into states. Regime: pure (may throw
// std::bad_alloc). Groups nest 100 deep at most.
#pragma once

#include "src/core/constraint/code_points.hpp"
#include "src/core/constraint/regex.hpp"
#include "src/core/problem.hpp"

#include <string_view>
#include <vector>

namespace steadytext::core::constraint {

inline constexpr const char *kBrokenPattern = "2201B";  // invalid_regular_expression

struct RegexNode {
    enum class Kind { Set, Sequence, Alternatives, Repetition, Begin, End };
    Kind kind = Kind::Sequence;
    CodePoints set{};
    std::vector<RegexNode> parts{};
    int least = 0;  // of a repetition
    int most = 0;   // -1: no limit
};

// Sets the problem for a pattern that is broken (2201B), uses more than regex.hpp says (0A000), or is too long (54000).
[[nodiscard]] RegexNode read_regex(std::string_view pattern, const RegexForm &form, Problem &problem);

}  // namespace steadytext::core::constraint
