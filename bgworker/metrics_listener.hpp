// A small HTTP server in the gateway's event loop that answers GET /metrics for Prometheus (steadytext.metrics_listen).
//
// Made and called by gateway_main.cpp. Regime: pure (may throw std::bad_alloc). It never waits, and a peer cannot make
// it work without bound: few connections at a time, a single short request on each, kPatienceUs for a peer to send its
// request and kPatienceUs to take the answer. Further peers wait in the kernel's queue until one of the connections has
// been there for kGraceUs: it gives way, first of all one that has not asked. Requests within kFreshUs share an answer.
#pragma once

#include "src/core/breaker.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::shmem {
struct Segment;
}

namespace steadytext::gateway {

class MetricsListener {
public:
    explicit MetricsListener(const shmem::Segment &segment) : segment_(segment) {}
    ~MetricsListener();
    MetricsListener(const MetricsListener &) = delete;
    MetricsListener &operator=(const MetricsListener &) = delete;

    // Listens at `address` from now on; if it is empty or "off", nowhere.
    void configure(std::string_view address, const core::BreakerSettings &breaker);
    // Called once in every pass of the loop.
    void work(std::int64_t now_us);

    [[nodiscard]] bool take_wait_fds_changed();
    void append_wait_fds(std::vector<int> &fds) const;
    // A line for the server's log, returned once.
    [[nodiscard]] bool has_complaint() const { return !complaint_.empty(); }
    [[nodiscard]] std::string take_complaint();

    static constexpr std::size_t kMaxConnections = 8;
    static constexpr std::size_t kMaxRequestBytes = 4096;
    static constexpr std::int64_t kPatienceUs = 5'000'000;
    static constexpr std::int64_t kGraceUs = 100'000;
    static constexpr std::int64_t kFreshUs = 200'000;

private:
    struct Connection {
        int fd;
        std::int64_t since_us;
        std::int64_t deadline_us;
        std::string request;
        std::string answer;  // empty: the request is not complete
        std::size_t written = 0;
        bool said_all = false;  // the peer must close now
    };

    void open(std::int64_t now_us);
    void close_all();
    void accept_some(std::int64_t now_us);
    void serve_all(std::int64_t now_us);
    void hang_up(std::size_t i);
    [[nodiscard]] std::size_t dispensable(std::int64_t now_us) const;
    // False: the connection is finished.
    [[nodiscard]] bool serve(Connection &connection, std::int64_t now_us);
    [[nodiscard]] bool read_request(Connection &connection, std::int64_t now_us);
    [[nodiscard]] bool write_answer(Connection &connection);
    [[nodiscard]] std::string answer_to(std::string_view request, std::int64_t now_us);
    [[nodiscard]] const std::string &metrics(std::int64_t now_us);

    const shmem::Segment &segment_;
    core::BreakerSettings breaker_{};
    std::string address_;
    std::string complaint_;
    int listening_ = -1;
    std::int64_t open_not_before_us_ = 0;
    std::vector<Connection> connections_;
    bool changed_ = false;
    std::string text_;
    std::int64_t text_us_ = 0;
};

}  // namespace steadytext::gateway
