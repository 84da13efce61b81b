// Which characters ., \w, [[:alpha:]] and [^,] stand for, by what the answer to that is needed for.
//
// Used by regex.cpp. Regime: pure (may throw std::bad_alloc); the sets are made at first use and kept.
//
// \d, \w and \s are of ASCII in JSON Schema; in PostgreSQL and Python they are what the locale or Unicode says. So a class has a least
// set, which every reader of the pattern agrees on, and a most, which some reader may see in it:
//   Generated    what is generated matches whoever reads it: the least of a class, and of a negated one what is not in its most.
//   Postgres     an answer of another engine matches if it does in a database of any locale: the other way round.
//   JsonSchema   as ECMA-262 says, which a schema's `pattern` is written in: there both are one.
#pragma once

#include "src/core/constraint/code_points.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace steadytext::core::constraint {

enum class Alphabet : std::uint8_t { Generated, Postgres, JsonSchema };

struct CharacterClass {
    CodePoints least{};
    CodePoints most{};
};

// What `.` stands for. Generated: no control characters; JsonSchema: no ends of lines.
[[nodiscard]] const CodePoints &any_character(Alphabet alphabet);
// What is in the class, or if `negated` what is not. Generated: no control characters but those of which the class tells.
[[nodiscard]] CodePoints members(const CharacterClass &cls, bool negated, Alphabet alphabet);

// \d \w \s \D \W \S, alone or within brackets; nothing for another letter.
[[nodiscard]] std::optional<CharacterClass> shorthand(std::uint32_t letter, Alphabet alphabet);
// alnum, alpha, digit, lower, punct, space, upper, xdigit; null for another name.
[[nodiscard]] const CharacterClass *named_class(std::string_view name);

}  // namespace steadytext::core::constraint
