// The checks of every parameter of the SQL functions: bounds, texts of the messages, SQLSTATEs.
//
// Called by src/functions before anything else is done with an argument. Regime: pure, noexcept. Messages are those of
// the original, on which its users rely.
#pragma once

#include "src/core/problem.hpp"

#include <cstdint>
#include <string_view>

namespace steadytext::core {

inline constexpr std::int64_t kMaxTokensLimit = 4096;
inline constexpr std::size_t kMaxEosBytes = 256;
inline constexpr std::size_t kMaxModelBytes = 127;
inline constexpr std::size_t kMaxSizeBytes = 32;

// A text argument that may be absent.
struct TextArgument {
    bool is_null = true;
    std::string_view text;

    [[nodiscard]] std::string_view or_else(std::string_view otherwise) const noexcept { return is_null ? otherwise : text; }
};

// White space in the sense of Python's str.strip(), as the original uses it.
[[nodiscard]] bool is_blank(std::string_view text) noexcept;

// `name` as it stands in messages: "Prompt", "Text", "Query".
[[nodiscard]] bool check_prompt(const char *name, const TextArgument &prompt, std::size_t longest, Problem &problem) noexcept;
[[nodiscard]] bool check_max_tokens(std::int64_t max_tokens, Problem &problem) noexcept;
[[nodiscard]] bool check_seed(std::int64_t seed, Problem &problem) noexcept;
[[nodiscard]] bool check_temperature(double temperature, Problem &problem) noexcept;
[[nodiscard]] bool check_eos_string(std::string_view eos, Problem &problem) noexcept;
[[nodiscard]] bool check_size(const TextArgument &size, Problem &problem) noexcept;
// An unknown size is not an error, as in the original: the default model answers, and the caller is warned.
[[nodiscard]] bool is_known_size(std::string_view size) noexcept;
// A model's name, and whether unsafe_mode allows it: a remote one (with a colon) needs it.
[[nodiscard]] bool check_model(const TextArgument &model, bool unsafe_mode, Problem &problem) noexcept;

}  // namespace steadytext::core
