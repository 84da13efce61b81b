// _steadytext.selfcheck(): the checks of steadytext_selfcheck() that need shared memory and settings only. Regime:
// pg.
#include "src/pg/compat.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/result_row.hpp"
#include "src/session/settings_left_out.hpp"
#include "shmem/segment.hpp"

namespace {

using namespace steadytext;

void put(ReturnSetInfo *result, const char *check, const char *status, const char *details, const char *hint) {
    pg::put_row(result, {pg::words(check), pg::words(status), pg::shown_text(details), pg::words(hint)});
}

void check_shared_memory(ReturnSetInfo *result) {
    const shmem::Header &header = *shmem::segment().header;
    const bool same = header.magic == shmem::kMagic && header.layout_version == shmem::kLayoutVersion &&
                      strcmp(header.library_version, STEADYTEXT_VERSION) == 0;
    put(result, "shared_memory_version", same ? "ok" : "error",
        psprintf("shared memory was made by version %s, layout %u; the library is %s, layout %u",
                 header.library_version, header.layout_version, STEADYTEXT_VERSION, shmem::kLayoutVersion),
        same ? nullptr : "Restart the server.");
}

void check_fingerprints(ReturnSetInfo *result) {
    bool any = false;
    for (const shmem::DaemonRow &row : shmem::segment().daemons->rows) {
        shmem::DaemonIdentity identity;
        if (row.state.load() == shmem::DaemonState::Absent || !row.identity.load(identity) ||
            identity.disagreement[0] == '\0')
            continue;
        any = true;
        put(result, "fingerprints", "warning", psprintf("daemon \"%s\" %s", identity.endpoint, identity.disagreement),
            "Give both the same model, or set steadytext.fingerprint_policy = strict.");
    }
    if (!any)
        put(result, "fingerprints", "ok", "no two daemons mean different models by one name", nullptr);
}

void check_settings(ReturnSetInfo *result) {
    const bool shared = guc::cache_scope != static_cast<int>(guc::CacheScope::Role);
    put(result, "cache_scope", shared ? "warning" : "ok",
        shared ? "roles share cached answers, so they can tell what others asked"
               : "a role's cached answers are its own",
        shared ? "Set steadytext.cache_scope = role." : nullptr);
    put(result, "allow_plaintext", guc::allow_plaintext ? "warning" : "ok",
        guc::allow_plaintext ? "prompts may go to other machines unencrypted"
                             : "prompts go to other machines encrypted only",
        guc::allow_plaintext ? "Use server_key_file or https, and set steadytext.allow_plaintext = off." : nullptr);
}

void check_rows(ReturnSetInfo *result) {
    const char *keys = session::keys_left_out();
    put(result, "settings", keys[0] == '\0' ? "ok" : "warning",
        keys[0] == '\0' ? "every row of steadytext_config is what it must be"
                        : psprintf("rows of steadytext_config count for nothing: %s", keys),
        keys[0] == '\0' ? nullptr : "Set them by steadytext_config_set().");
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_selfcheck) {
    (void)shmem::segment();
    ReturnSetInfo *result = pg::materialize(fcinfo);
    check_shared_memory(result);
    check_fingerprints(result);
    check_settings(result);
    check_rows(result);
    return static_cast<Datum>(0);
}
