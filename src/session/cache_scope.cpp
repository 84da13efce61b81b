// The scope's text, kept until a role or the database is renamed: see cache_scope.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/cache_scope.hpp"
#include "src/core/utf8.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/once.hpp"
#include "src/pg/text.hpp"
#include "src/session/kept.hpp"

extern "C" {
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/syscache.h"
}

namespace steadytext::session {

namespace {

// The conversion to UTF-8 may make each byte of a name into several, and escaping may make each of these into three.
constexpr std::size_t kMaxBytes = 2 * 3 * MAX_CONVERSION_GROWTH * NAMEDATALEN + 2;

char scope[kMaxBytes];
std::size_t scope_size = 0;
Oid kept_role = InvalidOid;
bool kept_by_role = false;
Kept copy;  // of the names in `scope`

void forget(Datum, int, uint32) { copy.forget(); }

bool is_by_role() { return guc::cache_scope == static_cast<int>(guc::CacheScope::Role); }

void add_escaped(char byte) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    const auto value = static_cast<unsigned char>(byte);
    scope[scope_size++] = '%';
    scope[scope_size++] = kDigits[value >> 4];
    scope[scope_size++] = kDigits[value & 15];
}

void add_name(const char *name) {
    const std::string_view utf8 = pg::utf8_name(name);
    const bool is_text = core::utf8_is_valid(utf8);
    for (const char byte : utf8) {
        if (byte == '%' || byte == '/' || (!is_text && (byte & 0x80) != 0))
            add_escaped(byte);
        else
            scope[scope_size++] = byte;
    }
}

void write_scope(const char *role) {
    const char *database = get_database_name(MyDatabaseId);
    scope_size = 0;
    add_name(database != nullptr ? database : "");
    if (role == nullptr)
        return;
    scope[scope_size++] = '/';
    add_name(role);
}

void make_scope() { write_scope(kept_by_role ? GetUserNameFromId(kept_role, false) : nullptr); }

// The byte that `text` begins with, unescaped; takes it off.
char take_byte(std::string_view &text) {
    const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; };
    const bool is_escaped = text.size() >= 3 && text[0] == '%' && digit(text[1]) >= 0 && digit(text[2]) >= 0;
    const char byte = is_escaped ? static_cast<char>(digit(text[1]) << 4 | digit(text[2])) : text[0];
    text.remove_prefix(is_escaped ? 3 : 1);
    return byte;
}

}  // namespace

std::string_view cache_scope() {
    pg::once([] {
        CacheRegisterSyscacheCallback(AUTHOID, forget, static_cast<Datum>(0));
        CacheRegisterSyscacheCallback(DATABASEOID, forget, static_cast<Datum>(0));
    });
    if (!copy.is_current() || kept_role != GetUserId() || kept_by_role != is_by_role()) {
        kept_role = GetUserId();
        kept_by_role = is_by_role();
        copy.make(make_scope);
    }
    return {scope, scope_size};
}

std::string_view scope_of(Oid role) {
    copy.forget();
    const char *name = OidIsValid(role) ? GetUserNameFromId(role, true) : nullptr;
    if (OidIsValid(role) && name == nullptr)
        return {};
    write_scope(name);
    return pg::copy_text({scope, scope_size});
}

bool role_of_scope(std::string_view scope_text, Oid &role) {
    role = InvalidOid;
    const std::size_t slash = scope_text.find('/');
    if (slash == std::string_view::npos)
        return true;
    scope_text.remove_prefix(slash + 1);
    char *name = static_cast<char *>(palloc(scope_text.size() + 1));
    std::size_t size = 0;
    while (!scope_text.empty())
        name[size++] = take_byte(scope_text);
    name[size] = '\0';
    const char *own = pg::name_of_utf8({name, size});
    role = own != nullptr && strlen(own) < NAMEDATALEN ? get_role_oid(own, true) : InvalidOid;
    return OidIsValid(role);
}

Oid scope_role() { return is_by_role() ? GetUserId() : InvalidOid; }

}  // namespace steadytext::session

// The OID of the role that a scope names; NULL if it names no role that exists. PostgreSQL generates the column
// scope_role of steadytext_cache by this function when a row is written, here or by a restore elsewhere. So the column
// says which role had the name then.
STEADYTEXT_FUNCTION(steadytext_scope_role) {
    using namespace steadytext;
    const std::string_view scope = pg::utf8_text(PG_GETARG_DATUM(0));
    Oid role;
    if (!session::role_of_scope(scope, role) || !OidIsValid(role))
        PG_RETURN_NULL();
    PG_RETURN_OID(role);
}
