// Does this model, on this machine, give a token the same logits alone and in company, and a prompt the same cache at once and in pieces?
//
// Called once by the generator while it loads; leaves the context's memory empty. Regime: pure.
#pragma once

#include <llama.h>

namespace steadytext::daemon {

struct Invariance {
    bool batch = false;   // a token in a batch has the bits it has alone
    bool pieces = false;  // so has a prompt in pieces; looked at only if a token has
};

// Decodes a token of each of `slots` sequences alone and then in batches of several sizes, and compares all logits bit
// by bit. One sequence is so long that the others' attention is computed over a wider window than they need alone. Parts of
// that one are then computed anew in pieces of several sizes, with narrower windows, and what the cache holds is compared.
// The pieces are of eight tokens at least (PromptTurns::kLeast): for a single row the kernels may add up otherwise.
[[nodiscard]] Invariance check_invariance(llama_context *context, int slots);

}  // namespace steadytext::daemon
