// What a value must be, and with which words and SQLSTATE it is refused.
//
// The rules themselves stand in src/core/parameters.*: one for each argument of each SQL function and for each setting. Called by
// src/session/arguments.* and src/guc.cpp. Regime: pure (check() may throw std::bad_alloc).
#pragma once

#include "src/core/problem.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace steadytext::core {

// A text argument that may be absent.
struct TextArgument {
    bool is_null = true;
    std::string_view text;

    [[nodiscard]] std::string_view or_else(std::string_view otherwise) const noexcept { return is_null ? otherwise : text; }
};

// White space in the sense of Python's str.strip(), as the original uses it.
[[nodiscard]] bool is_blank(std::string_view text) noexcept;

enum class Kind : std::uint8_t {
    Any,       // what its SQL type allows
    Flag,      // a boolean
    Integer,
    Real,
    Text,      // `least` and `most` are bytes
    Texts,     // an array; they are its elements
    Interval,  // they are microseconds
    Options,   // a JSON object
};

enum class Form : std::uint8_t {
    Free,   // any UTF-8
    Prose,  // white space alone is as good as nothing
    Line,   // the same, and without control characters
};

enum class Fault : std::uint8_t { Null, Below, Above, Malformed };

// How a fault is told; without a message, in words made of the name and the bound.
struct Refusal {
    const char *message = nullptr;
    const char *sqlstate = nullptr;
    const char *hint = nullptr;
};

struct Parameter;

struct Rule {
    Kind kind = Kind::Any;
    const char *name = nullptr;  // as messages call it; without one, by the argument's
    Form form = Form::Free;
    bool needed = false;         // NULL is refused; else it stands for a default, or nothing
    std::int64_t least = INT64_MIN;
    std::int64_t most = INT64_MAX;
    bool distinct = false;            // no element twice
    const Rule *element = nullptr;    // of each element
    const char *words = nullptr;      // the values there are, separated by spaces
    bool (*parse)(std::string_view text, Problem &problem) = nullptr;
    const Parameter *options = nullptr;  // of the object's members, up to one without a name
    Refusal null{}, below{}, above{}, malformed{};
    const char *sample = nullptr;      // SQL for a value that is good, and one that is not: t/027_parameters.sql tries both
    const char *bad_sample = nullptr;
};

// One argument, option or setting.
struct Parameter {
    const char *owner;  // the function, or the group of settings
    const char *name;
    Rule rule;
    const char *setting = nullptr;  // of steadytext_config's keys: the setting in postgresql.conf of the same meaning

    [[nodiscard]] const char *shown() const noexcept { return rule.name != nullptr ? rule.name : name; }
};

// `most` of texts that may be as long as steadytext.max_prompt_bytes says.
inline constexpr std::int64_t kLongestPrompt = -1;

// A value as a rule sees it.
struct Value {
    enum class Is : std::uint8_t {
        Null,
        Flag,
        Number,
        Real,
        Text,
        Texts,
        Other,    // not looked at: the function's declaration says that it is of the right type
        Foreign,  // of a type that no rule is about but one for anything
    };

    Is is = Is::Null;
    std::int64_t number = 0;
    double real = 0;
    std::string_view text{};
    std::span<const TextArgument> texts{};

    Value() = default;
    Value(int value) : is(Is::Number), number(value) {}
    Value(std::int64_t value) : is(Is::Number), number(value) {}
    Value(double value) : is(Is::Real), real(value) {}
    Value(std::string_view value) : is(Is::Text), text(value) {}
    Value(const TextArgument &value) : is(value.is_null ? Is::Null : Is::Text), text(value.text) {}
    Value(std::span<const TextArgument> value) : is(Is::Texts), texts(value) {}

    [[nodiscard]] static Value other() { return Value(Is::Other); }
    [[nodiscard]] static Value flag() { return Value(Is::Flag); }
    [[nodiscard]] static Value foreign() { return Value(Is::Foreign); }

private:
    explicit Value(Is kind) : is(kind) {}
};

// False, with the problem, unless the value is what the rule says. `longest_prompt`: steadytext.max_prompt_bytes.
[[nodiscard]] bool check(const Rule &rule, const char *name, const Value &value, std::size_t longest_prompt, Problem &problem);

// The words and SQLSTATE of a fault. Returns false.
bool refuse(const Rule &rule, const char *name, Fault fault, std::size_t longest_prompt, Problem &problem) noexcept;

// Whether a list of words separated by spaces has this one.
[[nodiscard]] bool has_word(std::string_view words, std::string_view word) noexcept;

}  // namespace steadytext::core
