// A template's text as tokens, as Jinja2's lexer cuts it with its default delimiters.
//
// Called by the parser. Regime: pure (throws, see value.hpp).
#pragma once

#include "src/core/jinja/value.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core::jinja {

struct Token {
    enum class Type : std::uint8_t {
        Data,
        VariableBegin,
        VariableEnd,
        BlockBegin,
        BlockEnd,
        Name,
        String,
        Integer,
        Float,
        Operator,
        End
    } type;
    std::string_view text;  // of a String the part between the quotes
    int line;

    [[nodiscard]] bool is(Type which) const { return type == which; }
    [[nodiscard]] bool is_operator(std::string_view which) const { return type == Type::Operator && text == which; }
    [[nodiscard]] bool is_name(std::string_view which) const { return type == Type::Name && text == which; }
    // As the messages of Jinja2 name it.
    [[nodiscard]] std::string_view described() const;
};

[[noreturn]] void fail_syntax(std::string message, int line);

// `source` has line ends of a single kind, and its last line end is taken away already.
[[nodiscard]] std::vector<Token> tokens_of(std::string_view source, Bounds &bounds);

}  // namespace steadytext::core::jinja
