// A connection to the hub by libpq that never blocks: it is moved whenever its socket, or the clock, may have changed it.
//
// Owned by bgworker/hub_main.cpp. Regime: pg, without a destructor; an ERROR may pass over it. libpq looks up names
// while it begins a connection, and nothing interrupts that (nor in PostgreSQL's own walreceiver).
//
// What libpq says may name hosts, users and files, and what the hub says may be anything: both are for the server's log
// alone, cut and without control characters. Views show the SQLSTATE.
#pragma once

#include "src/pg/postgres.hpp"

#include <cstdint>

struct pg_conn;
struct pg_result;

namespace steadytext::worker {

class HubConnection {
public:
    enum class State { Closed, Connecting, Idle, Asking };
    enum class Event {
        None,
        Connected,
        Answered,  // taken() and refused() are set
        Refused,   // the hub said no, and goes on
        Lost       // the connection is closed
    };

    // Begins to connect. The database is the one of this name there.
    void begin(const char *conninfo, const char *database);
    // Sends a batch, in state Idle. `records` is an array of bytea in the form of the wire, and lives until the answer.
    void ask(std::int64_t node, std::int64_t batch, std::int64_t clears, const char *records, int bytes);
    [[nodiscard]] Event move();
    // The caller has lost patience.
    void give_up(const char *why);
    void close();

    [[nodiscard]] State state() const { return state_; }
    // What to wait for, and where; 0: nothing.
    [[nodiscard]] std::uint32_t wait_events() const { return wait_events_; }
    [[nodiscard]] int socket() const;

    [[nodiscard]] std::uint32_t taken() const { return taken_; }
    [[nodiscard]] std::uint32_t refused() const { return refused_; }
    // After Refused and Lost; packed as PostgreSQL does.
    [[nodiscard]] int sqlstate() const { return sqlstate_; }
    [[nodiscard]] const char *message() const { return message_; }

private:
    [[nodiscard]] Event move_connecting();
    [[nodiscard]] Event move_asking();
    [[nodiscard]] Event lose(int sqlstate, const char *message);
    [[nodiscard]] bool flush();
    [[nodiscard]] Event read_result();
    [[nodiscard]] bool read_row();
    void note(int sqlstate, const char *message);

    pg_conn *connection_ = nullptr;
    pg_result *result_ = nullptr;
    State state_ = State::Closed;
    bool has_descriptor_ = false;  // counted among the server's open files
    std::uint32_t wait_events_ = 0;
    std::uint32_t taken_ = 0, refused_ = 0;
    int sqlstate_ = 0;
    char message_[256] = "";
};

}  // namespace steadytext::worker
