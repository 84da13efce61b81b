// The set of possible answers, as a network of byte transitions: JSON schemas, regexes and choices are compiled to it.
//
// Built by regex.cpp and schema_compiler.cpp; read by matcher.hpp. Regime: pure (may throw std::bad_alloc).
//
// A recursive transition network (Woods, 1970): rules that consume bytes and call each other; rule 0 is the whole text.
// finish() finds for every state the fewest bytes that complete its rule, by Knuth's generalisation of Dijkstra's
// algorithm (1977): a call costs the length of its rule plus the length of the rest, and is known once both are known.
//
// Every state and edge costs a step of the work. When the work ends, or beyond kMaxStates, nothing more is added and
// fits() returns false. Nothing here recurses, however long the chains of rules are.
#pragma once

#include "src/core/constraint/limits.hpp"
#include "src/core/work.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core::constraint {

using State = std::uint32_t;
using Rule = std::uint32_t;

inline constexpr std::uint32_t kNever = UINT32_MAX;

// The beginning of a daemon's error message when no answer fits into the allowed tokens; the session recognises it.
inline constexpr std::string_view kTooFewTokens = "Too few tokens";
// The same, when an answer would take more work than a request may cost.
inline constexpr std::string_view kTooMuchWork = "Too much work";

struct Edge {
    enum class Kind : std::uint8_t { Bytes, Empty, Call };
    Kind kind = Kind::Empty;
    std::uint8_t first = 0;  // of the bytes
    std::uint8_t last = 0;
    State target = 0;
    Rule rule = 0;  // of the call
    std::uint32_t next = kNever;
};

class Network {
public:
    static constexpr std::size_t kMaxStates = 500'000;

    Network() { (void)add_rule(); }

    // Building and finishing are charged to `work`, which outlives them.
    void charge_to(Work *work) { work_ = work; }
    bool spend(std::uint64_t steps = 1) const { return work_ == nullptr || work_->spend(steps); }

    // --- building ---
    [[nodiscard]] State add_state();
    [[nodiscard]] Rule add_rule();
    [[nodiscard]] State start(Rule rule = 0) const { return rules_[rule].start; }
    [[nodiscard]] State end(Rule rule = 0) const { return rules_[rule].end; }

    void add_bytes(State from, std::uint8_t first, std::uint8_t last, State to);
    void add_empty(State from, State to);
    void add_call(State from, Rule rule, State to);
    // Code points first..last (surrogates left out) in UTF-8.
    void add_code_points(State from, std::uint32_t first, std::uint32_t last, State to);
    // The state after these bytes.
    [[nodiscard]] State add_literal(State from, std::string_view bytes);

    // True while the network is small enough to be used.
    [[nodiscard]] bool fits() const {
        return states_.size() <= kMaxStates && edges_.size() <= 4 * kMaxStates &&
               (work_ == nullptr || !work_->has_ended());
    }

    // Call once, when everything is built. Meaningless once the work has ended.
    void finish();

    // --- reading ---
    [[nodiscard]] bool is_end(State state) const { return states_[state].is_end; }
    // The fewest bytes from here to the end of the state's rule; kNever: no way leads there.
    [[nodiscard]] std::uint32_t distance(State state) const { return states_[state].distance; }
    [[nodiscard]] bool is_satisfiable() const { return distance(start()) != kNever; }
    // A shortest text from the state to the end of its rule.
    void append_shortest(State state, std::string &out) const;

    // Bytes that no edge distinguishes belong to the same class, from 0 to byte_classes() - 1.
    [[nodiscard]] std::uint8_t byte_class(std::uint8_t byte) const { return byte_class_[byte]; }
    [[nodiscard]] std::size_t byte_classes() const { return std::size_t{byte_class_[255]} + 1; }

    template <class Visit>
    void for_each_edge(State state, Visit visit) const {
        for (std::uint32_t at = states_[state].first_edge; at != kNever; at = edges_[at].next)
            visit(edges_[at]);
    }

private:
    struct StateRecord {
        std::uint32_t first_edge = kNever;
        std::uint32_t last_edge = kNever;
        std::uint32_t distance = kNever;
        std::uint32_t best_edge = kNever;  // the first edge of a shortest way
        bool is_end = false;
    };
    struct RuleRecord {
        State start;
        State end;
    };

    void add_edge(State from, Edge edge);
    void add_sequences(State from, std::uint32_t first, std::uint32_t last, State to);
    void find_byte_classes();
    void find_distances();

    std::vector<StateRecord> states_;
    std::vector<Edge> edges_;
    std::vector<RuleRecord> rules_;
    std::array<std::uint8_t, 256> byte_class_{};
    Work *work_ = nullptr;
};

}  // namespace steadytext::core::constraint
