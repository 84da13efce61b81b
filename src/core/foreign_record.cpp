// The checks, from what is cheap to the hash of the whole: see foreign_record.hpp. Regime: pure.
#include "src/core/foreign_record.hpp"

#include "src/core/cache_key.hpp"
#include "src/core/canonical_json.hpp"
#include "src/core/json_member.hpp"
#include "src/core/json_text.hpp"
#include "src/core/utf8.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace steadytext::core {

namespace {

constexpr std::size_t kMaxDimensions = 16'000;  // pgvector's
constexpr std::size_t kMaxName = 1024;          // of a model, a fingerprint, an end of text
constexpr std::size_t kMaxWord = 64;
constexpr std::int64_t kCenturyUs = std::int64_t{100} * 366 * 86'400'000'000;

bool refuse(Problem &problem, const char *why) {
    return problem.set(sqlstate::kInvalidParameterValue, "invalid cache record: %s", why);
}

bool is_text(std::string_view text, std::size_t most) {
    return text.size() <= most && text.find('\0') == std::string_view::npos && utf8_is_valid(text);
}

struct Operation {
    std::string_view name;
    std::string_view prefix;  // of its keys
};
constexpr Operation kOperations[] = {{"generate", "generate:"},
                                     {"generate_json", "generate:"},
                                     {"generate_regex", "generate:"},
                                     {"generate_choice", "generate:"},
                                     {"embed", "embed:"},
                                     {"rerank", "rerank:"}};

bool has_finite_floats(std::string_view bytes) {
    if (bytes.size() % sizeof(float) != 0 || bytes.size() / sizeof(float) > kMaxDimensions)
        return false;
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(float)) {
        float value;
        std::memcpy(&value, bytes.data() + at, sizeof value);
        if (!std::isfinite(value))
            return false;
    }
    return true;
}

// The key is that of the prompt and the parameters, and these name the scope.
bool has_own_key(const CacheRecord &record, std::string_view prefix, Problem &problem) {
    std::string padded(record.key_params);
    padded.append(PaddedText::kPadding, '\0');
    std::string canonical;
    if (!canonical_json({std::string_view(padded).substr(0, record.key_params.size())}, canonical, problem))
        return refuse(problem, "its parameters are no JSON");
    if (canonical != record.key_params)
        return refuse(problem, "its parameters are not in the form that keys are made of");
    std::string named;
    append_json_string(named, record.scope, Escape::Ascii);
    if (json_member(canonical, "scope") != named)
        return refuse(problem, "its parameters are of another scope");
    Digest key;
    if (!cache_key(prefix, record.prompt, canonical, key, problem))
        return false;
    return std::memcmp(key.bytes, record.numbers.key.bytes, sizeof key.bytes) == 0 ||
           refuse(problem, "its key is another's");
}

bool check_answer(CacheRecord &record, std::string_view scope, Problem &problem) {
    const auto *operation = std::find_if(std::begin(kOperations), std::end(kOperations),
                                         [&](const Operation &each) { return each.name == record.operation; });
    if (operation == std::end(kOperations))
        return refuse(problem, "unknown operation");
    if (record.scope != scope)
        return refuse(problem, "its scope is not its role's");
    constexpr std::size_t kAnySize = SIZE_MAX;
    if (!is_text(record.prompt, kAnySize) || !is_text(record.text, kAnySize) || !is_text(record.params, kAnySize) ||
        !is_text(record.model, kMaxName) || !is_text(record.fingerprint, kMaxName) || !is_text(record.eos, kMaxName) ||
        !is_text(record.size, kMaxWord) || !is_text(record.finish_reason, kMaxWord))
        return refuse(problem, "a text is too long, or not UTF-8");
    if (record.fingerprint.empty() || record.fingerprint == "legacy" || record.fingerprint == "untrusted")
        return refuse(problem, "it is of no model");
    if ((operation->name == "embed") == record.vector.empty() || !has_finite_floats(record.vector))
        return refuse(problem, "its vector is none");
    return has_own_key(record, operation->prefix, problem);
}

}  // namespace

bool check_foreign(CacheRecord &record, std::string_view scope, std::int64_t now_us, Problem &problem) {
    CacheRecord::Numbers &numbers = record.numbers;
    numbers.at_us = std::clamp<std::int64_t>(numbers.at_us, 1, now_us);
    switch (numbers.kind) {
    case CacheRecord::Kind::Answer:
        if (numbers.expires_us != 0)
            numbers.expires_us = std::clamp(numbers.expires_us, now_us, now_us + kCenturyUs);
        return check_answer(record, scope, problem);
    case CacheRecord::Kind::Hit:
        return numbers.hits > 0 || refuse(problem, "it has no hits");
    default:
        return refuse(problem, "unknown kind");
    }
}

}  // namespace steadytext::core
