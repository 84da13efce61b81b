// Estimates times what was told: see prompt_tokens.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/prompt_tokens.hpp"
#include "shmem/prompt_sizes.hpp"
#include "shmem/segment.hpp"
#include "src/core/daemon_list.hpp"
#include "src/session/limits.hpp"

extern "C" {
#include "miscadmin.h"
}

#include <algorithm>
#include <cmath>

namespace steadytext::session {

namespace {

using shmem::PromptSizes;

constexpr std::int64_t kTemplateTokens =
    8192;                                // that a chat template, and what an engine puts before a prompt, may add
constexpr std::int64_t kEndTokens = 16;  // that some count of an answer beyond max_tokens

int believed(int told, std::int64_t most) {
    if (told <= most)
        return told;
    shmem::segment().counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), shmem::Counter::InvalidReplies);
    return -1;
}

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

// A token has a byte at least.
int believed_prompt_tokens(int told, std::size_t bytes) {
    return believed(told, static_cast<std::int64_t>(bytes) + kTemplateTokens);
}

int believed_answer_tokens(int told, std::int64_t max_tokens, std::uint16_t daemon) {
    shmem::DaemonIdentity identity;
    const bool may_reason =
        shmem::segment().daemons->rows[daemon].identity.load(identity) && identity.kind == shmem::DaemonKind::Http;
    return believed(told, max_tokens + (may_reason ? core::kMaxReasoningTokens : 0) + kEndTokens);
}

}  // namespace steadytext::session
