// A JSON schema for the rows of a composite type. Regime: pg.
//
// Called by steadytext_extract. The schema contains the types, NOT NULL, and the CHECKs of domains and columns
// (check_demands.hpp). PostgreSQL itself checks the rules that no schema can express; types with an unknown input
// format are strings.
//
// A CHECK never makes a type unusable that would be usable without it: if a CHECK leaves no value, or takes too much
// work, the schema leaves it out. This is tried, and the last result is kept.
#pragma once

#include "src/pg/postgres.hpp"

#include <string_view>

namespace steadytext::pg {

// In CurrentMemoryContext, in UTF-8, with members in the order of the columns, without columns that the table fills by
// itself (identity, generated, default). Raises if the type is not a composite type.
[[nodiscard]] std::string_view row_schema(Oid type);

}  // namespace steadytext::pg
