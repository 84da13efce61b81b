// Checks a cache record that another node sent: whether it could be a record of a session of this server.
//
// Called by src/functions/hub.cpp. Regime: pure (may throw std::bad_alloc); a single parser per process
// (canonical_json.hpp), so not for threads. A node may be hostile, so nothing is believed: an answer's key is computed
// anew from its prompt and parameters, and these name the scope that the caller allows. So a node cannot take the place
// of another role's answer. Numbers that no table could hold are brought within bounds.
#pragma once

#include "src/core/cache_record.hpp"
#include "src/core/problem.hpp"

namespace steadytext::core {

// The same number on both nodes: they write and read records alike.
inline constexpr std::int32_t kForeignFormat = 1;

// False, with the problem, if no session could have left this record. `scope` is the only one that it may be of.
// `now_us` is since 1970: what happened later happened now. Whether `params` is JSON that PostgreSQL takes is left to
// the caller.
[[nodiscard]] bool check_foreign(CacheRecord &record, std::string_view scope, std::int64_t now_us, Problem &problem);

}  // namespace steadytext::core
