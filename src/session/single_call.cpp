// Lead, wait, hand over: see single_call.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/single_call.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/session/observe.hpp"

#include <algorithm>

namespace steadytext::session {

using shmem::SingleFlight;

namespace {

SingleFlight &flights() { return *shmem::segment().single_flight; }
shmem::PayloadPool &pool() { return *shmem::segment().payloads; }
void wake(std::int32_t proc_number) { pg::set_latch_of(proc_number); }

void leave_on_error(int, Datum argument) {
    auto *ticket = reinterpret_cast<SingleFlight::Ticket *>(DatumGetPointer(argument));
    if (!ticket->is_empty())
        flights().leave(*ticket, pool(), wake);
}

// Makes the request and tells those who wait.
Served lead(SingleFlight::Ticket &ticket, const CacheQuery &query, const Request &request, CachedAnswer &answer,
            core::Problem &problem) {
    // Between this session's look at the cache and its turn to lead another may have led to the end.
    if (recall_hot(query, answer)) {
        flights().complete(ticket, pack(answer), pool(), wake);
        observe::joined();
        return Served::Joined;
    }
    switch (request.ask(request.context, answer, problem)) {
    case Asked::Answered:
        flights().complete(ticket, pack(answer), pool(), wake);
        return Served::Asked;
    case Asked::Private:
        flights().leave(ticket, pool(), wake);
        return Served::Asked;
    case Asked::TimedOut:
        flights().leave(ticket, pool(), wake);
        return Served::Failed;
    case Asked::Failed:
        break;
    }
    flights().fail(ticket, problem, pool(), wake);
    return Served::Failed;
}

// Waits until this session leads, the outcome is there, or the deadline has passed: then Pending.
SingleFlight::Progress wait(SingleFlight::Ticket &ticket, std::int64_t deadline_us) {
    static uint32 waiting = 0;
    if (waiting == 0)
        waiting = pg::wait_event("SteadytextSingleFlight");
    for (;;) {
        const SingleFlight::Progress progress = flights().poll(ticket);
        const std::int64_t left_us = deadline_us - core::monotonic_us();
        if (progress != SingleFlight::Progress::Pending || left_us <= 0)
            return progress;
        const long left_ms = std::min<std::int64_t>((left_us + 999) / 1000, 1000);
        (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left_ms, waiting);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    }
}

Served take(SingleFlight::Ticket &ticket, shmem::ValueKind kind, CachedAnswer &answer) {
    const std::size_t size = flights().size(ticket);
    char *bytes = static_cast<char *>(palloc_extended(std::max<std::size_t>(size, 1), MCXT_ALLOC_HUGE));
    if (!flights().take(ticket, bytes, pool()) || !unpack(kind, {bytes, size}, answer))
        elog(ERROR, "an answer in shared memory is damaged");
    return Served::Joined;
}

Served follow(SingleFlight::Ticket &ticket, const CacheQuery &query, const Request &request, CachedAnswer &answer,
              core::Problem &problem) {
    const std::int64_t deadline_us = core::monotonic_us() + std::int64_t{guc::request_timeout_ms} * 1000;
    switch (wait(ticket, deadline_us)) {
    case SingleFlight::Progress::Answered:
        return take(ticket, query.kind, answer);
    case SingleFlight::Progress::Lead:
        return lead(ticket, query, request, answer, problem);
    case SingleFlight::Progress::Failed:
        problem = flights().problem(ticket);
        break;
    case SingleFlight::Progress::Pending:
    case SingleFlight::Progress::None:
        observe::timed_out();
        problem.set(core::sqlstate::kTimeoutExpired, "no answer within %d ms", guc::request_timeout_ms);
        problem.with_detail("Another session had asked the same before and was still waiting.")
            .with_hint("Raise steadytext.request_timeout, or look at steadytext_daemon_status().");
        break;
    }
    flights().leave(ticket, pool(), wake);
    return Served::Failed;
}

Served serve(SingleFlight::Role role, SingleFlight::Ticket &ticket, const CacheQuery &query, const Request &request,
             CachedAnswer &answer, core::Problem &problem) {
    if (role == SingleFlight::Role::Waiter) {
        shmem::segment().counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), shmem::Counter::SingleFlightJoins);
        observe::joined();
        return follow(ticket, query, request, answer, problem);
    }
    return lead(ticket, query, request, answer, problem);
}

}  // namespace

Served ask_once(const CacheQuery &query, const Request &request, CachedAnswer &answer, core::Problem &problem) {
    SingleFlight::Ticket ticket;
    const SingleFlight::Role role = flights().join(query.key, pg::my_proc_number(), ticket);
    if (role == SingleFlight::Role::Alone) {
        const Asked asked = request.ask(request.context, answer, problem);
        return asked == Asked::Answered || asked == Asked::Private ? Served::Asked : Served::Failed;
    }
    Served served = Served::Failed;
    PG_ENSURE_ERROR_CLEANUP(leave_on_error, PointerGetDatum(&ticket));
    {
        served = serve(role, ticket, query, request, answer, problem);
    }
    PG_END_ENSURE_ERROR_CLEANUP(leave_on_error, PointerGetDatum(&ticket));
    return served;
}

}  // namespace steadytext::session
