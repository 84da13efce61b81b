// One connection to one daemon, whatever it is made of: what a Daemon needs of a transport.
//
// Implemented by zmq_channel.* and http_channel.*, made by open_channel.*, called by bgworker/daemon*. Regime: pure (no
// PostgreSQL call below this line). Nothing here waits: send() says Busy, receive() and notice() deliver what has arrived, and
// the gateway's loop sleeps on wait_fds().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::gateway {

class Channel;

// One request that a peer which goes on working did not answer.
struct Declined {
    enum class Why : std::uint8_t {
        Busy,         // it asks to come again later
        Unavailable,  // it cannot, another may
        Unserved,     // it does not do this at all, and has told so by on_described()
        Reworded,     // it has taught in which form it wants the request, which gets that form when it is sent again
        Exhausted,    // its account has nothing left: another may do better, asking again does not help
        Invalid,      // what it sent is no answer
    };
    std::string id;
    Why why = Why::Unavailable;
    std::string reason;
    std::int64_t retry_after_us = 0;  // of Busy
    bool is_loading = false;          // of Busy: it is not ready yet
    bool is_its_failure = true;       // anybody's request would fare so
};

// What receive() and notice() tell the owner of the channel.
class ChannelListener {
public:
    virtual void on_up(Channel &channel) = 0;
    virtual void on_down(Channel &channel, const char *reason) = 0;
    virtual void on_connect_failed(Channel &channel, const char *reason) = 0;
    // It is there, and says that it will be ready.
    virtual void on_loading(Channel &channel, const char *reason) = 0;
    virtual void on_message(Channel &channel, std::string_view body) = 0;
    virtual void on_declined(Channel &channel, const Declined &declined) = 0;
    // The peer is not what it told: here is the answer to `info` as it should have been.
    virtual void on_described(std::string_view info) = 0;
    // What was learned about the peer, in words.
    virtual void on_lesson(std::string_view lesson) = 0;

protected:
    ~ChannelListener() = default;
};

class Channel {
public:
    enum class Sent {
        Yes,
        Busy,        // not now
        Unsendable,  // this message never: the connection and all that it carries are as they were
        Broken,      // the connection is
    };

    virtual ~Channel() = default;

    [[nodiscard]] virtual Sent send(std::string_view body) = 0;
    // Delivers messages that have arrived; bounded, so that one chatty peer cannot starve the others. True if there were
    // any: a descriptor may be edge-triggered (ZeroMQ's are), so the loop may sleep only after every receive() has said false.
    virtual bool receive(ChannelListener &listener) = 0;
    // Delivers what happened to the connection itself. Rare, so it is asked for only when a descriptor was readable.
    virtual void notice(ChannelListener &listener) = 0;
    // Descriptors that become readable when receive() or notice() has work.
    virtual void append_wait_fds(std::vector<int> &fds) const = 0;
    // Nothing more of the stream that answers this request, until it is resumed: its reader lags. A transport whose requests share one way
    // cannot hold up one of them, and need not.
    virtual void pause(std::string_view) {}
    virtual void resume(std::string_view) {}

    bool up = false;              // handshake done
    bool ended = false;           // it will not come back by itself: the owner makes another
    bool is_spare = false;        // for one request at a time that goes alone
    std::int64_t stopping_since_us = 0;  // of a serial daemon's: its stream is to stop, and has not yet; 0: there is none
    std::uint32_t in_flight = 0;  // requests sent and not answered, control requests included
};

}  // namespace steadytext::gateway
