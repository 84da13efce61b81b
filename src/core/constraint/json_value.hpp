// JSON trees in which every number keeps its digits, so that two trees are equal if their values are.
//
// Used by src/core/constraint. Regime: pure (may throw std::bad_alloc). Reading does not recurse; writing and comparing
// recurse as deep as the text, which shape_of() limits before it is read.
//
// Library: nlohmann::json, which reads a number as double if it is no 64-bit integer. So other numbers are stored as
// bytes, a kind of value that no JSON text has: the bytes of the number's canonical text (decimal.hpp).
#pragma once

#include "src/core/decimal.hpp"
#include "src/core/work.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace steadytext::core::constraint {

using Json = nlohmann::ordered_json;  // for schemas: members keep their order, which is the order in the answer
using Value = nlohmann::json;         // for answers: members by name, as their order does not matter

// False if the text is not JSON, or has a number beyond 10^4932.
[[nodiscard]] bool read_json(std::string_view text, Json &json);
// Charged by the byte and by the value; also false once the work has ended.
[[nodiscard]] bool read_json(std::string_view text, Value &value, Work &work);

[[nodiscard]] std::string write_json(const Json &json);

template <class Tree>
[[nodiscard]] bool is_number(const Tree &json) {
    return json.is_number_integer() || json.is_binary();
}

// The value of a number.
template <class Tree>
[[nodiscard]] Decimal number_of(const Tree &json) {
    if (!json.is_binary())
        return decimal_of(json.dump());
    const auto &bytes = json.get_binary();
    return decimal_of(std::string(bytes.begin(), bytes.end()));
}

template <class Tree>
[[nodiscard]] bool is_integer(const Tree &json) {
    return json.is_number_integer() || (json.is_binary() && number_of(json).is_integer());
}

}  // namespace steadytext::core::constraint
