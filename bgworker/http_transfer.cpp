// Sets options and limits, and collects bytes: see http_transfer.hpp. Regime: pure.
#include "bgworker/http_transfer.hpp"

#include "src/core/endpoint.hpp"
#include "src/core/fair_share.hpp"

#include <algorithm>
#include <cctype>
#include <netinet/in.h>
#include <new>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace steadytext::gateway {

using core::openai::Request;

namespace {

constexpr long kConnectPatienceMs = 2000;
constexpr long kProbePatienceMs = 2500;
constexpr long kCheckPatienceMs = 5000;
constexpr rlim_t kSpareDescriptors = 64;           // for libzmq, which aborts without descriptors
constexpr std::int64_t kUsualRetryUs = 1'000'000;  // for a busy engine that gives no time
constexpr std::int64_t kLongestRetryUs = 60'000'000;
constexpr std::size_t kFirstRoom = 4096;
constexpr std::size_t kLongestHeaders = 262'144;  // of one reply, with those of informational replies and its trailers

bool is_allowed(const curl_sockaddr &address) {
    if (address.family == AF_INET)
        return !core::address_is_forbidden(
            reinterpret_cast<const unsigned char *>(&reinterpret_cast<const sockaddr_in *>(&address.addr)->sin_addr),
            4);
    return address.family == AF_INET6 &&
           !core::address_is_forbidden(reinterpret_cast<const unsigned char *>(
                                           &reinterpret_cast<const sockaddr_in6 *>(&address.addr)->sin6_addr),
                                       16);
}

bool is_spare(int socket) {
    rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) != 0 || static_cast<rlim_t>(socket) + kSpareDescriptors < limit.rlim_cur;
}

curl_socket_t open_socket(void *, curlsocktype, curl_sockaddr *address) {
    if (!is_allowed(*address))
        return CURL_SOCKET_BAD;
    const int opened = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (opened >= 0 && is_spare(opened))
        return opened;
    close(opened);
    return CURL_SOCKET_BAD;
}

}  // namespace

HttpTransfer::HttpTransfer(CurlLoop &loop, HttpSite &site, Request request, std::vector<std::string> &news)
    : loop_(loop), site_(site), request_(std::move(request)), news_(news), easy_(curl_easy_init()) {
    if (easy_ == nullptr)
        throw std::bad_alloc();
    set_up();
}

HttpTransfer::~HttpTransfer() {
    site_.under_way -= reply_.size();
    loop_.remove(easy_);
    curl_easy_cleanup(easy_);
    curl_slist_free_all(headers_);
    curl_slist_free_all(resolved_);
}

HttpTransfer &HttpTransfer::of(CURL *easy) {
    void *transfer = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    return *static_cast<HttpTransfer *>(transfer);
}

// ---- outgoing -------------------------------------------------------------------------------------------------------

void HttpTransfer::add_header(const std::string &header) {
    curl_slist *longer = curl_slist_append(headers_, header.c_str());
    if (longer == nullptr)
        throw std::bad_alloc();
    headers_ = longer;
}

void HttpTransfer::set_up() {
    const std::string url = site_.address + request_.path;
    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_PRIVATE, this);
    set(CURLOPT_ERRORBUFFER, error_);
    set(CURLOPT_WRITEFUNCTION, &HttpTransfer::on_bytes);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_HEADERFUNCTION, &HttpTransfer::on_header);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_CONNECTTIMEOUT_MS, kConnectPatienceMs);
    if (request_.kind == Request::Kind::Ping)
        set(CURLOPT_TIMEOUT_MS, kProbePatienceMs);
    else if (request_.is_check)
        set(CURLOPT_TIMEOUT_MS, kCheckPatienceMs);
    // A check uses its own connection, so that neither the answer to another request nor the rest of it influences the
    // result.
    if (request_.is_check)
        set(CURLOPT_FRESH_CONNECT, 1L);
    set_limits();
    // Any encoding that libcurl supports; unpacked bytes count towards the limit of replies. A compressed stream would
    // hold back pieces.
    set(CURLOPT_ACCEPT_ENCODING, "");
    if (request_.streams)
        add_header("Accept-Encoding: identity");
    add_header(request_.streams ? "Accept: text/event-stream, application/json" : "Accept: application/json");
    if (!site_.key.empty())
        add_header("Authorization: Bearer " + site_.key);
    for (const std::string &header : site_.headers)
        add_header(header);
    if (!request_.body.empty()) {
        add_header("Content-Type: application/json");
        add_header("Expect:");  // sends a long body without asking first
        set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
        set(CURLOPT_POSTFIELDS, request_.body.c_str());
    }
    set(CURLOPT_HTTPHEADER, headers_);
    reply_.reserve(kFirstRoom);
}

