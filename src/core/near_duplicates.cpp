// See near_duplicates.hpp. Regime: pure.
#include "src/core/near_duplicates.hpp"

#include "src/core/prose.hpp"

#include <algorithm>
#include <string>
#include <unordered_set>

namespace steadytext::core {

namespace {

// Beyond 1 by rounding only.
[[nodiscard]] double cosine(std::span<const float> a, std::span<const float> b) noexcept {
    constexpr std::size_t kLanes = 8;
    float sums[kLanes] = {};
    std::size_t i = 0;
    for (; i + kLanes <= a.size(); i += kLanes)
        for (std::size_t lane = 0; lane < kLanes; lane++)
            sums[lane] += a[i + lane] * b[i + lane];
    double sum = 0;
    for (; i < a.size(); i++)
        sum += static_cast<double>(a[i]) * b[i];
    for (const float lane : sums)
        sum += lane;
    return std::min(sum, 1.0);
}

}  // namespace

std::vector<bool> that_differ(std::span<const std::span<const float>> vectors, double threshold, Work &work) {
    std::vector<bool> stays(vectors.size());
    std::vector<std::span<const float>> kept;
    for (std::size_t i = 0; i < vectors.size(); i++) {
        const std::span<const float> vector = vectors[i];
        const bool is_new = vector.empty() || std::none_of(kept.begin(), kept.end(), [&](std::span<const float> other) {
                                return work.spend(vector.size()) && cosine(vector, other) > threshold;
                            });
        stays[i] = is_new;
        if (is_new && !vector.empty())
            kept.push_back(vector);
    }
    return stays;
}

std::vector<bool> that_differ(std::span<const std::string_view> texts) {
    std::vector<bool> stays(texts.size());
    std::unordered_set<std::string> seen;
    for (std::size_t i = 0; i < texts.size(); i++) {
        std::string text(stripped(texts[i]));
        std::transform(text.begin(), text.end(), text.begin(),
                       [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
        stays[i] = seen.insert(std::move(text)).second;
    }
    return stays;
}

}  // namespace steadytext::core
