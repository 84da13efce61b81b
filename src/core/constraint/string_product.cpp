// See string_product.hpp. Regime: pure.
#include "src/core/constraint/string_product.hpp"

#include "src/core/constraint/alphabet.hpp"
#include "src/core/constraint/regex.hpp"
#include "src/core/constraint/regex_builder.hpp"
#include "src/core/constraint/regex_tree.hpp"
#include "src/core/constraint/set_writer.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <unordered_map>
#include <vector>

namespace steadytext::core::constraint {

namespace {

// The cost of a look-up, in steps.
constexpr std::uint64_t kStepsOfLook = 8;

// Sets of characters, by numbers.
class Sets {
public:
    using Number = std::uint32_t;
    static constexpr Number kNone = UINT32_MAX;

    explicit Sets(const Network &network) : network_(network) {}

    [[nodiscard]] Number number(const CodePoints &set) {
        (void)network_.spend(kStepsOfLook + set.ranges().size());
        const auto [found, is_new] = numbers_.try_emplace(set, static_cast<Number>(sets_.size()));
        if (is_new)
            sets_.push_back(&found->first);
        return set.is_empty() ? kNone : found->second;
    }
    [[nodiscard]] Number both(Number one, Number other) {
        if (one == other)
            return one;
        (void)network_.spend(kStepsOfLook);
        const auto [found, is_new] =
            both_.try_emplace(std::uint64_t{std::min(one, other)} << 32 | std::max(one, other), kNone);
        if (is_new && network_.spend(sets_[one]->ranges().size() + sets_[other]->ranges().size()))
            found->second = number(sets_[one]->intersection(*sets_[other]));
        return found->second;
    }
    [[nodiscard]] const CodePoints &operator[](Number number) const { return *sets_[number]; }

private:
    const Network &network_;
    std::map<CodePoints, Number> numbers_;
    std::vector<const CodePoints *> sets_;
    std::unordered_map<std::uint64_t, Number> both_;
};

// The target of RegexBuilder. An edge from a state to another reads nothing (Sets::kNone), or a character of
// a set.
class Graph {
public:
    struct Edge {
        Sets::Number set;
        State target;
    };
    static constexpr std::uint32_t kNoWay = UINT32_MAX;

    Graph(const Network &network, Sets &sets)
        : network_(network), sets_(sets), start_(add_state()), end_(add_state()) {}

    State add_state() {
        if (fits() && network_.spend())
            edges_.emplace_back();
        return static_cast<State>(std::max<std::size_t>(edges_.size(), 1) - 1);
    }
    void add_empty(State from, State to) { add_edge(from, {Sets::kNone, to}); }
    void add_set(const CodePoints &set, State from, State to) {
        if (const Sets::Number number = sets_.number(set); number != Sets::kNone)
            add_edge(from, {number, to});
    }
    void add_any(State from, State to) { add_set(any_character(Alphabet::Generated), from, to); }
    [[nodiscard]] bool fits() const { return edges_.size() < Network::kMaxStates && network_.fits(); }

    [[nodiscard]] State start() const { return start_; }
    [[nodiscard]] State end() const { return end_; }
    [[nodiscard]] const std::vector<Edge> &edges(State state) const { return edges_[state]; }
    // The fewest characters from here to the end. After measure().
    [[nodiscard]] std::uint32_t distance(State state) const { return distances_[state]; }

    void measure() {
        std::vector<std::vector<Edge>> into(edges_.size());
        for (State from = 0; from < edges_.size(); from++)
            for (const Edge &edge : edges_[from])
                if (network_.spend())
                    into[edge.target].push_back({edge.set, from});
        distances_.assign(edges_.size(), kNoWay);
        distances_[end_] = 0;
        std::deque<State> open{end_};  // ascending; neighbours differ by 1 at most
        while (!open.empty()) {
            const State at = open.front();
            open.pop_front();
            for (const Edge &edge : into[at]) {
                const std::uint32_t distance = distances_[at] + (edge.set != Sets::kNone);
                if (!network_.spend() || distance >= distances_[edge.target])
                    continue;
                distances_[edge.target] = distance;
                if (edge.set == Sets::kNone)
                    open.push_front(edge.target);
                else
                    open.push_back(edge.target);
            }
        }
    }

private:
    void add_edge(State from, Edge edge) {
        if (fits() && network_.spend())
            edges_[from].push_back(edge);
    }

    const Network &network_;
    Sets &sets_;
    std::vector<std::vector<Edge>> edges_;
    std::vector<std::uint32_t> distances_;
    State start_;
    State end_;
};

class Product {
public:
    Product(const Graph &one, const Graph &other, Sets &sets, Network &network)
        : one_(one), other_(other), sets_(sets), network_(network) {}

    void build(std::int64_t least, std::optional<std::int64_t> most, State from, State to) {
        least_ = least;
        most_ = most;
        if (const auto first = state_of({one_.start(), other_.start(), 0}))
            network_.add_empty(from, *first);
        while (!open_.empty() && network_.fits()) {
            const Place place = open_.back();
            open_.pop_back();
            leave(place, states_.at(key_of(place)), to);
        }
    }

private:
    struct Place {
        State one;
        State other;
        std::uint32_t count;  // of characters; without a most, it does not go beyond least
    };

