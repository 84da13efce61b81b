// libcurl's multi interface behind a single descriptor: its sockets and its timer are in their own epoll set.
//
// Used by bgworker/http_channel.*. Regime: pure. Nothing waits. libcurl tells by callbacks which events it wants. The
// set is level-triggered, so if a run leaves work undone, the descriptor becomes readable again. Sockets come and go
// with every connection, and PostgreSQL's wait sets cannot follow this: they see only the set's own descriptor, which
// stays.
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

    // Lets libcurl do all that is possible now; true if there was anything to do.
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
