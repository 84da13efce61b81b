// The position of a text in a network, byte by byte; at every position the shortest way to an end is known.
//
// Called by daemon/constrained_text.cpp to choose tokens, and by the session to check answers. Regime: pure (may throw
// std::bad_alloc).
//
// A position is the set of all stacks of states that the text so far can lead to, made deterministic on demand (the
// lazy subset construction, Thompson 1968). Stacks and sets of stacks are shared and numbered, and every step is
// remembered. Stacks that lead to no end are never kept, so a position that is not dead can always be completed.
//
// Each stack is charged to the current work. Once that has ended, every step leads to kDead and is not remembered, so
// the matcher continues where it was when it is given more work.
#pragma once

#include "src/core/constraint/network.hpp"

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

    // `network` must be finished and outlive this. Without `work` nothing is charged.
    explicit Matcher(const Network &network, Work *work = nullptr);
    void charge_to(Work *work) { work_ = work; }

    [[nodiscard]] Position start() const { return start_; }
    [[nodiscard]] Position step(Position from, std::uint8_t byte);
    [[nodiscard]] Position advance(Position from, std::string_view bytes);

    // The text may end here.
    [[nodiscard]] bool accepts(Position position) const { return positions_[position].accepts; }
    // The text must end here: nothing can follow.
    [[nodiscard]] bool is_complete(Position position) const {
        return positions_[position].accepts && positions_[position].stacks.empty();
    }
    // The fewest bytes that complete the text, and a text of that length.
    [[nodiscard]] std::uint32_t distance(Position position) const { return positions_[position].distance; }
    [[nodiscard]] std::string completion(Position position) const;
    // The only text that completes it, if there is no other and it has at most `most` bytes; else empty.
    [[nodiscard]] std::string only_completion(Position position, std::size_t most);

    [[nodiscard]] bool matches(std::string_view text);

    // So much is remembered that trim() should be called.
    [[nodiscard]] bool is_full() const {
        return positions_.size() >= kMaxPositions || kept_ >= kMaxKept || frames_.size() >= kMaxFrames / 2;
    }
    // If it is full, forgets everything except a single position; returns the new number of this position. Meaningless
    // once the work has ended.
    [[nodiscard]] Position trim(Position keep);

private:
    using Stack = std::uint32_t;  // index in frames_: the top; kNever: empty
    static constexpr std::size_t kMaxPositions = 16'384;
    static constexpr std::size_t kMaxStacks = 4'096;  // of a position
    // Stacks of all positions; beyond this number, positions are forgotten
    static constexpr std::size_t kMaxKept = 2'000'000;
    // Limit for all stacks, forgotten or not: there the work ends
    static constexpr std::size_t kMaxFrames = 1'000'000;
    // Costs in steps; using a remembered step costs a single step. A stack that is looked at, an edge of it, and a new
    // stack, for its memory.
    static constexpr std::uint64_t kStepsOfStack = 8;
    static constexpr std::uint64_t kStepsOfEdge = 4;
    static constexpr std::uint64_t kStepsOfFrame = 32;
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
        std::unique_ptr<Position[]> steps;  // by class of byte
    };

    bool spend(std::uint64_t steps) const { return work_ == nullptr || work_->spend(steps); }
    [[nodiscard]] bool is_over() const { return work_ != nullptr && work_->has_ended(); }

    [[nodiscard]] Stack push(State state, Stack below);
    void follow_empty(Stack stack, std::vector<Stack> &stacks, bool &accepts);
    [[nodiscard]] Position number(std::vector<Stack> stacks, bool accepts);
    [[nodiscard]] Position compute_step(Position from, std::uint8_t byte);
    [[nodiscard]] bool only_byte(Position position, std::uint8_t &byte) const;

    const Network *network_;
    std::vector<Frame> frames_;
    std::unordered_map<std::uint64_t, Stack> frame_numbers_;
    std::vector<PositionRecord> positions_;
    std::unordered_multimap<std::uint64_t, Position> position_numbers_;  // by hash
    std::size_t kept_ = 0;                                               // stacks of all positions
    std::vector<std::uint32_t> visited_;                                 // by frame: the number of the walk that saw it
    std::uint32_t walk_ = 0;
    Position start_ = kDead;
    Work *work_ = nullptr;
};

}  // namespace steadytext::core::constraint
