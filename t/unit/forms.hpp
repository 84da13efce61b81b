// Compiling forms of answers, and texts that they allow.
#pragma once

#include "src/core/constraint/matcher.hpp"
#include "src/core/constraint/regex.hpp"
#include "src/core/constraint/schema.hpp"

#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core::constraint {

struct Compiled {
    Network network;
    Problem problem;
    bool good = false;
};

inline std::unique_ptr<Compiled> regex(std::string_view pattern) {
    auto compiled = std::make_unique<Compiled>();
    compiled->good = compile_regex(pattern, compiled->network, compiled->problem);
    return compiled;
}

inline std::unique_ptr<Compiled> schema(std::string_view text) {
    auto compiled = std::make_unique<Compiled>();
    compiled->good = compile_schema(text, compiled->network, compiled->problem);
    return compiled;
}

inline bool matches(const Compiled &compiled, std::string_view text) { return Matcher(compiled.network).matches(text); }

// A text that a model without sense might write: any byte from which the end can be reached within `budget` bytes, or
// within as many as it takes.
inline std::string wander(const Compiled &compiled, std::mt19937 &random, std::size_t budget) {
    Matcher matcher(compiled.network);
    Matcher::Position at = matcher.start();
    const std::size_t longest = std::max<std::size_t>(budget, matcher.distance(at));
    std::string text;
    while (!matcher.is_complete(at) && !(matcher.accepts(at) && random() % 4 == 0)) {
        std::vector<std::uint8_t> allowed;
        for (int byte = 0; byte < 256; byte++)
            if (const auto next = matcher.step(at, static_cast<std::uint8_t>(byte));
                next != Matcher::kDead && text.size() + 1 + matcher.distance(next) <= longest)
                allowed.push_back(static_cast<std::uint8_t>(byte));
        if (allowed.empty())
            break;
        const std::uint8_t byte = allowed[random() % allowed.size()];
        text += static_cast<char>(byte);
        at = matcher.trim(matcher.step(at, byte));
    }
    EXPECT_TRUE(matcher.accepts(at)) << "stuck after " << text;
    EXPECT_LE(text.size(), longest);
    return text;
}

}  // namespace steadytext::core::constraint
