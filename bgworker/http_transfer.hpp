// One request to an engine, and what comes back: an easy handle of libcurl's.
//
// Made and kept by bgworker/http_channel.*. Regime: pure. While the loop runs (curl_loop.hpp) libcurl calls back from C, which must not throw:
// then bytes are only taken in. Their owner reads them afterwards.
//
// The answer to a streamed request, once its status says that it is one, is read event by event as it comes. Who has no room for more pauses
// it: nothing is read from the connection any longer, and an engine that goes on sending is held up by TCP.
#pragma once

#include "bgworker/curl_loop.hpp"
#include "src/core/event_stream.hpp"
#include "src/core/openai.hpp"

#include <string>
#include <vector>

namespace steadytext::gateway {

// Where requests go, and how.
struct HttpSite {
    std::string address;   // scheme, host and port
    std::string ca_file;
    std::string resolved;  // CURLOPT_RESOLVE's words for the addresses; empty: the host is one itself
    std::string key;
    std::vector<std::string> headers;  // "Name: value"
    std::size_t longest_reply;
};

class HttpTransfer {
public:
    // `news` gets the id of a stream when there is something new of it.
    HttpTransfer(CurlLoop &loop, const HttpSite &site, core::openai::Request request, std::vector<std::string> &news);
    ~HttpTransfer();
    HttpTransfer(const HttpTransfer &) = delete;
    HttpTransfer &operator=(const HttpTransfer &) = delete;

    [[nodiscard]] bool start() { return loop_.add(easy_); }
    [[nodiscard]] static HttpTransfer &of(CURL *easy);

    [[nodiscard]] const core::openai::Request &request() const { return request_; }
    [[nodiscard]] const std::string &reply() const { return reply_; }
    [[nodiscard]] bool is_too_long() const { return is_too_long_; }
    [[nodiscard]] long status() const;
    // The engine has got something of it: it is connected, and over TLS has proved who it is.
    [[nodiscard]] bool has_gone_out() const;
    [[nodiscard]] double milliseconds() const;
    [[nodiscard]] bool has_retry_after() const;
    [[nodiscard]] std::int64_t retry_after_us() const;
    // In libcurl's words, which never hold a header.
    [[nodiscard]] std::string failure(CURLcode result) const;

    // --- of a stream ---
    // An engine may answer at once what should have been a stream, an error above all.
    [[nodiscard]] bool is_stream() const { return request_.streams && !request_.is_check && status() >= 200 && status() < 300 && !is_json(); }
    [[nodiscard]] bool next_event(std::string &data) { return events_.next(data); }
    [[nodiscard]] core::openai::StreamReader &reader() { return reader_; }
    void pause() { is_paused_ = true; }
    void resume();
    [[nodiscard]] bool is_paused() const { return is_paused_; }
    // All has come that will; what has not been read yet may still be.
    void note_end(CURLcode result);
    [[nodiscard]] bool has_ended() const { return has_ended_; }
    [[nodiscard]] CURLcode result() const { return result_; }

private:
    static std::size_t on_header(char *, std::size_t, std::size_t count, void *self) noexcept;
    static std::size_t on_bytes(char *bytes, std::size_t, std::size_t count, void *self) noexcept;

    template <class Value>
    void set(CURLoption option, Value value) {
        curl_easy_setopt(easy_, option, value);
    }
    [[nodiscard]] bool is_json() const;
    void add_header(const std::string &header);
    void set_up();
    void set_limits();
    void tell_news();

    CurlLoop &loop_;
    const HttpSite &site_;
    core::openai::Request request_;
    std::vector<std::string> &news_;
    CURL *easy_;
    curl_slist *headers_ = nullptr;
    curl_slist *resolved_ = nullptr;
    char error_[CURL_ERROR_SIZE] = "";
    std::string reply_;
    std::size_t taken_ = 0;
    bool is_too_long_ = false;

    core::EventStream events_;
    core::openai::StreamReader reader_;
    bool is_paused_ = false;
    bool is_halted_ = false;  // libcurl has been told, and holds back what came
    bool has_ended_ = false;
    CURLcode result_ = CURLE_OK;
};

}  // namespace steadytext::gateway
