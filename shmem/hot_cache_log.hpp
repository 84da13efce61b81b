// The hot cache's logs: values stand in a row in a ring of words. New values go to the end; room is made at
// the beginning.
//
// Part of HotCache (hot_cache.hpp). Regime: pure. A single writer (it holds the shard's lock), any number of
// readers.
//
// Positions count words since the start and never repeat. The writer raises `end` before it overwrites
// anything, and stores each word with release. A reader loads words with acquire and looks at `end`
// afterwards: if it has seen an overwritten word, it also sees the raised `end` and discards the copy (the
// seqlock of Boehm, 2012, with a single sequence for the whole log). All words are accessed as atomics, so a
// torn copy is no data race.
#pragma once

#include "shmem/hot_cache_index.hpp"

namespace steadytext::shmem::cache {

static_assert(std::atomic_ref<std::uint64_t>::is_always_lock_free);

// The header before a value in the log.
struct EntryHeader {
    KeyWords key;
    std::uint64_t what;    // {size:24 | kind:8 | owner:32}
    std::uint64_t expiry;  // {microseconds since 1970:56 | flags:8}
    std::uint64_t asker;   // {role:32 | epoch:32}

    static constexpr std::uint64_t kMaxSize = (1U << 24) - 1;

    [[nodiscard]] std::size_t size() const noexcept { return what >> 40; }
    [[nodiscard]] std::uint8_t kind() const noexcept { return static_cast<std::uint8_t>(what >> 32); }
    [[nodiscard]] std::uint32_t owner() const noexcept { return static_cast<std::uint32_t>(what); }
    [[nodiscard]] std::uint32_t role() const noexcept { return static_cast<std::uint32_t>(asker >> 32); }
    [[nodiscard]] std::uint32_t epoch() const noexcept { return static_cast<std::uint32_t>(asker); }
    [[nodiscard]] std::int64_t expires_us() const noexcept { return static_cast<std::int64_t>(expiry >> 8); }
    [[nodiscard]] std::uint8_t flags() const noexcept { return static_cast<std::uint8_t>(expiry); }
    [[nodiscard]] bool is_expired(std::int64_t now_us) const noexcept {
        return expires_us() != 0 && expires_us() <= now_us;
    }
    // Words the entry takes in a log.
    [[nodiscard]] static constexpr std::uint64_t words_for(std::size_t value_bytes) noexcept {
        return sizeof(EntryHeader) / 8 + (value_bytes + 7) / 8;
    }
    [[nodiscard]] std::uint64_t words() const noexcept { return words_for(size()); }
};

inline constexpr std::uint64_t kHeaderWords = sizeof(EntryHeader) / 8;

class Log {
public:
    Log(std::uint64_t *words, std::uint64_t capacity, std::atomic<std::uint64_t> &begin,
        std::atomic<std::uint64_t> &end) noexcept
        : words_(words), capacity_(capacity), begin_(begin), end_(end) {}

    [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] std::uint64_t begin() const noexcept { return begin_.load(std::memory_order_relaxed); }
    // acquire: pairs with the release stores of words, and with the release in which a position was
    // published.
    [[nodiscard]] std::uint64_t end() const noexcept { return end_.load(std::memory_order_acquire); }
    [[nodiscard]] std::uint64_t free_words() const noexcept { return capacity_ - (end() - begin()); }

    // Whether the words loaded before this call, from `position` on, were not being overwritten.
    [[nodiscard]] bool is_intact(std::uint64_t position) const noexcept { return end() - position <= capacity_; }

    [[nodiscard]] EntryHeader load_header(std::uint64_t position) const noexcept {
        EntryHeader header;
        load(position, reinterpret_cast<char *>(&header), sizeof header);
        return header;
    }
    void load(std::uint64_t position, char *target, std::size_t bytes) const noexcept;

    // Writer only. Takes `words` words at the end. The caller has made sure that they are free, or that it
    // may overwrite them.
    [[nodiscard]] std::uint64_t extend(std::uint64_t words) noexcept {
        const std::uint64_t position = end_.load(std::memory_order_relaxed);
        end_.store(position + words,
                   std::memory_order_relaxed);  // ordered before the release stores in store()
        return position;
    }
    void store(std::uint64_t position, const char *source, std::size_t bytes) noexcept;
    // Gives up the first `words` words.
    void advance(std::uint64_t words) noexcept { begin_.store(begin() + words, std::memory_order_relaxed); }

private:
    template <class Piece>
    void stretches(std::uint64_t position, std::uint64_t count, Piece &&piece) const noexcept;

    std::uint64_t *words_;
    std::uint64_t capacity_;
    std::atomic<std::uint64_t> &begin_;
    std::atomic<std::uint64_t> &end_;
};

// Calls `piece(words, count)` for each stretch of the ring that holds the `count` words from `position` on:
// there are two if the words wrap round.
template <class Piece>
inline void Log::stretches(std::uint64_t position, std::uint64_t count, Piece &&piece) const noexcept {
    const std::uint64_t index = position % capacity_;
    const std::uint64_t first = std::min(count, capacity_ - index);
    piece(words_ + index, first);
    if (first < count)
        piece(words_, count - first);
}

inline void Log::load(std::uint64_t position, char *target, std::size_t bytes) const noexcept {
    stretches(position, (bytes + 7) / 8, [&](std::uint64_t *words, std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; i++) {
            const std::uint64_t word = std::atomic_ref(words[i]).load(std::memory_order_acquire);  // pairs with store()
            const std::size_t size = std::min<std::size_t>(bytes, 8);
            if (size == 8) [[likely]]
                std::memcpy(target, &word, 8);
            else
                std::memcpy(target, &word, size);
            target += size;
            bytes -= size;
        }
    });
}

inline void Log::store(std::uint64_t position, const char *source, std::size_t bytes) noexcept {
    stretches(position, (bytes + 7) / 8, [&](std::uint64_t *words, std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; i++) {
            std::uint64_t word = 0;
            const std::size_t size = std::min<std::size_t>(bytes, 8);
            if (size == 8) [[likely]]
                std::memcpy(&word, source, 8);
            else
                std::memcpy(&word, source, size);
            std::atomic_ref(words[i]).store(word, std::memory_order_release);  // pairs with load()
            source += size;
            bytes -= size;
        }
    });
}

}  // namespace steadytext::shmem::cache
