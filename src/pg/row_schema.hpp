// A JSON schema for the rows of a composite type. Regime: pg.
//
// Called by steadytext_extract. What types, NOT NULL and the CHECKs of domains and columns say is in it (check_demands.hpp); what no schema
// says is left to PostgreSQL, and of types of whose input nothing is known here only that they are strings.
//
// A CHECK never makes a type useless that would be of use without it: where it leaves no value, or takes too much work, the schema has
// nothing of it. That is tried, and the last result kept.
#pragma once

#include "src/pg/postgres.hpp"

#include <string_view>

namespace steadytext::pg {

// In CurrentMemoryContext, in UTF-8, members in the order of the columns; without those that a table fills by itself (identity, generated,
// default). Raises if the type is no composite one.
[[nodiscard]] std::string_view row_schema(Oid type);

}  // namespace steadytext::pg
