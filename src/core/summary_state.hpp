// What a summary knows of the values that it was given: samples of them, their first sentences, counts and metadata.
//
// Called by src/session/summaries.cpp. Regime: pure (may throw std::bad_alloc). All memory comes from the resource that
// the state is made with, and is the resource's to free: no destructor need run.
//
// The state is the same for the same values, in whatever order they come and however they are divided among states that
// are merged. So texts are kept by their hash, never by their place: as many of those with the lowest hashes as there
// is room for. What has been left out is remembered as the lowest hash among it (`cut`): a text at or above it is left
// out in future too, also if there is room again once states are merged. Of several values of a key of the metadata the
// one whose JSON is least stays.
#pragma once

#include "src/core/problem.hpp"

#include <cstdint>
#include <map>
#include <memory_resource>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core {

// Different texts, those with the lowest hashes, at most `most` together; each costs `each`, and `bytes` for a byte.
class KeptTexts {
public:
    struct Room {
        std::size_t most;
        std::size_t each;
        std::size_t bytes;
    };
    static constexpr std::uint64_t kNoCut = UINT64_MAX;

    KeptTexts(std::pmr::memory_resource *memory, const Room &room) : kept_(memory), room_(room) {}

    void add(std::string_view text);
    void merge(const KeptTexts &other);
    // Leaves out what has this hash, or a higher hash.
    void cut_at(std::uint64_t hash);

    [[nodiscard]] std::uint64_t cut() const { return cut_; }
    [[nodiscard]] std::size_t count() const { return kept_.size(); }
    // In the order of their bytes.
    [[nodiscard]] std::vector<std::string_view> in_order() const;

private:
    struct Text {
        using allocator_type = std::pmr::polymorphic_allocator<char>;
        Text(std::uint64_t own_hash, std::string_view own_text, const allocator_type &memory)
            : hash(own_hash), text(own_text, memory) {}
        std::uint64_t hash;
        std::pmr::string text;
    };
    struct Seen {
        std::uint64_t hash;
        std::string_view text;
    };
    struct Lower {
        using is_transparent = void;
        static Seen seen(const Text &text) { return {text.hash, text.text}; }
        static Seen seen(const Seen &text) { return text; }
        template <class A, class B>
        bool operator()(const A &a, const B &b) const {
            const Seen x = seen(a), y = seen(b);
            return x.hash != y.hash ? x.hash < y.hash : x.text < y.text;
        }
    };

    void add(std::uint64_t hash, std::string_view text);
    [[nodiscard]] std::size_t cost_of(std::string_view text) const { return room_.each + room_.bytes * text.size(); }

    std::pmr::set<Text, Lower> kept_;
    Room room_;
    std::size_t cost_ = 0;
    std::uint64_t cut_ = kNoCut;
};

class SummaryState {
public:
    static constexpr std::size_t kMaxSampleBytes = 65'536;  // of a value: so much of it is read
    static constexpr std::size_t kMaxSamples = 262'144;     // bytes of all samples, and kSampleCost for each of them
    static constexpr std::size_t kSampleCost = 64;
    static constexpr std::size_t kMaxFacts = 100;
    static constexpr std::size_t kFactsOfValue = 3;
    static constexpr std::size_t kMaxFactCharacters = 200;
    static constexpr std::size_t kMaxMetadataBytes = 65'536;
    static constexpr std::int64_t kMaxCount = 1'000'000'000'000'000;  // counts stay at this number

    struct Counts {
        std::int64_t rows = 0;
        std::int64_t characters = 0;
        std::int64_t shortest = -1;  // -1: there is no value
        std::int64_t longest = 0;
    };

    explicit SummaryState(std::pmr::memory_resource *memory);

    // A value as a row has it. Nothing is done for an empty text.
    void add_value(std::string_view value);
    // A member of the metadata, its value as JSON. False, with the problem, if there is too much.
    [[nodiscard]] bool add_metadata(std::string_view key, std::string_view json, Problem &problem);
    [[nodiscard]] bool merge(const SummaryState &other, Problem &problem);

    // The parts of a state that is read.
    void add_sample(std::string_view text) { samples_.add(sample_of(text)); }
    void add_fact(std::string_view text) { facts_.add(fact_of(text)); }
    void add_counts(const Counts &counts);
    void cut_samples(std::uint64_t hash) { samples_.cut_at(hash); }
    void cut_facts(std::uint64_t hash) { facts_.cut_at(hash); }

    // The instruction of steadytext_agg(); empty: none. False, with the problem, if there is another instruction.
    [[nodiscard]] bool set_prompt(std::string_view prompt, Problem &problem);
    [[nodiscard]] std::string_view prompt() const { return prompt_; }

    [[nodiscard]] const Counts &counts() const { return counts_; }
    [[nodiscard]] const std::pmr::map<std::pmr::string, std::pmr::string, std::less<>> &metadata() const {
        return metadata_;
    }

    // As the JSON that steadytext_summarize_partial() gives. Replaces `out`.
    void write(std::string &out) const;
    // What there is to be summarised: samples, and facts of which no sample speaks, each kind in the order of its
    // bytes.
    [[nodiscard]] std::vector<std::string_view> texts() const;
    // Whether the texts are all that there was.
    [[nodiscard]] bool is_whole() const { return samples_.cut() == KeptTexts::kNoCut; }

private:
    [[nodiscard]] static std::string_view sample_of(std::string_view text);
    [[nodiscard]] static std::string_view fact_of(std::string_view text);

    KeptTexts samples_;
    KeptTexts facts_;
    Counts counts_;
    std::pmr::map<std::pmr::string, std::pmr::string, std::less<>> metadata_;
    std::size_t metadata_bytes_ = 0;
    std::pmr::string prompt_;
};

}  // namespace steadytext::core
