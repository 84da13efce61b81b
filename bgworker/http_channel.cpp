// Transfers, and what becomes of them: see http_channel.hpp. Regime: pure. libcurl's callbacks are called from C: they
// must not throw.
#include "bgworker/http_channel.hpp"

#include "src/core/clock.hpp"
#include "src/core/key_file.hpp"

#include <algorithm>
#include <cctype>
#include <netinet/in.h>
#include <new>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace steadytext::gateway {

namespace openai = core::openai;
using openai::Request;

namespace {

constexpr long kConnectPatienceMs = 2000;
constexpr long kProbePatienceMs = 2500;
constexpr long kMostConnections = 256;
constexpr rlim_t kSpareDescriptors = 64;  // for libzmq, which aborts when it gets none
constexpr std::int64_t kFirstPauseUs = 100'000;
constexpr std::int64_t kLongestPauseUs = 1'000'000;
constexpr std::int64_t kUsualRetryUs = 1'000'000;  // of an engine that is busy and does not say for how long
constexpr std::int64_t kLongestRetryUs = 60'000'000;
constexpr std::size_t kFirstRoom = 4096;

bool is_allowed(const curl_sockaddr &address) {
    if (address.family == AF_INET)
        return !core::address_is_forbidden(
            reinterpret_cast<const unsigned char *>(&reinterpret_cast<const sockaddr_in *>(&address.addr)->sin_addr), 4);
    return address.family == AF_INET6 &&
           !core::address_is_forbidden(
               reinterpret_cast<const unsigned char *>(&reinterpret_cast<const sockaddr_in6 *>(&address.addr)->sin6_addr), 16);
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

std::string bracketed(const std::string &address) {
    return address.find(':') == std::string::npos ? address : "[" + address + "]";
}

}  // namespace

// ---- one transfer ---------------------------------------------------------------------------------------------------

class HttpChannel::Transfer {
public:
    Transfer(HttpChannel &channel, Request request) : channel_(channel), request_(std::move(request)), easy_(curl_easy_init()) {
        if (easy_ == nullptr)
            throw std::bad_alloc();
        set_up();
    }
    ~Transfer() {
        channel_.loop_.remove(easy_);
        curl_easy_cleanup(easy_);
        curl_slist_free_all(headers_);
        curl_slist_free_all(resolved_);
    }
    Transfer(const Transfer &) = delete;
    Transfer &operator=(const Transfer &) = delete;

    [[nodiscard]] CURL *easy() const { return easy_; }
    [[nodiscard]] const Request &request() const { return request_; }
    [[nodiscard]] const std::string &reply() const { return reply_; }
    [[nodiscard]] bool is_too_long() const { return is_too_long_; }

    [[nodiscard]] long status() const {
        long status = 0;
        curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
        return status;
    }
    [[nodiscard]] double milliseconds() const {
        curl_off_t took_us = 0;
        curl_easy_getinfo(easy_, CURLINFO_TOTAL_TIME_T, &took_us);
        return static_cast<double>(took_us) / 1000;
    }
    [[nodiscard]] std::int64_t retry_after_us() const {
        curl_off_t seconds = 0;
        curl_easy_getinfo(easy_, CURLINFO_RETRY_AFTER, &seconds);
        return seconds > 0 ? std::min<std::int64_t>(seconds * std::int64_t{1'000'000}, kLongestRetryUs) : kUsualRetryUs;
    }
    // In libcurl's words, which never hold a header.
    [[nodiscard]] std::string failure(CURLcode result) const {
        if (is_too_long_)
            return "its reply has more than " + std::to_string(channel_.longest_reply_) + " bytes";
        if (result == CURLE_UNSUPPORTED_PROTOCOL || result == CURLE_WEIRD_SERVER_REPLY)
            return "it does not speak HTTP";
        std::string reason = error_[0] != '\0' ? error_ : curl_easy_strerror(result);
        if (reason.size() > 1 && std::islower(static_cast<unsigned char>(reason[1])) != 0)
            reason[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(reason[0])));
        return reason;
    }

private:
    static std::size_t take(char *bytes, std::size_t, std::size_t count, void *self) noexcept {
        auto &transfer = *static_cast<Transfer *>(self);
        transfer.is_too_long_ = count > transfer.channel_.longest_reply_ - transfer.reply_.size();
        if (transfer.is_too_long_)
            return 0;
        try {
            transfer.reply_.append(bytes, count);
        } catch (const std::bad_alloc &) {
            return 0;
        }
        return count;
    }

    template <class Value>
    void set(CURLoption option, Value value) {
        curl_easy_setopt(easy_, option, value);
    }

