// Prepares, keeps and executes: see kept_statement.hpp. Regime: pg.
#include "src/pg/kept_statement.hpp"
#include "src/pg/own_table.hpp"

namespace steadytext::pg {

void KeptStatement::execute(std::span<const Bound> values) {
    constexpr std::size_t kMost = 16;
    Assert(values.size() <= kMost);
    Oid types[kMost];
    Datum data[kMost];
    char nulls[kMost];
    for (std::size_t i = 0; i < values.size(); i++) {
        types[i] = values[i].type;
        data[i] = values[i].value;
        nulls[i] = values[i].is_null ? 'n' : ' ';
    }
    if (!OidIsValid(lock_own_table(table)))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table %s does not exist", table)));
    if (plan == nullptr) {
        SPIPlanPtr prepared = SPI_prepare(text, static_cast<int>(values.size()), types);
        if (prepared == nullptr || SPI_keepplan(prepared) != 0)
            elog(ERROR, "could not prepare a statement on %s", table);
        plan = prepared;
    }
    if (SPI_execute_plan(plan, data, nulls, false, 0) != expected)
        elog(ERROR, "a statement on %s failed", table);
}

}  // namespace steadytext::pg
