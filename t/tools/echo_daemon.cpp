// echo-daemon: a daemon for tests and measurements that speaks the wire protocol and needs no model.
//
// generate returns the prompt, embed a unit vector derived from the text's SHA-256, rerank the input order
// (echo_answers.hpp); delays and faults on request (echo_faults.hpp). Beyond the protocol it has `stats`,
// what it saw, and `control`, how it behaves. Started by the test suites, scripts/devcluster and bench. One
// thread drains the ROUTER socket, answers at once what costs nothing, and leaves the rest to the schedule
// (echo_schedule.hpp). Regime: pure. Messages are sent and received by libzmq's C calls, which do not throw;
// start-up uses exceptions, caught in main.
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <climits>
#include <unordered_set>
#include <zmq.hpp>

#include "src/core/random_bytes.hpp"
#include "t/tools/echo_answers.hpp"
#include "t/tools/echo_schedule.hpp"
#include "t/tools/json_members.hpp"

namespace steadytext::echo {

using std::chrono::milliseconds;

class EchoDaemon {
public:
    EchoDaemon(zmq::context_t &context, Options options)
        : options_(std::move(options)), router_(context, zmq::socket_type::router),
          schedule_(options_.slots, [this](const std::string &peer, const std::string &body, int frames) {
              send(peer, body, frames);
          }) {
        router_.set(zmq::sockopt::sndhwm, 0);  // no request stays unanswered because replies pile up
        router_.set(zmq::sockopt::rcvhwm, 0);
        router_.set(zmq::sockopt::linger, 1000);
        for (const std::string &endpoint : options_.endpoints) {
            router_.bind(endpoint);
            std::printf("listening on %s\n", router_.get(zmq::sockopt::last_endpoint).c_str());
        }
        std::fflush(stdout);
    }

    EchoDaemon(const EchoDaemon &) = delete;
    EchoDaemon &operator=(const EchoDaemon &) = delete;

    // libzmq leaves the socket files of ipc endpoints behind.
    ~EchoDaemon() {
        close(alarm_);
        for (const std::string &endpoint : options_.endpoints)
            if (endpoint.starts_with("ipc://"))
                unlink(endpoint.c_str() + std::strlen("ipc://"));
    }

    // Serves until one of these signals, `shutdown` or the end of standard input.
    void run(int signals) {
        constexpr int kDrainAtOnce = 4096;  // messages taken before signals and timers are looked at
        while (!stopping_) {
            zmq_pollitem_t items[] = {{router_.handle(), 0, ZMQ_POLLIN, 0},
                                      {nullptr, signals, ZMQ_POLLIN, 0},
                                      {nullptr, alarm_, ZMQ_POLLIN, 0},
                                      {nullptr, STDIN_FILENO, ZMQ_POLLIN, 0}};
            set_alarm(schedule_.next_due());
            zmq_poll(items, options_.exit_on_stdin_eof ? 4 : 3, -1);
            stopping_ = items[1].revents != 0 || (items[3].revents != 0 && stdin_ended());
            for (int i = 0; i < kDrainAtOnce && receive(); i++) {
            }
            schedule_.run_due();
        }
    }

private:
    // A poll's own timeout is whole milliseconds, which a daemon that takes 50 would add to.
    void set_alarm(Clock::time_point when) {
        if (when == alarm_at_)
            return;
        alarm_at_ = when;
        const auto since_boot = std::chrono::ceil<std::chrono::nanoseconds>(when.time_since_epoch()).count();
        itimerspec at{};  // all zero: never
        if (when != Clock::time_point::max())
            at.it_value = {since_boot / 1'000'000'000, std::max(since_boot % 1'000'000'000, std::int64_t{1})};
        timerfd_settime(alarm_, TFD_TIMER_ABSTIME, &at, nullptr);
    }

    static bool stdin_ended() {
        char discarded[256];
        return read(STDIN_FILENO, discarded, sizeof discarded) <= 0;
    }

    // --- receiving ---

    bool receive() {
        if (zmq_msg_recv(peer_.handle(), router_.handle(), ZMQ_DONTWAIT) < 0)
            return false;
        int frames = 0;  // after the peer's identity
        bool delimited = false;
        for (bool more = peer_.more(); more; more = body_.more()) {
            zmq_msg_recv(body_.handle(), router_.handle(), 0);
            delimited = frames++ == 0 ? body_.empty() : delimited;
        }
        note_peer(peer_.to_string_view());
        if (frames == 2 && delimited)
            handle(body_.to_string_view());
        else
            refuse(options_.serial ? "" : "Expected an empty frame and one body");  // a REP socket is silent
        return true;
    }

