// What values of templates do, as Python's do: truth, equality, order, arithmetic, str() and repr(), attributes, items,
// iteration.
//
// In machine.cpp, arithmetic.cpp and access.cpp. Used by the evaluator, filters, tests and methods. Regime: pure (throws, see value.hpp). A template reaches
// nothing but these: no attribute leads anywhere else.
#pragma once

#include "src/core/jinja/value.hpp"

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace steadytext::core::jinja {

struct Machine {
    Arena &arena;
    Bounds &bounds;
    bool strict;  // Jinja2's StrictUndefined

    [[nodiscard]] Value kept(std::string_view text) { return string(arena.copy(text)); }
    // Fails if it is undefined, unless it counts as empty.
    void need_defined(const Value &value) const {
        if (value.is_undefined() && !value.is_lax(strict))
            fail_undefined(value.text());
    }
};

struct Named {
    std::string_view name;
    Value value;
};
struct Arguments {
    std::span<const Value> positional;
    std::span<const Named> named;
};

// Arguments by the names of their parameters.
class Bound {
public:
    // `needed`: how many must be given.
    Bound(std::string_view function, const Arguments &arguments, std::initializer_list<std::string_view> names,
          std::size_t needed = 0);

    [[nodiscard]] bool has(std::size_t i) const { return given_[i]; }
    [[nodiscard]] const Value &operator[](std::size_t i) const { return values_[i]; }
    [[nodiscard]] Value or_else(std::size_t i, const Value &otherwise) const {
        return given_[i] ? values_[i] : otherwise;
    }

private:
    static constexpr std::size_t kMost = 8;
    Value values_[kMost];
    bool given_[kMost] = {};
};

[[nodiscard]] std::string_view type_name(const Value &value);  // str, int, NoneType, ...

[[nodiscard]] bool is_true(Machine &machine, const Value &value);
[[nodiscard]] bool equal(Machine &machine, const Value &a, const Value &b);
[[nodiscard]] bool less(Machine &machine, const Value &a, const Value &b, std::string_view op = "<");
[[nodiscard]] bool contains(Machine &machine, const Value &of, const Value &item);
[[nodiscard]] Value binary(Machine &machine, std::string_view op, const Value &a, const Value &b);
[[nodiscard]] Value negative(const Value &value, bool minus);

void append_str(Machine &machine, std::string &out, const Value &value);
void append_repr(Machine &machine, std::string &out, const Value &value);
// str() of it, in the arena unless it is a text already.
[[nodiscard]] Value to_text(Machine &machine, const Value &value);
// A text without a mark that it is escaped; fails for a marked text, where Python's would be another.
[[nodiscard]] std::string_view plain_text(Machine &machine, const Value &value);

[[nodiscard]] Value attribute(Machine &machine, const Value &of, std::string_view name);
[[nodiscard]] Value item(Machine &machine, const Value &of, const Value &key);
// Absent bounds are none.
[[nodiscard]] Value slice(Machine &machine, const Value &of, const Value &start, const Value &stop, const Value &step);
[[nodiscard]] std::uint64_t size_of(Machine &machine, const Value &value);  // len()
// An integer argument; fails as Python would of another type.
[[nodiscard]] std::int64_t need_whole(const Value &value);
// "a.b.0", as the `attribute` of filters
[[nodiscard]] Value attribute_path(Machine &machine, const Value &of, const Value &path,
                                   const Value *otherwise = nullptr);

// Whether it may be a key of a dict; fails if it may be in Python, but not here.
[[nodiscard]] bool is_hashable(const Value &value);

// Walks a value, an item at a time.
class Iterator {
public:
    Iterator(Machine &machine, const Value &of);
    [[nodiscard]] bool next(Value &value);

private:
    Machine &machine_;
    Value of_;
    std::uint64_t at_ = 0;
    std::uint32_t count_ = 0;  // of a list or dict when the walk began
};

[[nodiscard]] List *list_of(Machine &machine, const Value &value);

}  // namespace steadytext::core::jinja
