// Stacks, sets of stacks, and steps between sets: see matcher.hpp. Regime: pure.
#include "src/core/constraint/matcher.hpp"

#include <algorithm>
#include <utility>

namespace steadytext::core::constraint {

namespace {

std::uint64_t hash_of(bool accepts, const std::vector<std::uint32_t> &stacks) {
    std::uint64_t hash = accepts ? 0x9E3779B97F4A7C15 : 0xC2B2AE3D27D4EB4F;
    for (const std::uint32_t stack : stacks) {
        hash = (hash ^ stack) * 0xFF51AFD7ED558CCD;
        hash ^= hash >> 32;
    }
    return hash;
}

}  // namespace

Matcher::Matcher(const Network &network, Work *work) : network_(&network), work_(work) {
    (void)number({}, false);  // kDead
    std::vector<Stack> stacks;
    bool accepts = false;
    walk_++;
    follow_empty(push(network_->start(), kNever), stacks, accepts);
    start_ = number(std::move(stacks), accepts);
}

// kNever if no way leads from the new stack to an end.
Matcher::Stack Matcher::push(State state, Stack below) {
    const std::uint32_t own = network_->distance(state);
    const std::uint32_t rest = below == kNever ? 0 : frames_[below].distance;
    if (own == kNever || own >= kNever - rest)
        return kNever;
    const auto [found, is_new] = frame_numbers_.try_emplace(std::uint64_t{state} << 32 | below, frames_.size());
    if (is_new) {
        spend(kStepsOfFrame);
        if (frames_.size() == kMaxFrames && work_ != nullptr)
            work_->exhaust();
        frames_.push_back({state, below, own + rest});
        visited_.push_back(0);
    }
    return found->second;
}

// Adds to `stacks` each stack that `first` can become without reading a byte and that has
// transitions by bytes.
void Matcher::follow_empty(Stack first, std::vector<Stack> &stacks, bool &accepts) {
    std::vector<Stack> open{first};
    while (!open.empty()) {
        const Stack stack = open.back();
        open.pop_back();
        if (stack == kNever || visited_[stack] == walk_)
            continue;
        if (!spend(kStepsOfStack))
            return;
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
            spend(kStepsOfEdge);
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
    const auto nearer = [&](Stack a, Stack b) {
        return std::pair(frames_[a].distance, a) < std::pair(frames_[b].distance, b);
    };
    if (stacks.size() > kMaxStacks) {  // fewer texts, each still right
        std::nth_element(stacks.begin(), stacks.begin() + kMaxStacks, stacks.end(), nearer);
        stacks.resize(kMaxStacks);
    }
    std::sort(stacks.begin(), stacks.end());
    spend(kStepsOfStack * stacks.size());
    const std::uint64_t hash = hash_of(accepts, stacks);
    const auto [first, last] = position_numbers_.equal_range(hash);
    for (auto known = first; known != last; ++known)
        if (positions_[known->second].accepts == accepts && positions_[known->second].stacks == stacks)
            return known->second;
    const auto made = static_cast<Position>(positions_.size());
    position_numbers_.emplace(hash, made);
    PositionRecord &position = positions_.emplace_back();
    position.accepts = accepts;
    if (!stacks.empty())
        position.distance = frames_[*std::min_element(stacks.begin(), stacks.end(), nearer)].distance;
    if (accepts)
        position.distance = 0;
    kept_ += stacks.size();
    position.stacks = std::move(stacks);
    return made;
}

Matcher::Position Matcher::step(Position from, std::uint8_t byte) {
    if (from == kDead || !spend(1))
        return kDead;
    const std::uint8_t byte_class = network_->byte_class(byte);
    if (positions_[from].steps == nullptr) {
        const std::size_t classes = network_->byte_classes();
        positions_[from].steps = std::make_unique<Position[]>(classes);
        std::fill_n(positions_[from].steps.get(), classes, kUnknown);
    }
    if (const Position known = positions_[from].steps[byte_class]; known != kUnknown)
        return known;
    const Position to = compute_step(from, byte);
    if (is_over())
        return kDead;
    positions_[from].steps[byte_class] = to;
    return to;
}

Matcher::Position Matcher::compute_step(Position from, std::uint8_t byte) {
    std::vector<Stack> stacks;
    bool accepts = false;
    walk_++;
    for (std::size_t i = 0; i < positions_[from].stacks.size() && !is_over(); i++) {
        const Frame frame = frames_[positions_[from].stacks[i]];
        network_->for_each_edge(frame.state, [&](const Edge &edge) {
            spend(kStepsOfEdge);
            if (edge.kind == Edge::Kind::Bytes && edge.first <= byte && byte <= edge.last)
                follow_empty(push(edge.target, frame.below), stacks, accepts);
        });
    }
    return is_over() ? kDead : number(std::move(stacks), accepts);
}

Matcher::Position Matcher::advance(Position from, std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size() && from != kDead; i++)
        from = step(from, static_cast<std::uint8_t>(bytes[i]));
    return from;
}

bool Matcher::matches(std::string_view text) {
    constexpr std::size_t kStretch = 256;
    Position at = start_;
    for (; !text.empty() && at != kDead; text.remove_prefix(std::min(kStretch, text.size())))
        at = trim(advance(at, text.substr(0, kStretch)));
    return accepts(at);
}

std::string Matcher::completion(Position position) const {
    std::string text;
    const PositionRecord &record = positions_[position];
    if (record.accepts || record.stacks.empty())
        return text;
    const auto nearest = std::min_element(record.stacks.begin(), record.stacks.end(),
                                          [&](Stack a, Stack b) { return frames_[a].distance < frames_[b].distance; });
    for (Stack stack = *nearest; stack != kNever; stack = frames_[stack].below)
        network_->append_shortest(frames_[stack].state, text);
    spend(text.size());
    return text;
}

// False if the text may end here, or several bytes may follow.
bool Matcher::only_byte(Position position, std::uint8_t &byte) const {
    const PositionRecord &record = positions_[position];
    bool is_only = !record.accepts, has_one = false;
    for (const Stack stack : record.stacks)
        network_->for_each_edge(frames_[stack].state, [&](const Edge &edge) {
            if (edge.kind != Edge::Kind::Bytes)
                return;
            is_only = is_only && edge.first == edge.last && (!has_one || edge.first == byte);
            has_one = true;
            byte = edge.first;
        });
    return is_only && has_one;
}

std::string Matcher::only_completion(Position position, std::size_t most) {
    std::string text;
    for (std::uint8_t byte = 0; !is_complete(position) && text.size() < most && only_byte(position, byte);
         text += static_cast<char>(byte))
        position = step(position, byte);
    return is_complete(position) ? text : std::string();
}

Matcher::Position Matcher::trim(Position keep) {
    if (!is_full())
        return keep;
    // Stacks are copied out as lists of states, top first, and put back into empty tables.
    std::vector<std::vector<State>> stacks;
    for (const Stack stack : positions_[keep].stacks) {
        std::vector<State> &states = stacks.emplace_back();
        for (Stack at = stack; at != kNever && spend(kStepsOfStack); at = frames_[at].below)
            states.push_back(frames_[at].state);
    }
    const bool accepts = positions_[keep].accepts;
    *this = Matcher(*network_, work_);
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
