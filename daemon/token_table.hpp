// The vocabulary as bytes: the text of each token, in an order that lets a search skip whole families of tokens.
//
// Called by the generator, which makes it when its model is loaded, and by constrained_text.cpp, which reads it.
// Regime: pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <llama.h>

#include "src/core/work.hpp"

namespace steadytext::daemon {

class TokenTable {
public:
    TokenTable() = default;
    explicit TokenTable(const llama_vocab *vocabulary);

    // The text that the token writes; empty for control tokens.
    [[nodiscard]] const std::string &piece(llama_token token) const { return pieces_[static_cast<std::size_t>(token)]; }
    [[nodiscard]] int size() const { return static_cast<int>(pieces_.size()); }
    [[nodiscard]] const std::vector<llama_token> &ends() const { return ends_; }

    // Tokens that write something, in the order of their bytes.
    struct Entry {
        llama_token token;
        std::uint32_t shared;  // bytes at its beginning that the entry before shares
    };
    [[nodiscard]] const std::vector<Entry> &sorted() const { return sorted_; }

    // True if every single byte is a token, so n bytes are never more than n tokens.
    [[nodiscard]] bool spells_every_byte() const { return spells_every_byte_; }
    static constexpr int kCannotSpell = INT32_MAX;
    // The fewest tokens that write the text. Meaningless once the work has ended.
    [[nodiscard]] int fewest_tokens(std::string_view text, core::Work &work) const;
    // Bytes of the longest token: a text of more than n times as many bytes needs more than n tokens.
    [[nodiscard]] std::size_t longest() const { return longest_; }

private:
    std::vector<std::string> pieces_;
    std::vector<Entry> sorted_;
    std::vector<llama_token> ends_;
    bool spells_every_byte_ = false;
    std::size_t longest_ = 1;
};

}  // namespace steadytext::daemon
