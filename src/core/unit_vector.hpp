// Vectors of length 1 and of a given number of dimensions. Regime: pure, noexcept.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace steadytext::core {

// Scales to length 1; false if the vector has no direction. A vector that has been scaled stays as it is to the last
// bit: rounding to floats changes its square by 2^-23 at most.
[[nodiscard]] inline bool make_unit(std::span<float> vector) noexcept {
    double square = 0;
    for (const float x : vector)
        square += static_cast<double>(x) * x;
    if (!(square > 0) || !std::isfinite(square))
        return false;
    constexpr double kRounding = 1e-6;
    if (std::abs(square - 1) < kRounding)
        return true;
    const double scale = 1 / std::sqrt(square);
    for (float &x : vector)
        x = static_cast<float>(x * scale);
    return true;
}

// Copies a unit vector into `target`: zeros fill missing dimensions; surplus dimensions are cut, and the rest is scaled
// to length 1. False if the rest has no direction.
[[nodiscard]] inline bool fit_unit(std::span<const float> vector, std::span<float> target) noexcept {
    const std::size_t common = std::min(vector.size(), target.size());
    std::copy_n(vector.begin(), common, target.begin());
    std::fill(target.begin() + static_cast<std::ptrdiff_t>(common), target.end(), 0.0F);
    return vector.size() <= target.size() || make_unit(target);
}

}  // namespace steadytext::core
