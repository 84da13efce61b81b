// How many tokens the prompts of a model have, beside an estimate by their bytes: templates, languages and tokenizers differ.
//
// Sessions add each answer whose daemon told its prompt's tokens; the estimates of a role's later calls (limits, caps, steadytext_explain())
// are multiplied by what is told here (src/session/prompt_tokens.*). Regime: pure, noexcept.
//
// A fixed number of sets of kWays entries. The set and what is compared are 128 bits of a hash with two random numbers of this life of the segment
// that no session is told, so nobody can choose a name that meets another's. A key that finds its set full takes the entry of a role that holds more of
// it (fair_ways.hpp), the one that was told of longest ago, or else is not remembered. The ratio is bounded, whatever a daemon tells.
//
// Locking: a spin word per set, held for the look at kWays entries.
#pragma once

#include "shmem/fair_ways.hpp"
#include "shmem/spin_word.hpp"
#include "src/core/mix.hpp"
#include "src/core/random_bytes.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace steadytext::shmem {

class PromptSizes {
public:
    // Of a role's prompts of a kind for a model.
    struct Key {
        std::array<std::uint64_t, 2> digest{};
        std::uint32_t role = 0;

        [[nodiscard]] bool operator==(const Key &other) const noexcept = default;
    };
    [[nodiscard]] Key key(std::uint32_t role, std::uint8_t kind, std::string_view model) const noexcept {
        Key key{salt_, role};
        for (std::uint64_t &digest : key.digest) {
            digest = core::mix(digest ^ (std::uint64_t{role} << 8 | kind));
            for (std::size_t at = 0; at < model.size(); at += sizeof(std::uint64_t)) {
                std::uint64_t some = 0;
                std::memcpy(&some, model.data() + at, std::min(model.size() - at, sizeof some));
                digest = core::mix(digest ^ some);
            }
            digest = core::mix(digest ^ model.size());
        }
        return key;
    }

    // False: the system gives no random numbers.
    [[nodiscard]] bool salt() noexcept { return core::random_bytes(salt_.data(), sizeof salt_); }

    // A prompt of `told` tokens was estimated as `estimated`.
    void add(const Key &key, std::int64_t estimated, std::int64_t told) noexcept {
        if (estimated <= 0 || told <= 0)
            return;
        Set &set = set_of(key);
        const SpinHold hold(set.lock);
        Entry *entry = entry_for(set, key);
        if (entry == nullptr)
            return;
        entry->told += std::min(told, std::min(estimated, INT64_MAX / kMost / kRemembered) * kMost);
        entry->estimated += estimated;
        entry->turn = ++set.turn;
        if (++entry->answers >= kRemembered)
            halve(*entry);
    }

    // Tokens per estimated token; 1 until enough answers have told.
    [[nodiscard]] double per_estimated(const Key &key) noexcept {
        Set &set = set_of(key);
        const SpinHold hold(set.lock);
        const auto *entry = std::find_if(set.entries.begin(), set.entries.end(),
                                         [&](const Entry &each) { return each.answers > 0 && each.key == key; });
        if (entry == set.entries.end() || entry->answers < kFewest)
            return 1;
        return std::clamp(static_cast<double>(entry->told) / static_cast<double>(entry->estimated), 1.0 / kMost,
                          static_cast<double>(kMost));
    }

    void reset() noexcept {
        for (Set &set : sets_) {
            const SpinHold hold(set.lock);
            set.entries.fill({});
        }
    }

    static constexpr std::size_t kSets = 256, kWays = 8;

private:
    static constexpr std::uint32_t kFewest = 20;
    static constexpr std::uint32_t kRemembered = 1024;  // then all is halved: newer prompts count for more
    static constexpr std::int64_t kMost = 8;

    struct Entry {
        Key key;
        std::uint32_t answers = 0;  // 0: free
        std::uint64_t turn = 0;     // of the set, when it was last told of
        std::int64_t estimated = 0;
        std::int64_t told = 0;
    };
    struct alignas(kCacheLine) Set {
        SpinWord lock;
        std::uint64_t turn = 0;
        std::array<Entry, kWays> entries{};
    };

    [[nodiscard]] Set &set_of(const Key &key) noexcept { return sets_[key.digest[0] % kSets]; }

    // Null: there is no room.
    [[nodiscard]] static Entry *entry_for(Set &set, const Key &key) noexcept {
        Entry *free = nullptr;
        for (Entry &entry : set.entries) {
            if (entry.answers > 0 && entry.key == key)
                return &entry;
            if (entry.answers == 0)
                free = &entry;
        }
        if (free == nullptr) {
            const std::size_t way = way_to_give<kWays>(
                key.role, [&](std::size_t i) { return set.entries[i].key.role; },
                [&](std::size_t i) { return set.entries[i].turn; });
            free = way < kWays ? &set.entries[way] : nullptr;
        }
        if (free != nullptr)
            *free = {.key = key};
        return free;
    }

    static void halve(Entry &entry) noexcept {
        entry.answers /= 2;
        entry.estimated /= 2;
        entry.told /= 2;
    }

    std::array<std::uint64_t, 2> salt_{};
    std::array<Set, kSets> sets_;
};

// In the segment.
[[nodiscard]] PromptSizes &prompt_sizes() noexcept;

}  // namespace steadytext::shmem
