// Prepares, keeps and executes: see kept_statement.hpp. Regime: pg.
#include "src/pg/kept_statement.hpp"
#include "src/pg/own_table.hpp"

namespace steadytext::pg {

void KeptStatement::run(int count, const Oid *types, const Datum *values, const char *nulls) {
    if (!OidIsValid(lock_own_table(table)))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table %s does not exist", table)));
    if (plan == nullptr) {
        SPIPlanPtr prepared = SPI_prepare(text, count, const_cast<Oid *>(types));
        if (prepared == nullptr || SPI_keepplan(prepared) != 0)
            elog(ERROR, "could not prepare a statement on %s", table);
        plan = prepared;
    }
    if (SPI_execute_plan(plan, const_cast<Datum *>(values), nulls, false, 0) != expected)
        elog(ERROR, "a statement on %s failed", table);
}

}  // namespace steadytext::pg
