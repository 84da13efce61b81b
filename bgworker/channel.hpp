// A connection to a daemon, whatever its transport: the interface that Daemon uses.
//
// Implemented by zmq_channel.* and http_channel.*, made by open_channel.*, called by bgworker/daemon*. Regime: pure (no
// PostgreSQL call below this line). Nothing here waits: send() says Busy, receive() and notice() deliver messages and
// events that have arrived, and the gateway's loop sleeps on wait_fds().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::gateway {

class Channel;

// A request that a peer did not answer, although it goes on working.
struct Declined {
    enum class Why : std::uint8_t {
        Busy,         // it asks to come again later
        Unavailable,  // it cannot, another daemon may
        Unserved,     // it never does this, and has said so by on_described()
        Reworded,     // it has taught another form for the request, which is used when the request is sent again
        Exhausted,    // its account is used up: another daemon may do better, asking again does not help
        Invalid,      // it sent something that is no answer
    };
    std::string id;
    Why why = Why::Unavailable;
    std::string reason;  // for the caller: an engine may repeat the request in it
    std::string
        shown;  // the same for everybody, without what may be a caller's; empty: `reason` has nothing of a caller's
    std::int64_t retry_after_us = 0;  // of Busy
    bool is_loading = false;          // of Busy: it is not ready yet
    bool is_its_failure = true;       // the request of any caller would fail so
    // Of its failure: of any caller for the same kind and model; others may answer.
    bool is_of_its_model = false;

    [[nodiscard]] const std::string &shown_reason() const { return shown.empty() ? reason : shown; }
};

// Receives the events of receive() and notice(): the owner of the channel.
class ChannelListener {
public:
    virtual void on_up(Channel &channel) = 0;
    virtual void on_down(Channel &channel, const char *reason) = 0;
    virtual void on_connect_failed(Channel &channel, const char *reason) = 0;
    // The peer is there, and says that it will be ready.
    virtual void on_loading(Channel &channel, const char *reason) = 0;
    virtual void on_message(Channel &channel, std::string_view body) = 0;
    // A message of more parts than any that could be an answer; the rest of it need not be read.
    virtual void on_many_parts(Channel &channel) = 0;
    virtual void on_declined(Channel &channel, const Declined &declined) = 0;
    // Requests of a kind for a model fail, the gateway's own too, while the peer answers others.
    virtual void on_convicted(bool generates, std::string_view model, const std::string &reason) = 0;
    // The peer has turned out to be different: the corrected answer to `info`.
    virtual void on_described(std::string_view info) = 0;
    // Something was learned about the peer, in words.
    virtual void on_lesson(std::string_view lesson) = 0;

protected:
    ~ChannelListener() = default;
};

class Channel {
public:
    enum class Sent {
        Yes,
        Busy,        // not now
        Unsendable,  // this message can never be sent: the connection and its other requests are not affected
        Broken,      // the connection is broken
    };

    virtual ~Channel() = default;

    [[nodiscard]] virtual Sent send(std::string_view body) = 0;
    // Delivers messages that have arrived; bounded in bytes and time, so that a busy peer cannot starve the others. True
    // if there were any: a descriptor may be edge-triggered (ZeroMQ's descriptors are), so the loop may sleep only after every
    // receive() has returned false.
    virtual bool receive(ChannelListener &listener) = 0;
    // Delivers events of the connection itself. Events are rare, so this is called only when a descriptor was readable.
    virtual void notice(ChannelListener &listener) = 0;
    // Descriptors that become readable when receive() or notice() has work.
    virtual void append_wait_fds(std::vector<int> &fds) const = 0;
    // Stops delivering the stream that answers this request until it is resumed, as its reader lags. A transport whose
    // requests share a connection cannot pause a single request, and need not.
    virtual void pause(std::string_view) {}
    virtual void resume(std::string_view) {}
    // How many bytes are kept of a message that has not come to its end; nullopt: it is not known. Called with each tick.
    [[nodiscard]] virtual std::optional<std::int64_t> unfinished_bytes() { return std::nullopt; }

    bool up = false;                     // handshake done
    bool ended = false;                  // it will not come back by itself: the owner makes another channel
    bool is_watched = false;             // unfinished_bytes() knew at its last call
    bool is_closed = false;              // its owner has given it up: it delivers nothing more
    bool is_spare = false;               // only for requests that go alone, a single request at a time
    std::int64_t stopping_since_us = 0;  // of a serial daemon: its stream must stop, and has not yet; 0: none
    std::uint32_t in_flight = 0;         // requests sent and not answered, control requests included
    // When the last whole message came, or the connection was made; INT64_MAX: of a transport that bounds what it keeps
    std::int64_t last_message_us = INT64_MAX;
    // Of the message that is being delivered, all its parts; 0: of a transport in which nothing comes unasked
    std::int64_t message_bytes = 0;
    std::int64_t waiting_bytes = 0;  // that have come, in whole messages or not, as of unfinished_bytes()
};

}  // namespace steadytext::gateway
