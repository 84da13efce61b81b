// The row that a JSON object says, as jsonb_populate_record() makes it, and which column PostgreSQL refuses if it does.
//
// Called by steadytext_extract. Regime: pg. Input functions and the CHECKs of domains run with the rights of who calls, in a
// subtransaction, so that what they refuse is a problem and no ERROR. Where there can be none (see compat.hpp) it is raised.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/core/problem.hpp"

#include <string_view>

namespace steadytext::pg {

// Columns of which the object says nothing are those of `base`, a row of the type; null: they are NULL. False, with the problem naming the
// column and its value, if what it says is no data of their types. What else goes wrong in there is raised as it is.
[[nodiscard]] bool make_row(Oid type, HeapTupleHeader base, std::string_view object, Datum &row, core::Problem &problem);

// The composite type that it is, perhaps as a domain; raises if it is none.
[[nodiscard]] Oid require_row_type(Oid type);

}  // namespace steadytext::pg
