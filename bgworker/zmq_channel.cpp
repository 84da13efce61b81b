// ZeroMQ sockets of the gateway: options, framing, monitor events: see zmq_channel.hpp. Regime: pure.
#include "bgworker/zmq_channel.hpp"
#include "src/core/clock.hpp"
#include "src/core/random_bytes.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace steadytext::gateway {

namespace {

// Of a turn of the loop: a message may take long, and sessions and other daemons wait meanwhile.
constexpr std::int64_t kBytesAtOnce = 1 << 20;
constexpr std::int64_t kTimeAtOnceUs = 10'000;
constexpr std::int64_t kPartBytes = 64;  // what a part costs beside its bytes
constexpr int kMostParts = 1000;         // of a message: an answer has two

// Values for reliability. The defaults would queue into unfinished connections (IMMEDIATE), never back off
// (RECONNECT_IVL_MAX), never notice a dead peer (HEARTBEAT_*: within the sum of interval and timeout, here less than
// four seconds) and accept messages of any size (MAXMSGSIZE).
//
// RCVHWM and LINGER are off because libzmq ends the process if it has stopped reading a connection and the connection then ends or is pinged
// (libzmq#3937, libzmq#4364): it stops at the mark, and while a closed socket lingers. What a peer sends beyond what it was asked for is
// counted where it is read (Daemon::charge_unasked). A closed socket still sends what the kernel takes at once.
struct Option {
    int name;
    int value;
};
constexpr Option kOptions[] = {
    {ZMQ_IMMEDIATE, 1},
    {ZMQ_RECONNECT_IVL, 100},
    {ZMQ_RECONNECT_IVL_MAX, 1000},
    {ZMQ_HEARTBEAT_IVL, 1000},
    {ZMQ_HEARTBEAT_TIMEOUT, 2500},
    {ZMQ_HEARTBEAT_TTL, 3000},
    {ZMQ_HANDSHAKE_IVL, 2000},
    {ZMQ_CONNECT_TIMEOUT, 1000},
    {ZMQ_TCP_KEEPALIVE, 1},
    {ZMQ_SNDHWM, 8192},
    {ZMQ_RCVHWM, 0},
    {ZMQ_LINGER, 0},
    {ZMQ_IPV6, 1},
};

constexpr int kMonitored = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                           ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                           ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;

void *open_monitor(void *context, void *socket) {
    static std::atomic<std::uint64_t> number{0};
    const std::string name = "inproc://monitor-" + std::to_string(number.fetch_add(1, std::memory_order_relaxed));
    if (zmq_socket_monitor(socket, name.c_str(), kMonitored) != 0)
        return nullptr;
    void *monitor = zmq_socket(context, ZMQ_PAIR);
    if (monitor == nullptr)
        return nullptr;
    const int no_linger = 0;
    zmq_setsockopt(monitor, ZMQ_LINGER, &no_linger, sizeof no_linger);
    if (zmq_connect(monitor, name.c_str()) != 0) {
        zmq_close(monitor);
        return nullptr;
    }
    return monitor;
}

// The daemon proves its identity by the key; the gateway makes its own key pair for the connection.
bool encrypt(void *socket, const std::string &server_key) {
    char public_key[41], secret_key[41];
    return zmq_curve_keypair(public_key, secret_key) == 0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server_key.c_str(), server_key.size()) == 0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public_key, sizeof public_key - 1) == 0 &&
           zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, secret_key, sizeof secret_key - 1) == 0;
}

// A ROUTER knows its clients by names. It makes up guessable ones, and passes over a connection that takes the name of another,
// also of one that is gone and that it still believes to be there. So each channel has a name of its own, for one connection.
bool name_itself(void *socket) {
    unsigned char name[16];
    if (!core::random_bytes(name, sizeof name))
        return false;
    name[0] |= 1;  // 0 begins the names that ROUTERs make up
    return zmq_setsockopt(socket, ZMQ_ROUTING_ID, name, sizeof name) == 0;
}

int event_fd(void *socket) {
    int fd = -1;
    std::size_t size = sizeof fd;
    zmq_getsockopt(socket, ZMQ_FD, &fd, &size);
    return fd;
}

}  // namespace

std::unique_ptr<ZmqChannel> ZmqChannel::open(void *context, const ZmqSettings &settings, std::string &reason) {
    std::unique_ptr<ZmqChannel> channel(new ZmqChannel);
    channel->socket_ = zmq_socket(context, ZMQ_DEALER);
    if (channel->socket_ == nullptr) {
        reason = std::string("could not open a socket: ") + zmq_strerror(zmq_errno());
        return nullptr;
    }
    for (const Option &option : kOptions)
        zmq_setsockopt(channel->socket_, option.name, &option.value, sizeof option.value);
    zmq_setsockopt(channel->socket_, ZMQ_MAXMSGSIZE, &settings.max_message_bytes, sizeof settings.max_message_bytes);
    if (!name_itself(channel->socket_)) {
        reason = "could not make a name for the connection";
        return nullptr;
    }
    channel->endpoint_ = settings.endpoint;
    channel->encrypted_ = !settings.server_key.empty();
    if (channel->encrypted_ && !encrypt(channel->socket_, settings.server_key)) {
        reason = "the key of server_key_file is not a CURVE key";
        return nullptr;
    }
    channel->last_message_us = core::monotonic_us();
    channel->monitor_ = open_monitor(context, channel->socket_);
    if (channel->monitor_ == nullptr || zmq_connect(channel->socket_, settings.endpoint.c_str()) != 0) {
        reason = std::string("could not connect: ") + zmq_strerror(zmq_errno());
        return nullptr;
    }
    return channel;
}

