// Builds networks, and finds the shortest ways through them: see network.hpp. Regime: pure.
#include "src/core/constraint/network.hpp"

#include <algorithm>
#include <numeric>
#include <queue>
#include <span>

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
    if (fits() && spend())
        states_.emplace_back();
    return static_cast<State>(states_.size() - 1);  // the last state again: the builder checks fits() at the end
}

Rule Network::add_rule() {
    if (!fits())
        return static_cast<Rule>(rules_.size() - 1);
    const State start = add_state();
    const State end = add_state();
    states_[end].is_end = true;
    rules_.push_back({start, end});
    return static_cast<Rule>(rules_.size() - 1);
}

void Network::add_edge(State from, Edge edge) {
    if (!fits() || !spend())
        return;
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
        if (!fits())
            return from;
        const State next = add_state();
        add_bytes(from, static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(c), next);
        from = next;
    }
    return from;
}

void Network::add_code_points(State from, std::uint32_t first, std::uint32_t last, State to) {
    constexpr std::uint32_t kBands[][2] = {
        {0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}};
    for (const auto &[low, high] : kBands)
        if (first <= high && last >= low)
            add_sequences(from, std::max(first, low), std::min(last, high), to);
}

// Code points whose UTF-8 has the same length, split until every trailing byte is free, as in RE2 (Cox, 2010).
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

namespace {

// The edges in reverse: for each end, the edges that lead to it, in the order in which they were added.
class Incoming {
public:
    struct Entry {
        State from;
        std::uint32_t edge;
    };

    explicit Incoming(std::size_t ends) : begins_(ends + 1, 0) {}

    void count(std::uint32_t end) { begins_[end + 1]++; }
    void make_room() {
        std::partial_sum(begins_.begin(), begins_.end(), begins_.begin());
        entries_.resize(begins_.back());
        filled_.assign(begins_.begin(), begins_.end() - 1);
    }
    void add(std::uint32_t end, Entry entry) { entries_[filled_[end]++] = entry; }

    [[nodiscard]] std::span<const Entry> of(std::uint32_t end) const {
        return {entries_.data() + begins_[end], begins_[end + 1] - begins_[end]};
    }

private:
    std::vector<std::uint32_t> begins_;
    std::vector<std::uint32_t> filled_;
    std::vector<Entry> entries_;
};

}  // namespace

void Network::finish() {
    find_byte_classes();
    find_distances();
}

void Network::find_byte_classes() {
    std::array<bool, 257> begins{};
    for (const Edge &edge : edges_)
        if (edge.kind == Edge::Kind::Bytes)
            begins[edge.first] = begins[edge.last + 1U] = true;
    for (std::size_t byte = 1; byte < 256; byte++)
        byte_class_[byte] = static_cast<std::uint8_t>(byte_class_[byte - 1] + begins[byte]);
}

void Network::find_distances() {
    Incoming into(states_.size());
    Incoming calls(rules_.size());
    const auto for_each = [&](auto &&visit) {
        for (State state = 0; state < states_.size(); state++)
            for (std::uint32_t at = states_[state].first_edge; at != kNever && spend(); at = edges_[at].next)
                visit(state, at);
    };
    for_each([&](State, std::uint32_t at) {
        into.count(edges_[at].target);
        if (edges_[at].kind == Edge::Kind::Call)
            calls.count(edges_[at].rule);
    });
    into.make_room();
    calls.make_room();
    for_each([&](State state, std::uint32_t at) {
        into.add(edges_[at].target, {state, at});
        if (edges_[at].kind == Edge::Kind::Call)
            calls.add(edges_[at].rule, {state, at});
    });
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
    const auto reach_by_call = [&](const Incoming::Entry &call) {
        const State callee = rules_[edges_[call.edge].rule].start;
        const State after = edges_[call.edge].target;
        if (known[callee] && known[after])
            reach(call.from, std::uint64_t{states_[callee].distance} + states_[after].distance, call.edge);
    };
    for (const RuleRecord &rule : rules_)
        reach(rule.end, 0, kNever);
    while (!queue.empty() && spend()) {
        const State state = queue.top().second;
        queue.pop();
        if (known[state])
            continue;
        known[state] = true;
        for (const Incoming::Entry &incoming : into.of(state))
            if (edges_[incoming.edge].kind == Edge::Kind::Call)
                reach_by_call(incoming);
            else
                reach(incoming.from,
                      std::uint64_t{states_[state].distance} + (edges_[incoming.edge].kind == Edge::Kind::Bytes),
                      incoming.edge);
        if (rule_of_start[state] != kNever)
            for (const Incoming::Entry &call : calls.of(rule_of_start[state]))
                reach_by_call(call);
    }
}

void Network::append_shortest(State state, std::string &out) const {
    std::vector<State> callers;  // states where the callers go on
    for (;;) {
        if (states_[state].best_edge == kNever) {
            if (callers.empty())
                return;
            state = callers.back();
            callers.pop_back();
            continue;
        }
        const Edge &edge = edges_[states_[state].best_edge];
        state = edge.target;
        if (edge.kind == Edge::Kind::Bytes) {
            out += static_cast<char>(edge.first);
        } else if (edge.kind == Edge::Kind::Call) {
            callers.push_back(state);
            state = rules_[edge.rule].start;
        }
    }
}

}  // namespace steadytext::core::constraint
