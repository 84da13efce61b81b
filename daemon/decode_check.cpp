// Compares logits and cache bit by bit: see decode_check.hpp. Regime: pure.
#include "daemon/decode_check.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <map>
#include <vector>

#include "daemon/llama_model.hpp"

namespace steadytext::daemon {

namespace {

class DecodeCheck {
public:
    DecodeCheck(llama_context *context, int slots)
        : context_(context), memory_(llama_get_memory(context)), slots_(slots),
          vocabulary_size_(llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)))),
          batch_(static_cast<int>(llama_n_batch(context))) {}

    // Each width once, with the last slot, whose window is wide: a row's place in the batch is what matters to the kernels,
    // not its slot.
    bool passes() {
        for (int slot = 0; slot < slots_; slot++)
            if (!prefill(slot) || !decode(slot, 1))
                return false;
        for (const int width : {2, 3, 5, 8, 13, slots_})
            if (width <= slots_ && !decode(slots_ - width, width))
                return false;
        return true;
    }

    // Call after passes(). The last slot then has the longest sequence: checks its end, then its beginning.
    bool passes_in_pieces() {
        constexpr int kEnd = 33, kBeginning = 43;
        const int length = length_of(slots_ - 1);
        if (length < kBeginning)
            return true;  // a context so small that a prompt is hardly more than a piece
        const std::vector<std::uint8_t> whole = cells();
        if (!compute_in_pieces(length - kEnd, {8, 25}) || cells() != whole ||
            !llama_memory_seq_rm(memory_, slots_ - 1, kBeginning, -1))
            return false;
        const std::vector<std::uint8_t> beginning = cells();
        return compute_in_pieces(0, {9, 15, 19}) && cells() == beginning;
    }

    // Call after passes(). The last slot's sequence becomes a prefix, from which a prompt goes on: with the logits that it
    // has there, it must go on in whichever slot the prefix is restored, beside whatever the other slots hold. Leaves
    // the last slot's sequence as it was.
    bool passes_with_prefix() {
        const int last = slots_ - 1;
        const std::vector<std::uint8_t> whole = cells();
        const int prefix = std::min(length_of(last), longest() - kInput - 1);
        if (prefix < 1)
            return false;
        llama_memory_seq_rm(memory_, last, prefix, -1);
        const std::vector<std::uint8_t> kept = cells();
        if (!goes_on(last, prefix) || !restore(0, kept) || !goes_on(0, prefix) || !restore(last, kept) ||
            !goes_on(last, prefix))
            return false;
        return restore(0, kept) && goes_on(0, prefix) && decodes_beside_others(prefix + kInput) &&
               restore(last, whole) && cells() == whole && passes_evicted();
    }

