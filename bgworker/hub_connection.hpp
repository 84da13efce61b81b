// A connection to the hub by libpq that never blocks: it is moved whenever its socket, or the clock, may have changed it.
//
// Made and owned by bgworker/hub_main.cpp, by way of a library of its own: libpq is in pg_steadytext_hub.so, which the
// hub worker loads when it first connects, and is in no other process. So no function here may be called but by the
// table of the class. Regime: pg, without a destructor; an ERROR may pass over it. libpq looks up names while it begins a connection, and nothing interrupts that (nor in PostgreSQL's own walreceiver).
//
// What libpq says may name hosts, users and files, and what the hub says may be anything: both are for the server's log
// alone, cut and without control characters. Views show the SQLSTATE.
#pragma once

#include "src/pg/postgres.hpp"

#include <cstdint>

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
    virtual void begin(const char *conninfo, const char *database) = 0;
    // Sends a batch, in state Idle. `records` is an array of bytea in the form of the wire, and lives until the answer.
    virtual void ask(std::int64_t node, std::int64_t batch, std::int64_t clears, const char *records, int bytes) = 0;
    [[nodiscard]] virtual Event move() = 0;
    // The caller has lost patience.
    virtual void give_up(const char *why) = 0;
    virtual void close() = 0;
    [[nodiscard]] virtual int socket() const = 0;

    [[nodiscard]] State state() const { return state_; }
    // What to wait for, and where; 0: nothing.
    [[nodiscard]] std::uint32_t wait_events() const { return wait_events_; }

    [[nodiscard]] std::uint32_t taken() const { return taken_; }
    [[nodiscard]] std::uint32_t refused() const { return refused_; }
    // After Refused and Lost; packed as PostgreSQL does.
    [[nodiscard]] int sqlstate() const { return sqlstate_; }
    [[nodiscard]] const char *message() const { return message_; }

protected:
    HubConnection() = default;
    ~HubConnection() = default;

    State state_ = State::Closed;
    std::uint32_t wait_events_ = 0;
    std::uint32_t taken_ = 0, refused_ = 0;
    int sqlstate_ = 0;
    char message_[256] = "";
};

// Both libraries must agree on this class. The number changes with it.
inline constexpr char kHubInterface[] = STEADYTEXT_VERSION " interface 1";
// What the library exports as "steadytext_hub_connection": makes the process's connection, or raises an ERROR where the
// caller has another interface.
using MakeHubConnection = HubConnection *(const char *interface);

}  // namespace steadytext::worker
