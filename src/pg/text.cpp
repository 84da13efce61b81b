// Converts text to and from the database's encoding, without an error for a character that does not fit: see
// text.hpp. Regime: pg.
#include "src/pg/text.hpp"

extern "C" {
#include "catalog/namespace.h"
}

#include <algorithm>

namespace steadytext::pg {

namespace {

bool takes_any_utf8() { return GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII; }

// Converts the longest beginning of `text` that can be converted; returns the number of its bytes. `converted`
// is null-terminated.
std::size_t convert(std::string_view text, int from, int to, const char *&converted) {
    converted = "";
    const Oid conversion = FindDefaultConversionProc(from, to);
    if (!OidIsValid(conversion) || text.empty())
        return 0;
    const Size room = text.size() * MAX_CONVERSION_GROWTH + 1;
    auto *target = static_cast<unsigned char *>(palloc_extended(room, MCXT_ALLOC_HUGE));
    auto *source = reinterpret_cast<unsigned char *>(const_cast<char *>(text.data()));
    const int done = pg_do_encoding_conversion_buf(conversion, from, to, source, static_cast<int>(text.size()), target,
                                                   static_cast<int>(std::min<Size>(room, INT_MAX)), true);
    converted = reinterpret_cast<const char *>(target);
    return static_cast<std::size_t>(done);
}

bool is_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char byte) { return (byte & 0x80) == 0; });
}

// A text that claims to be UTF-8 may be a path or a cut text: then not even a database with encoding UTF8 may
// store it.
bool can_be_shown(std::string_view utf8) { return takes_any_utf8() ? core::utf8_is_valid(utf8) : fits_encoding(utf8); }

}  // namespace

bool fits_encoding(std::string_view utf8) {
    if (takes_any_utf8() || is_ascii(utf8))
        return true;
    const char *converted;
    return convert(utf8, PG_UTF8, GetDatabaseEncoding(), converted) == utf8.size();
}

bool check_encoding(std::string_view utf8, core::Problem &problem) {
    if (fits_encoding(utf8))
        return true;
    problem.set(core::sqlstate::kUntranslatableCharacter,
                "the answer has characters that the encoding of this database, %s, lacks", GetDatabaseEncodingName());
    problem.with_hint("A database of encoding UTF8 takes every answer.");
    return false;
}

std::string_view fitted_to_encoding(std::string_view utf8) {
    if (can_be_shown(utf8))
        return utf8;
    char *fitted = static_cast<char *>(palloc_extended(utf8.size() + 1, MCXT_ALLOC_HUGE));
    std::size_t size = 0;
    for (std::size_t at = 0; at < utf8.size();) {
        std::size_t next = at + 1;
        while (next < utf8.size() && (utf8[next] & 0xC0) == 0x80)
            next++;
        const std::string_view character = utf8.substr(at, next - at);
        if (can_be_shown(character)) {
            character.copy(fitted + size, character.size());
            size += character.size();
        } else {
            fitted[size++] = '?';
        }
        at = next;
    }
    return {fitted, size};
}

std::string_view utf8_name(const char *name) {
    const std::string_view own = name;
    if (takes_any_utf8() || is_ascii(own))
        return own;
    const char *converted;
    return convert(own, GetDatabaseEncoding(), PG_UTF8, converted) == own.size() ? std::string_view(converted) : own;
}

const char *name_of_utf8(std::string_view utf8) {
    if (takes_any_utf8() || is_ascii(utf8) || !core::utf8_is_valid(utf8))
        return pnstrdup(utf8.data(), utf8.size());
    const char *converted;
    return convert(utf8, PG_UTF8, GetDatabaseEncoding(), converted) == utf8.size() ? converted : nullptr;
}

}  // namespace steadytext::pg