    // Every part is smaller than its field, because each part has states in the network.
    static std::uint64_t key_of(const Place &place) {
        return std::uint64_t{place.one} << 44 | std::uint64_t{place.other} << 24 | place.count;
    }
    static_assert(Network::kMaxStates < 1 << 20);

    // The network's state for the place; nothing if no text gets from there to the end.
    std::optional<State> state_of(const Place &place) {
        const std::uint32_t rest = std::max(one_.distance(place.one), other_.distance(place.other));
        if (rest == Graph::kNoWay || (most_.has_value() && std::int64_t{place.count} + rest > *most_) ||
            !network_.spend(kStepsOfLook))
            return std::nullopt;
        const auto [found, is_new] = states_.try_emplace(key_of(place), 0);
        if (is_new) {
            found->second = network_.add_state();
            open_.push_back(place);
        }
        return found->second;
    }

    void leave(const Place &place, State from, State to) {
        if (place.one == one_.end() && place.other == other_.end() && place.count >= least_)
            network_.add_empty(from, to);
        for (const Graph::Edge &edge : one_.edges(place.one)) {
            if (edge.set == Sets::kNone)
                link(from, {edge.target, place.other, place.count});
            else
                read(place, edge, from);
        }
        for (const Graph::Edge &edge : other_.edges(place.other))
            if (edge.set == Sets::kNone)
                link(from, {place.one, edge.target, place.count});
    }

    void link(State from, const Place &place) {
        if (const auto next = state_of(place))
            network_.add_empty(from, *next);
    }

    // Reads a character that both graphs take.
    void read(const Place &place, const Graph::Edge &edge, State from) {
        const std::uint32_t count = most_.has_value() || place.count < least_ ? place.count + 1 : place.count;
        for (const Graph::Edge &beside : other_.edges(place.other)) {
            const Sets::Number set =
                beside.set == Sets::kNone || !network_.fits() ? Sets::kNone : sets_.both(edge.set, beside.set);
            if (set == Sets::kNone)
                continue;
            if (const auto next = state_of({edge.target, beside.target, count}))
                write(set, from, *next);
        }
    }

    void write(Sets::Number set, State from, State to) {
        const auto [rule, is_new] = rules_.try_emplace(set);
        if (is_new)
            rule->second = writer_.rule_of(sets_[set]);
        if (rule->second.has_value())
            network_.add_call(from, *rule->second, to);
        else
            writer_.add(sets_[set], from, to);
    }

    const Graph &one_;
    const Graph &other_;
    Sets &sets_;
    Network &network_;
    SetWriter writer_{network_, Encoding::JsonString};
    std::int64_t least_ = 0;
    std::optional<std::int64_t> most_{};
    std::unordered_map<std::uint64_t, State> states_;
    std::unordered_map<Sets::Number, std::optional<Rule>> rules_;
    std::vector<Place> open_;
};

// Draws the strings that the pattern matches or, without a pattern, all strings.
bool draw(const std::string *pattern, const RegexForm &form, Graph &graph, Problem &problem) {
    static const auto *everything = new CodePoints{{0, CodePoints::kLast}};
    if (pattern == nullptr) {
        graph.add_empty(graph.start(), graph.end());
        graph.add_set(*everything, graph.end(), graph.end());
    } else {
        RegexNode tree = read_regex(*pattern, form, problem);
        if (problem.is_set())
            return false;
        RegexBuilder(graph, form.of_schema).build_all(tree, graph.start(), graph.end());
    }
    if (!graph.fits())
        return problem.set(sqlstate::kProgramLimitExceeded, "regular expression is too large");
    graph.measure();
    return true;
}

}  // namespace

bool add_string(const StringForm &form, Network &network, State from, State to, Problem &problem) {
    const RegexForm of_pattern{.encoding = Encoding::JsonString, .of_schema = true};
    const RegexForm of_format{.encoding = Encoding::JsonString};
    const Format *format = form.format;
    const bool keeps_length = format != nullptr && form.least <= static_cast<std::int64_t>(format->shortest) &&
                              form.most.value_or(INT64_MAX) >= static_cast<std::int64_t>(format->longest);
    const bool is_counted = (form.least > 0 || form.most.has_value()) && !keeps_length;
    if (!is_counted && format == nullptr)
        return add_regex(*form.pattern, of_pattern, network, from, to, problem);
    if (!is_counted && !form.pattern.has_value())
        return add_regex(format->generated, of_format, network, from, to, problem);
    Sets sets(network);
    Graph one(network, sets), other(network, sets);
    const std::string generated(format != nullptr ? format->generated : "");
    if (!draw(form.pattern.has_value() ? &*form.pattern : nullptr, of_pattern, one, problem) ||
        !draw(format != nullptr ? &generated : nullptr, of_format, other, problem))
        return false;
    std::optional<std::int64_t> most = is_counted ? form.most : std::nullopt;
    if (most.has_value())
        most = std::min(*most, std::max(form.least, kMaxMatched));
    Product(one, other, sets, network).build(is_counted ? form.least : 0, most, from, to);
    return true;
}

}  // namespace steadytext::core::constraint
