// How often a question was answered in which way, and how long the daemons took: the planner puts the condition first that drops more
// rows for its time (src/planner/condition_order.*).
//
// Sessions count each answer (src/session/answer_counts.*). Regime: pure, noexcept, lock-free; relaxed atomics, independent of each
// other. A fixed number of sets of kWays entries; the key chooses the set, and a key that finds its set full takes the place of
// the entry with the fewest answers of the role that holds more of it (fair_ways.hpp), or else is not counted: a role cannot wipe out another's counts.
// Whoever counts in it meanwhile adds to the wrong question: an estimate that is off by one.
#pragma once

#include "shmem/atomic.hpp"
#include "shmem/fair_ways.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>

namespace steadytext::shmem {

class AnswerCounts {
public:
    // Of a question: 128 bits of a digest that nobody can meet by another question, and who asks it. Not all 0.
    struct Key {
        std::array<std::uint64_t, 2> digest{};
        std::uint64_t owner = 0;  // its upper half is the role

        [[nodiscard]] std::uint32_t role() const noexcept { return static_cast<std::uint32_t>(owner >> 32); }
    };
    static constexpr std::size_t kAnswers = 16;  // of a question; the last stands for all others
    struct Seen {
        std::array<std::uint32_t, kAnswers> answers{};
        double mean_us = 0;  // of daemons, over all answers: one from the cache takes none

        [[nodiscard]] std::uint64_t total() const noexcept {
            return std::accumulate(answers.begin(), answers.end(), std::uint64_t{0});
        }
    };

    // `daemon_us`: 0 if no daemon was asked.
    void add(const Key &key, std::size_t answer, std::int64_t daemon_us) noexcept {
        Entry *entry = entry_for(key);
        if (entry == nullptr)
            return;
        const std::uint32_t count =
            entry->answers[std::min(answer, kAnswers - 1)].fetch_add(1, std::memory_order_relaxed) + 1;
        entry->daemon_us.fetch_add(static_cast<std::uint64_t>(std::max<std::int64_t>(daemon_us, 0)),
                                   std::memory_order_relaxed);
        if (count >= kMost)
            halve(*entry);
    }

    [[nodiscard]] Seen seen(const Key &key) const noexcept {
        Seen seen;
        for (const Entry &entry : sets_[set_of(key)]) {
            if (!is_of(entry, key))
                continue;
            for (std::size_t i = 0; i < kAnswers; i++)
                seen.answers[i] = entry.answers[i].load(std::memory_order_relaxed);
            const auto total = static_cast<double>(seen.total());
            seen.mean_us = total > 0 ? static_cast<double>(entry.daemon_us.load(std::memory_order_relaxed)) / total : 0;
            break;
        }
        return seen;
    }

    void reset() noexcept {
        for (auto &set : sets_)
            for (Entry &entry : set)
                begin(entry, {});
    }

private:
    static constexpr std::size_t kSets = 256, kWays = 8;
    static constexpr std::uint32_t kMost = 1 << 16;  // then all are halved, so that newer answers count for more

    struct alignas(kCacheLine) Entry {
        std::array<std::atomic<std::uint64_t>, 3> key{};  // digest and owner; 0: free
        std::atomic<std::uint64_t> daemon_us{0};
        std::array<std::atomic<std::uint32_t>, kAnswers> answers{};
    };

    static std::size_t set_of(const Key &key) noexcept {
        return static_cast<std::size_t>((key.digest[0] + key.owner) % kSets);
    }

    // Of an entry that gets another key at this moment: of neither, or of one of both.
    static bool is_of(const Entry &entry, const Key &key) noexcept {
        return entry.key[0].load(std::memory_order_relaxed) == key.digest[0] &&
               entry.key[1].load(std::memory_order_relaxed) == key.digest[1] &&
               entry.key[2].load(std::memory_order_relaxed) == key.owner;
    }

    static std::uint64_t total(const Entry &entry) noexcept {
        std::uint64_t sum = 0;
        for (const auto &count : entry.answers)
            sum += count.load(std::memory_order_relaxed);
        return sum;
    }

    static void begin(Entry &entry, const Key &key) noexcept {
        for (auto &count : entry.answers)
            count.store(0, std::memory_order_relaxed);
        entry.daemon_us.store(0, std::memory_order_relaxed);
        entry.key[0].store(key.digest[0], std::memory_order_relaxed);
        entry.key[1].store(key.digest[1], std::memory_order_relaxed);
        entry.key[2].store(key.owner, std::memory_order_relaxed);
    }

    static void halve(Entry &entry) noexcept {
        for (auto &count : entry.answers)
            count.store(count.load(std::memory_order_relaxed) / 2, std::memory_order_relaxed);
        entry.daemon_us.store(entry.daemon_us.load(std::memory_order_relaxed) / 2, std::memory_order_relaxed);
    }

    static std::uint32_t role_of(const Entry &entry) noexcept {
        return static_cast<std::uint32_t>(entry.key[2].load(std::memory_order_relaxed) >> 32);
    }

    static bool is_free(const Entry &entry) noexcept {
        return entry.key[0].load(std::memory_order_relaxed) == 0 && entry.key[1].load(std::memory_order_relaxed) == 0;
    }

    // Null: there is no room. What the role that gives way has besides is halved, so that questions that nobody asks any more go.
    Entry *entry_for(const Key &key) noexcept {
        auto &set = sets_[set_of(key)];
        Entry *found = nullptr;
        for (Entry &entry : set) {
            if (is_of(entry, key))
                return &entry;
            if (is_free(entry))
                found = &entry;
        }
        if (found == nullptr) {
            const std::size_t way = way_to_give<kWays>(
                key.role(), [&](std::size_t i) { return role_of(set[i]); },
                [&](std::size_t i) { return total(set[i]); });
            if (way == kWays)
                return nullptr;
            found = &set[way];
            const std::uint32_t giver = role_of(*found);
            for (Entry &entry : set)
                if (role_of(entry) == giver)
                    halve(entry);
        }
        begin(*found, key);
        return found;
    }

    std::array<std::array<Entry, kWays>, kSets> sets_;
};

// In the segment.
[[nodiscard]] AnswerCounts &answer_counts() noexcept;

}  // namespace steadytext::shmem
