// Depth first over the states that lead to an end, without recursion: see longest.hpp. Regime: pure.
//
// The longest way from a state is known once those of all states behind its edges are. A way that comes back to a state that is not known
// yet goes round in a circle: then there is no longest text.
#include "src/core/constraint/longest.hpp"

#include <algorithm>
#include <unordered_map>
#include <vector>

namespace steadytext::core::constraint {

namespace {

constexpr std::uint32_t kOpen = kNever;

class Search {
public:
    Search(const Network &network, Work &work) : network_(network), work_(work) {}

    std::uint32_t run() {
        open_.push_back(network_.start());
        while (!open_.empty() && is_bounded_ && work_.spend())
            visit(open_.back());
        return is_bounded_ && !work_.has_ended() ? ways_[network_.start()] : kNever;
    }

private:
    // The first time a state waits for those behind its edges; the second time they are known.
    void visit(State state) {
        const auto [way, is_new] = ways_.try_emplace(state, kOpen);
        if (!is_new) {
            if (way->second == kOpen)
                way->second = longest_from(state);
            open_.pop_back();
            return;
        }
        network_.for_each_edge(state, [&](const Edge &edge) {
            if (!leads_to_end(edge) || !work_.spend())
                return;
            wait_for(edge.target);
            if (edge.kind == Edge::Kind::Call)
                wait_for(network_.start(edge.rule));
        });
    }

    void wait_for(State state) {
        const auto way = ways_.find(state);
        if (way == ways_.end())
            open_.push_back(state);
        else
            is_bounded_ &= way->second != kOpen;
    }

    [[nodiscard]] bool leads_to_end(const Edge &edge) const {
        return network_.distance(edge.target) != kNever &&
               (edge.kind != Edge::Kind::Call || network_.distance(network_.start(edge.rule)) != kNever);
    }

    std::uint32_t longest_from(State state) {
        std::uint64_t longest = 0;
        network_.for_each_edge(state, [&](const Edge &edge) {
            if (!leads_to_end(edge))
                return;
            std::uint64_t way = ways_[edge.target];
            if (edge.kind == Edge::Kind::Bytes)
                way++;
            else if (edge.kind == Edge::Kind::Call)
                way += ways_[network_.start(edge.rule)];
            longest = std::max(longest, way);
        });
        is_bounded_ &= longest < kNever;
        return static_cast<std::uint32_t>(std::min<std::uint64_t>(longest, kNever - 1));
    }

    const Network &network_;
    Work &work_;
    std::unordered_map<State, std::uint32_t> ways_;
    std::vector<State> open_;
    bool is_bounded_ = true;
};

}  // namespace

std::uint32_t longest_text(const Network &network, Work &work) { return Search(network, work).run(); }

}  // namespace steadytext::core::constraint
