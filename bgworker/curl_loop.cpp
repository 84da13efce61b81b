// epoll and timerfd for libcurl: see curl_loop.hpp. Regime: pure. The callbacks are called from C: they must not throw.
#include "bgworker/curl_loop.hpp"

#include <cstdint>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace steadytext::gateway {

namespace {

constexpr int kEventsPerRun = 64;

// The event bits for libcurl; 0 makes libcurl check the descriptor itself.
int bits_of(std::uint32_t events) {
    if ((events & (EPOLLERR | EPOLLHUP)) != 0)
        return 0;
    return ((events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) | ((events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0);
}

}  // namespace

CurlLoop::CurlLoop(long most_connections)
    : multi_(curl_multi_init()), set_(epoll_create1(EPOLL_CLOEXEC)),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
    if (!is_good())
        return;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = timer_;
    epoll_ctl(set_, EPOLL_CTL_ADD, timer_, &event);
    curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS, most_connections);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
}

CurlLoop::~CurlLoop() {
    curl_multi_cleanup(multi_);
    close(timer_);
    close(set_);
}

int CurlLoop::on_socket(CURL *, curl_socket_t socket, int wanted, void *self, void *) {
    const int set = static_cast<CurlLoop *>(self)->set_;
    if (wanted == CURL_POLL_REMOVE) {
        epoll_ctl(set, EPOLL_CTL_DEL, socket, nullptr);
        return 0;
    }
    epoll_event event{};
    event.events = ((wanted & CURL_POLL_IN) != 0 ? EPOLLIN : 0U) | ((wanted & CURL_POLL_OUT) != 0 ? EPOLLOUT : 0U);
    event.data.fd = socket;
    if (epoll_ctl(set, EPOLL_CTL_MOD, socket, &event) != 0)
        epoll_ctl(set, EPOLL_CTL_ADD, socket, &event);
    return 0;
}

int CurlLoop::on_timer(CURLM *, long milliseconds, void *self) {
    itimerspec when{};
    if (milliseconds > 0) {
        when.it_value.tv_sec = milliseconds / 1000;
        when.it_value.tv_nsec = milliseconds % 1000 * 1'000'000;
    } else if (milliseconds == 0) {
        when.it_value.tv_nsec = 1;  // at once; zero would mean never
    }
    timerfd_settime(static_cast<CurlLoop *>(self)->timer_, 0, &when, nullptr);
    return 0;
}

bool CurlLoop::run() {
    epoll_event events[kEventsPerRun];
    const int count = epoll_wait(set_, events, kEventsPerRun, 0);
    int running;
    for (int i = 0; i < count; i++) {
        std::uint64_t expirations;
        if (events[i].data.fd != timer_)
            curl_multi_socket_action(multi_, events[i].data.fd, bits_of(events[i].events), &running);
        else if (read(timer_, &expirations, sizeof expirations) > 0)
            curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    return count > 0;
}

CURL *CurlLoop::take_ended(CURLcode &result) {
    int left;
    while (const CURLMsg *message = curl_multi_info_read(multi_, &left)) {
        if (message->msg != CURLMSG_DONE)
            continue;
        result = message->data.result;
        return message->easy_handle;
    }
    return nullptr;
}

}  // namespace steadytext::gateway
