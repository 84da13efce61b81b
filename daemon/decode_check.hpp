// Does this model, on this machine, give a token the same logits alone and in company?
//
// Called once by the generator while it loads; leaves the context's memory empty. Regime: pure.
#pragma once

#include <llama.h>

namespace steadytext::daemon {

// Decodes a token of each of `slots` sequences alone and then in batches of several sizes, and compares all logits bit
// by bit. One sequence is so long that the others' attention is computed over a wider window than they need alone.
[[nodiscard]] bool decode_is_batch_invariant(llama_context *context, int slots);

}  // namespace steadytext::daemon
