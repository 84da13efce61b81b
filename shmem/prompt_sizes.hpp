// How many tokens the prompts of a model have, beside an estimate by their bytes: templates, languages and tokenizers differ.
//
// Sessions add each answer whose daemon told its prompt's tokens; the estimates of a role's later calls (limits, caps, steadytext_explain())
// are multiplied by what is told here (src/session/prompt_tokens.*). Regime: pure, noexcept, lock-free; relaxed atomics, independent of each
// other. A fixed number of places by hash; who finds its place taken begins it anew. The ratio is bounded, whatever a daemon tells.
#pragma once

#include "shmem/atomic.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace steadytext::shmem {

class PromptSizes {
public:
    // Of a role's prompts of a kind for a model. Not 0.
    using Key = std::uint64_t;
    [[nodiscard]] static Key key(std::uint32_t role, std::uint8_t kind, std::string_view model) noexcept {
        std::uint64_t hash = 0xcbf29ce484222325 ^ (std::uint64_t{role} << 8 | kind);  // FNV-1a
        for (const char c : model)
            hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
        return (hash ^ hash >> 32) | 1;
    }

    // A prompt of `told` tokens was estimated as `estimated`.
    void add(Key key, std::int64_t estimated, std::int64_t told) noexcept {
        if (estimated <= 0 || told <= 0)
            return;
        Place &place = places_[place_of(key)];
        if (place.key.load(std::memory_order_relaxed) != key) {
            place.answers.store(0, std::memory_order_relaxed);
            place.estimated.store(0, std::memory_order_relaxed);
            place.told.store(0, std::memory_order_relaxed);
            place.key.store(key, std::memory_order_relaxed);
        }
        place.told.fetch_add(std::min(told, estimated * kMost), std::memory_order_relaxed);
        place.estimated.fetch_add(estimated, std::memory_order_relaxed);
        if (place.answers.fetch_add(1, std::memory_order_relaxed) + 1 >= kRemembered)
            halve(place);
    }

    // Tokens per estimated token; 1 until enough answers have told.
    [[nodiscard]] double per_estimated(Key key) const noexcept {
        const Place &place = places_[place_of(key)];
        const auto estimated = static_cast<double>(place.estimated.load(std::memory_order_relaxed));
        const auto told = static_cast<double>(place.told.load(std::memory_order_relaxed));
        if (place.key.load(std::memory_order_relaxed) != key ||
            place.answers.load(std::memory_order_relaxed) < kFewest || estimated <= 0)
            return 1;
        return std::clamp(told / estimated, 1.0 / kMost, static_cast<double>(kMost));
    }

    void reset() noexcept {
        for (Place &place : places_)
            place.key.store(0, std::memory_order_relaxed);
    }

private:
    static constexpr std::size_t kPlaces = 2048;
    static constexpr std::uint32_t kFewest = 20;
    static constexpr std::uint32_t kRemembered = 1024;  // then all is halved: newer prompts count for more
    static constexpr std::int64_t kMost = 8;

    struct alignas(kCacheLine) Place {
        std::atomic<Key> key{0};
        std::atomic<std::uint32_t> answers{0};
        std::atomic<std::int64_t> estimated{0};
        std::atomic<std::int64_t> told{0};
    };

    static std::size_t place_of(Key key) noexcept { return static_cast<std::size_t>((key >> 1) % kPlaces); }

    static void halve(Place &place) noexcept {
        place.answers.store(place.answers.load(std::memory_order_relaxed) / 2, std::memory_order_relaxed);
        for (std::atomic<std::int64_t> *sum : {&place.estimated, &place.told})
            sum->store(sum->load(std::memory_order_relaxed) / 2, std::memory_order_relaxed);
    }

    std::array<Place, kPlaces> places_;
};

// In the segment.
[[nodiscard]] PromptSizes &prompt_sizes() noexcept;

}  // namespace steadytext::shmem
