// An OpenAI-compatible engine over HTTP: turns requests of the wire protocol into the engine's requests, and its
// answers into a daemon's replies.
//
// Made by bgworker/open_channel.cpp. Regime: pure. src/core/openai.* translates, bgworker/http_transfer.* carries a
// single request there and back, bgworker/curl_loop.* has the sockets.
//
// The channel is up once the engine has listed its models. While it is down, it asks for the list again, with growing
// pauses, and reads the key from its file each time. libcurl gets addresses, never a name, so it starts no thread for a
// look-up. An address that no daemon may have is refused when the socket is made, wherever it came from.
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
    // `addresses`: the addresses of the endpoint's host name; unused if the host is an address. Null if libcurl refuses
    // to work; `reason` then says why.
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
    // Passes the result to the listener, unless it is not known yet whether engine or request is at fault.
    void conclude(const HttpTransfer &transfer, core::openai::Reply reply, ChannelListener &listener);
    // The check of a kind of requests: to generate, or to embed.
    struct Check {
        EngineCheck suspicion;
        std::unique_ptr<HttpTransfer> transfer;
        std::int64_t begun_us = 0;
        bool is_second = false;  // asks another model: the default model has failed
    };
    // Tests whether a model refuses a parameter or only a request with it: refused requests wait for the answer to the
    // gateway's own request.
    struct Lesson {
        core::openai::Request::Kind kind;
        std::string model;
        std::string parameter;
        std::unique_ptr<HttpTransfer> transfer;  // null: the engine takes the parameter after all
        std::vector<EngineCheck::Suspect> refused;
        std::int64_t holds_until_us = INT64_MAX;
    };
    [[nodiscard]] Check &check_for(core::openai::Request::Kind kind) {
        return checks_[kind == core::openai::Request::Kind::Generate ? 0 : 1];
    }
    [[nodiscard]] bool begin_check(Check &check, core::openai::Request::Kind kind, std::size_t model);
    [[nodiscard]] bool had_company(const Check &check) const;
    [[nodiscard]] bool has_one_model() const { return engine_.models.size() <= 1; }
    void judge_working(Check &check, const HttpTransfer &transfer, bool is_busy, bool is_loading,
                       ChannelListener &listener);
    [[nodiscard]] bool serves(core::openai::Request::Kind kind) const;
    void ask_whether_refused(const HttpTransfer &transfer, std::string parameter, ChannelListener &listener);
    void end_lesson(Lesson lesson, CURLcode result, ChannelListener &listener);
    void take_models(std::string_view listing, ChannelListener &listener);
    // For a transfer whose connection broke.
    void lose(const HttpTransfer &transfer, CURLcode result, ChannelListener &listener);
    void suspect(const core::openai::Request &request, EngineCheck::Suspect suspect, ChannelListener &listener);
    void end_check(Check &check, const HttpTransfer &transfer, CURLcode result, ChannelListener &listener);
    void put_all_off(EngineCheck::Suspect suspect, const HttpTransfer &transfer, bool is_loading,
                     ChannelListener &listener);
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
    std::string headers_;  // as the entry has them
    std::string extra_body_file_;
    std::vector<std::string> news_;  // ids of streams with new events
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
