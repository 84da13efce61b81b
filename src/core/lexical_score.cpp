// Finds words: see lexical_score.hpp. Regime: pure.
#include "src/core/lexical_score.hpp"

#include <algorithm>

namespace steadytext::core {

namespace {

unsigned char lower(char c) noexcept { return static_cast<unsigned char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c); }

bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

WordFinder::WordFinder(std::string_view words, Work &work) {
    Node at = 0;
    for (const char c : words) {
        if (!work.spend())
            return;
        if (!is_space(c)) {
            at = add_child(at, lower(c));
            continue;
        }
        nodes_[at].words += at != 0;
        at = 0;
    }
    nodes_[at].words += at != 0;
    link(work);
}

WordFinder::Node WordFinder::child(Node of, unsigned char byte) const {
    Node at = nodes_[of].first_child;
    while (at != kNone && nodes_[at].byte != byte)
        at = nodes_[at].sibling;
    return at;
}

WordFinder::Node WordFinder::add_child(Node of, unsigned char byte) {
    if (const Node found = child(of, byte); found != kNone)
        return found;
    const auto made = static_cast<Node>(nodes_.size());
    NodeRecord &record = nodes_.emplace_back();
    record.byte = byte;
    record.sibling = nodes_[of].first_child;
    nodes_[of].first_child = made;
    return made;
}

WordFinder::Node WordFinder::next(Node from, unsigned char byte) const {
    for (;;) {
        const Node found = child(from, byte);
        if (found != kNone)
            return found;
        if (from == 0)
            return 0;
        from = nodes_[from].fallback;
    }
}

// Shorter beginnings come first, as the links of a longer beginning are made from theirs.
void WordFinder::link(Work &work) {
    std::vector<Node> open{0};
    for (std::size_t i = 0; i < open.size() && work.spend(); i++)
        for (Node at = nodes_[open[i]].first_child; at != kNone; at = nodes_[at].sibling) {
            NodeRecord &record = nodes_[at];
            record.fallback = open[i] == 0 ? 0 : next(nodes_[open[i]].fallback, record.byte);
            record.shorter = nodes_[record.fallback].words > 0 ? record.fallback : nodes_[record.fallback].shorter;
            open.push_back(at);
        }
}

int WordFinder::count_in(std::string_view text, Work &work) {
    texts_++;
    int found = 0;
    Node at = 0;
    for (const char c : text) {
        if (!work.spend())
            return found;
        at = next(at, lower(c));
        // If a word was seen before, all shorter words in its chain were seen with it.
        for (Node word = nodes_[at].words > 0 ? at : nodes_[at].shorter;
             word != kNone && nodes_[word].seen_by != texts_; word = nodes_[word].shorter) {
            nodes_[word].seen_by = texts_;
            found += static_cast<int>(nodes_[word].words);
        }
    }
    return found;
}

double LexicalScorer::score(std::string_view document, std::size_t position, Work &work) {
    const double score = 0.35 * query_.count_in(document, work) + 0.25 * task_.count_in(document, work) +
                         std::max(0.05, 0.1 / static_cast<double>(position));
    return std::clamp(score, 0.01, 1.0);
}

}  // namespace steadytext::core
