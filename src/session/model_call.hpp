// A call of any kind between arguments and answer: the request, the reading of an answer, and the state so far.
//
// Made by generation.cpp, embedding.cpp and reranking.cpp. Carried out by running_call.hpp: run() for a single call,
// concurrent_calls.hpp for many, generation_stream.cpp for a stream. Regime: pg. It has no destructor to run, so a
// longjmp may leave it.
#pragma once

#include "src/session/answer_cache.hpp"
#include "src/session/call_result.hpp"
#include "src/session/limits.hpp"
#include "src/session/pending_slot.hpp"

namespace steadytext::session {

class ModelCall {
public:
    // ---- the request ----
    Spending spending;
    CacheQuery query;  // its key is set if `use_cache`, and if `run`
    bool use_cache = true;
    bool streaming = false;  // the answer comes in pieces, to this session only
    Deadline deadline;
    std::uint32_t tag = 0;  // for the owner
    std::uint64_t run =
        0;  // of the executor, whose equal calls share answers (equal_answers.hpp); then the key is set; 0: none

    // ---- the state so far ----
    CallResult result = CallResult::Failed;
    core::Problem problem;  // set if the call failed or was limited
    Quota quota;
    bool was_sent = false;                       // a daemon had the request for a while
    double queue_ms = -1;                        // until a daemon had the request; -1: it was never in a slot
    std::int64_t limit_wait_us = 0;              // if Limited: as in Refusal
    std::int64_t given_tokens = kUnknownTokens;  // of a stream: the tokens so far
    std::int64_t took_us = 0;                    // after finish()

    // ---- the steps that differ from kind to kind, in the order in which running_call.cpp takes them ----

    // Looks into the cache of the PL/Python original.
    [[nodiscard]] virtual bool recall_original(CachedAnswer &) { return false; }
    // Takes an answer from the cache or from another session; false if the answer is of no use.
    [[nodiscard]] virtual bool accept_cached(const CachedAnswer &found) = 0;
    // The same of the hub, which may say anything; what was taken is remembered, with `found` as it came.
    [[nodiscard]] virtual bool accept_from_hub(const CachedAnswer &found) { return accept_cached(found); }
    virtual void keep_from_hub(const CachedAnswer &) {}
    // Makes the request to a daemon, with its texts in CurrentMemoryContext. Raises if no daemon can answer such a
    // request.
    [[nodiscard]] virtual SlotRequest prepare() = 0;
    // After no daemon was found to serve the model of the request: chooses again, and with the model the key and what
    // is spent. False if there is no other model for such a call. May raise, as steadytext.unknown_model says.
    [[nodiscard]] virtual bool choose_again() { return false; }
    // Reads a daemon's answer, and remembers it if `use_cache`. Answered, or Unshared, with the answer for others in
    // `shared` if there may be any; or Failed, with `problem`.
    [[nodiscard]] virtual CallResult accept(const Answer &answer, CachedAnswer &shared) = 0;
    // Settles the rate limits; kUnknownTokens if the daemon did not count.
    [[nodiscard]] virtual std::int64_t used_tokens() const { return kUnknownTokens; }
    // After the end: obeys steadytext.on_failure if the call failed, and counts the call.
    virtual void finish() = 0;
    // After finish(): the answer, a text or floats; false: NULL.
    [[nodiscard]] virtual bool bytes(std::string_view &answer) const = 0;

    // The cost of a call without an answer. A daemon has worked on a request that was sent, for an unknown time: the
    // request costs its whole reservation, or the tokens that came. Otherwise an early cancel, or a request that must
    // fail, would have the daemon's time for nothing.
    [[nodiscard]] std::int64_t used_in_vain() const { return was_sent ? given_tokens : 0; }

protected:
    ModelCall() = default;
    ModelCall(const ModelCall &) = default;
    ~ModelCall() = default;
};

}  // namespace steadytext::session
