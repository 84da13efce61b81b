// A ZeroMQ DEALER connection to a daemon's REP or ROUTER socket, with its own monitor.
//
// Made by bgworker/open_channel.cpp. Regime: pure; libzmq by its C calls, which do not throw.
//
// A request is [empty delimiter, body], which both REP and ROUTER daemons understand. The socket's descriptor is
// edge-triggered and every send or receive consumes edges, so receive() is called until EAGAIN (zmq_getsockopt(3), ZMQ_FD).
//
// What libzmq keeps of a message that has not ended is known over TCP (src/core/read_account.hpp).
#pragma once

#include "bgworker/channel.hpp"
#include "src/core/read_account.hpp"

#include <memory>
#include <zmq.hpp>

namespace steadytext::gateway {

struct ZmqSettings {
    std::string endpoint;
    std::int64_t max_message_bytes;  // a larger message makes libzmq drop the connection
    std::string server_key;          // CURVE: the daemon's public key in Z85; empty: no encryption
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
    ZmqChannel() = default;
    [[nodiscard]] bool deliver_some(ChannelListener &listener);
    [[nodiscard]] std::int64_t bytes_on_wire(std::size_t part) const;
    void end();

    void *socket_ = nullptr;
    void *monitor_ = nullptr;
    std::string endpoint_;
    bool encrypted_ = false;
    bool any_delivered_ = false;  // of the last deliver_some()
    int parts_ = 0;               // of the message that is being read
    std::int64_t parts_bytes_ = 0;

    core::ReadAccount account_;
};

}  // namespace steadytext::gateway