    void add_header(const std::string &header) {
        curl_slist *longer = curl_slist_append(headers_, header.c_str());
        if (longer == nullptr)
            throw std::bad_alloc();
        headers_ = longer;
    }

    void set_up() {
        const std::string url = channel_.site_ + request_.path;
        set(CURLOPT_URL, url.c_str());
        set(CURLOPT_PRIVATE, this);
        set(CURLOPT_ERRORBUFFER, error_);
        set(CURLOPT_WRITEFUNCTION, &Transfer::take);
        set(CURLOPT_WRITEDATA, this);
        set(CURLOPT_CONNECTTIMEOUT_MS, kConnectPatienceMs);
        if (request_.kind == Request::Kind::Ping)
            set(CURLOPT_TIMEOUT_MS, kProbePatienceMs);
        set_limits();
        add_header("Accept: application/json");
        if (!channel_.key_.empty())
            add_header("Authorization: Bearer " + channel_.key_);
        if (!request_.body.empty()) {
            add_header("Content-Type: application/json");
            add_header("Expect:");  // no question whether a long body may come
            set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
            set(CURLOPT_POSTFIELDS, request_.body.c_str());
        }
        set(CURLOPT_HTTPHEADER, headers_);
        reply_.reserve(kFirstRoom);
    }

    // Where it may go: to the engine itself and nowhere else, by no proxy, and only if the engine proves who it is.
    void set_limits() {
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
        if (!channel_.ca_file_.empty())
            set(CURLOPT_CAINFO, channel_.ca_file_.c_str());
        if (!channel_.resolved_.empty()) {
            resolved_ = curl_slist_append(nullptr, channel_.resolved_.c_str());
            set(CURLOPT_RESOLVE, resolved_);
        }
    }

    HttpChannel &channel_;
    Request request_;
    CURL *easy_;
    curl_slist *headers_ = nullptr;
    curl_slist *resolved_ = nullptr;
    std::string reply_;
    bool is_too_long_ = false;
    char error_[CURL_ERROR_SIZE] = "";
};

// ---- the channel ----------------------------------------------------------------------------------------------------

HttpChannel::HttpChannel(const core::DaemonEntry &entry, std::size_t longest_reply)
    : loop_(kMostConnections), engine_(openai::engine_of(entry)), api_(engine_.api), key_file_(entry.key_file), ca_file_(entry.ca_file),
      longest_reply_(longest_reply) {
    site_ = entry.endpoint.kind == core::EndpointKind::Https ? "https://" : "http://";
    site_.append(bracketed(entry.endpoint.host)).append(":").append(std::to_string(entry.endpoint.port));
}

HttpChannel::~HttpChannel() = default;

std::unique_ptr<HttpChannel> HttpChannel::open(const core::DaemonEntry &entry, const std::vector<std::string> &addresses,
                                               std::size_t longest_reply, std::string &reason) {
    std::unique_ptr<HttpChannel> channel(new HttpChannel(entry, longest_reply));
    if (!channel->loop_.is_good()) {
        reason = "libcurl could not be started";
        return nullptr;
    }
    if (core::has_host_name(entry.endpoint)) {
        std::string &words = channel->resolved_;
        words.append(entry.endpoint.host).append(":").append(std::to_string(entry.endpoint.port)).append(":");
        for (const std::string &address : addresses)
            words.append(&address == &addresses.front() ? "" : ",").append(bracketed(address));
    }
    return channel;
}

Channel::Sent HttpChannel::send(std::string_view body) {
    Request request;
    if (!openai::read_request(body, engine_, request))
        return Sent::Broken;
    switch (request.kind) {
    case Request::Kind::Info:
        ready_.push_back(openai::info_reply(request.id, engine_));
        break;
    case Request::Kind::Refused:
        ready_.push_back(openai::error_reply(request.id, request.refusal));
        break;
    case Request::Kind::Cancel:
        transfers_.erase(request.cancelled_id);  // the engine sees the connection close
        break;
    case Request::Kind::Generate:
    case Request::Kind::Embed:
    case Request::Kind::EmbedBatch:
    case Request::Kind::Ping: {
        const std::string id = request.id;
        std::unique_ptr<Transfer> transfer = start(std::move(request));
        if (transfer == nullptr)
            return Sent::Busy;
        transfers_[id] = std::move(transfer);
        break;
    }
    }
    return Sent::Yes;
}

std::unique_ptr<HttpChannel::Transfer> HttpChannel::start(Request request) {
    auto transfer = std::make_unique<Transfer>(*this, std::move(request));
    return loop_.add(transfer->easy()) ? std::move(transfer) : nullptr;
}

