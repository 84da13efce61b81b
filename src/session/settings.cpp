// Reading steadytext_config, and forgetting it in time: see settings.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/settings.hpp"
#include "src/pg/once.hpp"
#include "src/session/settings_left_out.hpp"
#include "src/core/parameters.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/own_table.hpp"
#include "src/pg/table_rows.hpp"
#include "src/session/kept.hpp"

extern "C" {
#include "commands/trigger.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/rel.h"
}

namespace steadytext::session {

namespace {

// Values from the table. A field is set if its row differs from the seed.
struct Overrides {
    bool has_max_tokens, has_seed, has_cache_enabled;
    int max_tokens, seed;
    bool cache_enabled;
    bool no_auto_start;
};

constexpr int kSeededMaxTokens = 512;
constexpr int kSeededSeed = 42;

Overrides overrides;
Kept copy;  // `overrides`
Oid config_table = InvalidOid;

void forget(Datum, Oid relation) {
    if (relation == InvalidOid || relation == config_table || config_table == InvalidOid)
        copy.forget();
}

// The row's value as text, whether it was stored as a JSON string (as the original does) or as a number or boolean.
char *scalar_text(Jsonb *value) {
    JsonbValue scalar;
    if (!JB_ROOT_IS_SCALAR(value) || !JsonbExtractScalar(&value->root, &scalar))
        return nullptr;
    switch (scalar.type) {
    case jbvString:
        return pnstrdup(scalar.val.string.val, scalar.val.string.len);
    case jbvNumeric:
        return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(scalar.val.numeric)));
    case jbvBool:
        return pstrdup(scalar.val.boolean ? "true" : "false");
    default:
        return nullptr;
    }
}

// A row that steadytext_config_set() would refuse counts for nothing. It is older than the table's own check.
bool is_good(const char *key, const char *value) {
    core::Problem problem;
    if (pg::try_guarded(problem, [&](core::Problem &why) { return core::check_config(key, value, why); }))
        return true;
    ereport(DEBUG1, (errmsg_internal("a row of steadytext_config is left out: %s", problem.message),
                     errdetail_internal("Its key is \"%s\".", key)));
    return false;
}

void apply(const char *key, const char *value) {
    if (strcmp(key, "default_max_tokens") == 0) {
        overrides.max_tokens = atoi(value);
        overrides.has_max_tokens = overrides.max_tokens != kSeededMaxTokens;
    } else if (strcmp(key, "default_seed") == 0) {
        overrides.seed = atoi(value);
        overrides.has_seed = overrides.seed != kSeededSeed;
    } else if (strcmp(key, "cache_enabled") == 0) {
        overrides.has_cache_enabled = parse_bool(value, &overrides.cache_enabled) && !overrides.cache_enabled;
    } else if (strcmp(key, "daemon_auto_start") == 0) {
        bool starts;
        overrides.no_auto_start = parse_bool(value, &starts) && !starts;
    }
}

void read_row(TupleTableSlot *row, void *) {
    bool key_is_null, value_is_null;
    const Datum key = slot_getattr(row, 1, &key_is_null);
    const Datum value = slot_getattr(row, 2, &value_is_null);
    char *setting = key_is_null || value_is_null ? nullptr : scalar_text(DatumGetJsonbP(value));
    if (setting != nullptr && is_good(TextDatumGetCString(key), setting))
        apply(TextDatumGetCString(key), setting);
}

void add_if_left_out(TupleTableSlot *row, void *keys) {
    bool key_is_null, value_is_null;
    const Datum key = slot_getattr(row, 1, &key_is_null);
    const Datum value = slot_getattr(row, 2, &value_is_null);
    const char *setting = key_is_null || value_is_null ? nullptr : scalar_text(DatumGetJsonbP(value));
    auto *list = static_cast<StringInfo>(keys);
    if (setting != nullptr && !is_good(TextDatumGetCString(key), setting))
        appendStringInfo(list, "%s%s", list->len > 0 ? ", " : "", TextDatumGetCString(key));
}

void read_all() {
    overrides = Overrides{};
    pg::for_each_row(config_table, read_row, nullptr);
}

void load() {
    config_table = pg::own_table("steadytext_config");
    copy.make_of({&config_table, 1}, read_all);
}

}  // namespace

Settings settings() {
    pg::once([] { CacheRegisterRelcacheCallback(forget, static_cast<Datum>(0)); });
    if (!copy.is_confirmed())
        load();
    Settings result;
    result.default_max_tokens = overrides.has_max_tokens ? overrides.max_tokens : guc::default_max_tokens;
    result.default_seed = overrides.has_seed ? overrides.seed : guc::default_seed;
    result.cache_enabled = overrides.has_cache_enabled ? overrides.cache_enabled : guc::cache_enabled;
    result.daemon_auto_start = !overrides.no_auto_start;
    return result;
}

const char *keys_left_out() {
    StringInfo keys = makeStringInfo();
    const Oid table = pg::own_table("steadytext_config");
    pg::lock_tables({&table, 1}, guc::request_timeout_ms);
    pg::for_each_row(table, add_if_left_out, keys);
    pg::unlock_tables({&table, 1});
    return keys->data;
}

}  // namespace steadytext::session

// Statement trigger on steadytext_config: at commit every process, also on standbys, drops its copy of the rows.
STEADYTEXT_FUNCTION(steadytext_config_changed) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("steadytext_config_changed must be called as a trigger")));
    auto *trigger = reinterpret_cast<TriggerData *>(fcinfo->context);
    CacheInvalidateRelcacheByRelid(RelationGetRelid(trigger->tg_relation));
    return PointerGetDatum(nullptr);
}
