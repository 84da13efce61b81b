// A node worker's standing connection to its hub, by libpq, which never blocks: it is moved whenever its socket, or the clock, may have changed it.
//
// Made by pg_steadytext_hub.so, as hub_connection.hpp says, and owned by bgworker/node_main.cpp. Regime: pg, without a destructor. What comes
// from the hub may be anything: the caller looks at the form of each value, and the process has a limit for its memory.
#pragma once

#include "src/pg/postgres.hpp"

#include <cstdint>

namespace steadytext::worker {

class NodeConnection {
public:
    enum class State { Closed, Connecting, Idle, Asking };
    enum class Event { None, Connected, Answered, Refused, Lost };  // as of HubConnection
    struct Parameter {
        Oid type;
        const char *bytes;  // in binary form, until the answer
        int size;
    };

    virtual void begin(const char *conninfo, const char *database) = 0;
    // In state Idle: a statement of one result, which comes in binary form.
    virtual void ask(const char *statement, const Parameter *parameters, int count) = 0;
    [[nodiscard]] virtual Event move() = 0;
    virtual void give_up(const char *why) = 0;
    virtual void close() = 0;
    [[nodiscard]] virtual int socket() const = 0;
    // After Answered, until the next ask(). Null: NULL, or not there.
    [[nodiscard]] virtual int rows() const = 0;
    [[nodiscard]] virtual int columns() const = 0;
    [[nodiscard]] virtual const char *value(int row, int column, int &size) const = 0;
    // A message has come since the last look.
    [[nodiscard]] virtual bool was_told() = 0;

    [[nodiscard]] State state() const { return state_; }
    [[nodiscard]] std::uint32_t wait_events() const { return wait_events_; }
    [[nodiscard]] int sqlstate() const { return sqlstate_; }
    [[nodiscard]] const char *message() const { return message_; }

protected:
    NodeConnection() = default;
    ~NodeConnection() = default;

    State state_ = State::Closed;
    std::uint32_t wait_events_ = 0;
    int sqlstate_ = 0;
    char message_[256] = "";
};

// Both libraries must agree on this class. The number changes with it.
inline constexpr char kNodeInterface[] = STEADYTEXT_VERSION " node interface 1";
// What the library exports as "steadytext_node_connection".
using MakeNodeConnection = NodeConnection *(const char *interface);

}  // namespace steadytext::worker
