// A text generation from beginning to end: check, limits, key, cache, daemon, cache again.
//
// Called by src/functions/generate.cpp. Regime: pg.
#pragma once

#include "src/core/rules.hpp"
#include "src/session/answer_form.hpp"

#include <cstdint>
#include <string_view>

namespace steadytext::session {

inline constexpr std::string_view kDefaultEos = "[EOS]";

struct GenerationRequest {
    core::TextArgument prompt;
    // The prompt's first bytes that other calls share, so that a daemon may compute them once; 0: none are known
    std::size_t prefix_bytes = 0;
    bool prompt_is_checked = false;  // it is made of an argument that was checked
    AnswerForm form;
    bool has_max_tokens = false;
    std::int64_t max_tokens = 0;
    bool has_seed = false;
    std::int64_t seed = 0;
    double temperature = 0;
    core::TextArgument eos_string;
    core::TextArgument model;
    core::TextArgument model_repo;
    core::TextArgument model_filename;
    core::TextArgument size;
    bool use_cache = true;
    bool unsafe_mode = false;
    bool streaming = false;
    bool wants_key = false;  // compute the cache key also where the cache is not asked
};

// Texts live in CurrentMemoryContext.
struct Generation {
    bool is_null = true;
    std::string_view text;
    char cache_key[65] = "";
    std::string_view model;
    std::string_view fingerprint;
    std::string_view daemon;
    int prompt_tokens = -1;  // -1: not told
    int completion_tokens = -1;
    std::string_view reasoning;      // the model's thoughts, if it tells them; never from the cache
    std::string_view finish_reason;  // stop, length, eos, fallback or limited
    bool cached = false;
    bool degraded = false;
    double queue_ms = -1;  // -1: no daemon was asked
    double engine_ms = -1;
    double total_ms = 0;
};

// Raises on bad arguments, on failure if steadytext.on_failure = error, and beyond a rate limit if steadytext.on_limit
// = error.
void generate(const GenerationRequest &request, Generation &generation);

// The same as far as the limits, for a caller with many calls under way (concurrent_calls.hpp). In
// CurrentMemoryContext, as is all memory that the call takes later; the request's texts and `generation` are used until
// its end.
class ModelCall;
[[nodiscard]] ModelCall *begin_generation(const GenerationRequest &request, Generation &generation);

}  // namespace steadytext::session
