// Starts transfers and reads their results: see http_channel.hpp. Regime: pure.
//
// The other parts: whose failure it is in http_trials.cpp, parameters that an engine refuses in http_lessons.cpp.
#include "bgworker/http_channel.hpp"

#include "src/core/clock.hpp"
#include "src/core/key_file.hpp"

#include <algorithm>
#include <utility>

namespace steadytext::gateway {

namespace openai = core::openai;
using openai::Request;

namespace {

constexpr long kMaxConnections = 256;
constexpr std::int64_t kFirstPauseUs = 100'000;
constexpr std::int64_t kLongestPauseUs = 1'000'000;

std::string bracketed(const std::string &address) {
    return address.find(':') == std::string::npos ? address : "[" + address + "]";
}

// For a transfer whose connection broke.
Declined broken(const HttpTransfer &transfer, CURLcode result) {
    const auto why = transfer.is_too_long() ? Declined::Why::Invalid : Declined::Why::Unavailable;
    return {transfer.request().id, why, transfer.failure(result), {}};
}

}  // namespace

HttpChannel::HttpChannel(const core::DaemonEntry &entry, std::size_t longest_reply)
    : loop_(kMaxConnections), engine_(openai::engine_of(entry)), api_(engine_.api), key_file_(entry.key_file),
      headers_(entry.headers), extra_body_file_(entry.extra_body_file) {
    site_.address = entry.endpoint.kind == core::EndpointKind::Https ? "https://" : "http://";
    site_.address.append(bracketed(entry.endpoint.host)).append(":").append(std::to_string(entry.endpoint.port));
    site_.ca_file = entry.ca_file;
    site_.longest_reply = longest_reply;
}

HttpChannel::~HttpChannel() = default;

std::unique_ptr<HttpChannel> HttpChannel::open(const core::DaemonEntry &entry,
                                               const std::vector<std::string> &addresses, std::size_t longest_reply,
                                               std::string &reason) {
    std::unique_ptr<HttpChannel> channel(new HttpChannel(entry, longest_reply));
    if (!channel->loop_.is_good()) {
        reason = "libcurl could not be started";
        return nullptr;
    }
    if (core::has_host_name(entry.endpoint)) {
        std::string &words = channel->site_.resolved;
        words.append(entry.endpoint.host).append(":").append(std::to_string(entry.endpoint.port)).append(":");
        for (const std::string &address : addresses)
            words.append(&address == &addresses.front() ? "" : ",").append(bracketed(address));
    }
    return channel;
}

Channel::Sent HttpChannel::send(std::string_view body) {
    Request request;
    if (!openai::read_request(body, engine_, request))
        return Sent::Unsendable;
    switch (request.kind) {
    case Request::Kind::Info:
        ready_.push_back(openai::info_reply(request.id, engine_));
        break;
    case Request::Kind::Refused:
        ready_.push_back(openai::error_reply(request.id, request.refusal));
        break;
    case Request::Kind::Cancel:
        transfers_.erase(request.cancelled_id);  // the engine sees the connection close
        company_us_ = core::monotonic_us();
        for (auto &[subject, check] : checks_)
            check.forget(request.cancelled_id);
        for (Lesson &lesson : lessons_)
            std::erase_if(lesson.refused, [&](const EngineCheck::Suspect &refused) {
                return refused.declined.id == request.cancelled_id;
            });
        break;
    case Request::Kind::Generate:
    case Request::Kind::Embed:
    case Request::Kind::EmbedBatch:
    case Request::Kind::Ping: {
        const std::string id = request.id;
        std::unique_ptr<HttpTransfer> transfer = start(std::move(request));
        if (transfer == nullptr)
            return Sent::Busy;
        transfers_[id] = std::move(transfer);
        break;
    }
    }
    return Sent::Yes;
}

std::unique_ptr<HttpTransfer> HttpChannel::start(Request request) {
    auto transfer = std::make_unique<HttpTransfer>(loop_, site_, std::move(request), news_);
    return transfer->start() ? std::move(transfer) : nullptr;
}

bool HttpChannel::receive(ChannelListener &listener) {
    bool any = !ready_.empty();
    deliver_ready(listener);
    any |= loop_.run();
    CURLcode result;
    while (CURL *easy = loop_.take_ended(result)) {
        HttpTransfer &transfer = HttpTransfer::of(easy);
        if (transfer.is_stream())
            transfer.note_end(result);  // its last events are not read yet
        else
            end(transfer, result, listener);
    }
    deliver_streams(listener);
    return any || !ready_.empty();
}

void HttpChannel::deliver_ready(ChannelListener &listener) {
    std::vector<std::string> ready;
    ready.swap(ready_);
    for (const std::string &reply : ready)
        listener.on_message(*this, reply);
}

// The transfer is extracted first, as the listener may send, cancel or close.
void HttpChannel::end(HttpTransfer &finished, CURLcode result, ChannelListener &listener) {
    if (&finished == probe_.get()) {
        const std::unique_ptr<HttpTransfer> probe = std::move(probe_);
        end_probe(*probe, result, listener);
        return;
    }
    for (auto &[subject, check] : checks_) {
        if (&finished == check.transfer.get()) {
            const std::unique_ptr<HttpTransfer> transfer = std::move(check.transfer);
            end_check(subject, check, *transfer, result, listener);
            return;
        }
    }
    for (auto lesson = lessons_.begin(); lesson != lessons_.end(); ++lesson) {
        if (&finished == lesson->transfer.get()) {
            Lesson over = std::move(*lesson);
            lessons_.erase(lesson);
            end_lesson(std::move(over), result, listener);
            return;
        }
    }
    const auto found = transfers_.extract(finished.request().id);
    const std::unique_ptr<HttpTransfer> transfer = std::move(found.mapped());
    if (result != CURLE_OK)
        return lose(*transfer, result, listener);
    if (std::string parameter = openai::refused_parameter(transfer->request(), transfer->status(), transfer->reply());
        !parameter.empty())
        return ask_whether_refused(*transfer, std::move(parameter), listener);
    conclude(*transfer,
             openai::read_reply(transfer->request(), engine_, transfer->status(), transfer->reply(),
                                transfer->milliseconds(), transfer->has_retry_after()),
             listener);
}

void HttpChannel::conclude(const HttpTransfer &transfer, openai::Reply reply, ChannelListener &listener) {
    const Request &request = transfer.request();
    Declined declined{request.id, Declined::Why::Unavailable, std::move(reply.reason), std::move(reply.shown)};
    switch (reply.verdict) {
    case openai::Verdict::Answer:
        company_us_ = core::monotonic_us();
        if (request.kind == Request::Kind::Ping)
            take_models(transfer.reply(), listener);
        else if (transfer.status() < 300)
            note_answer(request);
        if (!reply.piece.empty())
            listener.on_message(*this, reply.piece);
        listener.on_message(*this, reply.message);
        return;
    case openai::Verdict::Busy:
        declined.why = Declined::Why::Busy;
        declined.retry_after_us = transfer.retry_after_us();
        declined.is_loading = reply.is_loading;
        break;
    case openai::Verdict::Unserved:
        if (!serves(request.kind)) {  // sent before this was known
            declined.why = Declined::Why::Unserved;
            return listener.on_declined(*this, declined);
        }
        break;
    case openai::Verdict::Invalid:
        declined.why = Declined::Why::Invalid;
        break;
    case openai::Verdict::Exhausted:
        declined.why = Declined::Why::Exhausted;
        break;
    case openai::Verdict::Suspect:
        break;
    }
    if (request.kind != Request::Kind::Ping)
        return suspect(request, {std::move(declined), std::move(reply.message)}, listener);
    listener.on_declined(*this, declined);
    if (transfer.status() == 401)
        go_down(declined.reason, listener);  // and read the key anew
}

// A proxy may change its models while it runs.
void HttpChannel::take_models(std::string_view listing, ChannelListener &listener) {
    const std::vector<std::string> before = engine_.models;
    if (openai::read_models(listing, engine_) && engine_.models != before && !engine_.models.empty())
        listener.on_described(openai::info_reply("", engine_));
}

void HttpChannel::lose(const HttpTransfer &transfer, CURLcode result, ChannelListener &listener) {
    const Request &request = transfer.request();
    Declined declined = broken(transfer, result);
    if (request.kind != Request::Kind::Ping && transfer.has_gone_out())
        return suspect(request, {std::move(declined), {}}, listener);
    listener.on_declined(*this, declined);
    if (result == CURLE_COULDNT_CONNECT)
        go_down(declined.reason, listener);
}

// ---- streams --------------------------------------------------------------------------------------------------------

void HttpChannel::deliver_streams(ChannelListener &listener) {
    std::vector<std::string> news;
    news.swap(news_);
    for (const std::string &id : news)
        deliver_stream(id, listener);
}

// The listener may pause or end the stream at each event, so it is looked up again each time.
void HttpChannel::deliver_stream(const std::string &id, ChannelListener &listener) {
    using Event = openai::StreamReader::Event;
    std::string data, message;
    for (auto found = transfers_.find(id); found != transfers_.end(); found = transfers_.find(id)) {
        HttpTransfer &stream = *found->second;
        if (stream.is_paused())
            return;
        if (!stream.next_event(data)) {
            if (stream.has_ended())
                end_stream(id, listener);
            return;
        }
        switch (stream.reader().read(stream.request(), data, message)) {
        case Event::Nothing:
            break;
        case Event::Piece:
            listener.on_message(*this, message);
            break;
        case Event::Failed: {
            const auto failed = transfers_.extract(found);
            conclude(*failed.mapped(), failed.mapped()->reader().take_failure(), listener);
            return;
        }
        case Event::Invalid: {
            const auto damaged = transfers_.extract(found);
            return suspect(damaged.mapped()->request(),
                           {{id, Declined::Why::Invalid, "it sent something else than a part of its answer", {}}, {}},
                           listener);
        }
        }
    }
}

void HttpChannel::end_stream(const std::string &id, ChannelListener &listener) {
    const auto found = transfers_.extract(id);
    HttpTransfer &stream = *found.mapped();
    if (stream.result() != CURLE_OK && !stream.reader().is_done())
        return lose(stream, stream.result(), listener);
    conclude(stream, stream.reader().end(stream.request(), engine_, stream.milliseconds()), listener);
}

void HttpChannel::pause(std::string_view id) {
    if (const auto found = transfers_.find(id); found != transfers_.end())
        found->second->pause();
}

void HttpChannel::resume(std::string_view id) {
    if (const auto found = transfers_.find(id); found != transfers_.end())
        found->second->resume();
}

// ---- is the engine up? ----------------------------------------------------------------------------------------------

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
    if (core::Problem problem; !read_files(problem)) {
        site_.key.clear();
        site_.headers.clear();
        probe_again(core::monotonic_us());
        listener.on_connect_failed(*this, (std::string(problem.message) + ": " + problem.detail).c_str());
        return;
    }
    Request request;
    request.kind = Request::Kind::Ping;
    request.path = engine_.path_to("/models");
    probe_ = start(std::move(request));
}

