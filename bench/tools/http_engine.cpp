// An engine over HTTP that costs next to nothing: every chat gets the same short answer. For figures about whoever asks
// it.
//
//   http_engine      the first line of output is the port of 127.0.0.1; it serves until it is killed
//
// One thread, one epoll. It reads what libcurl sends, requests with Content-Length on connections that are kept, and no
// more of HTTP than that. Regime: pure; what a client does wrong costs it the connection.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unordered_map>

namespace {

std::string response(std::string_view json) {
    return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(json.size()) +
           "\r\n\r\n" + std::string(json);
}

const std::string kModels = response(R"({"object": "list", "data": [{"id": "bench", "object": "model"}]})");
const std::string kAnswer = response(
    R"({"id": "chatcmpl-1", "object": "chat.completion", "model": "bench", "choices": [{"index": 0, "message": {"role": "assistant", )"
    R"("content": "an answer"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}})");

// The value of Content-Length, in whatever case it is written; 0 without one.
std::size_t content_length(std::string_view head) {
    constexpr std::string_view kName = "content-length:";
    for (std::size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at + 2)) {
        std::string_view line = head.substr(at + 2);
        std::size_t same = 0;
        while (same < kName.size() && same < line.size() && (line[same] | 0x20) == (kName[same] | 0x20))
            same++;
        if (same < kName.size())
            continue;
        line.remove_prefix(std::min(line.find_first_not_of(' ', kName.size()), line.size()));
        std::size_t length = 0;
        std::from_chars(line.data(), line.data() + line.size(), length);
        return length;
    }
    return 0;
}

// Answers every whole request in the buffer, and leaves the rest. False if the client is gone.
bool answer(int client, std::string &received) {
    std::string replies;
    std::size_t done = 0;
    for (;;) {
        const std::string_view rest = std::string_view(received).substr(done);
        const std::size_t head = rest.find("\r\n\r\n");
        if (head == std::string_view::npos)
            break;
        const std::size_t whole = head + 4 + content_length(rest.substr(0, head));
        if (rest.size() < whole)
            break;
        replies += rest.starts_with("GET") ? kModels : kAnswer;
        done += whole;
    }
    received.erase(0, done);
    // They are a few hundred bytes each to a client that waits for them, so they fit into the socket's buffer.
    return replies.empty() ||
           send(client, replies.data(), replies.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(replies.size());
}

int listen_somewhere() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr *>(&address), size) != 0 || listen(listener, 512) != 0 ||
        getsockname(listener, reinterpret_cast<sockaddr *>(&address), &size) != 0) {
        std::perror("http_engine");
        std::exit(1);
    }
    std::printf("%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
    return listener;
}

void watch(int poll, int descriptor) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = descriptor;
    epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event);
}

}  // namespace

int main() {
    const int listener = listen_somewhere();
    const int poll = epoll_create1(0);
    watch(poll, listener);
    std::unordered_map<int, std::string> received;  // by client
    for (;;) {
        epoll_event events[64];
        const int count = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            const int client = events[i].data.fd;
            if (client == listener) {
                const int accepted = accept(listener, nullptr, nullptr);
                const int on = 1;
                setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                watch(poll, accepted);
                continue;
            }
            char bytes[65536];
            const ssize_t size = recv(client, bytes, sizeof bytes, 0);
            if (size <= 0 || !answer(client, received[client].append(bytes, static_cast<std::size_t>(size)))) {
                received.erase(client);
                close(client);
            }
        }
    }
}
