// Rules for values, with the words and the SQLSTATE of each refusal.
//
// The rules themselves stand in src/core/parameters.*: a rule for each argument of each SQL function and for each
// setting. Called by src/session/arguments.*, src/session/batch.cpp, src/functions and src/guc.cpp. Regime: pure
// (check() may throw std::bad_alloc).
#pragma once

#include "src/core/problem.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace steadytext::core {

// A text argument that may be absent.
struct TextArgument {
    bool is_null = true;
    std::string_view text;

    [[nodiscard]] std::string_view or_else(std::string_view otherwise) const noexcept {
        return is_null ? otherwise : text;
    }
};

// White space in the sense of Python's str.strip(), as the original uses it.
[[nodiscard]] bool is_blank(std::string_view text) noexcept;

enum class Kind : std::uint8_t {
    Any,   // all values of its SQL type
    Flag,  // a boolean
    Integer,
    Real,
    Text,      // `least` and `most` are bytes
    Texts,     // an array; `least` and `most` count its elements
    Interval,  // `least` and `most` are microseconds
    Options,   // a JSON object
};

enum class Form : std::uint8_t {
    Free,   // any UTF-8
    Prose,  // white space alone counts as empty
    Line,   // as Prose, and without control characters
};

enum class Fault : std::uint8_t { Null, Below, Above, Malformed };

// The words of a refusal; without a message, they are made of the name and the bound.
struct Refusal {
    const char *message = nullptr;
    const char *sqlstate = nullptr;
    const char *hint = nullptr;
};

struct Parameter;

struct Rule {
    Kind kind = Kind::Any;
    const char *name = nullptr;  // the name in messages; null: the argument's name
    Form form = Form::Free;
    bool needed = false;  // NULL is refused; else NULL means a default, or nothing
    std::int64_t least = INT64_MIN;
    std::int64_t most = INT64_MAX;
    bool distinct = false;          // no element twice
    const Rule *element = nullptr;  // the rule for each element
    const char *words = nullptr;    // the allowed values, separated by spaces
    bool (*parse)(std::string_view text, Problem &problem) = nullptr;
    const Parameter *options = nullptr;  // the rules for the object's members, up to a row without a name
    Refusal null{}, below{}, above{}, malformed{};
    const char *sample = nullptr;  // SQL for a good value, and for a bad value: t/027_parameters.sql tries both
    const char *bad_sample = nullptr;

    // The same rule, with other words or one more condition.
    template <class Member>
    [[nodiscard]] constexpr Rule with(Member Rule::*member, std::type_identity_t<Member> value) const {
        Rule rule = *this;
        rule.*member = value;
        return rule;
    }
    [[nodiscard]] constexpr Rule named(const char *other) const { return with(&Rule::name, other); }
    [[nodiscard]] constexpr Rule required() const { return with(&Rule::needed, true); }
    [[nodiscard]] constexpr Rule required(Refusal refusal) const { return required().with(&Rule::null, refusal); }
    [[nodiscard]] constexpr Rule if_below(Refusal refusal) const { return with(&Rule::below, refusal); }
    [[nodiscard]] constexpr Rule if_above(Refusal refusal) const { return with(&Rule::above, refusal); }
    [[nodiscard]] constexpr Rule if_outside(Refusal refusal) const { return if_below(refusal).if_above(refusal); }
    [[nodiscard]] constexpr Rule if_malformed(Refusal refusal) const { return with(&Rule::malformed, refusal); }
    [[nodiscard]] constexpr Rule parsed_by(bool (*parser)(std::string_view text, Problem &problem)) const {
        return with(&Rule::parse, parser);
    }
    [[nodiscard]] constexpr Rule all_distinct(Refusal refusal) const {
        return with(&Rule::distinct, true).if_malformed(refusal);
    }
    [[nodiscard]] constexpr Rule shown_by(const char *good, const char *bad = nullptr) const {
        return with(&Rule::sample, good).with(&Rule::bad_sample, bad);
    }
};

// An argument, option or setting.
struct Parameter {
    const char *owner;  // the function, or the group of settings
    const char *name;
    Rule rule;
    // For keys of steadytext_config: the setting in postgresql.conf with the same meaning
    const char *setting = nullptr;

    [[nodiscard]] const char *shown() const noexcept { return rule.name != nullptr ? rule.name : name; }
};

// As `most`: the text may be as long as steadytext.max_prompt_bytes allows.
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
        Other,    // not checked: the function's declaration ensures the type
        Foreign,  // of a type that fits no rule except Kind::Any
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

// False, with the problem, unless the value obeys the rule. `longest_prompt`: steadytext.max_prompt_bytes.
[[nodiscard]] bool check(const Rule &rule, const char *name, const Value &value, std::size_t longest_prompt,
                         Problem &problem);

// The words and SQLSTATE of a fault. Returns false.
bool refuse(const Rule &rule, const char *name, Fault fault, std::size_t longest_prompt, Problem &problem) noexcept;

// Whether a list of words separated by spaces contains this word.
[[nodiscard]] bool has_word(std::string_view words, std::string_view word) noexcept;

}  // namespace steadytext::core
