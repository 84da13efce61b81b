// A value larger than a word, with a single writer and many readers: readers copy and retry, the writer never waits.
//
// Used by the daemon table, whose writer (the gateway) must not wait for a session that was stopped in the middle of
// a read; also by incidents.hpp, model_table.hpp and segment.hpp. Regime: pure.
//
// Protocol (Boehm, "Can seqlocks get along with programming language memory models?", 2012): `sequence_` is odd
// during a store. The payload is kept in relaxed atomic words, so a torn read is not a data race; the sequence
// reveals it, and the reader discards it.
#pragma once

#include "shmem/atomic.hpp"

#include <cstring>
#include <type_traits>

namespace steadytext::shmem {

template <class Value>
class SeqLock {
    static_assert(std::is_trivially_copyable_v<Value> && std::is_default_constructible_v<Value>);
    static constexpr std::size_t kWords = (sizeof(Value) + 7) / 8;

public:
    // Single writer only.
    void store(const Value &value) noexcept {
        std::uint64_t words[kWords] = {};
        std::memcpy(words, &value, sizeof value);
        const std::uint64_t sequence = sequence_.load(std::memory_order_relaxed);
        // The release store of each word orders it after this odd mark: pairs with the acquire loads in load().
        sequence_.store(sequence + 1, std::memory_order_relaxed);
        for (std::size_t i = 0; i < kWords; i++)
            words_[i].store(words[i], std::memory_order_release);
        sequence_.store(sequence + 2, std::memory_order_release);  // pairs with the first load in try_load()
    }

    // False if a store came between; the caller tries again or keeps the value it had.
    [[nodiscard]] bool try_load(Value &value) const noexcept {
        const std::uint64_t before = sequence_.load(std::memory_order_acquire);
        if (before & 1)
            return false;
        std::uint64_t words[kWords];
        for (std::size_t i = 0; i < kWords; i++)
            words[i] = words_[i].load(std::memory_order_acquire);
        if (sequence_.load(std::memory_order_relaxed) != before)
            return false;
        std::memcpy(&value, words, sizeof value);
        return true;
    }

    // Tries a bounded number of times; only a writer stopped in the middle of a store makes it fail.
    [[nodiscard]] bool load(Value &value) const noexcept {
        for (int attempt = 0; attempt < 1000; attempt++)
            if (try_load(value))
                return true;
        return false;
    }

private:
    std::atomic<std::uint64_t> sequence_{0};
    std::atomic<std::uint64_t> words_[kWords]{};
};

}  // namespace steadytext::shmem
