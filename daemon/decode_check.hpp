// Checks the loaded model on this machine: does a token have the same logits alone and in a batch, and a prompt the
// same cache in a whole and in pieces, and does it go on alike from a prefix that was kept?
//
// Called once by the generator while it loads; leaves the context's memory empty. Regime: pure.
#pragma once

#include <llama.h>

#include "daemon/messages.hpp"

namespace steadytext::daemon {

// Decodes a token of each of `slots` sequences alone and then in batches of several sizes, and compares all logits bit
// by bit. The last sequence is so long that the attention of the others is computed over a wider window than they need
// alone. Then parts of the last sequence are computed anew in pieces of several sizes, with narrower windows, and the
// cache is compared. The pieces have at least eight tokens (PromptTurns::kLeast): for a single row the kernels may add
// in another order.
[[nodiscard]] Invariance check_invariance(llama_context *context, int slots);

}  // namespace steadytext::daemon
