// Loads libpq, notes answers and failures: see hub_contact.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/hub_contact.hpp"
#include "src/core/clock.hpp"

extern "C" {
#include "access/xact.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/memutils.h"
}

#include <algorithm>

namespace steadytext::worker {

namespace {

constexpr std::int64_t kFirstPauseUs = 100'000;

}  // namespace

HubConnection *HubContact::make_connection(const char *application) {
    MemoryContext caller = CurrentMemoryContext;
    HubConnection *volatile made = nullptr;
    PG_TRY();
    {
        void *make = load_external_function("pg_steadytext_hub", "steadytext_hub_connection", true, nullptr);
        is_misled_ = true;
        made = reinterpret_cast<MakeHubConnection *>(make)(kHubInterface, application);
        is_misled_ = false;
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(caller);
        ErrorData *error = CopyErrorData();
        FlushErrorState();
        if (is_misled_)
            pause_us_ = longest_pause_us_;
        char what[NAMEDATALEN + 32];
        snprintf(what, sizeof what, "%s cannot load its library", application);
        note_failure(error->sqlerrcode, what, error->message);
        FreeErrorData(error);
    }
    PG_END_TRY();
    return made;
}

void HubContact::note_answer() {
    if (row_->hub_away_since_us.exchange(0) != 0)
        ereport(LOG, (errmsg("the hub of pg_steadytext answers again")));
    row_->hub_sqlstate.store(0);
    row_->hub_answered_us.store(core::monotonic_us());
    pause_us_ = 0;
}

void HubContact::note_failure(int sqlstate, const char *what, const char *why) {
    const std::int64_t now_us = core::monotonic_us();
    std::int64_t here = 0;
    if (row_->hub_away_since_us.compare_exchange_strong(here, now_us))
        ereport(LOG, (errcode(sqlstate), errmsg_internal("%s", what), errdetail_log("%s", why)));
    row_->hub_sqlstate.store(static_cast<std::uint32_t>(sqlstate));
    pause_us_ = std::clamp(pause_us_ * 2, kFirstPauseUs, longest_pause_us_);
    not_before_us_ = now_us + pause_us_;
}

void HubContact::forget() {
    row_->hub_away_since_us.store(0);
    row_->hub_sqlstate.store(0);
}

const char *name_of_database() {
    StartTransactionCommand();
    const char *name = get_database_name(MyDatabaseId);
    const char *kept = name == nullptr ? nullptr : MemoryContextStrdup(TopMemoryContext, name);
    CommitTransactionCommand();
    return kept;
}

}  // namespace steadytext::worker
