// Lead, wait, hand over: see single_call.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/single_call.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/session/observe.hpp"
#include "src/session/room.hpp"

#include <algorithm>

namespace steadytext::session {

using shmem::SingleFlight;

namespace {

SingleFlight &flights() { return *shmem::segment().single_flight; }
shmem::PayloadPool &pool() { return *shmem::segment().payloads; }
void wake(std::int32_t proc_number) { pg::set_latch_of(proc_number); }

void leave_on_error(int, Datum argument) { leave(*reinterpret_cast<SingleFlight::Ticket *>(DatumGetPointer(argument))); }

// Makes the request and tells those who wait.
Served lead(SingleFlight::Ticket &ticket, const CacheQuery &query, const Request &request, CachedAnswer &answer,
            core::Problem &problem) {
    if (ended_meanwhile(ticket, query, answer))
        return Served::Joined;
    const Asked asked = request.ask(request.context, answer, problem);
    tell(ticket, asked, answer, problem);
    return served_by(asked);
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

Served follow(SingleFlight::Ticket &ticket, const CacheQuery &query, const Request &request, CachedAnswer &answer,
              core::Problem &problem) {
    switch (wait(ticket, request.deadline_us)) {
    case SingleFlight::Progress::Answered:
        take_told(ticket, query.kind, answer);
        return Served::Joined;
    case SingleFlight::Progress::Lead:
        return lead(ticket, query, request, answer, problem);
    case SingleFlight::Progress::Failed:
        problem = flights().problem(ticket);
        break;
    case SingleFlight::Progress::Pending:
    case SingleFlight::Progress::None:
        set_waited_too_long(problem);
        break;
    }
    leave(ticket);
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

bool ended_meanwhile(SingleFlight::Ticket &ticket, const CacheQuery &query, CachedAnswer &answer) {
    if (!recall_hot(query, answer))
        return false;
    tell(ticket, Asked::Answered, answer, {});
    observe::joined();
    return true;
}

void tell(SingleFlight::Ticket &ticket, Asked asked, const CachedAnswer &answer, const core::Problem &problem) {
    if (ticket.is_empty())
        return;
    switch (asked) {
    case Asked::Answered:
        flights().complete(ticket, pack(answer), pool(), wake);
        room::call_next();  // if all who waited for it have left, its memory is free
        return;
    case Asked::Failed:
        flights().fail(ticket, problem, pool(), wake);
        return;
    case Asked::Private:
    case Asked::TimedOut:
    case Asked::Limited:
        leave(ticket);
        return;
    }
}

void take_told(SingleFlight::Ticket &ticket, shmem::ValueKind kind, CachedAnswer &answer) {
    const std::size_t size = flights().size(ticket);
    char *bytes = static_cast<char *>(palloc_extended(std::max<std::size_t>(size, 1), MCXT_ALLOC_HUGE));
    if (!flights().take(ticket, bytes, pool()) || !unpack(kind, {bytes, size}, answer))
        elog(ERROR, "an answer in shared memory is damaged");
    room::call_next();  // who takes it last frees its memory
}

void set_waited_too_long(core::Problem &problem) {
    observe::timed_out();
    problem.set(core::sqlstate::kTimeoutExpired, "no answer within %d ms", guc::request_timeout_ms);
    problem.with_detail("Another session had asked the same before and was still waiting.")
        .with_hint("Raise steadytext.request_timeout, or look at steadytext_daemon_status().");
}

void leave(SingleFlight::Ticket &ticket) {
    if (ticket.is_empty())
        return;
    flights().leave(ticket, pool(), wake);
    room::call_next();
}

Served ask_once(const CacheQuery &query, const Request &request, CachedAnswer &answer, core::Problem &problem) {
    SingleFlight::Ticket ticket;
    const SingleFlight::Role role = flights().join(flight_key(query), pg::my_proc_number(), ticket);
    if (role == SingleFlight::Role::Alone || role == SingleFlight::Role::Led)
        return served_by(request.ask(request.context, answer, problem));
    Served served = Served::Failed;
    PG_ENSURE_ERROR_CLEANUP(leave_on_error, PointerGetDatum(&ticket));
    {
        served = serve(role, ticket, query, request, answer, problem);
    }
    PG_END_ENSURE_ERROR_CLEANUP(leave_on_error, PointerGetDatum(&ticket));
    return served;
}

}  // namespace steadytext::session
