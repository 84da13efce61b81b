// Closes the connection of a client over TCP that sends parts of a message and not the last, or more messages than the server reads: libzmq
// would keep them all. libzmq's own limit (ZMQ_RCVHWM) is off: a connection that it has stopped, and that then ends or is pinged, ends the
// process (libzmq#3937, libzmq#4364).
//
// A message may have as many bytes as the server takes in one, and all that have not ended together kMostOfAll, beyond which the client goes
// that has kept most for longest (bytes times time): so empty parts, of which each costs libzmq 64 bytes, are bounded, too.
// While others send without a pause, so that whole messages always wait, nobody can tell these from the parts of one: then a client goes
// that keeps more than a client may leave unread. All clients together may leave twice as much unread as one;
// beyond that each goes that has left more than a message.
// Of Unix sockets the kernel keeps no account (src/core/read_account.hpp): there the file's permissions say who may connect.
//
// Owned by the server, called from its loop. Regime: pure; libzmq by its C calls.
#pragma once

#include <cstdint>
#include <unordered_map>

#include <zmq.hpp>

#include "src/core/read_account.hpp"

namespace steadytext::daemon {

class PeerWatch {
public:
    static constexpr std::int64_t kMostOfAll = 32 << 20;
    static constexpr std::int64_t kLookUs = 200'000;

    // Bytes: of a message, and of all that have come from a client and were not read.
    PeerWatch(zmq::context_t &context, zmq::socket_t &router, std::int64_t most, std::int64_t most_waiting);
    PeerWatch(const PeerWatch &) = delete;
    PeerWatch &operator=(const PeerWatch &) = delete;
    ~PeerWatch();

    // A part of a whole message was read from the socket.
    void note_part(zmq::message_t &part);
    // No whole message is left in the socket.
    void note_drained();
    // Takes notice of who has come and gone; looks at what they send, if it is time to.
    void look(std::int64_t now_us);
    // Readable if somebody has come or gone.
    [[nodiscard]] void *events() noexcept { return monitor_.handle(); }
    // There is somebody to look at.
    [[nodiscard]] bool is_needed() const noexcept { return !peers_.empty() || trim_us_ != 0; }

private:
    struct Peer {
        core::ReadAccount account;
        std::int64_t unfinished = 0;
        std::int64_t since_us = 0;  // when that began
        bool is_closed = false;     // here; libzmq has yet to notice
    };
    void take_events(std::int64_t now_us);
    void close_unfinished(std::int64_t now_us);
    void close_flooding();
    void close(Peer &peer, const char *why);
    void free_later(const Peer &peer, std::int64_t now_us);

    zmq::socket_t &router_;
    std::int64_t most_, most_waiting_;
    std::int64_t left_ = 0;  // bytes of clients whose connections were closed, not read yet
    zmq::socket_t monitor_;
    std::unordered_map<int, Peer> peers_;  // by descriptor
    std::int64_t looked_us_ = 0;
    std::int64_t trim_us_ =
        0;  // when what a client had kept has been freed, and goes back to the system; 0: there is none
};

}  // namespace steadytext::daemon