// The files that the entry names are read anew at each probe.
bool HttpChannel::read_files(core::Problem &problem) {
    site_.key.clear();
    const bool good =
        (key_file_.empty() || core::read_key_file(key_file_.c_str(), core::KeyKind::Secret, site_.key, problem)) &&
        read_headers(problem) && read_extra_body(problem);
    hide_secrets();
    return good;
}

// An engine may repeat parts of its request in its words.
void HttpChannel::hide_secrets() {
    const auto secrets = std::make_shared<core::Secrets>();
    secrets->add(site_.key);
    for (const std::string &header : site_.headers)
        secrets->add(std::string_view(header).substr(header.find(": ") + 2));
    secrets->add_query(engine_.query.substr(engine_.query.empty() ? 0 : 1));
    engine_.secrets = secrets;
}

// "Name: value", or "Name: @file" if the value is secret.
bool HttpChannel::read_headers(core::Problem &problem) {
    site_.headers.clear();
    for (std::size_t at = 0; at < headers_.size();) {
        const std::size_t end = headers_.find('\n', at), value = headers_.find(": ", at) + 2;
        std::string header = headers_.substr(at, end - at);
        if (headers_[value] == '@') {
            std::string secret;
            if (!core::read_key_file(headers_.substr(value + 1, end - value - 1).c_str(), core::KeyKind::Secret, secret,
                                     problem))
                return false;
            header = headers_.substr(at, value - at) + secret;
        }
        site_.headers.push_back(std::move(header));
        at = end + 1;
    }
    return true;
}

