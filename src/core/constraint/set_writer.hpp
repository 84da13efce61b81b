// Writes sets of characters into a network, as a text or a JSON string has them.
//
// Used by regex.cpp and string_product.cpp, with a SetWriter for each thing that is built. Regime: pure (may throw
// std::bad_alloc).
#pragma once

#include "src/core/constraint/code_points.hpp"
#include "src/core/constraint/network.hpp"
#include "src/core/constraint/regex.hpp"

#include <map>
#include <optional>

namespace steadytext::core::constraint {

class SetWriter {
public:
    SetWriter(Network &network, Encoding encoding) : network_(network), encoding_(encoding) {}

    // Adds a character of the set between two states.
    void add(const CodePoints &set, State from, State to);
    // The rule of the set, if a call of the rule is better than the set written out.
    [[nodiscard]] std::optional<Rule> rule_of(const CodePoints &set);

private:
    void write(const CodePoints &set, State from, State to);

    Network &network_;
    Encoding encoding_;
    std::map<CodePoints, Rule> rules_;
};

}  // namespace steadytext::core::constraint