// The transfer goes to the engine itself and nowhere else, by no proxy, and only if the engine proves its identity.
void HttpTransfer::set_limits() {
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_PROXY, "");
    set(CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
    set(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    set(CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    set(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    if (!site_.ca_file.empty())
        set(CURLOPT_CAINFO, site_.ca_file.c_str());
    if (!site_.resolved.empty()) {
        resolved_ = curl_slist_append(nullptr, site_.resolved.c_str());
        set(CURLOPT_RESOLVE, resolved_);
    }
}

// ---- incoming -------------------------------------------------------------------------------------------------------

// What is read of a stream does not stay.
bool HttpTransfer::may_take(std::size_t count) const {
    const bool is_short = count <= site_.longest_reply - taken_;
    return is_short && (is_stream() || core::FairShare::allows(reply_.size(), count, site_.under_way,
                                                               HttpSite::kReplies * site_.longest_reply));
}

std::size_t HttpTransfer::on_bytes(char *bytes, std::size_t, std::size_t count, void *self) noexcept {
    auto &transfer = *static_cast<HttpTransfer *>(self);
    transfer.is_halted_ = transfer.is_paused_;
    if (transfer.is_halted_)
        return CURL_WRITEFUNC_PAUSE;
    transfer.is_too_long_ = !transfer.may_take(count);
    if (transfer.is_too_long_)
        return 0;
    transfer.taken_ += count;
    try {
        if (transfer.is_stream()) {
            transfer.events_.append({bytes, count});
            transfer.tell_news();
        } else {
            transfer.reply_.append(bytes, count);
            transfer.site_.under_way += count;
        }
    } catch (const std::bad_alloc &) {
        return 0;
    }
    return count;
}

// libcurl keeps every header, and bounds those before a body, but not those behind it.
//
// An answer with such a status has no body. If a body comes anyway, it would be read as the answer to the next request,
// so the connection is not used again.
std::size_t HttpTransfer::on_header(char *, std::size_t, std::size_t count, void *self) noexcept {
    auto &transfer = *static_cast<HttpTransfer *>(self);
    transfer.header_bytes_ += count;
    if (transfer.header_bytes_ > kLongestHeaders)
        return 0;
    if (const long status = transfer.status(); status == 204 || status == 205 || status == 304)
        transfer.set(CURLOPT_FORBID_REUSE, 1L);
    return count;
}

long HttpTransfer::status() const {
    long status = 0;
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

bool HttpTransfer::has_gone_out() const {
    long bytes = 0;
    curl_easy_getinfo(easy_, CURLINFO_REQUEST_SIZE, &bytes);
    return bytes > 0;
}

double HttpTransfer::milliseconds() const {
    curl_off_t took_us = 0;
    curl_easy_getinfo(easy_, CURLINFO_TOTAL_TIME_T, &took_us);
    return static_cast<double>(took_us) / 1000;
}

bool HttpTransfer::is_json() const {
    const char *type = nullptr;
    curl_easy_getinfo(easy_, CURLINFO_CONTENT_TYPE, &type);
    return type != nullptr && std::string_view(type).starts_with("application/json");
}

bool HttpTransfer::has_retry_after() const {
    curl_off_t seconds = 0;
    curl_easy_getinfo(easy_, CURLINFO_RETRY_AFTER, &seconds);
    return seconds > 0;
}

std::int64_t HttpTransfer::retry_after_us() const {
    curl_off_t seconds = 0;
    curl_easy_getinfo(easy_, CURLINFO_RETRY_AFTER, &seconds);
    return seconds > 0 ? std::min<std::int64_t>(seconds, kLongestRetryUs / 1'000'000) * 1'000'000 : kUsualRetryUs;
}

std::string HttpTransfer::failure(CURLcode result) const {
    if (is_too_long_)
        return "its reply has more than " + std::to_string(site_.longest_reply) +
               " bytes, or all its replies under way have more than " + std::to_string(HttpSite::kReplies) +
               " times as many";
    if (header_bytes_ > kLongestHeaders)
        return "the headers of its reply have more than " + std::to_string(kLongestHeaders) + " bytes";
    if (result == CURLE_UNSUPPORTED_PROTOCOL || result == CURLE_WEIRD_SERVER_REPLY)
        return "it does not speak HTTP";
    std::string reason = error_[0] != '\0' ? error_ : curl_easy_strerror(result);
    reason.erase(reason.find_last_not_of(". ") + 1);  // it is put into a sentence
    if (reason.size() > 1 && std::islower(static_cast<unsigned char>(reason[1])) != 0)
        reason[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(reason[0])));
    return reason;
}

// ---- streams -------------------------------------------------------------------------------------------------------

void HttpTransfer::tell_news() {
    if (news_.empty() || news_.back() != request_.id)
        news_.push_back(request_.id);
}

// libcurl may call back at once with bytes that it held back.
void HttpTransfer::resume() {
    is_paused_ = false;
    tell_news();
    if (std::exchange(is_halted_, false))
        curl_easy_pause(easy_, CURLPAUSE_CONT);
}

void HttpTransfer::note_end(CURLcode result) {
    has_ended_ = true;
    result_ = result;
    tell_news();
}

}  // namespace steadytext::gateway