    void handle(std::string_view body) {
        if (plain_generate(body))
            return;
        if (options_.serial && body != "ACK" && schedule_.stop_stream(peer_.to_string()))
            return;
        if (body == "ACK") {
            if (!schedule_.acknowledge(peer_.to_string()))
                refuse("Unexpected ACK");
            return;
        }
        const json request = json::parse(body, nullptr, false);
        if (!request.is_object() || !request.contains("method") || !request["method"].is_string())
            return refuse("Malformed request");
        const std::string id = request.contains("id") ? request["id"].dump() : R"("echo")";
        try {
            dispatch(request["method"].get<std::string>(), request.value("params", json::object()), id);
        } catch (const json::exception &problem) {  // a parameter of the wrong type
            reply(failure(id, problem.what()));
        }
    }

    // The hot path: a generate without wishes is answered with the prompt as it came.
    bool plain_generate(std::string_view body) {
        if (options_.delay.count() > 0 || armed_ > 0 || options_.serial || !schedule_.has_free_slot(true))
            return false;
        std::string_view key, value, method, params, id;
        JsonMembers request(body);
        while (request.next(key, value))
            (key == "method" ? method : key == "params" ? params : key == "id" ? id : key) = value;
        if (!request.complete() || method != R"("generate")" || !id.starts_with('"'))
            return false;
        std::string_view prompt = R"("")";
        bool usage = false, is_background = false;
        JsonMembers members(params);
        while (members.next(key, value)) {
            if (key == "prompt")
                prompt = value;
            else if (key == "return_usage")
                usage = value == "true";
            else if (key == "priority")
                is_background = value == R"("background")";
        }
        if (!members.complete() || !prompt.starts_with('"') || prompt.substr(1).starts_with(kFaultPrefix) ||
            prompt.find("<say") != std::string_view::npos)
            return false;
        generates_++;
        background_ += is_background;
        schedule_.note_instant_work();
        send_frame(peer_, true);
        send_bodies(success(id, usage ? with_usage(options_, prompt) : std::string(prompt)), 1);
        return true;
    }

    void refuse(std::string_view why) {
        malformed_++;
        if (!why.empty())
            reply(failure("null", why));
    }

    // --- methods ---

    void dispatch(const std::string &method, const json &params, const std::string &id) {
        requests_[method]++;
        if (method == "control")
            return reply(success(id, control(params)));
        if (method == "stats")
            return reply(success(id, stats()));
        if (method == "cancel" && !options_.serial) {
            const bool cancelled = schedule_.cancel(peer_.to_string(), params.at("id").dump());
            return reply(success(id, cancelled ? R"({"cancelled": true})" : R"({"cancelled": false})"));
        }
        Work work;
        work.peer = peer_.to_string();
        work.id = id;
        work.is_background = options_.knows_priority && params.value("priority", "") == "background";
        background_ += work.is_background;
        work.takes_slot = options_.serial || !is_housekeeping(method);
        work.delay = is_housekeeping(method) ? milliseconds(0) : options_.delay;
        if (const json timeout = params.value("timeout_ms", json()); timeout.is_number())
            work.deadline = Clock::now() + milliseconds(timeout.get<long>());
        write_replies(work, method, params);
        spoil(work, method, params);
        schedule_.admit(std::move(work));
        stopping_ = stopping_ || method == "shutdown";
    }

    static bool is_housekeeping(const std::string &method) {
        return method == "ping" || method == "info" || method == "shutdown";
    }

    void write_replies(Work &work, const std::string &method, const json &params) const {
        if (method == "generate_iter") {
            for (const std::string &result : stream_of(options_, params))
                work.replies.push_back(success(work.id, result));
            work.wants_ack = options_.serial || params.value("ack", true);  // the Python daemon knows no ack
            return;
        }
        const bool is_told = method == "info" && !options_.told.empty();
        const std::string result =
            is_told ? options_.told[infos_told_++ % options_.told.size()] : result_of(options_, method, params);
        work.replies = {result.empty() ? failure(work.id, "Unknown method: " + method)
                                       : success(work.id, result, usage_beside(options_, method, params))};
    }

    // Commits the faults that the request itself or control asks for.
    void spoil(Work &work, const std::string &method, const json &params) {
        std::string faults;
        const bool meant = armed_methods_.empty() ? !is_housekeeping(method)
                                                  : std::find(armed_methods_.begin(), armed_methods_.end(), method) !=
                                                        armed_methods_.end();
        if (const std::string text = leading_text(method, params); text.starts_with(kFaultPrefix)) {
            faults = text.substr(kFaultPrefix.size());
        } else if (armed_ > 0 && meant) {
            armed_ -= armed_ != INT_MAX;
            faults = armed_faults_;
        }
        spoiled_ += !faults.empty();
        if (const std::string_view unknown = commit_faults(work, faults); !unknown.empty())
            work.replies = {failure(work.id, "Unknown fault: " + std::string(unknown))};
    }

