// Jinja2 templates: checked, and rendered as Python's jinja2 renders them, or refused by the name of the unsupported part.
//
// Called by src/functions/prompts.cpp and the unit tests. Regime: pure (may throw std::bad_alloc). A template reaches
// nothing but its variables. Steps are counted by `work`, which may also ask to stop; memory, output and depth are
// bounded (Bounds in value.hpp). The languages' differences are in docs/prompts.md.
#pragma once

#include "src/core/problem.hpp"
#include "src/core/work.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core::jinja {

inline constexpr std::uint64_t kMaxSteps = 50'000'000;

// False unless it is a template; else the names it takes from its variables, in order.
[[nodiscard]] bool check(std::string_view source, Work &work, std::vector<std::string> &names, Problem &problem);

// `variables` is JSON; anything but an object stands for none. `strict`: all variables must be given, and what is
// undefined is an error wherever it is used.
[[nodiscard]] bool render(std::string_view source, std::string_view variables, bool strict, Work &work,
                          std::string &out, Problem &problem);

}  // namespace steadytext::core::jinja
