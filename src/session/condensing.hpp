// One answer about more texts than a request has room for: about parts of them first, then about the answers.
//
//   texts ──▶ parts of kRoom bytes ──▶ an answer about each ──▶ parts ──▶ … ──▶ one part ──▶ the answer
//
// Called by summaries.cpp and src/functions/facts.cpp. Regime: pg. The parts do not depend on what is known of the
// model, so the same texts are asked about in the same requests and are found in the cache, also while no daemon
// answers. Only where the model says that a request is beyond its window are all parts made half as large, down to
// kLeastRoom. An answer about a part has a quarter of a request at most, so each round has a quarter of the parts of
// the round before it; the first has kMaxParts at most.
#pragma once

#include "src/core/rules.hpp"
#include "src/session/questions.hpp"

#include <span>
#include <string_view>

namespace steadytext::session {

struct Condensing {
    // With kRoom bytes and the instruction a request fits into a window of 2048 tokens if there are 2.5 bytes to a
    // token.
    static constexpr std::size_t kRoom = 4096;
    static constexpr std::size_t kLeastRoom = 256;
    static constexpr std::size_t kMaxParts = 128;

    std::span<const std::string_view> texts{};
    // What is asked: about all texts in one request, about a part of them, about the answers to parts.
    std::string_view whole{};
    std::string_view part{};
    std::string_view join{};
    core::TextArgument model{};
    bool unsafe_mode = false;
    int most_facts = 0;  // if positive, an answer is a list of one to so many facts, as the JSON {"facts": [...]}
};

// `answer` is in CurrentMemoryContext. Without texts it is empty. Raises as a call does.
[[nodiscard]] Replies condense(const Condensing &task, std::string_view &answer);

// The facts that such an answer lists, without blank ones; each once. In CurrentMemoryContext.
[[nodiscard]] std::span<const std::string_view> listed_facts(std::string_view answer);

}  // namespace steadytext::session
