// The places among max_worker_processes: which worker gets the next place, and when a worker leaves its place to
// others.
//
// Regime: pg. If there are enough places, no worker waits and no worker leaves early. While a worker waits, a keeper,
// queue worker or callback worker leaves once it has had kTurnUs, at a point where nothing is lost. The next place goes
// to the owner of databases with the fewest places; among owners with equally many, to the owner that got a place
// longest ago; among the databases of an owner, to the worker that has waited longest, of any kind
// (src/core/worker_turns.hpp). So the wait grows with the number of owners that need a place, not with the databases,
// jobs, callbacks or failures of a single owner. A failing worker leaves before its pause: the pause
// (start_limiter.hpp) takes no place.
//
// Callback workers have few places of their own besides (shmem/callback_workers.hpp), which roles share. The queue
// worker of a database says for which roles it wants callback workers (src/queue/callbacks.cpp). The launcher knows all
// that wait, and the postmaster tells it when a worker has ended. A callback worker that waits for such a place sends
// callback workers away after their turn, and no other worker.
#pragma once

#include "bgworker/start_limiter.hpp"
#include "src/pg/postgres.hpp"
#include "shmem/segment.hpp"
#include "shmem/worker_places.hpp"
#include "src/core/clock.hpp"
#include "src/core/worker_turns.hpp"

#include <span>

namespace steadytext::worker {

// The launcher's knowledge of the workers of each row of shmem/database_table.hpp.
struct DatabaseStarts {
    Oid database = InvalidOid;
    StartLimiter keeper, queue_worker, node_worker;

    // The row may have passed to another database.
    void belong_to(Oid now) {
        if (now == database)
            return;
        database = now;
        keeper.reset();
        queue_worker.reset();
        node_worker.reset();
    }
};

// The workers that the launcher would start now, collected in a single look.
class WantedWorkers {
public:
    struct Wanted : core::WorkerTurns::Wish {
        StartLimiter *limiter;  // null: the limiter of the place that a callback worker will have
        const char *kind, *function;
        WorkerOrder order;
        shmem::WorkerPlaces::Left::CallbackWish *asked_in;  // of a callback worker
    };

    // Notes which of the started workers have ended.
    WantedWorkers(const shmem::Segment &segment, std::span<DatabaseStarts> starts, std::int64_t now_us);

    // True: the worker waits for its turn. False: it is starting, or its pause is not over, which lowers `again_us`.
    bool add(StartLimiter &limiter, const char *kind, const char *function, Oid database, std::int64_t &again_us);
    // The callback workers that the database of this row wants.
    void add_callbacks(std::uint32_t row, Oid database);
    // Starts as many workers as there are places; tells the workers that have places whether others wait.
    void begin(std::int64_t &again_us);

private:
    void note_place(Oid database, Oid role = InvalidOid);
    void note_callback_places();
    void push(const Wanted &wanted);
    void tell_who_waits() const;
    [[nodiscard]] static bool begin_callback(Wanted &chosen, std::int64_t now_us, std::int64_t &again_us);

    const shmem::Segment &segment_;
    std::int64_t now_us_;
    Wanted *wanted_;  // in CurrentMemoryContext
    std::uint32_t count_ = 0, room_;
    core::WorkerTurns::Place *held_;  // the places that workers have
    std::uint32_t held_count_ = 0, held_room_;
};

inline constexpr std::int64_t kTurnUs = 1'000'000;

// When a worker that began at `began_us` must leave its place to another worker; INT64_MAX: nobody waits.
[[nodiscard]] inline std::int64_t turn_ends_us(std::int64_t began_us) {
    return shmem::worker_places().waiting.load(std::memory_order_relaxed) == 0 ? INT64_MAX : began_us + kTurnUs;
}
[[nodiscard]] inline bool turn_is_over(std::int64_t began_us) { return core::monotonic_us() >= turn_ends_us(began_us); }

}  // namespace steadytext::worker
