// A ZeroMQ DEALER connection to a daemon's REP or ROUTER socket, with its own monitor.
//
// Made by bgworker/open_channel.cpp. Regime: pure; libzmq by its C calls, which do not throw.
//
// A request is [empty delimiter, body], which both REP and ROUTER daemons understand. The socket's descriptor is
// edge-triggered and every send or receive consumes edges, so receive() is called until EAGAIN (zmq_getsockopt(3), ZMQ_FD).
//
// libzmq keeps the parts of a message until the last has come, bounds a part and not their number, and tells nobody what it
// keeps. So the channel counts: what libzmq has read from the connection by the kernel's account, less what whole
// messages were made of. If libzmq has given out all whole messages since that was read, the rest is of one that
// has not ended. The kernel keeps such an account for TCP, not for Unix sockets.
#pragma once

#include "bgworker/channel.hpp"

#include <memory>
#include <zmq.hpp>

namespace steadytext::gateway {

struct ZmqSettings {
    std::string endpoint;
    std::int64_t max_message_bytes;  // a larger message makes libzmq drop the connection
    int linger_ms;
    std::string server_key;  // CURVE: the daemon's public key in Z85; empty: no encryption
};

class ZmqChannel final : public Channel {
public:
    // Null if the socket cannot be made or the endpoint is refused; `reason` then says why.
    [[nodiscard]] static std::unique_ptr<ZmqChannel> open(void *context, const ZmqSettings &settings,
                                                          std::string &reason);
    ~ZmqChannel() override;

    [[nodiscard]] Sent send(std::string_view body) override;
    bool receive(ChannelListener &listener) override;
    void notice(ChannelListener &listener) override;
    void append_wait_fds(std::vector<int> &fds) const override;
    [[nodiscard]] std::optional<std::int64_t> unfinished_bytes() override;

private:
    // The connection's socket, which belongs to libzmq: it may close it at any moment, and the number be another's.
    struct Connection {
        int fd = -1;
        std::uint64_t inode = 0;
    };

    ZmqChannel() = default;
    [[nodiscard]] bool deliver_some(ChannelListener &listener);
    [[nodiscard]] std::int64_t bytes_on_wire(std::size_t part) const;
    void note_connected(int fd);
    void end();

    void *socket_ = nullptr;
    void *monitor_ = nullptr;
    std::string endpoint_;
    bool encrypted_ = false;
    bool any_delivered_ = false;  // of the last deliver_some()
    int parts_ = 0;               // of the message that is being read
    std::int64_t parts_bytes_ = 0;

    Connection connection_;
    std::int64_t accounted_ = 0;      // bytes of the connection in whole messages
    std::int64_t accounted_us_ = 0;   // when that was last known to be all
    std::int64_t read_ = -1;          // bytes that libzmq had read at the last look; -1: there was none
    bool is_drained_ = false;         // since then all whole messages were given out
    bool has_ended_message_ = false;  // and there were some
};

}  // namespace steadytext::gateway
