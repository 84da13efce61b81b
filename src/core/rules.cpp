// Checks values against rules: see rules.hpp. Regime: pure.
#include "src/core/rules.hpp"

#include "src/core/utf8.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace steadytext::core {

namespace {

bool is_python_space(std::uint32_t code) noexcept {
    return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
           code == 0x205F || code == 0x3000;
}

// A rule, its name in messages, and the limit that may change.
struct Checker {
    const Rule &rule;
    const char *name;
    std::size_t longest_prompt;
    Problem &problem;

    bool refuse(Fault fault) const noexcept { return core::refuse(rule, name, fault, longest_prompt, problem); }

    bool in_bounds(std::int64_t number) const noexcept {
        return number < rule.least ? refuse(Fault::Below) : number <= rule.most || refuse(Fault::Above);
    }

    bool real(double number) const noexcept {
        if (std::isnan(number))
            return refuse(Fault::Above);
        return number < static_cast<double>(rule.least)
                   ? refuse(Fault::Below)
                   : number <= static_cast<double>(rule.most) || refuse(Fault::Above);
    }

    [[nodiscard]] std::size_t most_bytes() const noexcept {
        return rule.most == kLongestPrompt ? longest_prompt : static_cast<std::size_t>(rule.most);
    }

    bool too_much(std::size_t count, std::size_t most, const char *what) const noexcept {
        refuse(Fault::Above);
        problem.with_detail("It has %zu %s; the limit is %zu.", count, what, most);
        return false;
    }

    bool text(std::string_view text) const {
        if (rule.least > 0 && (rule.form == Form::Free ? text.empty() : is_blank(text)))
            return refuse(Fault::Below);
        if (text.size() > most_bytes())
            return too_much(text.size(), most_bytes(), "bytes");
        if (!utf8_is_valid(text))
            return problem.set(sqlstate::kCharacterNotInRepertoire, "%s is not valid UTF-8", name);
        if (rule.form == Form::Line && has_control(text))
            return problem.set(sqlstate::kInvalidParameterValue, "%s contains a control character", name);
        if (rule.words != nullptr && !has_word(rule.words, text))
            return refuse(Fault::Malformed);
        if (rule.parse == nullptr || rule.parse(text, problem))
            return true;
        return rule.malformed.message == nullptr ? false : refuse(Fault::Malformed);
    }

