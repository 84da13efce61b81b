// The checks: see validate.hpp. Regime: pure.
#include "src/core/validate.hpp"

#include "src/core/utf8.hpp"

#include <algorithm>
#include <climits>
#include <cmath>

namespace steadytext::core {

namespace {

bool is_python_space(std::uint32_t code) noexcept {
    return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
           code == 0x205F || code == 0x3000;
}

bool check_text(const char *name, std::string_view text, std::size_t longest, Problem &problem) noexcept {
    if (text.size() > longest) {
        problem.set(sqlstate::kProgramLimitExceeded, "%s is too long", name);
        problem.with_detail("It has %zu bytes; the limit is %zu.", text.size(), longest);
        return false;
    }
    return utf8_is_valid(text) ||
           problem.set(sqlstate::kCharacterNotInRepertoire, "%s is not valid UTF-8", name);
}

}  // namespace

bool is_blank(std::string_view text) noexcept {
    for (std::size_t at = 0; at < text.size();) {
        std::uint32_t code;
        const std::size_t length = utf8_decode(text, at, code);
        if (length == 0 || !is_python_space(code))
            return false;
        at += length;
    }
    return true;
}

bool check_prompt(const char *name, const TextArgument &prompt, std::size_t longest, Problem &problem) noexcept {
    if (prompt.is_null)
        return problem.set(sqlstate::kNullValueNotAllowed, "%s cannot be null", name);
    if (is_blank(prompt.text))
        return problem.set(sqlstate::kInvalidParameterValue, "%s cannot be empty", name);
    if (prompt.text.size() > longest) {
        problem.with_hint("Raise steadytext.max_prompt_bytes.");
    }
    return check_text(name, prompt.text, longest, problem);
}

bool check_max_tokens(std::int64_t max_tokens, Problem &problem) noexcept {
    if (max_tokens < 1)
        return problem.set(sqlstate::kInvalidParameterValue, "max_tokens must be at least 1");
    if (max_tokens > kMaxTokensLimit) {
        problem.set(sqlstate::kInvalidParameterValue, "max_tokens exceeds system limit");
        problem.with_detail("The limit is %lld.", static_cast<long long>(kMaxTokensLimit));
        return false;
    }
    return true;
}

bool check_seed(std::int64_t seed, Problem &problem) noexcept {
    if (seed < 0)
        return problem.set(sqlstate::kInvalidParameterValue, "seed must be non-negative");
    return seed <= INT_MAX || problem.set(sqlstate::kInvalidParameterValue, "seed must be at most %d", INT_MAX);
}

bool check_temperature(double temperature, Problem &problem) noexcept {
    return (std::isfinite(temperature) && temperature >= 0 && temperature <= 2) ||
           problem.set(sqlstate::kInvalidParameterValue, "temperature must be between 0 and 2");
}

bool check_eos_string(std::string_view eos, Problem &problem) noexcept {
    if (eos.empty())
        return problem.set(sqlstate::kInvalidParameterValue, "eos_string cannot be empty");
    return check_text("eos_string", eos, kMaxEosBytes, problem);
}

bool check_size(const TextArgument &size, Problem &problem) noexcept {
    return size.is_null || check_text("size", size.text, kMaxSizeBytes, problem);
}

bool is_known_size(std::string_view size) noexcept {
    constexpr std::string_view kSizes[] = {"mini", "small", "medium", "large"};
    return std::find(std::begin(kSizes), std::end(kSizes), size) != std::end(kSizes);
}

bool check_model(const TextArgument &model, bool unsafe_mode, Problem &problem) noexcept {
    if (model.is_null)
        return true;
    if (!unsafe_mode && model.text.find(':') != std::string_view::npos)
        return problem.set(sqlstate::kInvalidParameterValue,
                           "Remote models (containing ':' ) require unsafe_mode=TRUE");
    if (is_blank(model.text))
        return problem.set(sqlstate::kInvalidParameterValue, "model cannot be empty");
    const bool control = std::any_of(model.text.begin(), model.text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
    if (control)
        return problem.set(sqlstate::kInvalidParameterValue, "model contains a control character");
    return check_text("model", model.text, kMaxModelBytes, problem);
}

}  // namespace steadytext::core
