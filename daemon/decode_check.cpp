#include "daemon/decode_check.hpp"

#include <algorithm>
#include <cstring>
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

    bool passes() {
        for (int slot = 0; slot < slots_; slot++)
            if (!prefill(slot) || !decode(slot, 1))
                return false;
        for (const int width : {2, 3, 5, 8, 13, slots_})
            for (int first = 0; width <= slots_ && first < slots_; first += width)
                if (!decode(std::min(first, slots_ - width), width))
                    return false;
        return true;
    }

private:
    // Spread over the vocabulary; which tokens does not matter.
    [[nodiscard]] llama_token token_at(int slot, int position) const {
        return static_cast<llama_token>((slot * 7919U + position * 104729U + 17U) %
                                        static_cast<unsigned>(vocabulary_size_));
    }

    [[nodiscard]] int length_of(int slot) const {
        constexpr int kLong = 300;  // more than the 256 cells by which attention's window grows
        const int longest = static_cast<int>(std::min(llama_n_ctx_seq(context_), llama_n_batch(context_))) - 1;
        return std::min(slot == slots_ - 1 ? kLong : 4 + slot % 8, longest);
    }

    bool prefill(int slot) {
        batch_.clear();
        for (int position = 0; position < length_of(slot); position++)
            batch_.add(token_at(slot, position), position, slot, false);
        return llama_decode(context_, batch_.get()) == 0;
    }

    // One token for each of `width` slots, undone afterwards. A width of 1 sets what the others are compared with.
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
};

}  // namespace

bool decode_is_batch_invariant(llama_context *context, int slots) {
    const bool invariant = DecodeCheck(context, slots).passes();
    llama_memory_clear(llama_get_memory(context), true);
    return invariant;
}

}  // namespace steadytext::daemon
