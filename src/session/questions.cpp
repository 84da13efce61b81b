// See questions.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/questions.hpp"
#include "src/core/prose.hpp"
#include "src/pg/text.hpp"
#include "src/session/concurrent_calls.hpp"
#include "src/session/on_failure.hpp"

extern "C" {
#include "utils/memutils.h"
}

namespace steadytext::session {

namespace {

bool is_beyond_window(const core::Problem &problem) {
    return strcmp(problem.sqlstate, core::sqlstate::kExternalRoutineError) == 0 &&
           (core::tells_of_window(problem.message) || core::tells_of_window(problem.detail));
}

// The end of a call, of which observe:: counts now.
Replies take(ModelCall &call, std::span<std::string_view> answers, core::Problem &problem) {
    if (has_failed(call.result)) {
        problem = call.problem;
        if (!is_beyond_window(problem)) {
            const Replies instead = without_answer(problem);
            (void)observe::end();
            return instead;
        }
        observe::failed(problem);
        (void)observe::end();
        return Replies::BeyondWindow;
    }
    call.finish();
    std::string_view answer;
    if (!call.bytes(answer))
        return Replies::None;
    answers[call.tag] = pg::copy_text(answer);
    return Replies::All;
}

Replies ask(ConcurrentCalls &calls, const Questions &questions, std::span<std::string_view> answers,
            core::Problem &problem) {
    std::size_t next = 0;
    for (;;) {
        while (next < questions.count && calls.has_room()) {
            MemoryContext caller = MemoryContextSwitchTo(
                AllocSetContextCreate(CurrentMemoryContext, "steadytext question", ALLOCSET_SMALL_SIZES));
            ModelCall *call = questions.begin(questions.context, next);
            call->tag = static_cast<std::uint32_t>(next++);
            calls.start(call);
            MemoryContextSwitchTo(caller);
            CHECK_FOR_INTERRUPTS();
        }
        bool any = false;
        while (ModelCall *ended = calls.take_ended()) {
            any = true;
            if (const Replies replies = take(*ended, answers, problem); replies != Replies::All)
                return replies;
            MemoryContextDelete(GetMemoryChunkContext(ended));
        }
        if (next == questions.count && calls.is_idle())
            return Replies::All;
        if (!any && !calls.is_idle())
            calls.wait(1'000'000);
    }
}

}  // namespace

Replies ask_all(const Questions &questions, std::span<std::string_view> answers, core::Problem &problem) {
    ConcurrentCalls *calls = ConcurrentCalls::make(UINT32_MAX, questions.embeds);
    Replies replies = Replies::All;
    PG_ENSURE_ERROR_CLEANUP(ConcurrentCalls::give_up_on_error, PointerGetDatum(calls));
    {
        replies = ask(*calls, questions, answers, problem);
        calls->give_up();
    }
    PG_END_ENSURE_ERROR_CLEANUP(ConcurrentCalls::give_up_on_error, PointerGetDatum(calls));
    return replies;
}

Replies without_answer(const core::Problem &problem) {
    return apply_on_failure(problem) == Degraded::Null ? Replies::None : Replies::Fallback;
}

}  // namespace steadytext::session
