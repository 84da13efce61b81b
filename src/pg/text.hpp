// Text in and out of SQL functions; inside, text is always UTF-8. Regime: pg.
//
// Called by src/functions, src/session, src/queue and bgworker. In a database with another encoding PostgreSQL converts
// at this boundary, so keys, limits and the texts sent to daemons are the same everywhere.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/core/problem.hpp"
#include "src/core/rules.hpp"
#include "src/core/utf8.hpp"

extern "C" {
#include "mb/pg_wchar.h"
}

namespace steadytext::pg {

// Called for text that is refused because it is not UTF-8. Only a database with encoding SQL_ASCII can hold such text;
// in other databases PostgreSQL keeps it out. Set by _PG_init.
inline void (*bad_encoding_seen)(std::string_view text) = nullptr;

// The bytes of a text value, detoasted and in UTF-8; valid in CurrentMemoryContext.
inline std::string_view utf8_text(Datum value) {
    text *packed = DatumGetTextPP(value);
    const char *data = VARDATA_ANY(packed);
    const int size = VARSIZE_ANY_EXHDR(packed);
    if (GetDatabaseEncoding() == PG_UTF8)
        return {data, static_cast<std::size_t>(size)};
    const std::string_view bytes{data, static_cast<std::size_t>(size)};
    if (GetDatabaseEncoding() == PG_SQL_ASCII && bad_encoding_seen != nullptr && !core::utf8_is_valid(bytes))
        bad_encoding_seen(bytes);
    const char *converted = pg_server_to_any(data, size, PG_UTF8);
    return {converted, converted == data ? static_cast<std::size_t>(size) : strlen(converted)};
}

inline core::TextArgument text_argument(FunctionCallInfo fcinfo, int number) {
    core::TextArgument argument;
    argument.is_null = PG_ARGISNULL(number);
    if (!argument.is_null)
        argument.text = utf8_text(PG_GETARG_DATUM(number));
    return argument;
}

// Whether all characters of a UTF-8 text are in the database's encoding, so that text_datum() takes it.
[[nodiscard]] bool fits_encoding(std::string_view utf8);
// As fits_encoding(), with the reason in `problem`: a bad answer from a daemon fails its row, not its statement.
[[nodiscard]] bool check_encoding(std::string_view utf8, core::Problem &problem);
// The same text for display, with a question mark for each character that does not fit, and for bytes that are not
// UTF-8.
[[nodiscard]] std::string_view fitted_to_encoding(std::string_view utf8);

// The name of a role or database in UTF-8, if it is valid in this database's encoding; else unchanged. Such names have
// no known encoding.
[[nodiscard]] std::string_view utf8_name(const char *name);
// The reverse; null if no name in this database's encoding equals it.
[[nodiscard]] const char *name_of_utf8(std::string_view utf8);

// A text value from UTF-8; PostgreSQL raises an error for characters that the database's encoding lacks.
inline Datum text_datum(std::string_view utf8) {
    const int size = static_cast<int>(utf8.size());
    if (GetDatabaseEncoding() == PG_UTF8)
        return PointerGetDatum(cstring_to_text_with_len(utf8.data(), size));
    const char *converted = pg_any_to_server(utf8.data(), size, PG_UTF8);
    return converted == utf8.data() ? PointerGetDatum(cstring_to_text_with_len(converted, size))
                                    : CStringGetTextDatum(converted);
}

// A copy in CurrentMemoryContext, for texts whose owner is about to be freed.
inline std::string_view copy_text(std::string_view text) {
    char *copy = static_cast<char *>(palloc_extended(text.size() + 1, MCXT_ALLOC_HUGE));
    text.copy(copy, text.size());
    copy[text.size()] = '\0';
    return {copy, text.size()};
}

}  // namespace steadytext::pg
