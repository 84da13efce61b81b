// Whose cached answers a call may see: the names of its database and, by default, its role.
//
// Called by src/session. Regime: pg. Names are in the key, because OIDs differ between nodes; but a name may be given again, so rows of
// steadytext_cache and values in shared memory also have the role's OID, and both are compared. A shared cache tells by its speed what
// others have asked; so steadytext.cache_scope is the superuser's to widen.
#pragma once

#include "src/pg/postgres.hpp"

#include <string_view>

namespace steadytext::session {

// "database" or "database/role", valid until the next call. In each name `%` and `/` are written %25 and %2F, as are the bytes of a name
// that is in no known encoding: so two scopes are the same text only if both names are the same.
[[nodiscard]] std::string_view cache_scope();

// The OID that goes with it: that of the role, or InvalidOid if all roles of the database share answers.
[[nodiscard]] Oid scope_role();

// Stands for the unknown model of answers the original left; their scope is the empty one.
inline constexpr std::string_view kLegacyFingerprint = "legacy";

// Marks answers that anybody could have written before the upgrade: they answer nobody.
inline constexpr std::string_view kUntrustedFingerprint = "untrusted";

}  // namespace steadytext::session
