// See set_writer.hpp. Regime: pure.
#include "src/core/constraint/set_writer.hpp"

namespace steadytext::core::constraint {

void SetWriter::add(const CodePoints &set, State from, State to) {
    if (const auto rule = rule_of(set))
        network_.add_call(from, *rule, to);
    else
        write(set, from, to);
}

// A set beyond ASCII takes many states, so it is a rule of its own, made once.
std::optional<Rule> SetWriter::rule_of(const CodePoints &set) {
    const auto &ranges = set.ranges();
    if (ranges.empty() || (ranges.back().second < 0x80 && ranges.size() < 3))
        return std::nullopt;
    const auto [rule, is_new] = rules_.try_emplace(set, 0);
    if (is_new) {
        rule->second = network_.add_rule();
        write(set, network_.start(rule->second), network_.end(rule->second));
    }
    return rule->second;
}

void SetWriter::write(const CodePoints &set, State from, State to) {
    const bool plain = encoding_ == Encoding::Plain;
    const CodePoints as_is = plain ? set : set.intersection({{0x20, 0x21}, {0x23, 0x5B}, {0x5D, CodePoints::kLast}});
    for (const auto &[first, last] : as_is.ranges())
        network_.add_code_points(from, first, last, to);
    if (plain)
        return;
    constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t";
    constexpr std::string_view kLetters = "\"\\bfnrt";
    for (std::size_t i = 0; i < kEscaped.size(); i++) {
        const auto code = static_cast<std::uint32_t>(kEscaped[i]);
        if (!set.intersection({{code, code}}).is_empty())
            network_.add_empty(network_.add_literal(from, std::string{'\\', kLetters[i]}), to);
    }
}

}  // namespace steadytext::core::constraint
