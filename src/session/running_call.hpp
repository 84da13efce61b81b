// The state machine of a call: all calls go through it, alone, among many, or as a stream.
//
//   LookUp ──▶ Admit ──▶ Join ──▶ AskHub ──────────▶ Place ──▶ Sent ──▶ Ended
//      │ hit              │ another session leads      ▲
//      ▼                  ▼         the leader left    │
//    Ended              Follow ────────────────────────┘
//                         │ the leader's answer
//                         ▼
//                       Ended              From each stage a limit, a failure or the deadline leads to Ended.
//
// A call whose model turns out at Sent to be nobody's goes back to LookUp with another model, if it is one that goes to
// whichever model there is: with another key it has other followers, and may be in the cache.
//
// LookUp asks the cache before anything is set up for a wait, so a hit costs a single stage. A call that shares no
// answer (without the cache, or a stream) skips Join. AskHub is for independent nodes (hub_link.hpp): the hub may have the answer, or another
// node may be computing it. advance() goes as far as possible without a wait. Between two
// calls of advance() the session waits on its latch: the rate limiter, the leader, the waiting line and the gateway set
// it.
//
// Called by generation.cpp, embedding.cpp and reranking.cpp (run), concurrent_calls.cpp (many) and
// generation_stream.cpp. Regime: pg. A RunningCall is plain data: it may be moved, and left by a longjmp. After an
// error its owner calls drop(), which gives back the slot, the place in line, the ticket and the quota.
#pragma once

#include "shmem/single_flight.hpp"
#include "src/pg/wait.hpp"
#include "src/session/hub_link.hpp"
#include "src/session/model_call.hpp"
#include "src/session/statement_caps.hpp"

namespace steadytext::session {

// Shared by the calls that a session has under way at the same time.
struct CallGroup {
    std::uint32_t sent = 0;              // calls with a slot
    const ModelCall *in_line = nullptr;  // the call for which the session stands in line for a slot (room.hpp)
    bool asks_ahead = false;             // calls that are told of when they are taken (ahead.hpp)
    bool outlives_transactions = false;  // calls go on after the transaction that started them
    std::int64_t least_pause_us = 0;     // before a call asks the rate limits again
};

class RunningCall {
public:
    RunningCall(ModelCall &call, CallGroup &group) : call_(&call), group_(&group) {}

    // Carries out the call, and waits on the latch between the stages. Leaves a stream at Sent: generation_stream.cpp
    // goes on.
    void run();

    // Goes as far as possible without a wait.
    void advance();
    // Whether advance() may do something; and whether it certainly will.
    [[nodiscard]] bool can_advance() const;
    [[nodiscard]] bool is_ready() const {
        return has_ended() || (stage_ == Stage::Place && group_->in_line == nullptr);
    }
    // When advance() may do something even if nothing sets the latch. CLOCK_MONOTONIC.
    [[nodiscard]] std::int64_t due_us() const { return stage_ == Stage::Sent ? slot_.deadline_us() : again_us_; }

    // A session that leads flights and turns away from them for long, to the statement's other work, loses its followers.
    static void look_after_flights();
    static void turn_away_from_flights();

    [[nodiscard]] bool has_ended() const { return stage_ == Stage::Ended; }
    [[nodiscard]] bool is_sent() const { return stage_ == Stage::Sent; }
    [[nodiscard]] ModelCall &call() const { return *call_; }

    // Repeats a call already answered in this statement: charges limits and counts the call, without reading the
    // answer.
    void repeat(CallResult first) { repeats_ = true, first_ = first; }

    // The slot of a stream at Sent, and the end of the stream: the call has ended, or begins again.
    [[nodiscard]] PendingSlot &slot() { return slot_; }
    void end_sent(const Answer &answer);

    // Gives back all that the call holds. Raises nothing, and may be called again.
    void drop();

private:
    enum class Stage : std::uint8_t { LookUp, Admit, Join, Follow, AskHub, Place, Sent, Ended };

    // Each function takes a step; false if the call has to wait or has ended.
    [[nodiscard]] bool step();
    [[nodiscard]] bool look_up();
    [[nodiscard]] bool join();
    [[nodiscard]] bool lead();
    [[nodiscard]] bool follow();
    [[nodiscard]] bool ask_hub();
    [[nodiscard]] bool end_recalled(const CachedAnswer &found);
    [[nodiscard]] bool place();
    [[nodiscard]] bool look_at_slot();

    [[nodiscard]] Stage after_admission() const {
        return call_->use_cache && !call_->streaming ? Stage::Join : Stage::Place;
    }
    [[nodiscard]] bool is_admitted();
    [[nodiscard]] bool is_within_caps();
    // Of the queue.
    [[nodiscard]] bool is_job() const { return group_->outlives_transactions && !group_->asks_ahead; }
    [[nodiscard]] bool recall();
    [[nodiscard]] bool recall_equal();
    // The answer for the sessions that follow; the answer that the leader published.
    void publish(CallResult result, const CachedAnswer &answer);
    [[nodiscard]] CachedAnswer take_published();
    [[nodiscard]] bool fail_if_late();
    void leave_flight();
    [[nodiscard]] bool may_claim() const;
    void stand_in_line();
    void leave_line();
    [[nodiscard]] bool go_to(Stage stage);
    [[nodiscard]] bool accept(const Answer &answer);
    [[nodiscard]] bool begin_again(const Answer &answer);
    [[nodiscard]] bool fail(CallResult result);
    [[nodiscard]] bool end(CallResult result);
    [[nodiscard]] bool end_repeated();
    [[nodiscard]] pg::WaitEvent &wait_event() const;

    ModelCall *call_;
    CallGroup *group_;
    Stage stage_ = Stage::LookUp;
    bool repeats_ = false;
    bool has_waited_ = false;  // for a rate limit
    bool is_woken_ = false;    // the limiter sets the latch when the call may be admitted
    CallResult first_ = CallResult::Failed;
    std::int64_t again_us_ = 0;  // when to look again; 0: at once
    caps::Charge charge_;
    SlotRequest request_{};
    PendingSlot slot_;
    shmem::SingleFlight::Ticket ticket_;
    HubAsk ask_;
};

// Carries out a single call; finish() is left to the caller.
void run(ModelCall &call);
// Repeats a call already answered in this statement, and counts the call. If the first call failed, `call.problem` is
// its problem.
void run_repeated(ModelCall &call, CallResult first);

}  // namespace steadytext::session
