// The probe, and the facts about the table that are kept between probes: see table_cache.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/table_cache.hpp"
#include "src/core/clock.hpp"
#include "src/pg/once.hpp"
#include "src/pg/own_table.hpp"
#include "src/pg/text.hpp"
#include "src/pg/time.hpp"
#include "src/pg/vector.hpp"
#include "src/session/kept.hpp"
#include "src/session/cache_scope.hpp"

extern "C" {
#include "access/genam.h"
#include "access/heapam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
}

#include <iterator>

namespace steadytext::session {

namespace {

enum Column {
    Key,
    ScopeRole,
    Prompt,
    Response,
    Embedding,
    ModelName,
    Seed,
    Params,
    PromptTokens,
    CompletionTokens,
    FinishReason,
    ExpiresAt,
    Fingerprint
};

struct Wanted {
    const char *name;
    const char *type;
};
constexpr Wanted kWanted[] = {
    {"cache_key", "text"},     {"scope_role", "oid"},         {"prompt", "text"},        {"response", "text"},
    {"embedding", "vector"},   {"model_name", "text"},        {"seed", "int4"},          {"generation_params", "jsonb"},
    {"prompt_tokens", "int4"}, {"completion_tokens", "int4"}, {"finish_reason", "text"}, {"expires_at", "timestamptz"},
    {"fingerprint", "text"}};

// Facts about the table; forgotten when its relation cache entry is invalidated.
struct Known {
    Oid table = InvalidOid;
    Oid index = InvalidOid;
    AttrNumber columns[std::size(kWanted)] = {};
    bool usable = false;
};
Known known;
Kept copy;  // `known`

void forget(Datum, Oid relation) {
    if (relation == InvalidOid || relation == known.table || known.table == InvalidOid)
        copy.forget();
}

void complain(const char *detail) {
    ereport(WARNING, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                      errmsg("table public.steadytext_cache cannot be used as a cache"), errdetail("%s", detail),
                      errhint("Calls work without it. Drop and create the extension to have it anew.")));
}

bool is_named(Oid type, const char *name) {
    HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
    if (!HeapTupleIsValid(tuple))
        return false;
    const bool same = strcmp(NameStr(reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple))->typname), name) == 0;
    ReleaseSysCache(tuple);
    return same;
}

bool find_columns(Relation table) {
    for (std::size_t i = 0; i < std::size(kWanted); i++) {
        known.columns[i] = get_attnum(RelationGetRelid(table), kWanted[i].name);
        const bool there = known.columns[i] != InvalidAttrNumber;
        if (!there ||
            !is_named(TupleDescAttr(RelationGetDescr(table), known.columns[i] - 1)->atttypid, kWanted[i].type)) {
            complain(psprintf("Column \"%s\" %s.", kWanted[i].name,
                              there ? psprintf("is not of type %s", kWanted[i].type) : "is missing"));
            return false;
        }
    }
    return true;
}

// The valid unique index on the key alone.
Oid find_index(Relation table) {
    Oid found = InvalidOid;
    List *indexes = RelationGetIndexList(table);
    ListCell *cell;
    foreach (cell, indexes) {
        Relation index = index_open(lfirst_oid(cell), AccessShareLock);
        const Form_pg_index form = index->rd_index;
        if (form->indisunique && form->indisvalid && form->indnkeyatts == 1 &&
            form->indkey.values[0] == known.columns[Key] && RelationGetIndexPredicate(index) == NIL)
            found = RelationGetRelid(index);
        index_close(index, AccessShareLock);
    }
    list_free(indexes);
    if (!OidIsValid(found))
        complain("It has no unique index on cache_key.");
    return found;
}

void learn() {
    known = Known{};
    known.table = pg::own_table("steadytext_cache");
    if (!OidIsValid(known.table)) {
        complain("It does not exist.");
        return;
    }
    Relation table = try_relation_open(known.table, NoLock);
    if (table == nullptr)
        return;
    if (table->rd_rel->relkind != RELKIND_RELATION)
        complain("It is no plain table.");
    else if (find_columns(table))
        known.index = find_index(table);
    known.usable = OidIsValid(known.index);
    relation_close(table, NoLock);
}

// Locks the table if that is possible at once. Null if it is not, or if the table cannot be used.
Relation open_table() {
    pg::once([] { CacheRegisterRelcacheCallback(forget, static_cast<Datum>(0)); });
    if (copy.is_current() && !known.usable)
        return nullptr;
    Oid table = copy.is_current() ? known.table : pg::own_table("steadytext_cache");
    if (OidIsValid(table) && !ConditionalLockRelationOid(table, AccessShareLock))
        return nullptr;
    AcceptInvalidationMessages();
    if (!copy.is_current())
        copy.make(learn);
    Relation opened = known.usable && known.table == table ? try_relation_open(table, NoLock) : nullptr;
    if (opened == nullptr && OidIsValid(table))
        UnlockRelationOid(table, AccessShareLock);
    return opened;
}

Datum column(TupleTableSlot *row, Column which, bool &is_null) {
    return slot_getattr(row, known.columns[which], &is_null);
}

std::string_view text_of(TupleTableSlot *row, Column which) {
    bool is_null;
    const Datum value = column(row, which, is_null);
    return is_null ? std::string_view() : pg::copy_text(pg::utf8_text(value));
}

