// Texts as Python sees them: rows of code points, with its white space, case, lines and repr().
//
// Used by the lexer, the filters and the writer. Regime: pure (may throw, see value.hpp). All texts are valid UTF-8.
#pragma once

#include "src/core/jinja/value.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core::jinja {

[[nodiscard]] bool is_space(std::uint32_t code);  // str.isspace(), \s
[[nodiscard]] bool is_word(std::uint32_t code);   // \w
[[nodiscard]] bool is_digit(std::uint32_t code);  // \d

[[nodiscard]] std::uint32_t code_at(std::string_view text, std::size_t at, std::size_t &length);
void append_code(std::string &out, std::uint32_t code);
[[nodiscard]] std::size_t length_of(std::string_view text);  // in code points
// The byte at which the code point with this number begins; the text's size beyond its end.
[[nodiscard]] std::size_t byte_of(std::string_view text, std::size_t number);

[[nodiscard]] std::string_view stripped_left(std::string_view text);
[[nodiscard]] std::string_view stripped_right(std::string_view text);
[[nodiscard]] inline std::string_view stripped(std::string_view text) { return stripped_left(stripped_right(text)); }
// Of any of these characters.
[[nodiscard]] std::string_view stripped(std::string_view text, std::string_view characters, bool left, bool right,
                                        Bounds &bounds);

// These fail for letters with a case that depends on their neighbours or makes several letters, but for the German sharp
// s.
[[nodiscard]] std::string upper(std::string_view text);
[[nodiscard]] std::string lower(std::string_view text);
[[nodiscard]] std::string capitalized(std::string_view text);  // str.capitalize()
[[nodiscard]] std::string title(std::string_view text);        // the filter: a new word behind white space, - ( { [ <

// The views of these two count in the scratch.
[[nodiscard]] std::vector<std::string_view> lines(std::string_view text, Bounds::Scratch &scratch);  // str.splitlines()
[[nodiscard]] std::vector<std::string_view> wrapped(std::string_view line, std::size_t width, bool break_long_words,
                                                    bool break_on_hyphens, Bounds &bounds, Bounds::Scratch &kept);

// As std::string_view::find() and rfind(), but counted: a search can take a time that grows with the product of both
// lengths.
[[nodiscard]] std::size_t find_in(std::string_view text, std::string_view part, std::size_t from, Bounds &bounds);
[[nodiscard]] std::size_t find_last_in(std::string_view text, std::string_view part, Bounds &bounds);

[[nodiscard]] std::string replaced(std::string_view text, std::string_view old, std::string_view by, std::int64_t most,
                                   Bounds &bounds);
[[nodiscard]] std::string escaped(std::string_view text);  // for HTML
void append_repr(std::string &out, std::string_view text);
[[nodiscard]] inline std::string repr(std::string_view text) {
    std::string out;
    append_repr(out, text);
    return out;
}
void append_real(std::string &out, double value);  // repr(float)
// Python's int(text) and float(text); false if it raises ValueError.
[[nodiscard]] bool read_whole(std::string_view text, std::int64_t &value);
[[nodiscard]] bool read_real(std::string_view text, double &value);

}  // namespace steadytext::core::jinja
