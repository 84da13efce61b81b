// key_collisions: how many of ten million different inputs have the cache key of another; seven times, with
// other inputs each.
//
// Used by the cached topic. Inputs come in fives that differ little: in a parameter, in the prefix, in where
// the prompt ends and the parameters begin; the next five in a digit of the prompt. Whole keys of 32 bytes
// are compared. Regime: pure.
#include "src/core/cache_key.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

using namespace steadytext::core;

constexpr std::size_t kInputs = 10'000'000;
constexpr int kRuns = 7;

struct Variant {
    const char *prefix;
    const char *prompt_end;
    const char *params;
};

constexpr Variant kVariants[] = {{"", "", "{\"seed\": 0}"},
                                 {"", "", "{\"seed\": 1}"},
                                 {"generate:", "", "{\"seed\": 0}"},
                                 {"", "|{\"seed\": 0}", "{}"},
                                 {"", "|", "{\"seed\": 0}"}};

Digest key_of(int run, std::size_t input) {
    const Variant &variant = kVariants[input % std::size(kVariants)];
    const std::string prompt =
        "prompt " + std::to_string(run) + "/" + std::to_string(input / std::size(kVariants)) + variant.prompt_end;
    Digest key;
    Problem problem;
    if (!cache_key(variant.prefix, prompt, variant.params, key, problem)) {
        std::fprintf(stderr, "%s\n", problem.message);
        std::exit(1);
    }
    return key;
}

bool is_less(const Digest &a, const Digest &b) { return std::memcmp(a.bytes, b.bytes, sizeof a.bytes) < 0; }

}  // namespace

int main() {
    std::vector<Digest> keys(kInputs);
    for (int run = 0; run < kRuns; run++) {
        for (std::size_t i = 0; i < kInputs; i++)
            keys[i] = key_of(run, i);
        std::sort(keys.begin(), keys.end(), is_less);
        std::size_t collisions = 0;
        for (std::size_t i = 1; i < kInputs; i++)
            collisions += is_less(keys[i - 1], keys[i]) ? 0 : 1;
        std::printf("%zu\n", collisions);
    }
}
