// What a worker notes of its hub, and how it pauses after a failure.
//
// Owned by bgworker/hub_main.cpp and node_main.cpp; the row is what views show. Regime: pg, without a destructor. The first failure and the
// first answer after it go to the server's log.
#pragma once

#include "bgworker/hub_connection.hpp"
#include "shmem/segment.hpp"

namespace steadytext::worker {

class HubContact {
public:
    void begin(shmem::DatabaseRow *row, std::int64_t longest_pause_us) {
        row_ = row;
        longest_pause_us_ = longest_pause_us;
    }
    void set_longest_pause(std::int64_t longest_pause_us) { longest_pause_us_ = longest_pause_us; }

    // A connection of the library that has libpq, which a process loads once. Null: it cannot be loaded, which is noted as a failure.
    [[nodiscard]] HubConnection *make_connection(const char *application);
    // The library is of another version. Only another process can load the right one.
    [[nodiscard]] bool is_misled() const { return is_misled_; }

    void note_answer();
    void note_failure(int sqlstate, const char *what, const char *why);
    // The connection says why.
    void note_silence(const HubConnection &hub) {
        note_failure(hub.sqlstate(), "the hub of pg_steadytext does not answer", hub.message());
    }
    // There is no hub to have contact with.
    void forget();

    [[nodiscard]] std::int64_t not_before_us() const { return not_before_us_; }
    void set_pause(std::int64_t pause_us) { pause_us_ = pause_us; }  // which the next failure doubles
    void wait_until(std::int64_t not_before_us) { not_before_us_ = not_before_us; }

private:
    shmem::DatabaseRow *row_ = nullptr;
    std::int64_t longest_pause_us_ = 0, pause_us_ = 0, not_before_us_ = 0;
    bool is_misled_ = false;
};

// The name of this worker's database, for as long as the process lives; null if the database is gone.
[[nodiscard]] const char *name_of_database();

}  // namespace steadytext::worker
