// How the formats end a group: see explained.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/explained.hpp"

namespace steadytext::pg {

namespace {

// How ExplainCloseGroup() has just ended the statement's group.
const char *end_of_group(const ExplainState &state) {
    switch (state.format) {
    case EXPLAIN_FORMAT_JSON:
        return psprintf("\n%*s}", 2 * state.indent, "");
    case EXPLAIN_FORMAT_XML:
        return psprintf("%*s</Query>\n", 2 * state.indent, "");
    default:
        return "";
    }
}

}  // namespace

bool reopen_explained(ExplainState *state) {
    const char *end = end_of_group(*state);
    const auto length = static_cast<int>(strlen(end));
    StringInfo text = state->str;
    if (text->len < length || memcmp(text->data + text->len - length, end, static_cast<std::size_t>(length)) != 0)
        return false;
    text->len -= length;
    text->data[text->len] = '\0';
    state->indent++;
    if (state->format != EXPLAIN_FORMAT_XML)
        state->grouping_stack = lcons_int(1, state->grouping_stack);  // it has members
    return true;
}

void close_explained(ExplainState *state) { ExplainCloseGroup("Query", nullptr, true, state); }

}  // namespace steadytext::pg