bool HttpChannel::receive(ChannelListener &listener) {
    bool any = !ready_.empty();
    deliver_ready(listener);
    any |= loop_.run();
    CURLcode result;
    while (CURL *easy = loop_.take_ended(result)) {
        void *transfer = nullptr;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
        end(*static_cast<Transfer *>(transfer), result, listener);
    }
    return any || !ready_.empty();
}

void HttpChannel::deliver_ready(ChannelListener &listener) {
    std::vector<std::string> ready;
    ready.swap(ready_);
    for (const std::string &reply : ready)
        listener.on_message(*this, reply);
}

// Whatever the listener does, the transfer is ours no more: it may send, cancel or close.
void HttpChannel::end(Transfer &finished, CURLcode result, ChannelListener &listener) {
    if (&finished == probe_.get()) {
        const std::unique_ptr<Transfer> probe = std::move(probe_);
        end_probe(*probe, result, listener);
        return;
    }
    const auto found = transfers_.extract(finished.request().id);
    const std::unique_ptr<Transfer> transfer = std::move(found.mapped());
    Declined declined{transfer->request().id, Declined::Why::Unavailable, {}, 0};
    if (result != CURLE_OK) {
        declined.why = transfer->is_too_long() ? Declined::Why::Invalid : Declined::Why::Unavailable;
        declined.reason = transfer->failure(result);
        listener.on_declined(*this, declined);
        if (result == CURLE_COULDNT_CONNECT)
            go_down(declined.reason, listener);
        return;
    }
    openai::Reply reply =
        openai::read_reply(transfer->request(), engine_, transfer->status(), transfer->reply(), transfer->milliseconds());
    declined.reason = std::move(reply.reason);
    switch (reply.verdict) {
    case openai::Verdict::Answer:
        if (transfer->request().kind == Request::Kind::Ping)
            (void)openai::read_models(transfer->reply(), engine_);
        listener.on_message(*this, reply.message);
        return;
    case openai::Verdict::Busy:
        declined.why = Declined::Why::Busy;
        declined.retry_after_us = transfer->retry_after_us();
        break;
    case openai::Verdict::Invalid:
        declined.why = Declined::Why::Invalid;
        break;
    case openai::Verdict::Unserved:
        declined.why = Declined::Why::Unserved;
        openai::narrow(engine_, transfer->request().kind);
        listener.on_described(openai::info_reply("", engine_));
        break;
    case openai::Verdict::Unavailable:
        break;
    }
    listener.on_declined(*this, declined);
    if (transfer->status() == 401)
        go_down(declined.reason, listener);  // and read the key anew
}

// ---- whether it is up -----------------------------------------------------------------------------------------------

void HttpChannel::notice(ChannelListener &listener) {
    (void)receive(listener);
    if (!up && probe_ == nullptr && core::monotonic_us() >= next_probe_us_)
        begin_probe(listener);
}

void HttpChannel::probe_again(std::int64_t now_us) {
    pause_us_ = std::clamp(pause_us_ * 2, kFirstPauseUs, kLongestPauseUs);
    next_probe_us_ = now_us + pause_us_;
}

void HttpChannel::begin_probe(ChannelListener &listener) {
    core::Problem problem;
    key_.clear();
    if (!key_file_.empty() && !core::read_key_file(key_file_.c_str(), core::KeyKind::Secret, key_, problem)) {
        key_.clear();
        probe_again(core::monotonic_us());
        listener.on_connect_failed(*this, (std::string(problem.message) + ": " + problem.detail).c_str());
        return;
    }
    Request request;
    request.kind = Request::Kind::Ping;
    request.path = engine_.base + "/models";
    probe_ = start(std::move(request));
}

void HttpChannel::end_probe(const Transfer &probe, CURLcode result, ChannelListener &listener) {
    std::string reason;
    if (result != CURLE_OK)
        reason = probe.failure(result);
    else
        reason = openai::read_listing(probe.status(), probe.reply(), engine_);
    if (!reason.empty()) {
        probe_again(core::monotonic_us());
        listener.on_connect_failed(*this, reason.c_str());
        return;
    }
    pause_us_ = 0;
    up = true;
    listener.on_up(*this);
}

void HttpChannel::go_down(const std::string &reason, ChannelListener &listener) {
    if (!up)
        return;
    up = false;
    engine_.api = api_;  // it may come back as another
    transfers_.clear();
    probe_again(core::monotonic_us());
    listener.on_down(*this, reason.c_str());
}

}  // namespace steadytext::gateway
