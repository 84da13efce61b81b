// Turns a pattern's tree into states and transitions, by Thompson's construction (1968).
//
// Called by regex.cpp, whose target is a network, and by string_product.cpp, whose target is a graph of characters. A
// target has
//    State add_state();  void add_empty(State from, State to);  void add_set(const CodePoints &set, State from, State
//    to); void add_any(State from, State to);  bool fits();
// add_any() is for a single character or byte of any kind. Regime: pure (may throw std::bad_alloc).
#pragma once

#include "src/core/constraint/network.hpp"
#include "src/core/constraint/regex_tree.hpp"

#include <algorithm>
#include <array>

namespace steadytext::core::constraint {

// Thompson's construction, with up to four copies of each state, for the anchors: `read`: something was read, so ^
// cannot match; `ended`: after $, nothing may be read. A pattern without such an anchor has no such copies.
template <class Target>
class RegexBuilder {
public:
    explicit RegexBuilder(Target &target, bool anywhere) : target_(target), anywhere_(anywhere) {}

    // From the beginning of the text (or any place in it, if the pattern may match anywhere) to its end.
    void build_all(RegexNode &pattern, State from, State to) {
        const bool begins = take_outer(pattern, RegexNode::Kind::Begin) || !anywhere_;
        const bool ends = take_outer(pattern, RegexNode::Kind::End) || !anywhere_;
        has_begin_ = contains(pattern, RegexNode::Kind::Begin);
        has_end_ = contains(pattern, RegexNode::Kind::End);
        const Place first = add_place();
        const Place last = add_place();
        target_.add_empty(from, first[0]);
        if (!begins)
            skip(from, first[read()]);
        build(pattern, first, last);
        for_each_side([&](std::size_t side) {
            target_.add_empty(last[side], to);
            if (!ends && (side & kEnded) == 0)
                skip(last[side], to);
        });
    }

private:
    static constexpr std::size_t kRead = 1;   // something was read
    static constexpr std::size_t kEnded = 2;  // nothing may be read any more
    // A state for each copy that the pattern needs.
    using Place = std::array<State, 4>;

    [[nodiscard]] std::size_t read() const { return has_begin_ ? kRead : 0; }
    [[nodiscard]] std::size_t ended() const { return has_end_ ? kEnded : 0; }

    template <class Visit>
    void for_each_side(Visit visit) const {
        for (std::size_t side = 0; side < 4; side++)
            if ((side & ~(read() | ended())) == 0)
                visit(side);
    }

    Place add_place() {
        Place place{};
        for_each_side([&](std::size_t side) { place[side] = target_.add_state(); });
        return place;
    }

    void link(const Place &from, const Place &to) {
        for_each_side([&](std::size_t side) { target_.add_empty(from[side], to[side]); });
    }

    // Reads any characters, at least one.
    void skip(State from, State to) {
        const State loop = target_.add_state();
        target_.add_any(from, loop);
        target_.add_any(loop, loop);
        target_.add_empty(loop, to);
    }

    void build(const RegexNode &node, const Place &from, const Place &to) {
        if (!target_.fits())
            return;
        switch (node.kind) {
        case RegexNode::Kind::Set:
            return for_each_side([&](std::size_t side) {
                if ((side & kEnded) == 0)
                    target_.add_set(node.set, from[side], to[read()]);
            });
        case RegexNode::Kind::Alternatives:
            for (const RegexNode &part : node.parts)
                build(part, from, to);
            return;
        case RegexNode::Kind::Repetition:
            return build_repetition(node, from, to);
        case RegexNode::Kind::Sequence: {
            Place at = from;
            for (const RegexNode &part : node.parts)
                at = build_after(part, at);
            return link(at, to);
        }
        case RegexNode::Kind::Begin:
            return for_each_side([&](std::size_t side) {
                if ((side & kRead) == 0)
                    target_.add_empty(from[side], to[side]);
            });
        case RegexNode::Kind::End:
            return for_each_side([&](std::size_t side) { target_.add_empty(from[side], to[side | kEnded]); });
        }
    }

    Place build_after(const RegexNode &node, const Place &from) {
        const Place to = add_place();
        build(node, from, to);
        return to;
    }

    void build_repetition(const RegexNode &node, Place from, const Place &to) {
        const RegexNode &part = node.parts.front();
        for (int i = 0; i < node.least; i++)
            from = build_after(part, from);
        if (node.most < 0) {
            const Place loop = add_place();
            link(from, loop);
            build(part, loop, loop);
            from = loop;
        }
        for (int i = node.least; i < node.most; i++) {
            link(from, to);
            from = build_after(part, from);
        }
        link(from, to);
    }

    // Most anchors are the first or last part of a pattern that is a sequence. Such an anchor needs no states of its
    // own, so it is taken away.
    static bool take_outer(RegexNode &pattern, RegexNode::Kind kind) {
        if (pattern.parts.size() != 1 || pattern.parts.front().parts.empty())
            return false;
        std::vector<RegexNode> &parts = pattern.parts.front().parts;
        const auto anchor = kind == RegexNode::Kind::Begin ? parts.begin() : parts.end() - 1;
        if (anchor->kind != kind)
            return false;
        parts.erase(anchor);
        return true;
    }

    static bool contains(const RegexNode &node, RegexNode::Kind kind) {
        return node.kind == kind || std::any_of(node.parts.begin(), node.parts.end(),
                                                [&](const RegexNode &part) { return contains(part, kind); });
    }

    Target &target_;
    bool anywhere_;
    bool has_begin_ = false;
    bool has_end_ = false;
};

}  // namespace steadytext::core::constraint
