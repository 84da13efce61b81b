// steadytext_validate_endpoint() and steadytext_validate_table_name(): whether an address, or the name of a table,
// is allowed. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/core/endpoint.hpp"
#include "src/core/identifier.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"

extern "C" {
#include "common/keywords.h"
}

namespace {

using namespace steadytext;

// Whether a name without quotes would be read as part of the language.
bool is_reserved(std::string_view part) {
    const int number = ScanKeywordLookup(pg::copy_text(part).data(), &ScanKeywords);
    return number >= 0 && (ScanKeywordCategories[number] == RESERVED_KEYWORD ||
                           ScanKeywordCategories[number] == TYPE_FUNC_NAME_KEYWORD);
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_validate_endpoint) {
    core::Problem ignored;
    PG_RETURN_BOOL(!PG_ARGISNULL(0) && !PG_ARGISNULL(1) &&
                   core::check_host(pg::utf8_text(PG_GETARG_DATUM(0)), ignored) &&
                   core::check_port(PG_GETARG_INT32(1), false, ignored));
}

STEADYTEXT_FUNCTION(steadytext_validate_table_name) {
    if (PG_ARGISNULL(0))
        PG_RETURN_BOOL(false);
    const std::string_view name = pg::utf8_text(PG_GETARG_DATUM(0));
    const std::size_t dot = name.find('.');
    PG_RETURN_BOOL(core::is_table_name(name) && !is_reserved(name.substr(0, dot)) &&
                   (dot == std::string_view::npos || !is_reserved(name.substr(dot + 1))));
}
