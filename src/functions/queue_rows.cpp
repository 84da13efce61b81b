// The trigger on each row that is added to steadytext_queue, or that logical replication changes. Regime: pg.
//
// It puts right whose row it is, and holds the calls that a dump or logical replication brings: a copy for a trial would
// carry out the original's calls a second time, and run their callbacks. Nothing tells such a copy from a restore after a
// disaster, so who restores says so, by steadytext_queue_release(). PostgreSQL does the same with subscriptions.
//
//   a call that has not ended   pending, run_at infinity: no worker claims it
//   a callback that has not run  callback_state held
//
// Copies of a whole database are the queue worker's (src/queue/copied_calls.hpp).
#include "src/pg/compat.hpp"
#include "src/functions/queue_rows.hpp"
#include "src/pg/boundary.hpp"
#include "src/session/restore.hpp"

extern "C" {
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
}

#include <string_view>

namespace {

using namespace steadytext;

// Calls that the statement holds: until it ends, for an aborted one tells nothing.
int held = 0;
TimestampTz held_by = 0;  // the statement, by its message's time

// What is to be changed in a row.
class Changes {
public:
    Changes(HeapTuple row, TupleDesc columns) : row_(row), columns_(columns) {}

    [[nodiscard]] Datum value(const char *column, bool &is_null) const {
        return SPI_getbinval(row_, columns_, SPI_fnumber(columns_, column), &is_null);
    }
    // Empty: NULL.
    [[nodiscard]] std::string_view word(const char *column) const {
        bool is_null;
        const Datum found = value(column, is_null);
        return is_null ? std::string_view{} : std::string_view(TextDatumGetCString(found));
    }
    void set(const char *column, Datum to) { add(column, to, false); }
    void set_null(const char *column) { add(column, static_cast<Datum>(0), true); }
    [[nodiscard]] HeapTuple made() {
        return count_ == 0 ? row_ : heap_modify_tuple_by_cols(row_, columns_, count_, numbers_, values_, nulls_);
    }

private:
    static constexpr int kMost = 8;
    void add(const char *column, Datum to, bool is_null) {
        Assert(count_ < kMost);
        numbers_[count_] = SPI_fnumber(columns_, column);
        values_[count_] = to;
        nulls_[count_++] = is_null;
    }
    HeapTuple row_;
    TupleDesc columns_;
    int count_ = 0;
    int numbers_[kMost];
    Datum values_[kMost];
    bool nulls_[kMost];
};

// The role that a row names by its name and by its OID must be one: in a dump user_oid is the role's name or, if the
// role was dropped, its OID, which may be any role's here. A row whose connected role is not known counts for the role.
void check_role(Changes &row) {
    bool no_name, no_role, no_login;
    const Datum name = row.value("user_id", no_name), role = row.value("user_oid", no_role);
    (void)row.value("session_user_oid", no_login);
    if (no_login && !no_role)
        row.set("session_user_oid", role);
    if (no_role || no_name)
        return;
    const char *role_name = GetUserNameFromId(DatumGetObjectId(role), true);
    if (role_name == nullptr || strcmp(role_name, TextDatumGetCString(name)) != 0)
        row.set_null("user_oid");
}

void hold(Changes &row) {
    const std::string_view status = row.word("status"), callback = row.word("callback_state");
    const bool waits = status == "pending" || status == "processing",
               calls = callback == "due" || callback == "running";
    if (!waits && !calls)
        return;
    if (waits) {
        row.set("status", CStringGetTextDatum("pending"));
        row.set("run_at", TimestampTzGetDatum(DT_NOEND));
        row.set_null("worker_pid");
        row.set_null("lease_until");
    }
    if (calls) {
        row.set("callback_state", CStringGetTextDatum("held"));
        row.set_null("callback_pid");
    }
    if (held_by != GetCurrentStatementStartTimestamp())
        held = 0;
    held_by = GetCurrentStatementStartTimestamp();
    held++;
}

// The functions add rows as the owner of the table. From PostgreSQL 16 on logical replication does so, too.
bool is_of_functions(Relation table) {
    return !IsLogicalWorker() && GetUserId() == table->rd_rel->relowner &&
           GetSessionUserId() != table->rd_rel->relowner;
}

}  // namespace

namespace steadytext::functions {

void warn_of_held() {
    static bool has_warned = false;
    if (held == 0 || held_by != GetCurrentStatementStartTimestamp() || has_warned)
        return;
    has_warned = true;
    ereport(WARNING,
            (errmsg_plural("%d asynchronous call that was restored is held",
                           "%d asynchronous calls that were restored are held", static_cast<unsigned long>(held), held),
             errdetail("Where the dump was made they may be carried out as well."),
             errhint("If they are to be carried out here, run: SELECT steadytext_queue_release().")));
    held = 0;
}

}  // namespace steadytext::functions

STEADYTEXT_FUNCTION(steadytext_queue_row_check) {
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("steadytext_queue_row_check must be called as a trigger")));
    const auto *trigger = reinterpret_cast<TriggerData *>(fcinfo->context);
    Changes row(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple,
                RelationGetDescr(trigger->tg_relation));
    check_role(row);
    if (session::restore::is_any() && !is_of_functions(trigger->tg_relation))
        hold(row);
    return PointerGetDatum(row.made());
}
