// The connection string in steadytext.hub_conninfo: `keyword = value` words, as libpq reads them, of a list of keywords.
//
// Called by the setting's check, in the postmaster and in sessions, which do not load libpq; libpq itself reads it again
// in the hub worker, and judges the values. What has no place in it is not in the list: a password, which whoever may
// read the file or a message would see, and a database, as the worker of each database goes to the database of the same
// name. Regime: pure, noexcept.
#pragma once

#include "src/core/problem.hpp"

#include <string_view>

namespace steadytext::core {

// A refusal shows a keyword at most, never a value.
[[nodiscard]] bool is_conninfo(std::string_view text, Problem &problem) noexcept;

}  // namespace steadytext::core
