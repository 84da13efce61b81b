// Compares jobs with workers: see queue_workers.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/queue_workers.hpp"
#include "bgworker/databases.hpp"

extern "C" {
#include "access/xlog.h"
#include "utils/memutils.h"
}

#include <algorithm>

namespace steadytext::worker {

namespace {

constexpr std::int64_t kLookUs = 1'000'000;
constexpr std::int64_t kVisitUs = 20'000;  // between looks at the worker that visits a database

// Databases still to be visited. Only the launcher uses these variables.
Oid *unvisited = nullptr;
int unvisited_count = -1;       // -1: not listed yet
std::uint64_t visited_for = 0;  // rows_made_free() when the databases were listed
StartLimiter visitor;
bool is_visit_wanted = false;

bool list_unvisited(const shmem::Segment &segment, std::int64_t now_us) {
    const Oid *databases;
    int count;
    if (!list_databases(segment, now_us, databases, count))
        return false;
    if (unvisited != nullptr)
        pfree(unvisited);
    unvisited = static_cast<Oid *>(MemoryContextAlloc(TopMemoryContext, sizeof(Oid) * static_cast<Size>(count + 1)));
    std::copy(databases, databases + count, unvisited);
    unvisited_count = count;
    visited_for = rows_made_free();
    return true;
}

// Visits a database at a time; true while there are more.
bool visit_databases(const shmem::Segment &segment, WantedWorkers &wanted, std::int64_t now_us,
                     std::int64_t &again_us) {
    if ((unvisited_count < 0 || visited_for != rows_made_free()) && !list_unvisited(segment, now_us))
        return true;
    if (visitor.is_awaited())
        return true;
    if (visitor.was_begun())
        visitor.reset();  // it runs, has run, or never will; if it stays, there is work
    if (unvisited_count == 0)
        return false;
    is_visit_wanted =
        wanted.add(visitor, "queue worker", "steadytext_queue_main", unvisited[unvisited_count - 1], again_us);
    return true;
}

bool has_jobs(const shmem::DatabaseRow &row, std::int64_t now_us, std::int64_t &again_us) {
    if (row.queue_changes.load(std::memory_order_acquire) != row.queue_seen.load())
        return true;
    const std::int64_t due_us = row.queue_due_us.load();
    if (due_us == 0 || due_us > now_us) {
        again_us = due_us == 0 ? again_us : std::min(again_us, due_us);
        return false;
    }
    return true;
}

}  // namespace

void want_queue_workers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, WantedWorkers &wanted,
                        std::int64_t now_us, std::int64_t &again_us) {
    again_us = std::min(again_us, now_us + kLookUs);
    if (RecoveryInProgress())
        return;
    if (visit_databases(segment, wanted, now_us, again_us))
        again_us = std::min(again_us, now_us + kVisitUs);
    for (std::uint32_t i = 0; i < segment.databases->size(); i++) {
        const shmem::DatabaseRow &row = (*segment.databases)[i];
        const Oid database = row.oid.load();
        if (database != 0)
            wanted.add_callbacks(i, database);
        if (database == 0 || row.queue_pid.load() != 0 || !has_jobs(row, now_us, again_us) ||
            !can_join(segment, database, now_us))
            continue;
        starts[i].belong_to(database);
        (void)wanted.add(starts[i].queue_worker, "queue worker", "steadytext_queue_main", database, again_us);
    }
}

void note_visit() {
    if (is_visit_wanted && visitor.was_begun())
        unvisited_count--;
    is_visit_wanted = false;
}

}  // namespace steadytext::worker
