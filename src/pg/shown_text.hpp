// Texts from daemons, for views: text in UTF-8, with a question mark for each character that the database's encoding
// lacks, so that no name from a daemon makes a view fail. Called by src/functions and bgworker/keeper_incidents.cpp.
// Regime: pg.
#pragma once

#include "src/pg/text.hpp"

namespace steadytext::pg {

inline Datum shown_text(std::string_view utf8) { return text_datum(fitted_to_encoding(utf8)); }

// As a C string, for the input functions of types.
inline const char *shown_cstring(std::string_view utf8) { return TextDatumGetCString(shown_text(utf8)); }

}  // namespace steadytext::pg
