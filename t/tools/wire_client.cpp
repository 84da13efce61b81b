// wire-client: speaks to a daemon the way the gateway does, for test suites that have no ZeroMQ of their own.
//
//     wire-client ENDPOINT [TIMEOUT_MS] < requests > replies
//
// Each line of standard input is a message body, sent from one DEALER behind an empty frame; `<N` instead
// waits until N more replies came (`<` alone: one). Each reply is a line of standard output: its body, the
// frames of a longer one separated by tabs, a line break within shown as `\n`. At the end of input it waits
// for nothing. Exit status 1: a reply did not come in time (5000 ms). Regime: pure.
#include <zmq.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

namespace {

[[noreturn]] void fail(const char *what) {
    std::fprintf(stderr, "wire-client: %s: %s\n", what, zmq_strerror(zmq_errno()));
    std::exit(1);
}

std::string receive_frame(void *socket, bool &more) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, socket, 0) < 0)
        fail("no reply");
    more = zmq_msg_more(&frame) != 0;
    std::string text(static_cast<const char *>(zmq_msg_data(&frame)), zmq_msg_size(&frame));
    zmq_msg_close(&frame);
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos;)
        text.replace(at, 1, "\\n");
    return text;
}

void print_reply(void *socket) {
    bool more = false;
    std::string line = receive_frame(socket, more);
    if (!line.empty() || !more) {
        std::fprintf(stderr, "wire-client: a reply without an empty frame before it\n");
        std::exit(1);
    }
    for (line = receive_frame(socket, more); more;)
        line += "\t" + receive_frame(socket, more);
    std::cout << line << std::endl;
}

void send_request(void *socket, const std::string &body) {
    if (zmq_send(socket, "", 0, ZMQ_SNDMORE) < 0 || zmq_send(socket, body.data(), body.size(), 0) < 0)
        fail("could not send");
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 2) {
        std::fputs("usage: wire-client ENDPOINT [TIMEOUT_MS] < requests\n", stderr);
        return 2;
    }
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_DEALER);
    const int timeout_ms = argc > 2 ? std::atoi(argv[2]) : 5000;
    const int linger_ms = 1000;  // what was sent last is still delivered
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    if (zmq_connect(socket, argv[1]) != 0)
        fail("could not connect");
    for (std::string line; std::getline(std::cin, line);) {
        if (!line.starts_with('<')) {
            send_request(socket, line);
            continue;
        }
        for (int replies = line.size() > 1 ? std::atoi(line.c_str() + 1) : 1; replies > 0; replies--)
            print_reply(socket);
    }
    zmq_close(socket);
    zmq_ctx_term(context);
    return 0;
}
