// raw_zmq: what ZeroMQ alone costs between two processes, the yardstick of the round_trip, throughput and pool topics.
//
//     raw_zmq serve ENDPOINT                       a ROUTER that gives every message back, until a signal ends it
//     raw_zmq round_trip ENDPOINT COUNT            prints microseconds per request, one in flight
//     raw_zmq pipelined ENDPOINT COUNT WINDOW      prints requests per second, WINDOW in flight
//     raw_zmq reconnecting ENDPOINT COUNT CLIENTS  prints requests per second of so many threads that connect for each
//     request
//
// The frames are those of the gateway, the bodies as long as its requests; neither side looks into them, so
// nothing is counted here but ZeroMQ. Regime: pure; any failure ends the program.
#include <zmq.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kBody =
    R"({"method": "generate", "params": {"prompt": "prompt 123456", "seed": 42, "max_new_tokens": 512, )"
    R"("temperature": 0.0, "eos_string": "[EOS]", "return_usage": true, "timeout_ms": 30000}, )"
    R"("id": "5ea1db0075eadfa5-0000001f-0000abcd"})";

[[noreturn]] void fail(const char *what) {
    std::fprintf(stderr, "raw_zmq: %s: %s\n", what, zmq_strerror(zmq_errno()));
    std::exit(1);
}

class Socket {
public:
    explicit Socket(int type) : context_(zmq_ctx_new()), socket_(zmq_socket(context_, type)) {
        set(ZMQ_LINGER, 0);
        set(ZMQ_SNDHWM, 0);
        set(ZMQ_RCVHWM, 0);
    }
    Socket(const Socket &) = delete;
    Socket &operator=(const Socket &) = delete;
    ~Socket() {
        zmq_close(socket_);
        zmq_ctx_term(context_);
    }

    void set(int option, int value) {
        if (zmq_setsockopt(socket_, option, &value, sizeof value) != 0)
            fail("could not set an option");
    }
    [[nodiscard]] void *get() const { return socket_; }

private:
    void *context_;
    void *socket_;
};

int serve(const char *endpoint) {
    const Socket router(ZMQ_ROUTER);
    if (zmq_bind(router.get(), endpoint) != 0)
        fail("could not bind");
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    while (zmq_msg_recv(&frame, router.get(), 0) >= 0)
        zmq_msg_send(&frame, router.get(), zmq_msg_more(&frame) != 0 ? ZMQ_SNDMORE : 0);
    return 0;
}

void exchange(const Socket &dealer, unsigned count, unsigned window) {
    char reply[kBody.size() + 1];
    unsigned sent = 0;
    for (unsigned received = 0; received < count; received++) {
        for (; sent < count && sent - received < window; sent++)
            if (zmq_send(dealer.get(), "", 0, ZMQ_SNDMORE) < 0 ||
                zmq_send(dealer.get(), kBody.data(), kBody.size(), 0) < 0)
                fail("could not send");
        if (zmq_recv(dealer.get(), reply, sizeof reply, 0) != 0 ||
            zmq_recv(dealer.get(), reply, sizeof reply, 0) != static_cast<int>(kBody.size()))
            fail("could not receive");
    }
}

double seconds_to_exchange(const char *endpoint, unsigned count, unsigned window) {
    Socket dealer(ZMQ_DEALER);
    dealer.set(ZMQ_RCVTIMEO, 10000);
    if (zmq_connect(dealer.get(), endpoint) != 0)
        fail("could not connect");
    exchange(dealer, count / 10 + 1, window);  // connects and warms up, unmeasured
    const auto start = Clock::now();
    exchange(dealer, count, window);
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// A context and a socket for each request, as a client without a pool has them.
void exchange_reconnecting(const char *endpoint, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        Socket dealer(ZMQ_DEALER);
        dealer.set(ZMQ_RCVTIMEO, 10000);
        if (zmq_connect(dealer.get(), endpoint) != 0)
            fail("could not connect");
        exchange(dealer, 1, 1);
    }
}

double seconds_to_reconnect(const char *endpoint, unsigned count, unsigned clients) {
    std::vector<std::thread> threads;
    const auto start = Clock::now();
    for (unsigned i = 0; i < clients; i++)
        threads.emplace_back(exchange_reconnecting, endpoint, count / clients);
    for (std::thread &thread : threads)
        thread.join();
    return std::chrono::duration<double>(Clock::now() - start).count();
}

int usage() {
    std::fputs("usage: raw_zmq serve ENDPOINT | round_trip ENDPOINT COUNT | pipelined ENDPOINT COUNT WINDOW | "
               "reconnecting ENDPOINT COUNT CLIENTS\n",
               stderr);
    return 2;
}

}  // namespace

int main(int argc, char **argv) {
    const std::string_view mode = argc > 1 ? argv[1] : "";
    if (mode == "serve" && argc == 3)
        return serve(argv[2]);
    if (mode == "reconnecting" && argc == 5) {
        const auto clients = static_cast<unsigned>(std::strtoul(argv[4], nullptr, 10));
        const auto count = static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10)) / clients * clients;
        std::printf("%.3f\n", count / seconds_to_reconnect(argv[2], count, clients));
        return 0;
    }
    const bool pipelined = mode == "pipelined" && argc == 5;
    if (!pipelined && !(mode == "round_trip" && argc == 4))
        return usage();
    const auto count = static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10));
    const unsigned window = pipelined ? static_cast<unsigned>(std::strtoul(argv[4], nullptr, 10)) : 1;
    const double seconds = seconds_to_exchange(argv[2], count, window);
    std::printf("%.3f\n", pipelined ? count / seconds : seconds / count * 1e6);
    return 0;
}
