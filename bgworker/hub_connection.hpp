// A connection to the hub by libpq that never blocks: it is moved whenever its socket, or the clock, may have changed it.
//
// Owned by bgworker/hub_main.cpp, node_main.cpp and node_giver.cpp, and made by a library of its own: libpq is in pg_steadytext_hub.so, which a
// worker loads when it first connects (hub_library.hpp), and is in no other process. So no function here may be called but by the table of the
// class. Regime: pg, without a destructor; an ERROR may pass over it. libpq looks up names while it begins a connection, and nothing interrupts
// that (nor in PostgreSQL's own walreceiver).
//
// What libpq says may name hosts, users and files, and what the hub says may be anything: both are for the server's log alone, cut and without
// control characters; views show the SQLSTATE. The caller looks at the form of each value. What the hub sends has a limit for its memory, which
// libpq cannot pass: while it reads, the process may get no more from the system.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "port/pg_bswap.h"
}

#include <cstdint>
#include <cstring>

namespace steadytext::worker {

class HubConnection {
public:
    enum class State { Closed, Connecting, Idle, Asking };
    enum class Event {
        None,
        Connected,
        Answered,  // rows(), columns() and value() say what
        Refused,   // the hub said no, and goes on
        Lost       // the connection is closed
    };
    struct Parameter {
        Oid type;
        const char *bytes;  // in binary form
        int size;
    };
    static constexpr int kMostParameters = 5;

    // Begins to connect. The database is the one of this name there. A connection that holds more than `memory` bytes is lost.
    virtual void begin(const char *conninfo, const char *database, std::int64_t memory) = 0;
    // In state Idle: a statement of one result, which comes in binary form.
    virtual void ask(const char *statement, const Parameter *parameters, int count) = 0;
    [[nodiscard]] virtual Event move() = 0;
    // The caller has lost patience, or cannot read the answer.
    virtual void give_up(int sqlstate, const char *why) = 0;
    virtual void close() = 0;
    [[nodiscard]] virtual int socket() const = 0;
    // After Answered, until the next ask(). Null: NULL, or not there.
    [[nodiscard]] virtual int rows() const = 0;
    [[nodiscard]] virtual int columns() const = 0;
    [[nodiscard]] virtual const char *value(int row, int column, int &size) const = 0;
    // A message has come since the last look.
    [[nodiscard]] virtual bool was_told() = 0;

    // False: there is no integer of this size.
    [[nodiscard]] bool read(int row, int column, std::int32_t &number) const {
        std::uint32_t sent = 0;
        const bool is_there = copy(row, column, &sent, sizeof sent);
        number = static_cast<std::int32_t>(pg_ntoh32(sent));
        return is_there;
    }
    [[nodiscard]] bool read(int row, int column, std::int64_t &number) const {
        std::uint64_t sent = 0;
        const bool is_there = copy(row, column, &sent, sizeof sent);
        number = static_cast<std::int64_t>(pg_ntoh64(sent));
        return is_there;
    }

    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] bool is_waiting() const { return state_ == State::Connecting || state_ == State::Asking; }
    // What to wait for, and where; 0: nothing.
    [[nodiscard]] std::uint32_t wait_events() const { return wait_events_; }
    // After Refused and Lost; packed as PostgreSQL does.
    [[nodiscard]] int sqlstate() const { return sqlstate_; }
    [[nodiscard]] const char *message() const { return message_; }

protected:
    HubConnection() = default;
    ~HubConnection() = default;

    [[nodiscard]] bool copy(int row, int column, void *to, int wanted) const {
        int size;
        const char *bytes = value(row, column, size);
        if (bytes == nullptr || size != wanted)
            return false;
        memcpy(to, bytes, static_cast<std::size_t>(size));
        return true;
    }

    State state_ = State::Closed;
    std::uint32_t wait_events_ = 0;
    int sqlstate_ = 0;
    char message_[256] = "";
};

// Both libraries must agree on this class. The number changes with it.
inline constexpr char kHubInterface[] = STEADYTEXT_VERSION " interface 2";
// What the library exports as "steadytext_hub_connection": makes a connection, named so in the hub's pg_stat_activity, or raises an ERROR where
// the caller has another interface.
using MakeHubConnection = HubConnection *(const char *interface, const char *application);

}  // namespace steadytext::worker
