// The outcome of a call, told step by step: the only way by which sessions count.
//
//     observe::begin(CallKind::Generate);      arguments are good, the call counts as a request
//    observe::model(name);                    for pg_stat_steadytext and steadytext_usage: a model that a daemon told
//                                             of or an entry of steadytext.daemons names, else "". Never the caller's
//                                             words, of which there is no end
//    observe::prompt(text);                   for the log of slow calls, which has its hash
//     observe::hit(CacheLevel::Hot, tokens);   or: joined(), limited(), sent() and then answered() or timed_out()
//     observe::failed(problem);                no real answer, and why; the first reason counts
//     took_us = observe::end();
//
// Called by src/session. Regime: pg, but nothing here raises. A process makes one call at a time; with many calls under
// way it saves all but the call at hand (concurrent_calls.cpp). Each step overrules the step before, so a call that
// waits for another's request and then makes its own is `sent`. A call that an ERROR or FATAL ends needs no end(): the
// abort of its (sub)transaction ends it, with the outcome that it has by then. So every begin() is counted exactly once
// (shmem/call_stats.hpp has the sums that hold), and no handler is set up for it.
#pragma once

#include "shmem/call_stats.hpp"
#include "shmem/slot_table.hpp"
#include "shmem/statement_stats.hpp"
#include "src/core/problem.hpp"

#include <cstdint>
#include <string_view>

namespace steadytext::session::observe {

void begin(shmem::CallKind kind);
// The role that had connected when it queued the call, if it is not this session's.
void login(Oid role);
void model(std::string_view name);
// For the log of slow calls, which names the prompt by its hash only.
void prompt(std::string_view text);

// The cache was asked at this level and had nothing.
void missed(shmem::CacheLevel level);
// It had the answer; `tokens` need not be made again (negative: not told).
void hit(shmem::CacheLevel level, int tokens);
// Waits for another session's request, or got its answer.
void joined();
void saved(int tokens);
// Turned away by a rate limit or a budget.
void limited();

// The gateway has the request. Until more is said it counts as cancelled, which is the outcome if an error comes.
void sent();
// The gateway gave it back without having sent it.
void not_sent();
void timed_out();
struct StageTimes {
    std::int64_t queue_us;
    std::int64_t pool_us;
    std::int64_t wire_us;  // network and engine together
};
void answered(const StageTimes &times);
// A stream's first text came so long after it was sent.
void first_piece(std::int64_t took_us);
// As the daemon told with its answer; negative: not told.
void engine(double engine_ms, int prompt_tokens, int completion_tokens);

void failed(const core::Problem &problem);
// Something else is given instead of an answer.
void fell_back();

// The answer is there: from here on the call takes no more time, although it has not ended.
void stop_clock();
// How long the call took, in microseconds.
std::int64_t end();
// How long a daemon took for the call that ended last, in microseconds; 0 if none was asked.
[[nodiscard]] std::int64_t daemon_us();

// From now on this process's calls are added here too, until told otherwise; returns where they were.
shmem::StatementCounts *tally(shmem::StatementCounts *into);
// What the calls of this process's parallel workers have come to so far: the difference of two such sums is of what was run between.
[[nodiscard]] shmem::StatementCounts workers_so_far();

// It was no call after all, and is not counted.
void forget();

// A saved call, so that another call can be counted. No abort finds it: its owner ends it by drop().
struct SavedCall {
    bool active = false;
    std::int64_t start_us, stopped_us;
    shmem::EndedCall call;
    char model[shmem::kModelNameBytes];
    std::uint64_t prompt_hash;
    Oid login;
};
void save(SavedCall &call);
void restore(SavedCall &call);
// Ends it as an error would.
void drop(SavedCall &call);

}  // namespace steadytext::session::observe
