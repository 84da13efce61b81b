// libcurl's multi interface behind one descriptor: its sockets and its timer are in an epoll set of their own.
//
// Used by bgworker/http_channel.*. Regime: pure. Nothing waits. libcurl tells by callbacks what it wants to be woken for; the
// set is level-triggered, so what one run leaves undone makes the descriptor readable again. Sockets come and go with every
// connection, and PostgreSQL's wait sets cannot follow that: they see the set's own descriptor, which stays.
#pragma once

#include <curl/curl.h>

namespace steadytext::gateway {

class CurlLoop {
public:
    explicit CurlLoop(long most_connections);
    ~CurlLoop();
    CurlLoop(const CurlLoop &) = delete;
    CurlLoop &operator=(const CurlLoop &) = delete;

    [[nodiscard]] bool is_good() const { return multi_ != nullptr && set_ >= 0 && timer_ >= 0; }
    [[nodiscard]] int wait_fd() const { return set_; }

    [[nodiscard]] bool add(CURL *transfer) { return curl_multi_add_handle(multi_, transfer) == CURLM_OK; }
    void remove(CURL *transfer) { curl_multi_remove_handle(multi_, transfer); }

    // Lets libcurl do what can be done now; true if there was anything.
    bool run();
    // A transfer that has ended, and how; null if there is none.
    [[nodiscard]] CURL *take_ended(CURLcode &result);

private:
    static int on_socket(CURL *, curl_socket_t socket, int wanted, void *self, void *);
    static int on_timer(CURLM *, long milliseconds, void *self);

    CURLM *multi_;
    int set_;
    int timer_;
};

}  // namespace steadytext::gateway
