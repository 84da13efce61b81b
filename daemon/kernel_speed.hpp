// How fast this processor multiplies by weights of a quantisation: what decides how fast a model of it is.
//
// Called by model_report.cpp. Regime: pure.
#pragma once

#include <cstdint>
#include <vector>

#include <ggml.h>

namespace steadytext::daemon {

struct KernelSpeed {
    ggml_type type;
    double prompt = 0;   // seconds of a token among many
    double decoded = 0;  // seconds of a token alone
};

// Measures the quantisations whose blocks fit into rows of `width` numbers, in matrices of about `size` numbers.
[[nodiscard]] std::vector<KernelSpeed> measure_kernels(std::int64_t width, std::int64_t size, int threads);

}  // namespace steadytext::daemon
