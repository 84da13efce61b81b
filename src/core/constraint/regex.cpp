// Patterns and choices as networks: see regex.hpp. Regime: pure.
#include "src/core/constraint/regex.hpp"

#include "src/core/constraint/regex_builder.hpp"
#include "src/core/constraint/regex_tree.hpp"
#include "src/core/constraint/set_writer.hpp"

namespace steadytext::core::constraint {

namespace {

// The target of RegexBuilder.
class NetworkTarget {
public:
    NetworkTarget(Network &network, const RegexForm &form)
        : network_(network), alphabet_(form.alphabet), sets_(network, form.encoding) {}

    State add_state() { return network_.add_state(); }
    void add_empty(State from, State to) { network_.add_empty(from, to); }
    void add_set(const CodePoints &set, State from, State to) { sets_.add(set, from, to); }
    void add_any(State from, State to) {
        if (alphabet_ == Alphabet::Generated)
            sets_.add(any_character(alphabet_), from, to);
        else
            network_.add_bytes(from, 0, 255, to);
    }
    [[nodiscard]] bool fits() const { return network_.fits(); }

private:
    Network &network_;
    Alphabet alphabet_;
    SetWriter sets_;
};

bool check_size(const Network &network, const char *what, Problem &problem) {
    return network.fits() || problem.set(sqlstate::kProgramLimitExceeded, "%s is too large", what);
}

// Builds, finishes and checks the result.
template <class Build>
bool compile(Network &network, const char *what, Problem &problem, Work *work, Build build) {
    Work own(kMaxCompilingSteps);
    Work &at_hand = work != nullptr ? *work : own;
    network.charge_to(&at_hand);
    const bool good = build();
    if (good)
        network.finish();
    network.charge_to(nullptr);
    if (at_hand.has_ended()) {
        problem = Problem();
        return at_hand.tell(problem, what);
    }
    return good && check_size(network, what, problem);
}

}  // namespace

bool add_regex(std::string_view pattern, const RegexForm &form, Network &network, State from, State to,
               Problem &problem) {
    RegexNode tree = read_regex(pattern, form, problem);
    if (problem.is_set())
        return false;
    NetworkTarget target(network, form);
    RegexBuilder(target, form.of_schema).build_all(tree, from, to);
    return check_size(network, "regular expression", problem);
}

bool compile_regex(std::string_view pattern, Network &network, Problem &problem, Work *work, Alphabet alphabet) {
    const RegexForm form{.alphabet = alphabet};
    const auto build = [&] { return add_regex(pattern, form, network, network.start(), network.end(), problem); };
    return compile(network, "regular expression", problem, work, build) &&
           (network.is_satisfiable() || problem.set(kBrokenPattern, "no text matches the regular expression"));
}

bool compile_choices(const std::vector<std::string> &choices, Network &network, Problem &problem, Work *work) {
    return compile(network, "the list of choices", problem, work, [&] {
        for (const std::string &choice : choices)
            network.add_empty(network.add_literal(network.start(), choice), network.end());
        return true;
    });
}

}  // namespace steadytext::core::constraint
