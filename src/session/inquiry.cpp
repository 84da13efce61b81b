// Limits, cache, daemon, one after the other: see inquiry.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/inquiry.hpp"
#include "src/guc.hpp"
#include "src/session/observe.hpp"
#include "src/session/statement.hpp"

namespace steadytext::session {

namespace {

Asked ask_daemon(Inquiry &inquiry, CachedAnswer &told) {
    Answer answer;
    ask(inquiry.limited_call(), answer);
    inquiry.was_sent |= answer.was_sent;
    if (!answer.limited)
        return inquiry.take(answer, told);
    inquiry.problem = answer.problem;
    return Asked::Limited;
}

Served ask_alone(Inquiry &inquiry) {
    CachedAnswer told;
    return served_by(ask_daemon(inquiry, told));
}

// One of the sessions that want this answer now asks a daemon for all.
Served ask_for_all(Inquiry &inquiry) {
    const auto ask = [](void *passed, CachedAnswer &told, core::Problem &problem) {
        auto &mine = *static_cast<Inquiry *>(passed);
        const Asked asked = ask_daemon(mine, told);
        problem = mine.problem;
        return asked;
    };
    CachedAnswer told;
    const Served served = ask_once(inquiry.query, {ask, &inquiry, inquiry.deadline.us()}, told, inquiry.problem);
    return served == Served::Joined && !inquiry.take_told(told) ? Served::Failed : served;
}

// ANALYZE samples thousands of rows, and asks no daemon for them; nor does it use up anybody's limits. It is no call that anybody made.
Ended recall_only(Inquiry &inquiry) {
    const bool recalled = inquiry.use_cache && inquiry.recall();
    observe::forget();
    return recalled ? Ended::Recalled : Ended::Unasked;
}

Ended carry_out(Inquiry &inquiry) {
    if (statement::is_analyzing())
        return recall_only(inquiry);
    if (!admit_lookup(inquiry.spending, inquiry.quota, inquiry.deadline))
        return Ended::Limited;
    if (inquiry.use_cache && inquiry.recall()) {
        settle(inquiry.quota, inquiry.used_tokens());
        return Ended::Recalled;
    }
    inquiry.before_asking();
    if (!admit_miss(inquiry.spending, inquiry.quota, inquiry.deadline))
        return Ended::Limited;
    const Served served = inquiry.use_cache ? ask_for_all(inquiry) : ask_alone(inquiry);
    if (served == Served::Limited) {
        refuse_after_all(inquiry.quota, inquiry.problem);
        return Ended::Limited;
    }
    const bool answered = served != Served::Failed;
    settle(inquiry.quota, answered ? inquiry.used_tokens() : inquiry.used_in_vain());
    return answered ? Ended::Answered : Ended::Failed;
}

}  // namespace

void serve(Inquiry &inquiry) {
    inquiry.ended = carry_out(inquiry);
    if (is_answered(inquiry.ended))
        statement::note_answer();
}

bool serve_repeated(Inquiry &inquiry, Ended first) {
    const bool admitted = admit_lookup(inquiry.spending, inquiry.quota, inquiry.deadline);
    inquiry.ended = admitted ? first : Ended::Limited;
    if (admitted) {
        settle(inquiry.quota, 0);
        observe::joined();
    }
    if (inquiry.ended == Ended::Failed) {
        observe::failed(inquiry.problem);
        observe::fell_back();
    }
    inquiry.took_us = observe::end();
    return admitted;
}

}  // namespace steadytext::session
