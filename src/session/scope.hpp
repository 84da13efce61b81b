// Whose cached answers a call may see: the names of its database and, by default, its role.
//
// Called by src/functions. Regime: pg. Names, because OIDs differ between nodes. A shared cache tells by its speed what others
// have asked; so steadytext.cache_scope is the superuser's to widen.
#pragma once

#include <string_view>

namespace steadytext::session {

// "database" or "database/role", valid until the transaction ends.
[[nodiscard]] std::string_view cache_scope();

// Stands for the unknown model of answers the original left; their scope is the empty one.
inline constexpr std::string_view kLegacyFingerprint = "legacy";

// Marks answers that anybody could have written before the upgrade: they answer nobody.
inline constexpr std::string_view kUntrustedFingerprint = "untrusted";

}  // namespace steadytext::session
