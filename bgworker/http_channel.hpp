// An OpenAI-compatible engine over HTTP: requests of the wire protocol go out as its own, its answers come back as a daemon's.
//
// Made by bgworker/open_channel.cpp. Regime: pure. Translation is in src/core/openai.*, a single request's way there and back in
// bgworker/http_transfer.*, the sockets are bgworker/curl_loop.*'s.
//
// The channel is up once the engine has listed its models, and asks for the list again, with growing pauses, while it is
// not. The key is read from its file each time it does so. libcurl is given addresses, never a name, so it starts no thread
// to look one up; an address that no daemon may have is refused when the socket is made, wherever it came from.
#pragma once

#include "bgworker/channel.hpp"
#include "bgworker/curl_loop.hpp"
#include "bgworker/engine_check.hpp"
#include "bgworker/http_transfer.hpp"
#include "src/core/openai.hpp"

#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace steadytext::gateway {

class HttpChannel final : public Channel {
public:
    // `addresses`: what the name in the endpoint leads to; not looked at if that is an address. Null if libcurl refuses to
    // work; `reason` then says why.
    [[nodiscard]] static std::unique_ptr<HttpChannel> open(const core::DaemonEntry &entry,
                                                           const std::vector<std::string> &addresses,
                                                           std::size_t longest_reply, std::string &reason);
    ~HttpChannel() override;

    [[nodiscard]] Sent send(std::string_view body) override;
    bool receive(ChannelListener &listener) override;
    void notice(ChannelListener &listener) override;
    void append_wait_fds(std::vector<int> &fds) const override { fds.push_back(loop_.wait_fd()); }
    void pause(std::string_view id) override;
    void resume(std::string_view id) override;

private:
    using Transfers = std::map<std::string, std::unique_ptr<HttpTransfer>, std::less<>>;  // by the request's id

    HttpChannel(const core::DaemonEntry &entry, std::size_t longest_reply);

    [[nodiscard]] std::unique_ptr<HttpTransfer> start(core::openai::Request request);
    void deliver_ready(ChannelListener &listener);
    void end(HttpTransfer &transfer, CURLcode result, ChannelListener &listener);
    // What an answer comes to: the listener is told, unless it is not known yet whose failure it was.
    void conclude(const HttpTransfer &transfer, core::openai::Reply reply, ChannelListener &listener);
    // One that generates, and one that embeds.
    struct Check {
        EngineCheck suspicion;
        std::unique_ptr<HttpTransfer> transfer;
        std::int64_t begun_us = 0;
    };
    // Whether a model refuses a parameter, or a request that holds it: what was refused waits for what the gateway's own request comes back with.
    struct Lesson {
        core::openai::Request::Kind kind;
        std::string model;
        std::string parameter;
        std::unique_ptr<HttpTransfer> transfer;  // null: it is taken after all
        std::vector<EngineCheck::Suspect> refused;
        std::int64_t holds_until_us = INT64_MAX;
    };
    [[nodiscard]] Check &check_for(core::openai::Request::Kind kind) { return checks_[kind == core::openai::Request::Kind::Generate ? 0 : 1]; }
    [[nodiscard]] bool had_company(const Check &check) const;
    [[nodiscard]] bool serves(core::openai::Request::Kind kind) const;
    void ask_whether_refused(const HttpTransfer &transfer, std::string parameter, ChannelListener &listener);
    void end_lesson(Lesson lesson, CURLcode result, ChannelListener &listener);
    void take_models(std::string_view listing, ChannelListener &listener);
    // Of one whose connection did not hold.
    void lose(const HttpTransfer &transfer, CURLcode result, ChannelListener &listener);
    void suspect(const core::openai::Request &request, EngineCheck::Suspect suspect, ChannelListener &listener);
    void end_check(Check &check, const HttpTransfer &transfer, CURLcode result, ChannelListener &listener);
    void put_all_off(EngineCheck::Suspect suspect, std::int64_t retry_after_us, bool is_loading, ChannelListener &listener);
    void acquit(EngineCheck::Suspect suspect, ChannelListener &listener);
    void convict(std::vector<EngineCheck::Suspect> suspects, bool is_unserved, bool is_gone, ChannelListener &listener);
    void deliver_streams(ChannelListener &listener);
    void deliver_stream(const std::string &id, ChannelListener &listener);
    void end_stream(const std::string &id, ChannelListener &listener);
    void end_probe(const HttpTransfer &probe, CURLcode result, ChannelListener &listener);
    void begin_probe(ChannelListener &listener);
    [[nodiscard]] bool read_files(core::Problem &problem);
    [[nodiscard]] bool read_headers(core::Problem &problem);
    void hide_secrets();
    [[nodiscard]] bool read_extra_body(core::Problem &problem);
    void probe_again(std::int64_t now_us);
    void go_down(const std::string &reason, ChannelListener &listener);

    CurlLoop loop_;
    core::openai::Engine engine_;
    core::openai::Api api_;  // as its entry says
    HttpSite site_{};
    std::string key_file_;
    std::string headers_;          // as the entry has them
    std::string extra_body_file_;
    std::vector<std::string> news_;   // ids of streams with something new
    Transfers transfers_;
    std::vector<std::string> ready_;  // replies that need no engine
    Check checks_[2];
    std::int64_t company_us_ = 0;  // when a request was last answered, or given up by its caller
    std::list<Lesson> lessons_;
    std::unique_ptr<HttpTransfer> probe_;
    std::int64_t next_probe_us_ = 0;
    std::int64_t pause_us_ = 0;
};

}  // namespace steadytext::gateway
