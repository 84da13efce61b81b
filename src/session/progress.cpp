// The session's own row, and a remark before the query's text: see progress.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/progress.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"

extern "C" {
#include "mb/pg_wchar.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
}

namespace steadytext::session::progress {

namespace {

constexpr std::int64_t kShowEveryUs = 1'000'000;

std::int64_t next_show_us = 0;
bool shown = false;

shmem::ProgressRow *my_row() {
    shmem::ProgressTable &table = *shmem::segment().progress;
    const auto mine = static_cast<std::uint32_t>(pg::my_proc_number());
    return mine < table.size() ? &table.row(mine) : nullptr;
}

void add(std::atomic<std::int64_t> &number, std::int64_t more) {
    number.store(number.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);  // nobody else writes it
}

// PostgreSQL has no progress of extensions, so the remark stands in the query's text, where everybody looks. That makes
// PostgreSQL forget the query's id: so it is reported again.
void show_query(const char *text) {
    const auto query_id = pgstat_get_my_query_id();
    pgstat_report_activity(STATE_RUNNING, text);
    pgstat_report_query_id(query_id, true);
}

void show(const shmem::ProgressRow &row) {
    if (debug_query_string == nullptr)
        return;
    char text[1024];
    snprintf(text, sizeof text, "/* steadytext: %lld of %lld done */ %s",
             static_cast<long long>(row.done.load(std::memory_order_relaxed)),
             static_cast<long long>(row.total.load(std::memory_order_relaxed)), debug_query_string);
    text[pg_mbcliplen(text, static_cast<int>(strlen(text)), sizeof text - 4)] = '\0';
    show_query(text);
    shown = true;
}

}  // namespace

void begin(shmem::CallKind kind, std::int64_t total) {
    next_show_us = core::monotonic_us() + kShowEveryUs;
    shmem::ProgressRow *row = my_row();
    if (row == nullptr)
        return;
    row->role.store(GetUserId(), std::memory_order_relaxed);
    row->kind.store(kind, std::memory_order_relaxed);
    row->total.store(total, std::memory_order_relaxed);
    for (std::atomic<std::int64_t> *number : {&row->done, &row->cached, &row->failed})
        number->store(0, std::memory_order_relaxed);
    row->started_us.store(core::unix_us(), std::memory_order_relaxed);
    row->pid.store(MyProcPid, std::memory_order_release);  // pairs with the view's acquire
}

void step(bool cached, bool failed) {
    shmem::ProgressRow *row = my_row();
    if (row == nullptr)
        return;
    add(row->done, 1);
    add(row->cached, cached);
    add(row->failed, failed);
    const std::int64_t now_us = core::monotonic_us();
    if (now_us < next_show_us)
        return;
    next_show_us = now_us + kShowEveryUs;
    show(*row);
}

void end() {
    if (shmem::ProgressRow *row = my_row(); row != nullptr)
        row->pid.store(0, std::memory_order_release);
    if (shown && debug_query_string != nullptr)
        show_query(debug_query_string);
    shown = false;
}

}  // namespace steadytext::session::progress
