// A single request to an engine, and its answer: an easy handle of libcurl.
//
// Made and kept by bgworker/http_channel.*. Regime: pure. While the loop runs (curl_loop.hpp), libcurl calls back from
// C, and callbacks must not throw: they only collect bytes. The owner reads the bytes afterwards.
//
// The answer to a streamed request, once its status confirms a stream, is read event by event as it comes. A reader
// without room pauses it: then nothing more is read from the connection, and TCP holds back an engine that goes on
// sending.
#pragma once

#include "bgworker/curl_loop.hpp"
#include "src/core/event_stream.hpp"
#include "src/core/openai.hpp"

#include <string>
#include <vector>

namespace steadytext::gateway {

// The destination of requests, and how to reach it.
struct HttpSite {
    std::string address;  // scheme, host and port
    std::string ca_file;
    std::string resolved;  // the addresses in the form of CURLOPT_RESOLVE; empty: the host is an address
    std::string key;
    std::vector<std::string> headers;  // "Name: value"
    std::size_t longest_reply;
    // Bytes of replies under way, unpacked, of all transfers together. A reply has a share as roles have of slots
    // (src/core/fair_share.hpp): so an engine that answers everything at length takes no more than kReplies times the
    // longest reply, and a short reply always has room.
    static constexpr std::size_t kReplies = 4;
    std::size_t under_way = 0;
};

class HttpTransfer {
public:
    // `news` gets the id of a stream when it has something new.
    HttpTransfer(CurlLoop &loop, HttpSite &site, core::openai::Request request, std::vector<std::string> &news);
    ~HttpTransfer();
    HttpTransfer(const HttpTransfer &) = delete;
    HttpTransfer &operator=(const HttpTransfer &) = delete;

    [[nodiscard]] bool start() { return loop_.add(easy_); }
    [[nodiscard]] static HttpTransfer &of(CURL *easy);

    [[nodiscard]] const core::openai::Request &request() const { return request_; }
    [[nodiscard]] const std::string &reply() const { return reply_; }
    [[nodiscard]] bool is_too_long() const { return is_too_long_; }
    [[nodiscard]] long status() const;
    // Part of the request has reached the engine: it is connected, and over TLS has proved its identity.
    [[nodiscard]] bool has_gone_out() const;
    [[nodiscard]] double milliseconds() const;
    [[nodiscard]] bool has_retry_after() const;
    [[nodiscard]] std::int64_t retry_after_us() const;
    // In libcurl's words, which never contain a header.
    [[nodiscard]] std::string failure(CURLcode result) const;

    // --- of a stream ---
    // Instead of a stream, an engine may answer at once, above all with an error.
    [[nodiscard]] bool is_stream() const {
        return request_.streams && !request_.is_check && status() >= 200 && status() < 300 && !is_json();
    }
    [[nodiscard]] bool next_event(std::string &data) { return events_.next(data); }
    [[nodiscard]] core::openai::StreamReader &reader() { return reader_; }
    void pause() { is_paused_ = true; }
    void resume();
    [[nodiscard]] bool is_paused() const { return is_paused_; }
    // Everything has arrived; part of it may still be unread.
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
    [[nodiscard]] bool may_take(std::size_t count) const;
    void add_header(const std::string &header);
    void set_up();
    void set_limits();
    void tell_news();

    CurlLoop &loop_;
    HttpSite &site_;
    core::openai::Request request_;
    std::vector<std::string> &news_;
    CURL *easy_;
    curl_slist *headers_ = nullptr;
    curl_slist *resolved_ = nullptr;
    char error_[CURL_ERROR_SIZE] = "";
    std::string reply_;
    std::size_t taken_ = 0;
    std::size_t header_bytes_ = 0;
    bool is_too_long_ = false;

    core::EventStream events_;
    core::openai::StreamReader reader_;
    bool is_paused_ = false;
    bool is_halted_ = false;  // libcurl was told to pause, and holds back bytes
    bool has_ended_ = false;
    CURLcode result_ = CURLE_OK;
};

}  // namespace steadytext::gateway
