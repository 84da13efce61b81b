// Many calls of one session under way at once, each by the stages of a call made alone (running_call.hpp).
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
// Called by src/session/batch.cpp and src/queue/worker_main.cpp. Regime: pg. An error, raised by whatever a call does
// or by steadytext.on_limit = error, leaves the others as they are: give_up() ends them, in a cleanup or
// before_shmem_exit callback. It frees their slots at once and has the daemons stop.
//
// Nothing here waits for one thing alone. So it may lead many flights (shmem/single_flight.hpp) and still look at what
// others lead: a key that another session asks for is looked at again until it is in the cache or free to be led.
#pragma once

#include "src/session/observe.hpp"
#include "src/session/running_call.hpp"

namespace steadytext::session {

class ConcurrentCalls {
public:
    // In CurrentMemoryContext. `most`: beyond what the daemons work on at once and half of steadytext.max_requests.
    // `embeds`: all are for embeddings, of which an engine takes many in one message.
    [[nodiscard]] static ConcurrentCalls *make(std::uint32_t most = UINT32_MAX, bool embeds = false);

    [[nodiscard]] bool has_room() { return count_ < room(); }
    // As many as may be under way now.
    [[nodiscard]] std::uint32_t room();
    [[nodiscard]] bool is_idle() const { return count_ == 0; }
    [[nodiscard]] std::uint32_t count() const { return count_; }

    // Told of each call before it is moved on, and of null when none is.
    void watch(void (*moving)(const ModelCall *call)) { watcher_ = moving; }

    // From here on calls go on after the transaction that started them.
    void outlive_transactions() { group_.outlives_transactions = true; }

    // Takes the call, just begun, as far as it goes without waiting. CurrentMemoryContext is where its answer will be.
    // It goes on as the role that is the current user now.
    void start(ModelCall *call);
    // One that has ended, in no order; it is the call that observe:: speaks of. Null if there is none.
    [[nodiscard]] ModelCall *take_ended();
    void wait(std::int64_t most_us);
    // After an error: the one that raised it, which is given up. Null if it was none.
    [[nodiscard]] ModelCall *take_broken();

    // Ends this one, if it is under way.
    void give_up(const ModelCall *call);
    // Ends all that are under way.
    void give_up();
    static void give_up_on_error(int, Datum calls) { reinterpret_cast<ConcurrentCalls *>(DatumGetPointer(calls))->give_up(); }

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
    std::uint32_t window_ = 0;  // what the daemons work on at once
    std::int64_t look_at_daemons_us_ = 0;
    std::uint32_t count_ = 0;
    std::uint32_t looked_at_ = 0;  // by take_ended()
    void (*watcher_)(const ModelCall *call) = nullptr;
    Entry *moving_ = nullptr;
    CallGroup group_;
    Entry *entries_ = nullptr;
};

}  // namespace steadytext::session