private:
    static constexpr int kInput = 9;   // tokens behind a prefix
    static constexpr int kLong = 258;  // more than the 256 cells by which attention's window grows

    // Spreads tokens over the vocabulary; their meaning does not matter.
    [[nodiscard]] llama_token token_at(int slot, int position) const {
        return static_cast<llama_token>((slot * 7919U + position * 104729U + 17U) %
                                        static_cast<unsigned>(vocabulary_size_));
    }

    [[nodiscard]] int length_of(int slot) const {
        return std::min(slot == slots_ - 1 ? kLong : 1 + slot % 3, longest());
    }
    [[nodiscard]] int longest() const {
        return static_cast<int>(std::min(llama_n_ctx_seq(context_), llama_n_batch(context_))) - 1;
    }

    bool prefill(int slot) { return compute(slot, 0, length_of(slot)); }
    bool compute(int slot, int first, int end) {
        batch_.clear();
        for (int position = first; position < end; position++)
            batch_.add(token_at(slot, position), position, slot, false);
        return llama_decode(context_, batch_.get()) == 0;
    }

    // Computes the last slot's cells anew from `first` on, in pieces of the given numbers of tokens.
    bool compute_in_pieces(int first, std::initializer_list<int> pieces) {
        if (!llama_memory_seq_rm(memory_, slots_ - 1, first, -1))
            return false;
        for (const int piece : pieces) {
            if (!compute(slots_ - 1, first, first + piece))
                return false;
            first += piece;
        }
        return true;
    }

    bool restore(int slot, const std::vector<std::uint8_t> &bytes) {
        llama_memory_seq_rm(memory_, slot, -1, -1);
        return llama_state_seq_set_data(context_, bytes.data(), bytes.size(), slot) == bytes.size();
    }

    // Computes the input behind the prefix, as the last slot has it. True if the logits are those of the first time.
    bool goes_on(int slot, int prefix) {
        batch_.clear();
        for (int i = 0; i < kInput; i++)
            batch_.add(token_at(slots_ - 1, prefix + i), prefix + i, slot, i + 1 == kInput);
        return llama_decode(context_, batch_.get()) == 0 && is_as_before(behind_[prefix], kInput - 1);
    }

    // Slot 0 has the last slot's sequence up to `position`. Decodes its next token alone, then beside all other slots.
    bool decodes_beside_others(int position) {
        bool equal = true;
        for (const int width : {1, slots_}) {
            batch_.clear();
            batch_.add(token_at(slots_ - 1, position), position, 0, true);
            for (int slot = 1; slot < width - 1; slot++)
                batch_.add(token_at(slot, length_of(slot)), length_of(slot), slot, true);
            if (width > 1)
                batch_.add(token_at(slots_ - 1, position), position, slots_ - 1, true);
            if (llama_decode(context_, batch_.get()) != 0)
                return false;
            equal = equal && is_as_before(behind_[position], 0) && is_as_before(behind_[position], batch_.size() - 1);
            llama_memory_seq_rm(memory_, 0, position, -1);
            for (int slot = 1; slot < width; slot++)
                llama_memory_seq_rm(memory_, slot, slot == slots_ - 1 ? position : length_of(slot), -1);
        }
        return equal;
    }

    // A short prefix that is no longer kept: computed a second time, it is the same.
    bool passes_evicted() {
        const int prefix = std::min(9, longest() - kInput - 1);
        std::vector<std::uint8_t> first;
        for (int time = 0; time < 2; time++) {
            llama_memory_seq_rm(memory_, 0, -1, -1);
            batch_.clear();
            for (int position = 0; position < prefix; position++)
                batch_.add(token_at(slots_ - 1, position), position, 0, false);
            if (llama_decode(context_, batch_.get()) != 0)
                return false;
            const std::vector<std::uint8_t> bytes = cells(0);
            if ((time > 0 && bytes != first) || !goes_on(0, prefix))
                return false;
            first = bytes;
        }
        return true;
    }

    // The first logits of a kind are what the others are compared with.
    bool is_as_before(std::vector<float> &first, int row) {
        const float *logits = llama_get_logits_ith(context_, row);
        if (first.empty())
            first.assign(logits, logits + vocabulary_size_);
        return std::memcmp(first.data(), logits, first.size() * sizeof *logits) == 0;
    }

    [[nodiscard]] std::vector<std::uint8_t> cells() const { return cells(slots_ - 1); }
    [[nodiscard]] std::vector<std::uint8_t> cells(int slot) const {
        std::vector<std::uint8_t> bytes(llama_state_seq_get_size(context_, slot));
        bytes.resize(llama_state_seq_get_data(context_, bytes.data(), bytes.size(), slot));
        return bytes;
    }

    // Decodes a token for each of `width` slots, and undoes it. A width of 1 stores the logits that wider batches
    // are compared with.
    bool decode(int first, int width) {
        batch_.clear();
        for (int slot = first; slot < first + width; slot++)
            batch_.add(token_at(slot, length_of(slot)), length_of(slot), slot, true);
        if (llama_decode(context_, batch_.get()) != 0)
            return false;
        bool equal = true;
        const std::size_t size = static_cast<std::size_t>(vocabulary_size_);
        for (int row = 0; row < width; row++) {
            const float *logits = llama_get_logits_ith(context_, row);
            if (width == 1)
                alone_.emplace_back(logits, logits + size);
            equal = equal && std::memcmp(alone_[first + row].data(), logits, size * sizeof *logits) == 0;
            llama_memory_seq_rm(memory_, first + row, length_of(first + row), -1);
        }
        return equal;
    }

    llama_context *context_;
    llama_memory_t memory_;
    int slots_;
    int vocabulary_size_;
    Batch batch_;
    std::vector<std::vector<float>> alone_;
    std::map<int, std::vector<float>> behind_;  // logits, by the position behind a prefix
};

}  // namespace

Invariance check_invariance(llama_context *context, int slots) {
    DecodeCheck check(context, slots);
    Invariance invariance;
    invariance.batch = check.passes();
    invariance.prefixes = invariance.batch && check.passes_with_prefix();
    invariance.pieces = invariance.batch && check.passes_in_pieces();
    llama_memory_clear(llama_get_memory(context), true);
    return invariance;
}

}  // namespace steadytext::daemon
