// See summary_state.hpp. Regime: pure.
#include "src/core/summary_state.hpp"

#include "src/core/json_text.hpp"
#include "src/core/prose.hpp"
#include "src/core/utf8.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <iterator>

namespace steadytext::core {

namespace {

void append_texts(std::string &json, const KeptTexts &texts) {
    json += '[';
    bool is_first = true;
    for (const std::string_view text : texts.in_order()) {
        json += is_first ? "" : ", ";
        is_first = false;
        append_json_string(json, text, Escape::Utf8);
    }
    json += ']';
}

std::string cut_text(std::uint64_t cut) {
    char hex[17];
    std::snprintf(hex, sizeof hex, "%016" PRIx64, cut);
    return hex;
}

std::int64_t sum(std::int64_t a, std::int64_t b) { return std::min(a + b, SummaryState::kMaxCount); }

}  // namespace

// ---- kept texts -----------------------------------------------------------------------------------------------------

void KeptTexts::add(std::string_view text) { add(hash_of(text), text); }

void KeptTexts::add(std::uint64_t hash, std::string_view text) {
    if (hash >= cut_)
        return;
    const Seen seen{hash, text};
    const auto place = kept_.lower_bound(seen);
    if (place != kept_.end() && !Lower()(seen, *place))
        return;
    kept_.emplace_hint(place, hash, text);
    cost_ += cost_of(text);
    while (cost_ > room_.most)
        cut_at(std::prev(kept_.end())->hash);
}

void KeptTexts::cut_at(std::uint64_t hash) {
    if (hash >= cut_)
        return;
    cut_ = hash;
    const auto first = kept_.lower_bound(Seen{hash, {}});
    for (auto text = first; text != kept_.end(); ++text)
        cost_ -= cost_of(text->text);
    kept_.erase(first, kept_.end());
}

void KeptTexts::merge(const KeptTexts &other) {
    cut_at(other.cut_);
    for (const Text &text : other.kept_)
        add(text.hash, text.text);
}

std::vector<std::string_view> KeptTexts::in_order() const {
    std::vector<std::string_view> texts;
    texts.reserve(kept_.size());
    for (const Text &text : kept_)
        texts.push_back(text.text);
    std::sort(texts.begin(), texts.end());
    return texts;
}

// ---- the state ------------------------------------------------------------------------------------------------------

SummaryState::SummaryState(std::pmr::memory_resource *memory)
    : samples_(memory, {kMaxSamples, kSampleCost, 1}), facts_(memory, {kMaxFacts, 1, 0}), metadata_(memory),
      prompt_(memory) {}

std::string_view SummaryState::sample_of(std::string_view text) { return utf8_prefix(text, kMaxSampleBytes); }

std::string_view SummaryState::fact_of(std::string_view text) { return first_characters(text, kMaxFactCharacters); }

void SummaryState::add_value(std::string_view value) {
    if (value.empty())
        return;
    const auto characters = static_cast<std::int64_t>(count_characters(value));
    add_counts({1, characters, characters, characters});
    const std::string_view sample = stripped(sample_of(value));
    if (sample.empty())
        return;
    samples_.add(sample);
    std::size_t count = 0;
    each_sentence(sample, [&](std::string_view sentence) {
        facts_.add(fact_of(sentence));
        return ++count < kFactsOfValue;
    });
}

void SummaryState::add_counts(const Counts &counts) {
    counts_.rows = sum(counts_.rows, counts.rows);
    counts_.characters = sum(counts_.characters, counts.characters);
    if (counts.shortest >= 0)
        counts_.shortest = counts_.shortest < 0 ? counts.shortest : std::min(counts_.shortest, counts.shortest);
    counts_.longest = std::max(counts_.longest, counts.longest);
}

bool SummaryState::add_metadata(std::string_view key, std::string_view json, Problem &problem) {
    const auto found = metadata_.find(key);
    if (found != metadata_.end() && std::string_view(found->second) <= json)
        return true;
    const std::size_t was = found == metadata_.end() ? 0 : found->second.size();
    const std::size_t is = metadata_bytes_ - was + json.size() + (found == metadata_.end() ? key.size() : 0);
    if (is > kMaxMetadataBytes) {
        problem.set(sqlstate::kProgramLimitExceeded, "metadata of a summary is too long");
        problem.with_detail("Its keys and values have %zu bytes; the limit is %zu.", is, kMaxMetadataBytes);
        return false;
    }
    if (found == metadata_.end())
        metadata_.emplace(key, json);
    else
        found->second.assign(json);
    metadata_bytes_ = is;
    return true;
}

bool SummaryState::set_prompt(std::string_view prompt, Problem &problem) {
    if (prompt_.empty())
        prompt_.assign(prompt);
    if (prompt.empty() || prompt_ == prompt)
        return true;
    problem.set(sqlstate::kInvalidParameterValue, "prompt of steadytext_agg must be the same in all rows of a group");
    problem.with_hint("GROUP BY the prompt, or call the aggregate once for each prompt.");
    return false;
}

bool SummaryState::merge(const SummaryState &other, Problem &problem) {
    samples_.merge(other.samples_);
    facts_.merge(other.facts_);
    add_counts(other.counts_);
    for (const auto &[key, json] : other.metadata_)
        if (!add_metadata(key, json, problem))
            return false;
    return set_prompt(other.prompt_, problem);
}

void SummaryState::write(std::string &out) const {
    out.clear();
    JsonObject json(out, Escape::Utf8);
    std::string part;
    if (samples_.cut() != KeptTexts::kNoCut || facts_.cut() != KeptTexts::kNoCut) {
        JsonObject cut(part, Escape::Utf8);
        if (facts_.cut() != KeptTexts::kNoCut)
            cut.add("facts", cut_text(facts_.cut()));
        if (samples_.cut() != KeptTexts::kNoCut)
            cut.add("samples", cut_text(samples_.cut()));
        cut.close();
        json.add_json("cut", part);
    }
    part.clear();
    append_texts(part, facts_);
    json.add_json("facts", part);
    part = "{";
    for (const auto &[key, value] : metadata_) {
        part += part.size() > 1 ? ", " : "";
        append_json_string(part, key, Escape::Utf8);
        part.append(": ").append(value);
    }
    json.add_json("metadata", part + "}");
    if (!prompt_.empty())
        json.add("prompt", std::string_view(prompt_));
    part.clear();
    append_texts(part, samples_);
    json.add_json("samples", part);
    part.clear();
    JsonObject stats(part, Escape::Utf8);
    stats.add("row_count", counts_.rows);
    stats.add("total_chars", counts_.characters);
    if (counts_.shortest < 0)
        stats.add_json("min_length", "null");
    else
        stats.add("min_length", counts_.shortest);
    stats.add("max_length", counts_.longest);
    stats.close();
    json.add_json("stats", part);
    json.close();
}

std::vector<std::string_view> SummaryState::texts() const {
    std::vector<std::string_view> texts = samples_.in_order();
    std::set<std::string_view> told;
    for (const std::string_view sample : texts) {
        std::size_t count = 0;
        told.insert(sample);
        each_sentence(sample, [&](std::string_view sentence) {
            told.insert(fact_of(sentence));
            return ++count < kFactsOfValue;
        });
    }
    for (const std::string_view fact : facts_.in_order())
        if (!told.contains(fact))
            texts.push_back(fact);
    return texts;
}

}  // namespace steadytext::core