    std::string control(const json &params) {
        if (params.value("reset", false)) {
            armed_ = 0;
            options_.delay = milliseconds(0);
        }
        options_.delay = milliseconds(params.value("delay_ms", options_.delay.count()));
        options_.fingerprint = params.value("fingerprint", options_.fingerprint);
        options_.slots = params.value("slots", options_.slots);
        schedule_.set_slots(options_.slots);
        if (params.contains("info"))
            options_.told = as_texts(params["info"]);
        if (params.contains("fault")) {
            armed_faults_ = params["fault"].get<std::string>();
            armed_methods_ = as_texts(params.value("methods", json::array()));
            const int count = params.value("count", 1);
            armed_ = count < 0 ? INT_MAX : count;
        }
        const int released = params.value("release", false) ? schedule_.release_held() : 0;
        return R"({"released": )" + std::to_string(released) + "}";
    }

    [[nodiscard]] std::string stats() const {
        json requests(requests_);
        requests["generate"] = generates_ + requests.value("generate", 0L);
        return json{{"requests", requests},
                    {"in_flight", schedule_.in_flight()},
                    {"processing", schedule_.active()},
                    {"max_concurrent", schedule_.max_active()},
                    {"cancelled", schedule_.cancelled()},
                    {"expired", schedule_.expired()},
                    {"background", background_},
                    {"stopped", schedule_.stopped()},
                    {"cut_off_us", schedule_.cut_off_us()},
                    {"spoiled", spoiled_},
                    {"malformed", malformed_},
                    {"peers", peers_.size()}}
            .dump();
    }

    // --- sending ---

    void send_frame(zmq::message_t &frame, bool more) {
        zmq_msg_send(frame.handle(), router_.handle(), more ? ZMQ_SNDMORE : 0);
    }

    void send_bodies(std::string_view body, int frames) {
        zmq_send(router_.handle(), "", 0, ZMQ_SNDMORE);
        for (; frames > 0; frames--)
            zmq_send(router_.handle(), body.data(), body.size(), frames > 1 ? ZMQ_SNDMORE : 0);
    }

    void send(const std::string &peer, const std::string &body, int frames) {
        zmq::message_t identity(peer.data(), peer.size());
        send_frame(identity, true);
        send_bodies(body, frames);
    }

    void reply(const std::string &body) { send(peer_.to_string(), body, 1); }

    // Requests come in runs from the same peer, so the last one seen saves most look-ups.
    void note_peer(std::string_view peer) {
        if (peer != last_peer_)
            peers_.insert(last_peer_ = peer);
    }

    Options options_;
    zmq::socket_t router_;
    Schedule schedule_;
    int alarm_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    Clock::time_point alarm_at_ = Clock::time_point::max();
    bool stopping_ = false;

    zmq::message_t peer_;  // the message being handled
    zmq::message_t body_;

    int armed_ = 0;  // requests still to be spoiled
    std::string armed_faults_;
    std::vector<std::string> armed_methods_;

    std::map<std::string, long> requests_;  // by method; plain generates are counted apart
    long generates_ = 0;
    long background_ = 0;                 // requests that were said to be in the background
    mutable std::size_t infos_told_ = 0;  // of options_.told
    long spoiled_ = 0;
    long malformed_ = 0;
    std::unordered_set<std::string> peers_;
    std::string last_peer_;
};

}  // namespace steadytext::echo

int main(int argc, char **argv) {
    steadytext::echo::Options options;
    if (!steadytext::echo::parse_options(argc, argv, options))
        return 2;
    if (options.help) {
        steadytext::echo::print_help();
        return 0;
    }
    sigset_t stop_signals;  // blocked before libzmq's threads exist, so that only the signalfd sees them
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGINT);
    sigaddset(&stop_signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop_signals, nullptr);
    if (!steadytext::core::seed_identities_of_clients())
        return 1;
    try {
        zmq::context_t context(1);
        steadytext::echo::EchoDaemon(context, options).run(signalfd(-1, &stop_signals, SFD_CLOEXEC));
    } catch (const zmq::error_t &problem) {
        std::fprintf(stderr, "echo-daemon: could not listen: %s\n", problem.what());
        return 1;
    }
    return 0;
}
