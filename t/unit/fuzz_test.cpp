// Every fuzz target on its seeds and on seeds changed at random: what make fuzz does for minutes, for a moment, in CI.
//
// FUZZ_ROUNDS raises the number of changed seeds for each (default 200); FUZZ_SEED the random numbers.
#include "t/fuzz/targets.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace {

using steadytext::fuzz::Target;
using steadytext::fuzz::targets;

constexpr std::string_view kTokens[] = {"\"",
                                        "\\",
                                        "{",
                                        "}",
                                        "[",
                                        "]",
                                        ":",
                                        ",",
                                        "\n",
                                        "\0",
                                        "\\u0000",
                                        "\xFF",
                                        "\xC3\xA9",
                                        "\xF0\x9F\x98\x80",
                                        "e\xCC\x81",
                                        "0",
                                        "-1",
                                        "1e999",
                                        "99999999999999999999",
                                        "(",
                                        ")",
                                        "*",
                                        "{0,9}",
                                        "|",
                                        "^",
                                        "$",
                                        "[^",
                                        "tcp://",
                                        "::1",
                                        "0x7f",
                                        "%",
                                        "null",
                                        "true",
                                        "weight=",
                                        "\"type\"",
                                        "\"$ref\"",
                                        "\"enum\"",
                                        "\"pattern\"",
                                        "\"minimum\"",
                                        "data: ",
                                        "\r",
                                        "\"choices\""};

long number_of(const char *name, long otherwise) {
    const char *value = std::getenv(name);
    return value != nullptr ? std::atol(value) : otherwise;
}

std::vector<std::string> seeds_of(const Target &target) {
    std::vector<std::string> seeds = {""};
    for (const auto &file : std::filesystem::directory_iterator(std::string("t/fuzz/corpus/") + target.name)) {
        std::ifstream in(file.path(), std::ios::binary);
        seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    }
    return seeds;
}

std::string changed(std::string bytes, const std::vector<std::string> &seeds, std::mt19937 &random) {
    const auto below = [&](std::size_t most) { return random() % std::max<std::size_t>(most, 1); };
    for (std::size_t times = 1 + below(4); times > 0; times--) {
        const std::size_t at = below(bytes.size() + 1);
        switch (below(6)) {
        case 0:
            bytes.insert(at, kTokens[below(std::size(kTokens))]);
            break;
        case 1:
            bytes.erase(at, 1 + below(8));
            break;
        case 2:
            if (at < bytes.size())
                bytes[at] = static_cast<char>(random());
            break;
        case 3:
            bytes.insert(at, bytes.substr(below(bytes.size() + 1), below(32)));
            break;
        case 4:
            bytes = bytes.substr(0, at) + seeds[below(seeds.size())].substr(0, 4096);
            break;
        default:
            if (at < bytes.size())
                bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        }
    }
    return bytes.substr(0, 8192);
}

TEST(Fuzz, EveryTargetHasSeedsAndKeepsItsPromises) {
    const long rounds = number_of("FUZZ_ROUNDS", 200);
    std::mt19937 random(static_cast<unsigned>(number_of("FUZZ_SEED", 1)));
    const char *only = std::getenv("FUZZ_TARGET");
    for (const Target &target : targets()) {
        if (only != nullptr && std::string_view(only) != target.name)
            continue;
        const std::vector<std::string> seeds = seeds_of(target);
        ASSERT_GT(seeds.size(), 1U) << target.name;
        for (const std::string &seed : seeds)
            target.run(seed);
        for (long i = 0; i < rounds; i++)
            target.run(changed(seeds[random() % seeds.size()], seeds, random));
    }
}

}  // namespace
