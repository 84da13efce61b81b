// Where a text stands in a network: byte by byte, with the shortest way to an end known at every point.
//
// Used by daemon/constrained_text.cpp to choose tokens and by the session to check answers. Regime: pure (may throw
// std::bad_alloc).
//
// A position is the set of all stacks of states the text so far can be at, made deterministic as it is met (the lazy subset
// construction, Thompson 1968): stacks are shared and numbered, so are their sets, and every step is remembered. Stacks from
// which there is no way to an end are never kept, so a position that is not dead can always be completed.
#pragma once

#include "src/core/constraint/network.hpp"

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace steadytext::core::constraint {

class Matcher {
public:
    using Position = std::uint32_t;
    static constexpr Position kDead = 0;

    // `network` is finished and outlives this.
    explicit Matcher(const Network &network);

    [[nodiscard]] Position start() const { return start_; }
    [[nodiscard]] Position step(Position from, std::uint8_t byte);
    [[nodiscard]] Position advance(Position from, std::string_view bytes);

    // The text may end here.
    [[nodiscard]] bool accepts(Position position) const { return positions_[position].accepts; }
    // It must: nothing can follow.
    [[nodiscard]] bool is_complete(Position position) const {
        return positions_[position].accepts && positions_[position].stacks.empty();
    }
    // Fewest bytes that complete the text, and such bytes.
    [[nodiscard]] std::uint32_t distance(Position position) const { return positions_[position].distance; }
    [[nodiscard]] std::string completion(Position position) const;

    [[nodiscard]] bool matches(std::string_view text) { return accepts(advance(start_, text)); }

    // Forgets what is remembered but for one position, if it has become much; returns that position's new number.
    [[nodiscard]] Position trim(Position keep);

private:
    using Stack = std::uint32_t;  // index in frames_: the top; kNever: empty
    static constexpr std::size_t kMaxPositions = 16'384;
    static constexpr std::size_t kMaxStacks = 4'096;  // of one position
    static constexpr Position kUnknown = kNever;

    struct Frame {
        State state;
        Stack below;
        std::uint32_t distance;  // of the whole stack
    };
    struct PositionRecord {
        std::vector<Stack> stacks;  // ascending; each has a transition by bytes
        bool accepts = false;
        std::uint32_t distance = kNever;
        std::unique_ptr<std::array<Position, 256>> steps;
    };

    [[nodiscard]] Stack push(State state, Stack below);
    void follow_empty(Stack stack, std::vector<Stack> &stacks, bool &accepts);
    [[nodiscard]] Position number(std::vector<Stack> stacks, bool accepts);
    [[nodiscard]] Position compute_step(Position from, std::uint8_t byte);

    const Network *network_;
    std::vector<Frame> frames_;
    std::unordered_map<std::uint64_t, Stack> frame_numbers_;
    std::vector<PositionRecord> positions_;
    std::map<std::pair<bool, std::vector<Stack>>, Position> position_numbers_;
    std::vector<std::uint32_t> visited_;  // by frame: the number of the walk that saw it
    std::uint32_t walk_ = 0;
    Position start_ = kDead;
};

}  // namespace steadytext::core::constraint
