// A JSON schema for the rows of a composite type. Regime: pg.
//
// Called by steadytext_extract. JSON that satisfies it is taken by jsonb_populate_record, but for what CHECK constraints of
// domains demand and for types of whose input nothing is known here: these are strings.
#pragma once

#include "src/pg/postgres.hpp"

#include <string_view>

namespace steadytext::pg {

// In CurrentMemoryContext, in UTF-8, members in the order of the columns. Raises if the type is no composite one.
[[nodiscard]] std::string_view row_schema(Oid type);

}  // namespace steadytext::pg
