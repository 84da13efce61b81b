// Building networks, and the shortest ways through them: see network.hpp. Regime: pure.
#include "src/core/constraint/network.hpp"

#include <algorithm>
#include <queue>

namespace steadytext::core::constraint {

namespace {

std::string utf8(std::uint32_t code) {
    const auto byte = [](std::uint32_t bits) { return static_cast<char>(static_cast<unsigned char>(bits)); };
    if (code < 0x80)
        return {byte(code)};
    if (code < 0x800)
        return {byte(0xC0 | code >> 6), byte(0x80 | (code & 0x3F))};
    if (code < 0x10000)
        return {byte(0xE0 | code >> 12), byte(0x80 | (code >> 6 & 0x3F)), byte(0x80 | (code & 0x3F))};
    return {byte(0xF0 | code >> 18), byte(0x80 | (code >> 12 & 0x3F)), byte(0x80 | (code >> 6 & 0x3F)),
            byte(0x80 | (code & 0x3F))};
}

}  // namespace

// ---- building ------------------------------------------------------------------------------------------------------

State Network::add_state() {
    states_.emplace_back();
    return static_cast<State>(states_.size() - 1);
}

Rule Network::add_rule() {
    const State start = add_state();
    const State end = add_state();
    states_[end].is_end = true;
    rules_.push_back({start, end});
    return static_cast<Rule>(rules_.size() - 1);
}

void Network::add_edge(State from, Edge edge) {
    if (!fits())
        return;  // the builder looks at fits() when it is through
    const auto at = static_cast<std::uint32_t>(edges_.size());
    edges_.push_back(edge);
    StateRecord &record = states_[from];
    (record.first_edge == kNever ? record.first_edge : edges_[record.last_edge].next) = at;
    record.last_edge = at;
}

void Network::add_bytes(State from, std::uint8_t first, std::uint8_t last, State to) {
    add_edge(from, {.kind = Edge::Kind::Bytes, .first = first, .last = last, .target = to});
}

void Network::add_empty(State from, State to) { add_edge(from, {.kind = Edge::Kind::Empty, .target = to}); }

void Network::add_call(State from, Rule rule, State to) {
    add_edge(from, {.kind = Edge::Kind::Call, .target = to, .rule = rule});
}

State Network::add_literal(State from, std::string_view bytes) {
    for (const char c : bytes) {
        const State next = add_state();
        add_bytes(from, static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(c), next);
        from = next;
    }
    return from;
}

void Network::add_code_points(State from, std::uint32_t first, std::uint32_t last, State to) {
    constexpr std::uint32_t kBands[][2] = {{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}};
    for (const auto &[low, high] : kBands)
        if (first <= high && last >= low)
            add_sequences(from, std::max(first, low), std::min(last, high), to);
}

// Code points whose UTF-8 is equally long, split until every trailing byte is free, as in RE2 (Cox, 2010).
void Network::add_sequences(State from, std::uint32_t first, std::uint32_t last, State to) {
    const std::string low = utf8(first);
    const std::string high = utf8(last);
    for (std::size_t i = 1; i < low.size(); i++) {
        const std::uint32_t mask = (1U << (6 * i)) - 1;
        if ((first & ~mask) == (last & ~mask))
            continue;
        if ((first & mask) != 0) {
            add_sequences(from, first, first | mask, to);
            return add_sequences(from, (first | mask) + 1, last, to);
        }
        if ((last & mask) != mask) {
            add_sequences(from, first, (last & ~mask) - 1, to);
            return add_sequences(from, last & ~mask, last, to);
        }
    }
    for (std::size_t i = 0; i < low.size(); i++) {
        const State next = i + 1 == low.size() ? to : add_state();
        add_bytes(from, static_cast<std::uint8_t>(low[i]), static_cast<std::uint8_t>(high[i]), next);
        from = next;
    }
}

// ---- shortest ways -------------------------------------------------------------------------------------------------

void Network::finish() {
    // Who leads where, backwards: edges by target, calls by rule.
    struct Incoming {
        State from;
        std::uint32_t edge;
    };
    std::vector<std::vector<Incoming>> into(states_.size());
    std::vector<std::vector<Incoming>> calls(rules_.size());
    for (State state = 0; state < states_.size(); state++)
        for (std::uint32_t at = states_[state].first_edge; at != kNever; at = edges_[at].next) {
            into[edges_[at].target].push_back({state, at});
            if (edges_[at].kind == Edge::Kind::Call)
                calls[edges_[at].rule].push_back({state, at});
        }
    std::vector<Rule> rule_of_start(states_.size(), kNever);
    for (Rule rule = 0; rule < rules_.size(); rule++)
        rule_of_start[rules_[rule].start] = rule;

    using Reached = std::pair<std::uint32_t, State>;
    std::priority_queue<Reached, std::vector<Reached>, std::greater<>> queue;
    std::vector<bool> known(states_.size(), false);
    const auto reach = [&](State state, std::uint64_t distance, std::uint32_t edge) {
        if (distance >= states_[state].distance)
            return;
        states_[state].distance = static_cast<std::uint32_t>(distance);
        states_[state].best_edge = edge;
        queue.emplace(states_[state].distance, state);
    };
    const auto reach_by_call = [&](const Incoming &call) {
        const State callee = rules_[edges_[call.edge].rule].start;
        const State after = edges_[call.edge].target;
        if (known[callee] && known[after])
            reach(call.from, std::uint64_t{states_[callee].distance} + states_[after].distance, call.edge);
    };
    for (const RuleRecord &rule : rules_)
        reach(rule.end, 0, kNever);
    while (!queue.empty()) {
        const State state = queue.top().second;
        queue.pop();
        if (known[state])
            continue;
        known[state] = true;
        for (const Incoming &incoming : into[state])
            if (edges_[incoming.edge].kind == Edge::Kind::Call)
                reach_by_call(incoming);
            else
                reach(incoming.from, std::uint64_t{states_[state].distance} + (edges_[incoming.edge].kind == Edge::Kind::Bytes),
                      incoming.edge);
        if (rule_of_start[state] != kNever)
            for (const Incoming &call : calls[rule_of_start[state]])
                reach_by_call(call);
    }
}

void Network::append_shortest(State state, std::string &out) const {
    while (states_[state].best_edge != kNever) {
        const Edge &edge = edges_[states_[state].best_edge];
        if (edge.kind == Edge::Kind::Bytes)
            out += static_cast<char>(edge.first);
        else if (edge.kind == Edge::Kind::Call)
            append_shortest(rules_[edge.rule].start, out);
        state = edge.target;
    }
}

}  // namespace steadytext::core::constraint
