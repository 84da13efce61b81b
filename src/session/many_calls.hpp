// Many calls of one session under way at once, each with the limits, cache, single flight and counts of a call made alone.
//
//   ManyCalls *calls = ManyCalls::make();
//   PG_ENSURE_ERROR_CLEANUP(ManyCalls::give_up_on_error, PointerGetDatum(calls));
//   for (;;) {
//       while (there is more && calls->has_room())
//           calls->start(begin_generation(request, generation));  // made in a memory context of its own
//       while (Inquiry *ended = calls->take_ended()) {
//           ended->finish();  // or, instead of falling back: observe::failed(ended->problem), observe::end()
//           ... its answer ...
//       }
//       if (calls->is_idle() && there is no more)
//           break;
//       calls->wait(timeout);  // until something has ended, the latch was set, or the time is over
//   }
//   PG_END_ENSURE_ERROR_CLEANUP(...);
//
// Called by src/session/batch.cpp and bgworker. Regime: pg. An error, raised by whatever an inquiry does or by
// steadytext.on_limit = error, leaves the others as they are: give_up() ends them, in a cleanup or before_shmem_exit callback.
// It frees their slots at once and has the daemons stop.
//
// Nothing here waits for one thing alone. So it may lead many flights (shmem/single_flight.hpp) and still look at what others
// lead: a key that another session asks for is looked at again until it is in the cache or free to be led.
#pragma once

#include "src/session/inquiry.hpp"
#include "src/session/observe.hpp"

namespace steadytext::session {

class ManyCalls {
public:
    // In CurrentMemoryContext. `most`: beyond what the daemons work on at once and half of steadytext.max_requests. `embeds`: all are for
    // embeddings, of which an engine takes many in one message.
    [[nodiscard]] static ManyCalls *make(std::uint32_t most = UINT32_MAX, bool embeds = false);

    [[nodiscard]] bool has_room() { return count_ < room(); }
    // As many as may be under way now.
    [[nodiscard]] std::uint32_t room();
    [[nodiscard]] bool is_idle() const { return count_ == 0; }
    [[nodiscard]] std::uint32_t count() const { return count_; }

    // Told of each inquiry before it is moved on, and of null when none is.
    void watch(void (*moving)(const Inquiry *inquiry)) { watcher_ = moving; }

    // From here on calls go on after the transaction that started them.
    void outlive_transactions() { outlives_ = true; }

    // Takes the inquiry, just begun, as far as it goes without waiting. CurrentMemoryContext is where its answer will be.
    // It goes on as the role that is the current user now.
    void start(Inquiry *inquiry);
    // One that has ended, in no order; it is the call that observe:: speaks of. Null if there is none.
    [[nodiscard]] Inquiry *take_ended();
    void wait(std::int64_t most_us);
    // After an error: the one that raised it, which is given up. Null if it was none.
    [[nodiscard]] Inquiry *take_broken();

    // Ends this one, if it is under way.
    void give_up(const Inquiry *inquiry);
    // Ends all that are under way.
    void give_up();
    static void give_up_on_error(int, Datum calls) { reinterpret_cast<ManyCalls *>(DatumGetPointer(calls))->give_up(); }

private:
    enum class Stage : std::uint8_t {
        Lookup,  // to be admitted, then looked up in the cache
        Miss,    // to be admitted, if that was not before the lookup
        Join,    // to lead its key, or see it led to the end by another
        Follow,  // told by another, sometime
        Send,
        Flying,
        Ended,
    };
    struct Entry {
        Inquiry *inquiry;
        MemoryContext memory;
        Oid user;
        int security;
        Stage stage;
        std::int64_t again_us;     // when to look again; 0: at once
        Held held;
        shmem::SingleFlight::Ticket ticket;
        observe::Aside aside;
    };

    void advance(Entry &entry);
    void drop(Entry &entry);
    [[nodiscard]] bool step(Entry &entry);  // false: it has to wait
    [[nodiscard]] bool step_lookup(Entry &entry);
    [[nodiscard]] bool step_miss(Entry &entry);
    [[nodiscard]] bool step_join(Entry &entry);
    [[nodiscard]] bool step_follow(Entry &entry);
    [[nodiscard]] bool step_send(Entry &entry);
    [[nodiscard]] bool step_flying(Entry &entry);
    // True if it need not wait to be admitted; refused, it has ended.
    [[nodiscard]] bool admit(Entry &entry);
    void lead(Entry &entry);
    [[nodiscard]] bool may_be_sent(const Entry &entry) const;
    bool refuse(Entry &entry, const core::Problem &problem, bool timed_out);
    void leave_line(const Entry &entry);
    void take(Entry &entry, const Answer &answer);
    void end(Entry &entry, Ended ended);
    [[nodiscard]] bool has_others() const { return flying_ > 0; }

    bool embeds_ = false;
    std::uint32_t most_ = 0;
    std::uint32_t window_ = 0;  // what the daemons work on at once
    std::int64_t look_at_daemons_us_ = 0;
    std::uint32_t count_ = 0;
    std::uint32_t flying_ = 0;
    std::uint32_t looked_at_ = 0;  // by take_ended()
    bool outlives_ = false;
    void (*watcher_)(const Inquiry *inquiry) = nullptr;
    Entry *moving_ = nullptr;
    const Inquiry *in_line_ = nullptr;  // the call for which this session waits for room in shared memory (room.hpp)
    Entry *entries_ = nullptr;
};

}  // namespace steadytext::session
