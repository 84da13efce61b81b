// Stacks, sets of stacks, and steps between them: see matcher.hpp. Regime: pure.
#include "src/core/constraint/matcher.hpp"

#include <algorithm>
#include <utility>

namespace steadytext::core::constraint {

Matcher::Matcher(const Network &network) : network_(&network) {
    (void)number({}, false);  // kDead
    std::vector<Stack> stacks;
    bool accepts = false;
    walk_++;
    follow_empty(push(network_->start(), kNever), stacks, accepts);
    start_ = number(std::move(stacks), accepts);
}

// kNever if there is no way from it to an end.
Matcher::Stack Matcher::push(State state, Stack below) {
    const std::uint32_t own = network_->distance(state);
    const std::uint32_t rest = below == kNever ? 0 : frames_[below].distance;
    if (own == kNever || own >= kNever - rest)
        return kNever;
    const auto [found, is_new] = frame_numbers_.try_emplace(std::uint64_t{state} << 32 | below, frames_.size());
    if (is_new) {
        frames_.push_back({state, below, own + rest});
        visited_.push_back(0);
    }
    return found->second;
}

// Adds to `stacks` what the stack can become without a byte and has transitions by bytes.
void Matcher::follow_empty(Stack first, std::vector<Stack> &stacks, bool &accepts) {
    std::vector<Stack> open{first};
    while (!open.empty()) {
        const Stack stack = open.back();
        open.pop_back();
        if (stack == kNever || visited_[stack] == walk_)
            continue;
        visited_[stack] = walk_;
        const Frame frame = frames_[stack];
        if (network_->is_end(frame.state)) {
            if (frame.below == kNever)
                accepts = true;
            else
                open.push_back(frame.below);
        }
        bool has_bytes = false;
        network_->for_each_edge(frame.state, [&](const Edge &edge) {
            if (edge.kind == Edge::Kind::Bytes) {
                has_bytes = true;
            } else if (edge.kind == Edge::Kind::Empty) {
                open.push_back(push(edge.target, frame.below));
            } else if (const Stack after = push(edge.target, frame.below); after != kNever) {
                open.push_back(push(network_->start(edge.rule), after));
            }
        });
        if (has_bytes)
            stacks.push_back(stack);
    }
}

Matcher::Position Matcher::number(std::vector<Stack> stacks, bool accepts) {
    const auto nearer = [&](Stack a, Stack b) { return std::pair(frames_[a].distance, a) < std::pair(frames_[b].distance, b); };
    if (stacks.size() > kMaxStacks) {  // fewer texts, each still right
        std::nth_element(stacks.begin(), stacks.begin() + kMaxStacks, stacks.end(), nearer);
        stacks.resize(kMaxStacks);
    }
    std::sort(stacks.begin(), stacks.end());
    const auto [found, is_new] = position_numbers_.try_emplace({accepts, stacks}, positions_.size());
    if (is_new) {
        PositionRecord &position = positions_.emplace_back();
        position.accepts = accepts;
        if (!stacks.empty())
            position.distance = frames_[*std::min_element(stacks.begin(), stacks.end(), nearer)].distance;
        if (accepts)
            position.distance = 0;
        position.stacks = std::move(stacks);
    }
    return found->second;
}

Matcher::Position Matcher::step(Position from, std::uint8_t byte) {
    auto &steps = positions_[from].steps;
    if (steps == nullptr) {
        steps = std::make_unique<std::array<Position, 256>>();
        steps->fill(from == kDead ? kDead : kUnknown);
    }
    if ((*steps)[byte] != kUnknown)
        return (*steps)[byte];
    const Position to = compute_step(from, byte);
    (*positions_[from].steps)[byte] = to;
    return to;
}

Matcher::Position Matcher::compute_step(Position from, std::uint8_t byte) {
    std::vector<Stack> stacks;
    bool accepts = false;
    walk_++;
    for (std::size_t i = 0; i < positions_[from].stacks.size(); i++) {
        const Frame frame = frames_[positions_[from].stacks[i]];
        network_->for_each_edge(frame.state, [&](const Edge &edge) {
            if (edge.kind == Edge::Kind::Bytes && edge.first <= byte && byte <= edge.last)
                follow_empty(push(edge.target, frame.below), stacks, accepts);
        });
    }
    return number(std::move(stacks), accepts);
}

Matcher::Position Matcher::advance(Position from, std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size() && from != kDead; i++)
        from = step(from, static_cast<std::uint8_t>(bytes[i]));
    return from;
}

std::string Matcher::completion(Position position) const {
    std::string text;
    const PositionRecord &record = positions_[position];
    if (record.accepts || record.stacks.empty())
        return text;
    const auto nearest = std::min_element(record.stacks.begin(), record.stacks.end(), [&](Stack a, Stack b) {
        return frames_[a].distance < frames_[b].distance;
    });
    for (Stack stack = *nearest; stack != kNever; stack = frames_[stack].below)
        network_->append_shortest(frames_[stack].state, text);
    return text;
}

Matcher::Position Matcher::trim(Position keep) {
    if (positions_.size() < kMaxPositions)
        return keep;
    // Stacks are copied out as lists of states, top first, and put back into empty tables.
    std::vector<std::vector<State>> stacks;
    for (const Stack stack : positions_[keep].stacks) {
        std::vector<State> &states = stacks.emplace_back();
        for (Stack at = stack; at != kNever; at = frames_[at].below)
            states.push_back(frames_[at].state);
    }
    const bool accepts = positions_[keep].accepts;
    *this = Matcher(*network_);
    std::vector<Stack> kept;
    for (const std::vector<State> &states : stacks) {
        Stack stack = kNever;
        for (auto state = states.rbegin(); state != states.rend(); ++state)
            stack = push(*state, stack);
        kept.push_back(stack);
    }
    return number(std::move(kept), accepts);
}

}  // namespace steadytext::core::constraint
