// Building and searching the table: see token_table.hpp. Regime: pure.
#include "daemon/token_table.hpp"

#include <algorithm>
#include <bitset>

#include "daemon/llama_model.hpp"

namespace steadytext::daemon {

TokenTable::TokenTable(const llama_vocab *vocabulary) {
    const int count = llama_vocab_n_tokens(vocabulary);
    pieces_.reserve(static_cast<std::size_t>(count));
    std::bitset<256> bytes;
    for (llama_token token = 0; token < count; token++) {
        const bool silent = llama_vocab_is_control(vocabulary, token) || llama_vocab_is_eog(vocabulary, token);
        const std::string &piece = pieces_.emplace_back(silent ? std::string() : piece_of(vocabulary, token));
        if (llama_vocab_is_eog(vocabulary, token))
            ends_.push_back(token);
        if (!piece.empty())
            sorted_.push_back({token, 0});
        longest_ = std::max(longest_, piece.size());
        if (piece.size() == 1)
            bytes.set(static_cast<unsigned char>(piece[0]));
    }
    spells_every_byte_ = bytes.all();
    std::sort(sorted_.begin(), sorted_.end(), [&](const Entry &a, const Entry &b) {
        const int order = piece(a.token).compare(piece(b.token));
        return order < 0 || (order == 0 && a.token < b.token);
    });
    for (std::size_t i = 1; i < sorted_.size(); i++) {
        const std::string &before = piece(sorted_[i - 1].token);
        const std::string &here = piece(sorted_[i].token);
        const auto differ = std::mismatch(before.begin(), before.end(), here.begin(), here.end()).first;
        sorted_[i].shared = static_cast<std::uint32_t>(differ - before.begin());
    }
}

namespace {
constexpr std::uint64_t kStepsOfByte = 32;  // two binary searches in the vocabulary
}

// Goes from the end to the beginning, so the best way to write the rest is known at each byte.
int TokenTable::fewest_tokens(std::string_view text, core::Work &work) const {
    std::vector<int> needed(text.size() + 1, kCannotSpell);
    needed[text.size()] = 0;
    for (std::size_t at = text.size(); at-- > 0 && !work.has_ended();) {
        // The tokens that agree with the text so far, narrowed byte by byte.
        auto first = sorted_.begin();
        auto last = sorted_.end();
        for (std::size_t length = 1; at + length <= text.size() && first != last; length++) {
            work.spend(kStepsOfByte);
            const auto byte = static_cast<unsigned char>(text[at + length - 1]);
            const auto byte_of = [&](const Entry &entry) {
                const std::string &bytes = piece(entry.token);
                return bytes.size() < length ? -1 : static_cast<int>(static_cast<unsigned char>(bytes[length - 1]));
            };
            first = std::partition_point(first, last, [&](const Entry &entry) { return byte_of(entry) < byte; });
            last = std::partition_point(first, last, [&](const Entry &entry) { return byte_of(entry) <= byte; });
            if (first != last && piece(first->token).size() == length && needed[at + length] != kCannotSpell)
                needed[at] = std::min(needed[at], needed[at + length] + 1);
        }
    }
    return needed[0];
}

}  // namespace steadytext::daemon
