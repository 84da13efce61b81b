// The vocabulary as bytes: what each token writes, in an order in which whole families of tokens can be passed over.
//
// Made by the generator when its model is loaded, read by constrained_text.cpp. Regime: pure.
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

    // What the token writes; nothing for control tokens.
    [[nodiscard]] const std::string &piece(llama_token token) const { return pieces_[static_cast<std::size_t>(token)]; }
    [[nodiscard]] int size() const { return static_cast<int>(pieces_.size()); }
    [[nodiscard]] const std::vector<llama_token> &ends() const { return ends_; }

    // Tokens that write something, in the order of their bytes.
    struct Entry {
        llama_token token;
        std::uint32_t shared;  // bytes it begins with that the one before begins with too
    };
    [[nodiscard]] const std::vector<Entry> &sorted() const { return sorted_; }

    // Every byte is a token of its own, so n bytes are never more than n tokens.
    [[nodiscard]] bool spells_every_byte() const { return spells_every_byte_; }
    static constexpr int kCannotSpell = INT32_MAX;
    // Fewest tokens that write the text. Of no meaning once the work has ended.
    [[nodiscard]] int fewest_tokens(std::string_view text, core::Work &work) const;
    // Bytes of the longest: no text of more than n times that many is n tokens.
    [[nodiscard]] std::size_t longest() const { return longest_; }

private:
    std::vector<std::string> pieces_;
    std::vector<Entry> sorted_;
    std::vector<llama_token> ends_;
    bool spells_every_byte_ = false;
    std::size_t longest_ = 1;
};

}  // namespace steadytext::daemon
