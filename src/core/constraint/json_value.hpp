// JSON as trees in which every number keeps its digits, so that two are equal if what they stand for is.
//
// Used by src/core/constraint. Regime: pure (may throw std::bad_alloc). Reading does not recurse; writing and comparing go as deep as the
// text did, which shape_of() bounds before it is read.
//
// Library: nlohmann::json, which reads numbers as double where they are no 64-bit integers. So a number that is none is kept as a value of
// the one kind that no JSON text has, bytes: the bytes of its one text (decimal.hpp).
#pragma once

#include "src/core/decimal.hpp"
#include "src/core/work.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace steadytext::core::constraint {

using Json = nlohmann::ordered_json;  // of schemas: members keep their order, which is the order of the answer's
using Value = nlohmann::json;         // of answers: members by name, as their order is of no account

// False if the text is not JSON, or has a number beyond 10^4932.
[[nodiscard]] bool read_json(std::string_view text, Json &json);
// Charged by the byte and by the value; false, too, once the work has ended.
[[nodiscard]] bool read_json(std::string_view text, Value &value, Work &work);

[[nodiscard]] std::string write_json(const Json &json);

template <class Tree> [[nodiscard]] bool is_number(const Tree &json) { return json.is_number_integer() || json.is_binary(); }

// Of a number.
template <class Tree> [[nodiscard]] Decimal number_of(const Tree &json) {
    if (!json.is_binary())
        return decimal_of(json.dump());
    const auto &bytes = json.get_binary();
    return decimal_of(std::string(bytes.begin(), bytes.end()));
}

template <class Tree> [[nodiscard]] bool is_integer(const Tree &json) {
    return json.is_number_integer() || (json.is_binary() && number_of(json).is_integer());
}

}  // namespace steadytext::core::constraint
