// Makes the row that a JSON object describes, as jsonb_populate_record() does, and names the column whose value
// PostgreSQL refuses.
//
// Called by steadytext_extract. Regime: pg. Input functions and the CHECKs of domains run with the caller's rights, in
// a subtransaction, so that a value that they refuse is a problem and no ERROR. Where there can be no subtransaction
// (see compat.hpp) the ERROR is raised.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/core/problem.hpp"

#include <string_view>

namespace steadytext::pg {

// A column that the object lacks has its value from `base`, a row of the type; if `base` is null, the column is NULL.
// False if a value is no data of its column's type: the problem names the column and the value. Any other error in
// there is raised as it is.
[[nodiscard]] bool make_row(Oid type, HeapTupleHeader base, std::string_view object, Datum &row,
                            core::Problem &problem);

// The composite type that `type` is, perhaps as a domain. Raises if it is not composite.
[[nodiscard]] Oid require_row_type(Oid type);

}  // namespace steadytext::pg
