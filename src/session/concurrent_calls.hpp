// Many calls of a session under way at once. Each goes through the stages of a call made alone (running_call.hpp).
//
//   ConcurrentCalls *calls = ConcurrentCalls::make();
//   PG_ENSURE_ERROR_CLEANUP(ConcurrentCalls::give_up_on_error, PointerGetDatum(calls));
//   for (;;) {
//       while (there is more && calls->has_room())
//           calls->start(begin_generation(request, generation));  // made in a memory context of its own
//       while (ModelCall *ended = calls->take_ended()) {
//           ended->finish();  // or, instead of falling back: observe::failed(ended->problem), observe::end()
//           ... its answer ...
//       }
//       if (calls->is_idle() && there is no more)
//           break;
//       calls->wait(timeout);  // until something has ended, the latch was set, or the time is over
//   }
//   PG_END_ENSURE_ERROR_CLEANUP(...);
//
// Called by src/session/batch.cpp and src/queue/worker_jobs.cpp. Regime: pg. An error, raised by a step of a call or
// by steadytext.on_limit = error, leaves the other calls as they are: give_up() ends them, in a cleanup or
// before_shmem_exit callback. It frees their slots at once and has the daemons stop.
//
// Nothing here waits for a single event. So a session may lead many flights (shmem/single_flight.hpp) and still watch
// the flights of other sessions: it looks at such a key again until the answer is in the cache or the key is free to
// be led.
#pragma once

#include "src/session/observe.hpp"
#include "src/session/running_call.hpp"

namespace steadytext::session {

class ConcurrentCalls {
public:
    // In CurrentMemoryContext. `most`: a further cap, beside the number of calls that the daemons work on at once and
    // half of steadytext.max_requests. `embeds`: all calls are embeddings, of which an engine takes many in a single
    // message.
    [[nodiscard]] static ConcurrentCalls *make(std::uint32_t most = UINT32_MAX, bool embeds = false);

    [[nodiscard]] bool has_room() { return count_ < room(); }
    // As many calls as may be under way now.
    [[nodiscard]] std::uint32_t room();
    [[nodiscard]] bool is_idle() const { return count_ == 0; }
    [[nodiscard]] std::uint32_t count() const { return count_; }

    // Told of each call before it is moved on, and of null when none is.
    void watch(void (*moving)(const ModelCall *call)) { watcher_ = moving; }

    // From here on calls go on after the transaction that started them.
    void outlive_transactions() { group_.outlives_transactions = true; }

    // The calls are begun ahead of their turn (ahead.hpp).
    void ask_ahead() { group_.asks_ahead = true; }
    // Leaves the line for room in shared memory, if a call stands in it: a session has a single place there, and another
    // call may need it. A later wait() joins again.
    void leave_line();

    // Takes the call, just begun, as far as it goes without waiting. CurrentMemoryContext is where its answer will be.
    // It goes on as the role that is the current user now.
    void start(ModelCall *call);
    // A call that has ended, in no order; observe:: counts for it now. Null if no call has ended.
    [[nodiscard]] ModelCall *take_ended();
    void wait(std::int64_t most_us);
    // After an error: the call that raised it, which is given up. Null if no call raised it.
    [[nodiscard]] ModelCall *take_broken();

    // Ends this call, if it is under way.
    void give_up(const ModelCall *call);
    // Ends all calls that are under way.
    void give_up();
    static void give_up_on_error(int, Datum calls) {
        reinterpret_cast<ConcurrentCalls *>(DatumGetPointer(calls))->give_up();
    }

private:
    struct Entry {
        RunningCall running;
        MemoryContext memory;
        Oid user;
        int security;
        observe::SavedCall saved;
    };

    void advance(Entry &entry);
    void drop(Entry &entry);

    bool embeds_ = false;
    std::uint32_t most_ = 0;
    std::uint32_t window_ = 0;  // calls that the daemons work on at once
    std::int64_t look_at_daemons_us_ = 0;
    std::int64_t beside_others_until_us_ = 0;  // jobs: others had requests under way lately
    std::uint32_t count_ = 0;
    std::uint32_t looked_at_ = 0;  // by take_ended()
    void (*watcher_)(const ModelCall *call) = nullptr;
    Entry *moving_ = nullptr;
    CallGroup group_;
    Entry *entries_ = nullptr;
};

}  // namespace steadytext::session
