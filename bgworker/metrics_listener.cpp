// Accepts, reads and answers: see metrics_listener.hpp. Regime: pure.
#include "bgworker/metrics_listener.hpp"

#include "shmem/metrics.hpp"
#include "src/core/listen_address.hpp"

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace steadytext::gateway {

namespace {

constexpr std::int64_t kReopenUs = 5'000'000;
constexpr int kBacklog = 128;              // a peer that the kernel turns away tries again after seconds
constexpr int kSendBufferBytes = 1 << 20;  // a whole answer fits into the kernel's buffer, so nobody waits for room

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

std::string response(const char *status, const char *type, std::string_view body) {
    std::string text = std::string("HTTP/1.1 ") + status + "\r\nContent-Type: " + type +
                       "\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n";
    return text.append(body);
}

}  // namespace

MetricsListener::~MetricsListener() { close_all(); }

void MetricsListener::configure(std::string_view address, const core::BreakerSettings &breaker) {
    breaker_ = breaker;
    if (address == address_)
        return;
    address_ = address;
    open_not_before_us_ = 0;
    close_all();
}

void MetricsListener::close_all() {
    for (const Connection &connection : connections_)
        close(connection.fd);
    connections_.clear();
    if (listening_ >= 0)
        close(listening_);
    listening_ = -1;
    changed_ = true;
}

void MetricsListener::open(std::int64_t now_us) {
    core::ListenAddress address;
    core::Problem problem;
    if (now_us < open_not_before_us_)
        return;
    open_not_before_us_ = now_us + kReopenUs;
    if (!core::parse_listen_address(address_, address, problem)) {
        complaint_ = problem.message;
        return;
    }
    if (address.is_off)
        return;
    const int fd = socket(address.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int yes = 1;
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof kSendBufferBytes) == 0 &&
        bind(fd, reinterpret_cast<const sockaddr *>(&address.address), address.length) == 0 &&
        listen(fd, kBacklog) == 0) {
        listening_ = fd;
        changed_ = true;
        return;
    }
    complaint_ = "could not listen at steadytext.metrics_listen = \"" + address_ + "\": " + std::strerror(errno);
    if (fd >= 0)
        close(fd);
}

std::string MetricsListener::take_complaint() { return std::exchange(complaint_, {}); }

bool MetricsListener::take_wait_fds_changed() { return std::exchange(changed_, false); }

// While all connections are taken, the listener looks for waiting peers at each tick only.
void MetricsListener::append_wait_fds(std::vector<int> &fds) const {
    if (listening_ >= 0 && connections_.size() < kMaxConnections)
        fds.push_back(listening_);
    for (const Connection &connection : connections_)
        if (connection.answer.empty() || connection.said_all)
            fds.push_back(connection.fd);
}

void MetricsListener::work(std::int64_t now_us) {
    if (listening_ < 0)
        open(now_us);
    if (listening_ < 0)
        return;
    serve_all(now_us);  // first, so that nobody who has asked meanwhile gives way
    accept_some(now_us);
    serve_all(now_us);
}

void MetricsListener::serve_all(std::int64_t now_us) {
    for (std::size_t i = 0; i < connections_.size();) {
        if (serve(connections_[i], now_us))
            i++;
        else
            hang_up(i);
    }
}

void MetricsListener::hang_up(std::size_t i) {
    close(connections_[i].fd);
    connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(i));
    changed_ = true;
}

// A connection that gives way to a newer one: the oldest of those that have not asked, else the oldest. kMaxConnections:
// none has been here for kGraceUs.
std::size_t MetricsListener::dispensable(std::int64_t now_us) const {
    std::size_t found = kMaxConnections;
    for (std::size_t i = 0; i < connections_.size(); i++) {
        const Connection &one = connections_[i];
        if (now_us - one.since_us < kGraceUs)
            continue;
        if (found == kMaxConnections || (one.answer.empty() && !connections_[found].answer.empty()))
            found = i;  // they are in the order in which they came
    }
    return found;
}

void MetricsListener::accept_some(std::int64_t now_us) {
    for (;;) {
        const bool is_full = connections_.size() >= kMaxConnections;
        const std::size_t last = is_full ? dispensable(now_us) : 0;
        if (is_full && last == kMaxConnections)
            return;
        const int fd = accept4(listening_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (is_full)
            hang_up(last);
        connections_.push_back({fd, now_us, now_us + kPatienceUs, {}, {}});
        changed_ = true;
    }
}

bool MetricsListener::serve(Connection &connection, std::int64_t now_us) {
    if (now_us >= connection.deadline_us)
        return false;
    if (connection.answer.empty() && !read_request(connection, now_us))
        return false;
    if (!connection.answer.empty() && !connection.said_all)
        return write_answer(connection);
    if (!connection.said_all)
        return true;
    // Everything is sent. The peer closes first, so that no bytes in transit are lost.
    char rest[512];
    const ssize_t got = read(connection.fd, rest, sizeof rest);
    return got > 0 || (got < 0 && would_block());
}

bool MetricsListener::read_request(Connection &connection, std::int64_t now_us) {
    char bytes[1024];
    const ssize_t got = read(connection.fd, bytes, sizeof bytes);
    if (got <= 0)
        return got < 0 && would_block();
    connection.request.append(bytes, static_cast<std::size_t>(got));
    if (connection.request.find("\r\n\r\n") != std::string::npos)
        connection.answer = answer_to(connection.request, now_us);
    else if (connection.request.size() > kMaxRequestBytes)
        connection.answer = response("431 Request Header Fields Too Large", "text/plain", "");
    if (!connection.answer.empty())
        connection.deadline_us = now_us + kPatienceUs;
    return true;
}

bool MetricsListener::write_answer(Connection &connection) {
    while (connection.written < connection.answer.size()) {
        const ssize_t sent = send(connection.fd, connection.answer.data() + connection.written,
                                  connection.answer.size() - connection.written, MSG_NOSIGNAL);
        if (sent < 0)
            return would_block();
        connection.written += static_cast<std::size_t>(sent);
    }
    connection.said_all = true;
    changed_ = true;
    return shutdown(connection.fd, SHUT_WR) == 0;
}

std::string MetricsListener::answer_to(std::string_view request, std::int64_t now_us) {
    const std::string_view line = request.substr(0, request.find("\r\n"));
    const std::size_t first = line.find(' ');
    const std::size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
    if (second == std::string_view::npos || line.substr(second + 1).substr(0, 7) != "HTTP/1.")
        return response("400 Bad Request", "text/plain", "");
    if (line.substr(0, first) != "GET")
        return response("405 Method Not Allowed", "text/plain", "");
    const std::string_view target = line.substr(first + 1, second - first - 1);
    if (target.substr(0, target.find('?')) != "/metrics")
        return response("404 Not Found", "text/plain", "metrics are at /metrics\n");
    return response("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics(now_us));
}

const std::string &MetricsListener::metrics(std::int64_t now_us) {
    if (text_.empty() || now_us - text_us_ > kFreshUs) {
        text_.clear();
        shmem::write_prometheus(shmem::gather_metrics(segment_, breaker_), text_);
        text_us_ = now_us;
    }
    return text_;
}

}  // namespace steadytext::gateway
