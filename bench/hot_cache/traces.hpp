// Made-up request traces: sequences of object numbers, and the size of each object.
//
// Used by simulate.cpp. Deterministic: same seed, same trace on every machine (no std:: distributions).
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace steadytext::bench {

// SplitMix64 (Steele, Lea, Flood, 2014).
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9E37'79B9'7F4A'7C15U);
        z = (z ^ z >> 30) * 0xBF58'476D'1CE4'E5B9U;
        z = (z ^ z >> 27) * 0x94D0'49BB'1331'11EBU;
        return z ^ z >> 31;
    }
    double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
    std::uint64_t below(std::uint64_t range) { return static_cast<std::uint64_t>(unit() * static_cast<double>(range)); }

private:
    std::uint64_t state_;
};

// Ranks 0..count-1 with probability proportional to 1/(rank+1)^skew, by a table of the distribution.
class Zipf {
public:
    Zipf(std::size_t count, double skew) : sums_(count) {
        double sum = 0;
        for (std::size_t i = 0; i < count; i++)
            sums_[i] = sum += std::pow(static_cast<double>(i + 1), -skew);
    }
    std::uint64_t draw(Random &random) const {
        const double wanted = random.unit() * sums_.back();
        std::size_t low = 0, high = sums_.size() - 1;
        while (low < high) {
            const std::size_t middle = (low + high) / 2;
            if (sums_[middle] < wanted)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    }

private:
    std::vector<double> sums_;
};

struct Trace {
    std::string name;
    std::vector<std::uint64_t> requests;
    bool varied_sizes;

    // Bytes of an object's value: one size for all, or long-tailed around a kilobyte, from 10 bytes to 64 kB.
    [[nodiscard]] std::size_t size_of(std::uint64_t object) const {
        if (!varied_sizes)
            return 1024;
        Random random(object * 31 + 7);
        const double normal = std::sqrt(-2 * std::log(1 - random.unit())) * std::cos(6.283185307179586 * random.unit());
        const double bytes = 700 * std::exp(1.2 * normal);
        return static_cast<std::size_t>(bytes < 10 ? 10 : bytes > 65536 ? 65536 : bytes);
    }
};

inline constexpr std::uint64_t kScanObjects = std::uint64_t{1} << 40;  // numbers of objects asked for once

inline std::vector<std::uint64_t> zipf(std::size_t length, std::size_t objects, double skew, std::uint64_t seed) {
    const Zipf distribution(objects, skew);
    Random random(seed);
    std::vector<std::uint64_t> requests(length);
    for (auto &request : requests)
        request = distribution.draw(random);
    return requests;
}

// Every so often, a scan over objects that are never asked for again.
inline std::vector<std::uint64_t> with_scans(std::vector<std::uint64_t> base, std::size_t every, std::size_t scan) {
    std::vector<std::uint64_t> requests;
    std::uint64_t next = kScanObjects;
    for (std::size_t i = 0; i < base.size(); i++) {
        requests.push_back(base[i]);
        if ((i + 1) % every == 0)
            for (std::size_t j = 0; j < scan; j++)
                requests.push_back(next++);
    }
    return requests;
}

inline std::vector<std::uint64_t> loop(std::size_t length, std::size_t objects) {
    std::vector<std::uint64_t> requests(length);
    for (std::size_t i = 0; i < length; i++)
        requests[i] = i % objects;
    return requests;
}

// A Zipf whose favourites change: the ranks are dealt anew, bit by bit.
inline std::vector<std::uint64_t> drifting(std::size_t length, std::size_t objects, double skew, std::size_t period,
                                           std::uint64_t seed) {
    const Zipf distribution(objects, skew);
    Random random(seed);
    std::vector<std::uint64_t> requests(length);
    for (std::size_t i = 0; i < length; i++)
        requests[i] = distribution.draw(random) + i / period * (objects / 100);
    return requests;
}

// What was asked for lately is asked for again: reuse distances of a long tail (LRU's home ground).
inline std::vector<std::uint64_t> recent(std::size_t length, std::size_t reach, double skew, double fresh,
                                         std::uint64_t seed) {
    const Zipf distance(reach, skew);
    Random random(seed);
    std::vector<std::uint64_t> requests(length);
    std::uint64_t next = 0;
    for (std::size_t i = 0; i < length; i++) {
        const std::uint64_t back = distance.draw(random) + 1;
        requests[i] = random.unit() < fresh || back > i ? next++ : requests[i - back];
    }
    return requests;
}

}  // namespace steadytext::bench
