// Jinja2's filters and tests.
//
// Called by the evaluator, and by the filters that apply others (map, select, ...). Regime: pure (throws, see
// value.hpp).
#pragma once

#include "src/core/jinja/machine.hpp"

#include <string_view>

namespace steadytext::core::jinja {

using FilterFunction = Value (*)(Machine &machine, const Value &of, const Arguments &arguments);
using TestFunction = bool (*)(Machine &machine, const Value &of, const Arguments &arguments);

struct FilterEntry {
    std::string_view name;
    FilterFunction run;
};
struct TestEntry {
    std::string_view name;
    TestFunction run;
};

// By name; a failure says that there is none, or that Jinja2's is not supported.
[[nodiscard]] FilterFunction find_filter(std::string_view name);
[[nodiscard]] TestFunction find_test(std::string_view name);

// Filters of texts and numbers, and filters of lists: a file each.
[[nodiscard]] FilterFunction text_filter(std::string_view name);
[[nodiscard]] FilterFunction list_filter(std::string_view name);

// The filter tojson, and JSON as a variable's value.
[[nodiscard]] Value to_json(Machine &machine, const Value &of, const Arguments &arguments);
[[nodiscard]] Value from_json(std::string_view json, Machine &machine);

// Keys of sort(), unique(), min() ... : texts in lower case unless case counts.
[[nodiscard]] Value key_of(Machine &machine, const Value &value, bool case_sensitive);

}  // namespace steadytext::core::jinja
