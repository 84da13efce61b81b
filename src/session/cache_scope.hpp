// The scope says which cached answers a call may see. It has the names of the call's database and, by default, its
// role.
//
// Called by src/session. Regime: pg. Names are in the key, because OIDs differ between nodes. But a name may be given
// again, so rows of steadytext_cache and values in shared memory also have the role's OID, and both are compared. The
// speed of a shared cache tells what others have asked, so only a superuser may widen steadytext.cache_scope.
#pragma once

#include "src/pg/postgres.hpp"

#include <string_view>

namespace steadytext::session {

// "database" or "database/role", valid until the next call. In each name `%` and `/` are written %25 and %2F, as are
// the bytes of a name that is in no known encoding: so two scopes are the same text only if both names are the same.
[[nodiscard]] std::string_view cache_scope();

// The scope of that role's answers, or with InvalidOid of answers for all roles, in CurrentMemoryContext; empty if there
// is no such role.
[[nodiscard]] std::string_view scope_of(Oid role);

// The role that a scope names, InvalidOid where it is of all roles; false if there is no such role.
[[nodiscard]] bool role_of_scope(std::string_view scope, Oid &role);

// The OID that belongs to the scope: the role's OID, or InvalidOid if all roles of the database share answers.
[[nodiscard]] Oid scope_role();

// Stands for the unknown model of answers that the original left; their scope is empty.
inline constexpr std::string_view kLegacyFingerprint = "legacy";

// Marks answers that anybody could have written before the upgrade: they answer nobody.
inline constexpr std::string_view kUntrustedFingerprint = "untrusted";

}  // namespace steadytext::session