    static bool has_control(std::string_view text) noexcept {
        return std::any_of(text.begin(), text.end(),
                           [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
    }

    bool texts(std::span<const TextArgument> texts) const {
        const auto count = static_cast<std::int64_t>(texts.size());
        if (count < rule.least)
            return refuse(Fault::Below);
        if (count > rule.most)
            return too_much(texts.size(), static_cast<std::size_t>(rule.most), "elements");
        for (const TextArgument &each : texts)
            if (rule.element != nullptr && !check(*rule.element, rule.element->name, each, longest_prompt, problem))
                return false;
        return !rule.distinct || all_differ(texts) || refuse(Fault::Malformed);
    }

    static bool all_differ(std::span<const TextArgument> texts) {
        std::vector<std::string_view> sorted;
        sorted.reserve(texts.size());
        for (const TextArgument &each : texts)
            sorted.push_back(each.text);
        std::sort(sorted.begin(), sorted.end());
        return std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
    }
};

// The words for a fault, if the rule has none of its own.
bool say(const Rule &rule, const char *name, Fault fault, Problem &problem) noexcept {
    const bool counted = rule.kind == Kind::Text || rule.kind == Kind::Texts;
    switch (fault) {
    case Fault::Null:
        return problem.set(sqlstate::kNullValueNotAllowed, "%s cannot be null", name);
    case Fault::Below:
        if (counted)
            return problem.set(sqlstate::kInvalidParameterValue, "%s cannot be empty", name);
        return problem.set(sqlstate::kInvalidParameterValue, "%s must be at least %lld", name,
                           static_cast<long long>(rule.least));
    case Fault::Above:
        if (counted)
            return problem.set(sqlstate::kProgramLimitExceeded, "%s is too long", name);
        return problem.set(sqlstate::kInvalidParameterValue, "%s must be at most %lld", name,
                           static_cast<long long>(rule.most));
    case Fault::Malformed:
        problem.set(sqlstate::kInvalidParameterValue, "invalid value for \"%s\"", name);
        if (rule.words != nullptr)
            problem.with_hint("Values are: %s.", rule.words);
        return false;
    }
    return false;
}

const Refusal &refusal_of(const Rule &rule, Fault fault) noexcept {
    switch (fault) {
    case Fault::Null:
        return rule.null;
    case Fault::Below:
        return rule.below;
    case Fault::Above:
        return rule.above;
    case Fault::Malformed:
        break;
    }
    return rule.malformed;
}

}  // namespace

bool is_blank(std::string_view text) noexcept {
    for (std::size_t at = 0; at < text.size();) {
        std::uint32_t code;
        const std::size_t length = utf8_decode(text, at, code);
        if (length == 0 || !is_python_space(code))
            return false;
        at += length;
    }
    return true;
}

bool has_word(std::string_view words, std::string_view word) noexcept {
    while (!words.empty()) {
        const std::size_t space = words.find(' ');
        if (words.substr(0, space) == word)
            return true;
        words.remove_prefix(space == std::string_view::npos ? words.size() : space + 1);
    }
    return false;
}

bool refuse(const Rule &rule, const char *name, Fault fault, std::size_t longest_prompt, Problem &problem) noexcept {
    const Refusal &refusal = refusal_of(rule, fault);
    (void)say(rule, name, fault, problem);
    if (refusal.message != nullptr)
        std::snprintf(problem.message, sizeof problem.message, "%s", refusal.message);
    if (refusal.sqlstate != nullptr)
        std::snprintf(problem.sqlstate, sizeof problem.sqlstate, "%s", refusal.sqlstate);
    if (refusal.hint != nullptr)
        problem.with_hint("%s", refusal.hint);
    else if (fault == Fault::Above && rule.most == kLongestPrompt)
        problem.with_hint("Raise steadytext.max_prompt_bytes, now %zu.", longest_prompt);
    if (fault == Fault::Above && refusal.message != nullptr && rule.kind == Kind::Integer)
        problem.with_detail("The limit is %lld.", static_cast<long long>(rule.most));
    return false;
}

namespace {

// Whether the rule is about values of this kind: a caller of _steadytext.check() chooses the types.
bool fits(Kind kind, Value::Is is) noexcept {
    if (kind == Kind::Any)
        return true;
    switch (is) {
    case Value::Is::Flag:
        return kind == Kind::Flag;
    case Value::Is::Number:
        return kind == Kind::Integer || kind == Kind::Real || kind == Kind::Interval;
    case Value::Is::Real:
        return kind == Kind::Real || kind == Kind::Integer;
    case Value::Is::Text:
        return kind == Kind::Text || kind == Kind::Options;
    case Value::Is::Texts:
        return kind == Kind::Texts;
    case Value::Is::Foreign:
        return false;
    case Value::Is::Null:
    case Value::Is::Other:
        return true;
    }
    return false;
}

}  // namespace

bool check(const Rule &rule, const char *name, const Value &value, std::size_t longest_prompt, Problem &problem) {
    const Checker checker{rule, name, longest_prompt, problem};
    if (!fits(rule.kind, value.is))
        return problem.set(sqlstate::kInvalidParameterValue, "%s is of another type", name);
    switch (value.is) {
    case Value::Is::Null:
        return !rule.needed || checker.refuse(Fault::Null);
    case Value::Is::Number:
        return checker.in_bounds(value.number);
    case Value::Is::Real:
        return checker.real(value.real);
    case Value::Is::Text:
        return checker.text(value.text);
    case Value::Is::Texts:
        return checker.texts(value.texts);
    case Value::Is::Flag:
    case Value::Is::Other:
    case Value::Is::Foreign:
        break;
    }
    return true;
}

}  // namespace steadytext::core
