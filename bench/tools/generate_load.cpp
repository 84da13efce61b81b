// generate_load: clients that keep a daemon busy with generate requests, or those of another method, one in flight each.
//
//     generate_load ENDPOINT CLIENTS [METHOD] < params > replies
//
// Each line of standard input is the params of one request, as JSON; a client that got its answer
// takes the next. Prints the seconds from the first request to the last answer, then each answer's result as
// a line of JSON in the order of the requests. Used by the engine topic, with steadytextd and the Python
// daemon alike: each client is a DEALER of its own that sends what a REQ socket would. Regime: pure; any
// failure, an error reply too, ends it.
#include <zmq.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr long kPatienceMs = 300000;

[[noreturn]] void fail(const std::string &what) {
    std::fprintf(stderr, "generate_load: %s\n", what.c_str());
    std::exit(1);
}

void *connect(void *context, const char *endpoint) {
    void *socket = zmq_socket(context, ZMQ_DEALER);
    const int linger_ms = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (zmq_connect(socket, endpoint) != 0)
        fail(std::string("could not connect to ") + endpoint);
    return socket;
}

void send(void *socket, const std::string &method, const json &params, const json &id) {
    const std::string body = json{{"method", method}, {"params", params}, {"id", id}}.dump();
    if (zmq_send(socket, "", 0, ZMQ_SNDMORE) < 0 || zmq_send(socket, body.data(), body.size(), 0) < 0)
        fail("could not send");
}

json receive(void *socket) {
    char delimiter[1];
    zmq_msg_t body;
    zmq_msg_init(&body);
    if (zmq_recv(socket, delimiter, sizeof delimiter, 0) != 0 || zmq_msg_recv(&body, socket, 0) < 0)
        fail("could not receive");
    const std::string text(static_cast<const char *>(zmq_msg_data(&body)), zmq_msg_size(&body));
    zmq_msg_close(&body);
    json reply = json::parse(text, nullptr, false);
    if (!reply.is_object() || !reply.value("error", json()).is_null())
        fail("no answer: " + text);
    return reply;
}

// Sends every request, each client the next one when it is free; returns the replies' results by request.
std::vector<json> run(const std::vector<void *> &clients, const std::string &method,
                      const std::vector<json> &requests) {
    std::vector<json> results(requests.size());
    std::vector<zmq_pollitem_t> items;
    std::size_t next = 0;
    const auto send_next = [&](void *client) {
        if (next < requests.size()) {
            send(client, method, requests[next], next);
            next++;
        }
    };
    for (void *client : clients) {
        items.push_back({client, 0, ZMQ_POLLIN, 0});
        send_next(client);
    }
    for (std::size_t answered = 0; answered < requests.size();) {
        if (zmq_poll(items.data(), static_cast<int>(items.size()), kPatienceMs) <= 0)
            fail("no answer came in time");
        for (const zmq_pollitem_t &item : items) {
            if (item.revents == 0)
                continue;
            const json reply = receive(item.socket);
            results.at(reply.at("id").get<std::size_t>()) = reply.at("result");
            answered++;
            send_next(item.socket);
        }
    }
    return results;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 3 && argc != 4)
        fail("usage: generate_load ENDPOINT CLIENTS [METHOD] < params");
    std::vector<json> requests;
    for (std::string line; std::getline(std::cin, line);)
        requests.push_back(json::parse(line));
    void *context = zmq_ctx_new();
    std::vector<void *> clients;
    for (int i = 0; i < std::atoi(argv[2]); i++) {
        clients.push_back(connect(context, argv[1]));
        send(clients.back(), "ping", json::object(),
             "ping");  // the connection stands before the clock starts
        receive(clients.back());
    }
    const auto start = Clock::now();
    const std::vector<json> results = run(clients, argc == 4 ? argv[3] : "generate", requests);
    std::printf("%.6f\n", std::chrono::duration<double>(Clock::now() - start).count());
    for (const json &result : results)
        std::puts(result.dump().c_str());
    for (void *client : clients)
        zmq_close(client);
    zmq_ctx_term(context);
    return 0;
}