ZmqChannel::~ZmqChannel() {
    if (socket_ != nullptr)
        zmq_socket_monitor(socket_, nullptr, 0);
    if (monitor_ != nullptr)
        zmq_close(monitor_);
    if (socket_ != nullptr)
        zmq_close(socket_);
}

// The message is made before any part of it is sent: if there is no memory for it, the connection is not affected. Once
// the first part is sent, the rest cannot be refused for lack of room.
Channel::Sent ZmqChannel::send(std::string_view body) {
    zmq_msg_t message;
    if (zmq_msg_init_size(&message, body.size()) != 0)
        return Sent::Unsendable;
    body.copy(static_cast<char *>(zmq_msg_data(&message)), body.size());
    Sent sent = Sent::Yes;
    if (zmq_send(socket_, "", 0, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
        sent = zmq_errno() == EAGAIN || zmq_errno() == EINTR ? Sent::Busy : Sent::Broken;
    else if (zmq_msg_send(&message, socket_, ZMQ_DONTWAIT) < 0)
        sent = Sent::Broken;
    zmq_msg_close(&message);
    return sent;
}

// libzmq would connect again beside the channel that comes next, and by the same name, which the peer may still keep for the
// connection that was lost.
void ZmqChannel::end() {
    ended = true;
    account_ = {};
    zmq_disconnect(socket_, endpoint_.c_str());
}

void ZmqChannel::notice(ChannelListener &listener) {
    // Messages that a dying peer still sent are answers: they come before its end.
    if (deliver_some(listener))
        return;
    // Two frames: {event:16, value:32} in native byte order, and the endpoint.
    char frame[64];
    while (!is_closed && zmq_recv(monitor_, frame, sizeof frame, ZMQ_DONTWAIT) >= 0) {
        zmq_recv(monitor_, frame + 8, sizeof frame - 8, ZMQ_DONTWAIT);
        std::uint16_t event;
        std::uint32_t value;
        std::memcpy(&event, frame, sizeof event);
        std::memcpy(&value, frame + sizeof event, sizeof value);
        switch (event) {
        case ZMQ_EVENT_CONNECTED:
            account_ = {static_cast<int>(value), core::monotonic_us()};
            break;
        case ZMQ_EVENT_CLOSED:
            account_ = {};
            break;
        case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
            if (ended)
                break;
            up = true;
            listener.on_up(*this);
            break;
        case ZMQ_EVENT_DISCONNECTED:
            end();
            if (std::exchange(up, false))
                listener.on_down(*this, "the connection was lost");
            break;
        case ZMQ_EVENT_CONNECT_RETRIED:
            listener.on_connect_failed(*this, "the connection was refused or timed out");
            break;
        default:
            end();
            listener.on_connect_failed(*this, encrypted_
                                                  ? "the peer has not the key of server_key_file, or does not encrypt"
                                                  : "the peer does not speak ZeroMQ's protocol, or only encrypted");
            break;
        }
    }
}

bool ZmqChannel::receive(ChannelListener &listener) {
    const bool more = deliver_some(listener);
    return more || any_delivered_;
}

// True if there may be more than a turn may take. A message of many parts may be read in several turns.
bool ZmqChannel::deliver_some(ChannelListener &listener) {
    const std::int64_t until_us = core::monotonic_us() + kTimeAtOnceUs;
    std::int64_t bytes = 0;
    bool more = true;
    any_delivered_ = false;
    zmq_msg_t part;
    zmq_msg_init(&part);
    while (!is_closed && bytes < kBytesAtOnce) {
        if (zmq_msg_recv(&part, socket_, ZMQ_DONTWAIT) < 0) {
            account_.drained();
            more = false;
            break;
        }
        const std::size_t size = zmq_msg_size(&part);
        const auto cost = static_cast<std::int64_t>(size) + kPartBytes;
        bytes += cost;
        parts_bytes_ += cost;
        account_.add_part(bytes_on_wire(size));
        parts_++;
        any_delivered_ = true;
        if (zmq_msg_more(&part) != 0) {
            if (parts_ == kMostParts)
                listener.on_many_parts(*this);
            continue;
        }
        // The body is the last part; before it comes the delimiter, or garbage.
        const std::string_view body(static_cast<const char *>(zmq_msg_data(&part)), size);
        message_bytes = std::exchange(parts_bytes_, 0);
        account_.end_message();
        listener.on_message(*this, std::exchange(parts_, 0) <= 2 ? body : std::string_view{});
        last_message_us = core::monotonic_us();
        if (last_message_us >= until_us)
            break;
    }
    zmq_msg_close(&part);
    return more && !is_closed;
}

// Encrypted, a part is a command with a number, the flags and a mark of 16 bytes.
std::int64_t ZmqChannel::bytes_on_wire(std::size_t part) const {
    return core::ReadAccount::bytes_on_wire(part + (encrypted_ ? 33 : 0));
}

std::optional<std::int64_t> ZmqChannel::unfinished_bytes() {
    const std::optional<std::int64_t> unfinished = account_.unfinished(core::monotonic_us());
    waiting_bytes = account_.waiting();
    return unfinished;
}

void ZmqChannel::append_wait_fds(std::vector<int> &fds) const {
    fds.push_back(event_fd(socket_));
    fds.push_back(event_fd(monitor_));
}

}  // namespace steadytext::gateway
