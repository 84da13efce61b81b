// Keeps the gateway's own memory bounded against daemons that send ZeroMQ messages that do not end.
//
// libzmq keeps the parts of a message until the last part has come, has a limit for a part and none for their number, and tells
// nobody of it. Over TCP a channel knows what is kept (zmq_channel.hpp), and a daemon that brings such a message is shut out.
// Of a Unix socket nobody knows. So the gateway looks at its own memory, and beyond a bound it closes connections of that kind
// one by one: the one first that has brought no whole message for the longest time. That memory is free then may have
// another cause: only a daemon of which it is so for the second time, while no connection ended by itself, is shut out.
//
// A part costs libzmq 64 bytes even if it is empty, so what came over TCP says only between which bounds its memory is: if memory grows by
// far more than answers of those bytes would take, the connections of the daemon that has most on the way are closed. If that frees what
// no such answer can have taken, for the second time, it is shut out, too; else its requests are sent again, and the next is tried.
//
// Owned by the gateway, called from its tick. Regime: pure.
#pragma once

#include "bgworker/daemon.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace steadytext::gateway {

class MemoryWatch {
public:
    // `payload_bytes`: what all requests and replies of sessions may take.
    explicit MemoryWatch(std::size_t payload_bytes);

    // `each` calls its argument for each daemon.
    using EachDaemon = std::function<void(const std::function<void(Daemon &)> &)>;
    // `ended`: how many connections have ended by themselves.
    void look(const EachDaemon &each, const std::uint64_t &ended, std::int64_t now_us);

private:
    void judge(const EachDaemon &each, std::size_t bytes, std::int64_t now_us);
    [[nodiscard]] Daemon *most_waiting(const EachDaemon &each);
    void try_silent(const EachDaemon &each, std::size_t bytes, bool any_ended, std::uint64_t ended,
                    std::int64_t now_us);
    void suspect(const Daemon &daemon, std::size_t bytes, std::size_t least_freed, std::uint64_t ended);
    [[nodiscard]] int tries(const Daemon &daemon) const;
    [[nodiscard]] int offences(const Daemon &daemon) const;

    std::size_t most_;
    std::size_t floor_;               // bytes, at the last look at which no daemon had much on the way
    std::size_t seen_ = 0;            // bytes, at the last look
    int waited_ = 0;                  // looks in sequence, beyond the bound, in which a connection had ended
    std::size_t before_ = 0;          // bytes, when the last connection was closed
    std::size_t least_freed_ = 0;     // what closing it must free to convict
    std::uint64_t ended_seen_ = 0;    // connections that had ended at the last look
    std::uint64_t ended_before_ = 0;  // by themselves, then
    std::string suspect_;             // the name of that daemon; empty: none
    std::unordered_map<std::string, int> tried_;  // names, since memory was within the bound: how often
    struct Offences {
        int count = 0;
        std::int64_t last_us = 0;
    };
    std::unordered_map<std::string, Offences> offences_;  // names: how often a daemon seemed to be the cause lately
};

}  // namespace steadytext::gateway
