// See one_statement.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/one_statement.hpp"

namespace steadytext::pg {

namespace {

bool is_of_rows(const Node *statement) {
    switch (nodeTag(statement)) {
    case T_SelectStmt:
    case T_InsertStmt:
    case T_UpdateStmt:
    case T_DeleteStmt:
        return true;
    default:
        return is_merge(statement);
    }
}

// An error's place is in this text, not in the statement that hands it over.
void point_into(void *text) {
    const int place = geterrposition();
    if (place <= 0)
        return;
    errposition(0);
    internalerrposition(place);
    internalerrquery(static_cast<const char *>(text));
}

}  // namespace

Query *one_statement(const char *text) {
    ErrorContextCallback context{error_context_stack, point_into, const_cast<char *>(text)};
    error_context_stack = &context;
    List *statements = pg_parse_query(text);
    if (list_length(statements) != 1 || !is_of_rows(linitial_node(RawStmt, statements)->stmt))
        ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
                        errmsg("query must be a single SELECT, INSERT, UPDATE, DELETE or MERGE")));
    List *queries = analyzed(linitial_node(RawStmt, statements), text);
    if (list_length(queries) != 1 || linitial_node(Query, queries)->commandType == CMD_UTILITY)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("query must be a single statement, also after the rules of its tables")));
    error_context_stack = context.previous;
    return linitial_node(Query, queries);
}

}  // namespace steadytext::pg
