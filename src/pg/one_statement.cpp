// See one_statement.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/one_statement.hpp"

extern "C" {
#include "tcop/tcopprot.h"
}

namespace steadytext::pg {

namespace {

List *analyzed(RawStmt *statement, const char *text) {
#if PG_VERSION_NUM >= 150000
    return pg_analyze_and_rewrite_fixedparams(statement, text, nullptr, 0, nullptr);
#else
    return pg_analyze_and_rewrite(statement, text, nullptr, 0, nullptr);
#endif
}

bool is_of_rows(const Node *statement) {
    switch (nodeTag(statement)) {
    case T_SelectStmt:
    case T_InsertStmt:
    case T_UpdateStmt:
    case T_DeleteStmt:
#if PG_VERSION_NUM >= 150000
    case T_MergeStmt:
#endif
        return true;
    default:
        return false;
    }
}

}  // namespace

Query *one_statement(const char *text) {
    List *statements = pg_parse_query(text);
    if (list_length(statements) != 1 || !is_of_rows(linitial_node(RawStmt, statements)->stmt))
        ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
                        errmsg("query must be a single SELECT, INSERT, UPDATE, DELETE or MERGE")));
    List *queries = analyzed(linitial_node(RawStmt, statements), text);
    if (list_length(queries) != 1 || linitial_node(Query, queries)->commandType == CMD_UTILITY)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("query must be a single statement, also after the rules of its tables")));
    return linitial_node(Query, queries);
}

}  // namespace steadytext::pg
