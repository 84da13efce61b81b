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
    // --- whose failure it is (http_trials.cpp) ---
    enum class Finding { Works, Busy, Unserved, Fails, Unknown };
    [[nodiscard]] bool has_one_model() const { return engine_.models.size() <= 1; }
    [[nodiscard]] std::string model_at(std::size_t place) const;
    [[nodiscard]] bool lists(const std::string &model) const;
    [[nodiscard]] bool serves(core::openai::Request::Kind kind) const;
    [[nodiscard]] Subject subject_of(const core::openai::Request &request) const;
    [[nodiscard]] EngineCheck &check_of(const Subject &subject);
    void note_answer(const core::openai::Request &request);
    void suspect(const core::openai::Request &request, EngineCheck::Suspect suspect, ChannelListener &listener);
    [[nodiscard]] bool begin_trial(EngineCheck &check, const Subject &subject);
    [[nodiscard]] bool ask(EngineCheck &check, const Subject &subject);
    [[nodiscard]] bool had_company(const EngineCheck &check) const;
    [[nodiscard]] Finding finding_of(const Subject &asked, const EngineCheck &check, const HttpTransfer &transfer,
                                     CURLcode result, core::openai::Verdict verdict) const;
    [[nodiscard]] Subject next_witness(const Subject &subject, const EngineCheck &check) const;
    [[nodiscard]] bool works_otherwise(const Subject &subject, const EngineCheck &check, std::int64_t now_us) const;
    void end_check(const Subject &of, EngineCheck &check, const HttpTransfer &transfer, CURLcode result,
                   ChannelListener &listener);
    [[nodiscard]] bool end_own(const Subject &subject, EngineCheck &check, const HttpTransfer &transfer,
                               Finding finding, const core::openai::Reply &reply, ChannelListener &listener);
    [[nodiscard]] bool end_witness(const Subject &subject, EngineCheck &check, const HttpTransfer &transfer,
                                   Finding finding, ChannelListener &listener);
    void end_beside(EngineCheck &check, ChannelListener &listener);
    void end_unserved(EngineCheck &check, core::openai::Request::Kind kind, ChannelListener &listener);
    void convict_engine(std::vector<EngineCheck::Suspect> suspects, const std::string &reason, bool is_gone,
                        ChannelListener &listener);
    void put_off(std::vector<EngineCheck::Suspect> suspects, std::int64_t retry_after_us, const std::string &reason,
                 bool is_of_its_model, ChannelListener &listener, bool is_loading = false);
    void acquit(EngineCheck::Suspect suspect, ChannelListener &listener);

    // --- parameters that the engine refuses (http_lessons.cpp) ---
    void ask_whether_refused(const HttpTransfer &transfer, std::string parameter, ChannelListener &listener);
    void end_lesson(Lesson lesson, CURLcode result, ChannelListener &listener);
    void take_models(std::string_view listing, ChannelListener &listener);
    // For a transfer whose connection broke.
    void lose(const HttpTransfer &transfer, CURLcode result, ChannelListener &listener);
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
    std::map<Subject, EngineCheck> checks_;
    std::string answered_last_[2];  // the model, by Subject::generates
    std::int64_t company_us_ = 0;   // when a request was last answered, or given up by its caller
    std::list<Lesson> lessons_;
    std::unique_ptr<HttpTransfer> probe_;
    std::int64_t next_probe_us_ = 0;
    std::int64_t pause_us_ = 0;
};

}  // namespace steadytext::gateway