// Other members lead to other answers, so they change the fingerprint, unless the entry sets it.
bool HttpChannel::read_extra_body(core::Problem &problem) {
    constexpr std::size_t kMaxBytes = 64 << 10;
    if (extra_body_file_.empty())
        return true;
    if (!core::read_text_file(extra_body_file_.c_str(), kMaxBytes, engine_.extra_body, problem))
        return false;
    if (!openai::is_object(engine_.extra_body)) {
        engine_.extra_body.clear();
        problem.set(core::sqlstate::kPrerequisiteState, "file \"%s\" cannot be used", extra_body_file_.c_str());
        problem.with_detail("It is not one JSON object.");
        return false;
    }
    engine_.variant = openai::variant_of(engine_);
    return true;
}

void HttpChannel::end_probe(const HttpTransfer &probe, CURLcode result, ChannelListener &listener) {
    std::string reason;
    bool is_loading = false;
    if (result != CURLE_OK)
        reason = probe.failure(result);
    else
        reason = openai::read_listing(probe.status(), probe.reply(), engine_, probe.has_retry_after(), is_loading);
    if (!reason.empty()) {
        probe_again(core::monotonic_us());
        if (is_loading)
            listener.on_loading(*this, reason.c_str());
        else
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
    engine_.api = api_;  // it may come back as another engine
    transfers_.clear();
    checks_.clear();
    for (std::string &model : answered_last_)
        model.clear();
    lessons_.clear();
    probe_again(core::monotonic_us());
    listener.on_down(*this, reason.c_str());
}

}  // namespace steadytext::gateway
