// Scores how well documents answer a query by their words alone: the original's own substitute for a model.
//
// Called by src/session/reranking.cpp. Regime: pure (may throw std::bad_alloc). The cost of a document is its length,
// for any number of words: a single pass finds them all (Aho and Corasick, 1975).
#pragma once

#include "src/core/work.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace steadytext::core {

// Finds the words that a text contains, also inside other words.
class WordFinder {
public:
    // The words of a text, ASCII letters in lower case. Useless once `work` has ended.
    WordFinder(std::string_view words, Work &work);

    // How many of the words the text contains; a word that was given twice counts twice.
    [[nodiscard]] int count_in(std::string_view text, Work &work);

private:
    using Node = std::uint32_t;  // a beginning of a word; 0: the empty beginning, kNone: no node
    static constexpr Node kNone = UINT32_MAX;

    struct NodeRecord {
        Node first_child = kNone;
        Node sibling = kNone;
        Node fallback = 0;     // the longest other beginning that ends with the same bytes
        Node shorter = kNone;  // the longest word that ends here too
        std::uint32_t words = 0;
        std::uint32_t seen_by = 0;  // the number of the last text in which it was found
        unsigned char byte = 0;
    };

    [[nodiscard]] Node child(Node of, unsigned char byte) const;
    [[nodiscard]] Node add_child(Node of, unsigned char byte);
    [[nodiscard]] Node next(Node from, unsigned char byte) const;
    void link(Work &work);

    std::vector<NodeRecord> nodes_{1};
    std::uint32_t texts_ = 0;
};

// 0.35 for each word of the query in a document, 0.25 for each word of the task, and a little for an early position;
// from 0.01 to 1. Case of ASCII letters does not matter.
class LexicalScorer {
public:
    LexicalScorer(std::string_view query, std::string_view task, Work &work) : query_(query, work), task_(task, work) {}

    // `position` counts from 1.
    [[nodiscard]] double score(std::string_view document, std::size_t position, Work &work);

private:
    WordFinder query_;
    WordFinder task_;
};

}  // namespace steadytext::core
