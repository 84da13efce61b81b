// The characters that ., \w, [[:alpha:]] and [^,] stand for, depending on the use of the network.
//
// Used by regex.cpp. Regime: pure (may throw std::bad_alloc); the sets are made at first use and kept.
//
// In JSON Schema, \d, \w and \s mean ASCII; in PostgreSQL and Python the locale or Unicode decides. So a class has a
// `least` set, which every reader of the pattern accepts, and a `most` set, which some reader may accept:
//   Generated    generated text must match for every reader: the least of a class, the complement of the most if
//   negated Postgres     an answer of another engine matches if it matches in a database of any locale: the other way
//   round JsonSchema   as ECMA-262 says, in which a schema's `pattern` is written: there the two sets are equal
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

// The characters that `.` stands for. Generated: no control characters; JsonSchema: no line ends.
[[nodiscard]] const CodePoints &any_character(Alphabet alphabet);
// The characters in the class, or not in the class if `negated`. Generated: no control characters except those in the
// class.
[[nodiscard]] CodePoints members(const CharacterClass &cls, bool negated, Alphabet alphabet);

// \d \w \s \D \W \S, alone or in brackets; nothing for another letter.
[[nodiscard]] std::optional<CharacterClass> shorthand(std::uint32_t letter, Alphabet alphabet);
// alnum, alpha, digit, lower, punct, space, upper, xdigit; null for another name.
[[nodiscard]] const CharacterClass *named_class(std::string_view name);

}  // namespace steadytext::core::constraint
