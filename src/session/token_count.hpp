// The number of a text's tokens, told by a daemon.
//
// Called by src/functions/count_tokens.cpp. Regime: pg.
#pragma once

#include "src/core/rules.hpp"

#include <cstdint>
#include <optional>

namespace steadytext::session {

// Nothing if no daemon can count, or none could be reached and steadytext.on_failure is not error.
[[nodiscard]] std::optional<std::int32_t> count_tokens(const core::TextArgument &text, const core::TextArgument &model);

}  // namespace steadytext::session
