// A ZeroMQ DEALER connection to a daemon's REP or ROUTER socket, with its own monitor.
//
// Made by bgworker/open_channel.cpp. Regime: pure; libzmq by its C calls, which do not throw.
//
// A request is [empty delimiter, body], which both REP and ROUTER daemons understand. The socket's descriptor is
// edge-triggered and every send or receive consumes edges, so receive() reads until EAGAIN (zmq_getsockopt(3), ZMQ_FD).
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

private:
    ZmqChannel() = default;

    void *socket_ = nullptr;
    void *monitor_ = nullptr;
    bool encrypted_ = false;
};

}  // namespace steadytext::gateway
