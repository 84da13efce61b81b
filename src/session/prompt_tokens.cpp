// Estimates times what was told: see prompt_tokens.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/prompt_tokens.hpp"
#include "shmem/prompt_sizes.hpp"
#include "src/session/limits.hpp"

extern "C" {
#include "miscadmin.h"
}

#include <algorithm>
#include <cmath>

namespace steadytext::session {

namespace {

using shmem::PromptSizes;

PromptSizes::Key key_of(shmem::CallKind kind, std::string_view model) {
    return shmem::prompt_sizes().key(GetUserId(), static_cast<std::uint8_t>(kind), model);
}

}  // namespace

std::int64_t prompt_tokens(shmem::CallKind kind, std::string_view model, std::string_view prompt) {
    const double per_estimated = shmem::prompt_sizes().per_estimated(key_of(kind, model));
    return std::max<std::int64_t>(std::llround(static_cast<double>(estimated_tokens(prompt)) * per_estimated), 1);
}

void note_prompt_tokens(shmem::CallKind kind, std::string_view model, std::string_view prompt, std::int64_t told) {
    shmem::prompt_sizes().add(key_of(kind, model), estimated_tokens(prompt), told);
}

}  // namespace steadytext::session
