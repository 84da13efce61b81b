// Accounts by descriptor: see peer_watch.hpp. Regime: pure.
#include "daemon/peer_watch.hpp"

#include <malloc.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "daemon/log.hpp"

namespace steadytext::daemon {

namespace {

constexpr const char *kMonitor = "inproc://peers";
constexpr std::int64_t kSpare = 1 << 20;

}  // namespace

PeerWatch::PeerWatch(zmq::context_t &context, zmq::socket_t &router, std::int64_t most, std::int64_t most_waiting)
    : router_(router), most_(most), most_waiting_(most_waiting), monitor_(context, zmq::socket_type::pair) {
    monitor_.set(zmq::sockopt::linger, 0);
    if (zmq_socket_monitor(router_.handle(), kMonitor, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) == 0)
        monitor_.connect(kMonitor);
}

PeerWatch::~PeerWatch() { zmq_socket_monitor(router_.handle(), nullptr, 0); }

void PeerWatch::note_part(zmq::message_t &part) {
    const auto peer = peers_.find(zmq_msg_get(part.handle(), ZMQ_SRCFD));
    if (peer == peers_.end())
        return;
    peer->second.account.add_part(core::ReadAccount::bytes_on_wire(part.size()));
    if (part.more())
        return;
    peer->second.account.end_message();
    peer->second.unfinished = 0;
}

void PeerWatch::note_drained() {
    left_ = 0;
    for (auto &[fd, peer] : peers_)
        peer.account.drained();
}

void PeerWatch::take_events(std::int64_t now_us) {
    // Two frames: {event:16, value:32} in native byte order, and the endpoint.
    char frame[64];
    while (zmq_recv(monitor_.handle(), frame, sizeof frame, ZMQ_DONTWAIT) >= 0) {
        zmq_recv(monitor_.handle(), frame + 8, sizeof frame - 8, ZMQ_DONTWAIT);
        std::uint16_t event;
        std::uint32_t value;
        std::memcpy(&event, frame, sizeof event);
        std::memcpy(&value, frame + sizeof event, sizeof value);
        const int fd = static_cast<int>(value);
        if (event == ZMQ_EVENT_ACCEPTED)
            peers_[fd] = {core::ReadAccount(fd, now_us), 0, 0, false};
        else if (const auto peer = peers_.find(fd); peer != peers_.end() && !peer->second.account.is_there()) {
            free_later(peer->second, now_us);
            peers_.erase(peer);
        }
    }
}

void PeerWatch::look(std::int64_t now_us) {
    take_events(now_us);
    if (now_us - looked_us_ < kLookUs)
        return;
    looked_us_ = now_us;
    if (trim_us_ != 0 && now_us >= trim_us_) {
        malloc_trim(0);
        trim_us_ = 0;
    }
    for (auto next = peers_.begin(); next != peers_.end();) {
        Peer &peer = next->second;
        const std::optional<std::int64_t> unfinished = peer.account.unfinished(now_us);
        if (!unfinished.has_value() && !peer.account.may_be_known()) {
            free_later(peer, now_us);
            next = peers_.erase(next);
            continue;
        }
        next++;
        if (std::exchange(peer.unfinished, unfinished.value_or(0)) == 0)
            peer.since_us = now_us;
    }
    close_unfinished(now_us);
    close_flooding();
}

void PeerWatch::close_unfinished(std::int64_t now_us) {
    std::int64_t all = 0;
    double most = 0;
    Peer *keeping = nullptr;
    for (auto &[fd, peer] : peers_) {
        if (peer.is_closed)
            continue;
        all += peer.unfinished;
        const double kept = static_cast<double>(peer.unfinished) * static_cast<double>(now_us - peer.since_us + 1);
        if (peer.unfinished > most_ + kSpare)
            close(peer, "a message that does not end");
        else if (kept > most)
            keeping = &peer, most = kept;
    }
    if (all > kMostOfAll && keeping != nullptr)
        close(*keeping, "a message that does not end, beside others");
}

// Whole messages of a connection that is closed stay until they are read.
void PeerWatch::close_flooding() {
    std::int64_t all = left_;
    std::vector<Peer *> flooding;
    for (auto &[fd, peer] : peers_) {
        all += peer.is_closed ? 0 : peer.account.waiting();
        if (!peer.is_closed && peer.account.waiting() > most_ + kSpare)
            flooding.push_back(&peer);
    }
    std::ranges::sort(flooding, std::greater{}, [](const Peer *peer) { return peer->account.waiting(); });
    for (Peer *peer : flooding) {
        if (peer->account.waiting() <= most_waiting_ && all <= 2 * most_waiting_)
            break;
        left_ += peer->account.waiting();
        close(*peer, "more than is read");
    }
}

// libzmq frees it in small pieces, within a second or two.
void PeerWatch::free_later(const Peer &peer, std::int64_t now_us) {
    if (peer.account.waiting() > kSpare)
        trim_us_ = now_us + 2'000'000;
}

// libzmq finds the connection at its end, and frees what it had kept.
void PeerWatch::close(Peer &peer, const char *why) {
    peer.is_closed = true;
    if (!peer.account.is_there())
        return;
    log_line("a client sends %s; its connection was closed", why);
    shutdown(peer.account.fd(), SHUT_RDWR);
}

}  // namespace steadytext::daemon
