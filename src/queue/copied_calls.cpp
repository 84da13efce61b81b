// Three statements: see copied_calls.hpp. Regime: pg.
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
constexpr const char *kWhose = R"(
    SELECT was.system_identifier = $2 FROM _steadytext.queue_home was
    WHERE was.database <> $1 OR was.system_identifier <> $2)";

// What was queued in the copy itself is younger than the copy, whose age is that of its row in pg_database.
#define STEADYTEXT_COPIED                                                                                              \
    "FROM public.steadytext_queue q "                                                                                  \
    "WHERE (q.completed_at IS NULL OR q.callback_state IN ('due', 'running')) "                                        \
    "AND age(q.xmin) > (SELECT age(d.xmin) FROM pg_catalog.pg_database d WHERE d.oid = $1)"

// Unless something copied is left, whose row somebody holds.
constexpr const char *kComeHome = R"(
    UPDATE _steadytext.queue_home SET database = $1, system_identifier = $2
    WHERE system_identifier <> $2 OR NOT EXISTS (SELECT 1 )" STEADYTEXT_COPIED ")";

constexpr const char *kHold = R"(
    WITH copied AS (
        SELECT q.id )" STEADYTEXT_COPIED R"(
        FOR UPDATE SKIP LOCKED)
    UPDATE public.steadytext_queue q
    SET status = CASE q.status WHEN 'processing' THEN 'pending' ELSE q.status END,
        run_at = CASE WHEN q.completed_at IS NULL THEN 'infinity' ELSE q.run_at END, worker_pid = NULL, lease_until = NULL,
        callback_state = CASE WHEN q.callback_state IN ('due', 'running') THEN 'held' ELSE q.callback_state END, callback_pid = NULL
    FROM copied WHERE q.id = copied.id)";

enum class Whose { Own, AnotherServers, Copied };

Whose whose(const pg::Bound &database, const pg::Bound &server) {
    static pg::KeptStatement statement{"steadytext_queue", kWhose, SPI_OK_SELECT};
    statement.execute({database, server});
    bool is_null;
    if (SPI_processed == 0)
        return Whose::Own;
    return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null))
               ? Whose::Copied
               : Whose::AnotherServers;
}

void hold(const pg::Bound &database) {
    static pg::KeptStatement statement{"steadytext_queue", kHold, SPI_OK_UPDATE};
    statement.execute({database});
    if (const auto count = static_cast<unsigned long>(SPI_processed); count > 0)
        ereport(LOG,
                (errmsg_plural(
                     "pg_steadytext queue worker: %lu asynchronous call that came with a copy of a database is held",
                     "pg_steadytext queue worker: %lu asynchronous calls that came with a copy of a database are held",
                     count, count),
                 errdetail("The original carries them out."),
                 errhint("If they are to be carried out here, run: SELECT steadytext_queue_release().")));
}

}  // namespace

bool hold_copied() {
    static pg::KeptStatement come_home{"steadytext_queue", kComeHome, SPI_OK_UPDATE};
    const pg::Bound database = MyDatabaseId, server = static_cast<std::int64_t>(GetSystemIdentifier());
    const Whose queue = whose(database, server);
    if (queue == Whose::Own)
        return true;
    if (queue == Whose::Copied)
        hold(database);
    come_home.execute({database, server});
    return SPI_processed > 0;
}

}  // namespace steadytext::queue
