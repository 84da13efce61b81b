// Two statements: see copied_calls.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/copied_calls.hpp"
#include "src/pg/kept_statement.hpp"

extern "C" {
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
}

#include <cstdint>

namespace steadytext::queue {

namespace {

// Returns a row if the queue was another database's: whether that was one of this server.
constexpr const char *kComeHome = R"(
    WITH was AS (SELECT system_identifier, database FROM _steadytext.queue_home)
    UPDATE _steadytext.queue_home SET system_identifier = $1, database = $2 FROM was
    WHERE was.system_identifier <> $1 OR was.database <> $2
    RETURNING was.system_identifier = $1)";

// What was queued in the copy itself is younger than the copy, whose age is that of its row in pg_database.
constexpr const char *kHold = R"(
    WITH copied AS (
        SELECT q.id FROM public.steadytext_queue q
        WHERE (q.completed_at IS NULL OR q.callback_state IN ('due', 'running'))
          AND age(q.xmin) > (SELECT age(d.xmin) FROM pg_catalog.pg_database d WHERE d.oid = $1)
        FOR UPDATE SKIP LOCKED)
    UPDATE public.steadytext_queue q
    SET status = CASE q.status WHEN 'processing' THEN 'pending' ELSE q.status END,
        run_at = CASE WHEN q.completed_at IS NULL THEN 'infinity' ELSE q.run_at END, worker_pid = NULL, lease_until = NULL,
        callback_state = CASE WHEN q.callback_state IN ('due', 'running') THEN 'held' ELSE q.callback_state END, callback_pid = NULL
    FROM copied WHERE q.id = copied.id)";

bool is_copy() {
    static pg::KeptStatement statement{"steadytext_queue", kComeHome, SPI_OK_UPDATE_RETURNING};
    statement.execute({static_cast<std::int64_t>(GetSystemIdentifier()), MyDatabaseId});
    bool is_null;
    return SPI_processed > 0 && DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
}

}  // namespace

void hold_copied() {
    static pg::KeptStatement statement{"steadytext_queue", kHold, SPI_OK_UPDATE};
    if (!is_copy())
        return;
    statement.execute({MyDatabaseId});
    if (const auto count = static_cast<unsigned long>(SPI_processed); count > 0)
        ereport(LOG,
                (errmsg_plural(
                     "pg_steadytext queue worker: %lu asynchronous call that came with a copy of a database is held",
                     "pg_steadytext queue worker: %lu asynchronous calls that came with a copy of a database are held",
                     count, count),
                 errdetail("The original carries them out."),
                 errhint("If they are to be carried out here, run: SELECT steadytext_queue_release().")));
}

}  // namespace steadytext::queue
