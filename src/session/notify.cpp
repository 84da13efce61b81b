// The channels that this transaction notifies, kept until it commits: see notify.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/notify.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/pg/once.hpp"

extern "C" {
#include "access/xact.h"
#include "commands/async.h"
#include "utils/fmgrprotos.h"
}

#include <cstdint>
#include <iterator>

namespace steadytext::session {

namespace {

constexpr const char *kChannels[] = {"steadytext_queue", "steadytext_async", "steadytext_queue_notify",
                                     "steadytext_queue_done", "steadytext_incident"};
constexpr double kNearlyFull = 0.9;
constexpr std::int64_t kLogEveryUs = 60'000'000;

std::uint32_t told;  // by bits; of this transaction

void leave_out(std::uint64_t count) {
    static std::int64_t logged_us = 0;
    shmem::segment().counters->add(static_cast<std::uint32_t>(pg::my_proc_number()),
                                   shmem::Counter::NotificationsLeftOut, count);
    const std::int64_t now_us = core::monotonic_us();
    if (logged_us != 0 && now_us - logged_us < kLogEveryUs)
        return;
    logged_us = now_us;
    ereport(LOG, (errmsg("pg_steadytext leaves out notifications: the server's queue of them is nearly full"),
                  errdetail("What they would have told of is done and recorded."),
                  errhint("Some session listens and has had a transaction open for long: see pg_stat_activity.")));
}

void send() {
    if (DatumGetFloat8(DirectFunctionCall1(pg_notification_queue_usage, static_cast<Datum>(0))) > kNearlyFull)
        return leave_out(static_cast<std::uint64_t>(__builtin_popcount(told)));
    for (std::size_t i = 0; i < std::size(kChannels); i++)
        if ((told >> i & 1) != 0)
            Async_Notify(kChannels[i], "");
}

// Called before the commit: after this, PostgreSQL puts the notifications into its queue.
void at_transaction_end(XactEvent event, void *) {
    if (told == 0)
        return;
    if (event == XACT_EVENT_PRE_COMMIT)
        send();
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
        told = 0;
}

}  // namespace

void notify(Channel channel) {
    pg::once([] { RegisterXactCallback(at_transaction_end, nullptr); });
    told |= std::uint32_t{1} << static_cast<int>(channel);
}

}  // namespace steadytext::session
