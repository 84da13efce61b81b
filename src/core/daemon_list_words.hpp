// Taking the text of steadytext.daemons apart: entries at commas, options at white space, neither inside
// double quotes.
//
// Called by daemon_list.cpp, which reads entries, and daemon_list_edit.cpp, which changes an entry. Regime:
// pure.
#pragma once

#include <string_view>
#include <utility>

namespace steadytext::core {

inline bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

inline bool is_comma(char c) { return c == ','; }

inline std::string_view trimmed(std::string_view text) {
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    return text;
}

// Returns the text before the first `separates` character outside double quotes; `rest` becomes the text
// after it.
template <class Predicate>
std::string_view cut(std::string_view &rest, Predicate separates) {
    bool quoted = false;
    for (std::size_t i = 0; i < rest.size(); i++) {
        if (rest[i] == '"')
            quoted = !quoted;
        else if (!quoted && separates(rest[i])) {
            const std::string_view piece = rest.substr(0, i);
            rest.remove_prefix(i + 1);
            return piece;
        }
    }
    return std::exchange(rest, std::string_view{});
}

}  // namespace steadytext::core
