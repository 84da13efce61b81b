// Answers of the statement under way, so that it asks for equal inputs once, with `use_cache => false` too.
//
//   ahead.cpp         makes a store for each node that reads ahead, and tells it which run of the executor it is in
//   running_call.cpp  looks into the stores of the call's run before a model is asked, and keeps what a model answered
//
// Regime: pg. Inputs are equal if the key of the cache is, which holds all that can change an answer, and the current
// user. Only calls that the run itself evaluates share answers, not those of functions that it runs: a function may ask
// until it likes the answer. Each process of a parallel plan has its own stores. A store keeps up to work_mem of
// answers, then lets go of the oldest. It ends with its node.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/session/model_call.hpp"

struct HTAB;

namespace steadytext::session {

class EqualAnswers {
public:
    // In a context below `memory`. From here on found by calls of the run at hand (statement.hpp), until close().
    [[nodiscard]] static EqualAnswers *make(MemoryContext memory);
    void close();
    // The node goes on in the run at hand.
    void join_run();

    // The run at hand, if any store belongs to it and it makes the call by itself, else 0: for ModelCall::run.
    [[nodiscard]] static std::uint64_t run_at_hand();

    // The answer that an equal call of the call's run got, in CurrentMemoryContext.
    [[nodiscard]] static bool recall(const ModelCall &call, CachedAnswer &answer);
    static void keep(const ModelCall &call, const CachedAnswer &answer);

private:
    struct Entry;

    [[nodiscard]] static EqualAnswers *of(std::uint64_t run);
    void drop_oldest();

    MemoryContext memory_ = nullptr;
    HTAB *entries_ = nullptr;
    Entry *oldest_ = nullptr;
    Entry *newest_ = nullptr;
    std::size_t bytes_ = 0;
    std::uint64_t run_ = 0;
    EqualAnswers *next_ = nullptr;
};

}  // namespace steadytext::session
