// key_collisions: how many of ten million different inputs have the same cache key; seven times, with other inputs each.
//
// Used by the cached topic. Inputs differ in one place only: a digit of the prompt, a parameter, or where one ends and the
// other begins. Whole keys of 32 bytes are compared. Regime: pure.
#include "src/core/cache_key.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

int main() {
    using namespace steadytext::core;
    constexpr std::size_t kInputs = 10'000'000;
    constexpr int kRuns = 7;
    std::vector<Digest> keys(kInputs);
    for (int run = 0; run < kRuns; run++) {
        for (std::size_t i = 0; i < kInputs; i++) {
            const std::string prompt = "prompt " + std::to_string(run) + "/" + std::to_string(i / 4);
            const std::string json = "{\"seed\": " + std::to_string(i % 4 % 3) + "}";
            Problem problem;
            if (!cache_key(i % 4 == 3 ? "generate:" : "", prompt, json, keys[i], problem))
                return 1;
        }
        std::sort(keys.begin(), keys.end(), [](const Digest &a, const Digest &b) { return std::memcmp(&a, &b, sizeof a) < 0; });
        const auto equal = [](const Digest &a, const Digest &b) { return std::memcmp(&a, &b, sizeof a) == 0; };
        std::size_t collisions = 0;
        for (std::size_t i = 1; i < kInputs; i++)
            collisions += equal(keys[i - 1], keys[i]);
        std::printf("%zu\n", collisions);
    }
    return 0;
}
