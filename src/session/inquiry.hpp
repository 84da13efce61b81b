// A call of any kind between its arguments and its answer: rate limits, cache, one request for all who want the same, daemon.
//
// Made by generation.cpp, embedding.cpp and reranking.cpp, which know what is asked and how an answer is read; carried out by
// serve() below, or by many_calls.hpp beside others. Regime: pg. It needs no destructor, so it may be left by a longjmp.
#pragma once

#include "src/session/answer_cache.hpp"
#include "src/session/call.hpp"
#include "src/session/limits.hpp"
#include "src/session/single_call.hpp"

namespace steadytext::session {

enum class Ended {
    Answered,  // by a daemon, for this session or another
    Recalled,  // from the cache
    Unasked,   // NULL: only the cache was asked (ANALYZE)
    Limited,   // a rate limit stood against it, and steadytext.on_limit is null; of many calls (many_calls.hpp), `problem` says which
    Failed,    // `problem` says why
};

[[nodiscard]] constexpr bool is_answered(Ended ended) { return ended == Ended::Answered || ended == Ended::Recalled; }

class Inquiry {
public:
    Spending spending;
    CacheQuery query;  // its key is set if `use_cache`
    bool use_cache = true;
    Deadline deadline;

    Ended ended = Ended::Failed;
    core::Problem problem;
    Quota quota;
    bool was_sent = false;     // a daemon had it for a while, whatever came of it
    std::int64_t limit_wait_us = 0;  // if Limited, as Refusal's
    std::int64_t took_us = 0;  // after finish()
    std::uint32_t tag = 0;     // its owner's

    // Takes the answer from the cache, if it is there.
    [[nodiscard]] virtual bool recall() = 0;
    // Raises if it is of no use to ask a daemon; the last moment to change what is asked.
    virtual void before_asking() {}
    // Valid until the next call of this or another inquiry.
    [[nodiscard]] virtual Call call() const = 0;
    // The same with what limits at daemons need to know, and how long it may take.
    [[nodiscard]] Call limited_call() {
        Call limited = call();
        limited.deadline_us = deadline.us();
        limited.spending = &spending;
        limited.quota = &quota;
        return limited;
    }
    // Takes the daemon's answer, remembers it if `use_cache`, and makes of it what others are told.
    [[nodiscard]] virtual Asked take(const Answer &answer, CachedAnswer &told) = 0;
    // Takes what another session was answered; false if it is of no use.
    [[nodiscard]] virtual bool take_told(const CachedAnswer &told) = 0;
    // To settle the rate limits; kUnknownTokens where nobody counted.
    [[nodiscard]] virtual std::int64_t used_tokens() const { return kUnknownTokens; }
    // The same of one that failed. What was sent has been worked on, and nobody told how much: it costs what was reserved. Else
    // who gives up early, or asks for what must fail, would have the daemon's time for nothing.
    [[nodiscard]] std::int64_t used_in_vain() const { return was_sent ? kUnknownTokens : 0; }
    // Once it has ended: does what steadytext.on_failure says if it failed, and counts it.
    virtual void finish() = 0;

    // The answer after finish(), a text or floats; false: NULL.
    [[nodiscard]] virtual bool bytes(std::string_view &answer) const = 0;

protected:
    Inquiry() = default;
    Inquiry(const Inquiry &) = default;
    ~Inquiry() = default;
};

// Carries it out, waiting as long as it takes; finish() is left to the caller.
void serve(Inquiry &inquiry);

// Of one that is the same as an earlier one of the same statement, which has ended, with its `problem` if it failed: it is limited
// and counted, and takes no answer. False if a limit stands against it.
[[nodiscard]] bool serve_repeated(Inquiry &inquiry, Ended first);

}  // namespace steadytext::session
