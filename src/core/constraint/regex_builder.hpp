// From a pattern's tree to states and what leads from one to another, by Thompson's construction (1968).
//
// Used by regex.cpp, whose target is a network, and by string_product.cpp, whose target is a graph of characters. A target has
//     State add_state();  void add_empty(State from, State to);  void add_set(const CodePoints &set, State from, State to);
//     void add_any(State from, State to);  bool fits();
// of which add_any() is for one character or byte, whatever it is. Regime: pure (may throw std::bad_alloc).
#pragma once

#include "src/core/constraint/network.hpp"
#include "src/core/constraint/regex_tree.hpp"

#include <algorithm>
#include <array>

namespace steadytext::core::constraint {

// Thompson's construction, of the states of the text that anchors ask for: that nothing was read yet, for ^, and that nothing may be read
// any more, after $. A pattern without such an anchor has no such states.
template <class Target> class RegexBuilder {
public:
    explicit RegexBuilder(Target &target, bool anywhere) : target_(target), anywhere_(anywhere) {}

    // From before the text, or before any part of it where it may match anywhere, to after it.
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
    static constexpr std::size_t kEnded = 2;  // nothing may be
    // A state for each side that the pattern has.
    using Place = std::array<State, 4>;

    [[nodiscard]] std::size_t read() const { return has_begin_ ? kRead : 0; }
    [[nodiscard]] std::size_t ended() const { return has_end_ ? kEnded : 0; }

    template <class Visit> void for_each_side(Visit visit) const {
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

    // One character or more, whatever they are.
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

    // The pattern is a sequence, and this anchor is its first or last part: taken away, as it needs no states of its own. As most are.
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
        return node.kind == kind || std::any_of(node.parts.begin(), node.parts.end(), [&](const RegexNode &part) { return contains(part, kind); });
    }

    Target &target_;
    bool anywhere_;
    bool has_begin_ = false;
    bool has_end_ = false;
};

}  // namespace steadytext::core::constraint