int number_of(TupleTableSlot *row, Column which, int otherwise) {
    bool is_null;
    const Datum value = column(row, which, is_null);
    return is_null ? otherwise : DatumGetInt32(value);
}

// Whether the row was made with so many max_tokens. A row without a number there is left out, and the session warns
// once.
bool has_max_tokens(TupleTableSlot *row, std::int64_t wanted) {
    bool is_null;
    const Datum params = column(row, Params, is_null);
    if (is_null)
        return false;
    Jsonb *object = DatumGetJsonbP(params);
    JsonbValue value;
    const bool is_object = JB_ROOT_IS_OBJECT(object);
    if (is_object && getKeyJsonValueFromContainer(&object->root, "max_tokens", 10, &value) == nullptr)
        return false;
    if (is_object && value.type == jbvNumeric)  // compared as it is: a number of any size may stand there
        return DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(value.val.numeric),
                                                NumericGetDatum(int64_to_numeric(wanted))));
    static bool warned = false;
    if (!warned)
        ereport(WARNING, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("a row of public.steadytext_cache is left out"),
                          errdetail("Its generation_params have no number as max_tokens."),
                          errhint("steadytext_cache_clear_legacy() removes the rows of the original.")));
    warned = true;
    return false;
}

// The names that the original wrote for a call without a model; the column's default is among them.
bool is_default_model(std::string_view name) {
    return name == "steadytext-default" || name == "steadytext-embedding" || name == "qwen3-1.7b";
}

bool meets(TupleTableSlot *row, const LegacyCondition &condition) {
    const std::string_view model = text_of(row, ModelName);
    return (condition.model.empty() ? is_default_model(model) : model == condition.model) &&
           number_of(row, Seed, 42) == condition.seed &&
           (condition.prompt.empty() || text_of(row, Prompt) == condition.prompt) &&
           (condition.max_tokens < 0 || has_max_tokens(row, condition.max_tokens));
}

// Rows of the original have no fingerprint, and only the original's keys find them: under a key of this version such a
// row would be somebody's forgery. An untrusted row (everybody could have written it; sql/from_original.sql) is never
// found.
bool is_of(TupleTableSlot *row, bool original) {
    bool is_null;
    const Datum fingerprint = column(row, Fingerprint, is_null);
    return original ? is_null : !is_null && pg::utf8_text(fingerprint) != kUntrustedFingerprint;
}

bool belongs_to(TupleTableSlot *row, Oid role) {
    bool is_null;
    const Datum whose = column(row, ScopeRole, is_null);
    return OidIsValid(role) ? !is_null && DatumGetObjectId(whose) == role : is_null;
}

// The answer in the row; false if it has none of the kind, or it has expired.
bool take(TupleTableSlot *row, shmem::ValueKind kind, CachedAnswer &answer) {
    bool is_null;
    const Datum expires = column(row, ExpiresAt, is_null);
    answer.expires_us = is_null ? 0 : pg::unix_us_of(DatumGetTimestampTz(expires));
    if (answer.expires_us != 0 && answer.expires_us <= core::unix_us())
        return false;
    answer.kind = kind;
    const Datum value = column(row, kind == shmem::ValueKind::Text ? Response : Embedding, is_null);
    if (is_null)
        return false;
    if (kind == shmem::ValueKind::Embedding) {
        answer.vector = pg::copy_text(pg::vector_bytes(value));
        return true;
    }
    answer.text = pg::copy_text(pg::utf8_text(value));
    answer.finish_reason = text_of(row, FinishReason);
    answer.prompt_tokens = number_of(row, PromptTokens, -1);
    answer.completion_tokens = number_of(row, CompletionTokens, -1);
    return true;
}

bool probe(Relation table, Datum key, shmem::ValueKind kind, Oid role, const LegacyCondition *condition,
           CachedAnswer &answer) {
    Snapshot snapshot = RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
    Relation index = index_open(known.index, AccessShareLock);
    TupleTableSlot *row = table_slot_create(table, nullptr);
    ScanKeyData equals;
    ScanKeyInit(&equals, 1, BTEqualStrategyNumber, F_TEXTEQ, key);
    equals.sk_collation = index->rd_indcollation[0];
    IndexScanDesc scan = pg::begin_index_scan(table, index, snapshot, 1);
    index_rescan(scan, &equals, 1, nullptr, 0);
    const bool found = index_getnext_slot(scan, ForwardScanDirection, row) && is_of(row, condition != nullptr) &&
                       belongs_to(row, role) && (condition == nullptr || meets(row, *condition)) &&
                       take(row, kind, answer);
    index_endscan(scan);
    ExecDropSingleTupleTableSlot(row);
    index_close(index, AccessShareLock);
    UnregisterSnapshot(snapshot);
    return found;
}

}  // namespace

bool read_table(std::string_view hex, shmem::ValueKind kind, Oid role, const LegacyCondition *condition,
                CachedAnswer &answer) {
    Relation table = open_table();
    if (table == nullptr)
        return false;
    const bool found = probe(table, pg::text_datum(hex), kind, role, condition, answer);
    table_close(table, AccessShareLock);
    return found;
}

}  // namespace steadytext::session
