// echo-daemon: a daemon for tests and measurements that speaks the wire protocol and needs no model.
//
// generate returns the prompt, embed a unit vector derived from the text's SHA-256, rerank the input order;
// delays and faults on request (echo_faults.hpp). Beyond the protocol it has `stats` (what it saw) and
// `control` (how it behaves). Started by the test suites, scripts/devcluster and bench. One thread: it drains
// the ROUTER socket, answers at once what costs nothing, and keeps everything else as Work in a table that
// timers walk. Regime: pure; messages are sent and received by libzmq's C calls, which do not throw; only
// start-up uses exceptions, caught in main.
#include <getopt.h>
#include <openssl/sha.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdio>
#include <map>
#include <unordered_set>
#include <vector>
#include <zmq.hpp>

#include "t/tools/echo_faults.hpp"
#include "t/tools/json_members.hpp"

namespace steadytext::echo {

using nlohmann::json;
using std::chrono::milliseconds;

struct Options {
    std::vector<std::string> endpoints;
    std::string name = "echo";
    std::string fingerprint = "echo:1";
    int dimensions = 384;
    int slots = 1 << 20;
    milliseconds delay{0};
    bool serial = false;
    bool exit_on_stdin_eof = false;
};

constexpr int kDiedOfFault = 3;
constexpr auto kAckWait = std::chrono::seconds(5);  // a client that vanished must not keep its stream's slot
constexpr int kDrainAtOnce = 4096;                  // messages taken before timers are looked at

// --- Answers
// ---------------------------------------------------------------------------------------------------------

std::string json_text(std::string_view text) {
    return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

// A direction that depends on the text alone: the bytes of SHA-256(text, block number), centred, then
// normalised.
std::vector<float> direction_of(const std::string &text, int dimensions) {
    std::vector<float> vector;
    for (unsigned block = 0; vector.size() < static_cast<std::size_t>(dimensions); block++) {
        const std::string seeded = text + '\0' + std::to_string(block);
        unsigned char digest[SHA256_DIGEST_LENGTH];
        SHA256(reinterpret_cast<const unsigned char *>(seeded.data()), seeded.size(), digest);
        for (const unsigned char byte : digest)
            vector.push_back(static_cast<float>(byte) - 127.5F);
    }
    vector.resize(static_cast<std::size_t>(dimensions));
    return vector;
}

std::string unit_vector(const std::vector<std::string> &texts, int dimensions) {
    std::vector<float> sum(static_cast<std::size_t>(dimensions), 0.0F);
    for (const std::string &text : texts) {
        const std::vector<float> direction = direction_of(text, dimensions);
        for (std::size_t i = 0; i < sum.size(); i++)
            sum[i] += direction[i];
    }
    float squares = 0.0F;
    for (const float x : sum)
        squares += x * x;
    std::string array = "[";
    for (const float x : sum) {
        char number[32];
        array.append(array.size() > 1 ? ", " : "");
        array.append(number, static_cast<std::size_t>(
                                 std::snprintf(number, sizeof number, "%.8g", x / std::sqrt(squares))));
    }
    return array + "]";
}

// Words, as blanks in the JSON text separate them: what the echo daemon calls tokens.
std::size_t count_words(std::string_view raw) {
    std::size_t words = 0;
    bool inside = false;
    for (const char c : raw.substr(1, raw.size() - 2)) {
        words += c != ' ' && !inside;
        inside = c != ' ';
    }
    return words;
}

std::vector<std::string> as_texts(const json &value) {
    return value.is_string() ? std::vector<std::string>{value.get<std::string>()}
                             : value.get<std::vector<std::string>>();
}

json reranked(const json &params) {
    const std::vector<std::string> documents = as_texts(params.value("documents", json::array()));
    const bool with_scores = params.value("return_scores", true);
    json result = json::array();
    for (std::size_t i = 0; i < documents.size(); i++) {
        const double score = 1.0 - static_cast<double>(i) / static_cast<double>(documents.size());
        result.push_back(with_scores ? json::array({documents[i], score}) : json(documents[i]));
    }
    return result;
}

// Where a prompt may ask for a fault: the text each method works on.
std::string leading_text(const std::string &method, const json &params) {
    const char *key = method == "embed"         ? "text_input"
                      : method == "embed_batch" ? "texts"
                      : method == "rerank"      ? "query"
                                                : "prompt";
    const json text = params.value(key, json());
    if (text.is_array() && !text.empty() && text.front().is_string())
        return text.front().get<std::string>();
    return text.is_string() ? text.get<std::string>() : std::string();
}

// --- The daemon
// ------------------------------------------------------------------------------------------------------

class EchoDaemon {
public:
    EchoDaemon(zmq::context_t &context, Options options)
        : options_(std::move(options)), router_(context, zmq::socket_type::router) {
        router_.set(zmq::sockopt::sndhwm, 0);  // no request stays unanswered because replies pile up
        router_.set(zmq::sockopt::rcvhwm, 0);
        router_.set(zmq::sockopt::router_handover, true);
        router_.set(zmq::sockopt::linger, 1000);
        for (const std::string &endpoint : options_.endpoints) {
            router_.bind(endpoint);
            std::printf("listening on %s\n", router_.get(zmq::sockopt::last_endpoint).c_str());
        }
        std::fflush(stdout);
    }

    void run(int signals) {
        while (!stopping_) {
            zmq_pollitem_t items[] = {{router_.handle(), 0, ZMQ_POLLIN, 0},
                                      {nullptr, signals, ZMQ_POLLIN, 0},
                                      {nullptr, STDIN_FILENO, ZMQ_POLLIN, 0}};
            zmq_poll(items, options_.exit_on_stdin_eof ? 3 : 2, milliseconds_to_next_timer());
            if (items[1].revents != 0 ||
                (options_.exit_on_stdin_eof && items[2].revents != 0 && stdin_ended()))
                stopping_ = true;
            for (int i = 0; i < kDrainAtOnce && receive(); i++) {
            }
            run_timers();
        }
    }

private:
    static bool stdin_ended() {
        char discarded[256];
        return read(STDIN_FILENO, discarded, sizeof discarded) <= 0;
    }

    // --- receiving ---

    bool receive() {
        if (zmq_msg_recv(peer_.handle(), router_.handle(), ZMQ_DONTWAIT) < 0)
            return false;
        frames_ = 0;
        while (peer_.more() && zmq_msg_recv(body_.handle(), router_.handle(), ZMQ_DONTWAIT) >= 0) {
            delimited_ = frames_++ == 0 ? body_.size() == 0 : delimited_;
            if (!body_.more())
                break;
        }
        note_peer(peer_.to_string_view());
        handle(body_.to_string_view());
        return true;
    }

    void handle(std::string_view body) {
        if (frames_ != 2 || !delimited_)
            return refuse(options_.serial ? "" : "Expected an empty frame and one body");
        if (!plain_generate(body))
            handle_parsed(body);
    }

    // The hot path: a generate without wishes is answered with the prompt as it came.
    bool plain_generate(std::string_view body) {
        if (options_.delay.count() > 0 || armed_ > 0 || options_.serial || active_ >= options_.slots)
            return false;
        std::string_view key, value, method, params, id, prompt = R"("")";
        JsonMembers request(body);
        while (request.next(key, value))
            (key == "method" ? method : key == "params" ? params : key == "id" ? id : key) = value;
        if (!request.complete() || method != R"("generate")" || id.empty() || id.front() != '"')
            return false;
        bool with_usage = false;
        JsonMembers members(params);
        while (members.next(key, value)) {
            if (key == "prompt")
                prompt = value;
            else if (key == "return_usage")
                with_usage = value == "true";
        }
        if (!members.complete() || prompt.front() != '"' || prompt.substr(1).starts_with(kFaultPrefix))
            return false;
        generates_++;
        max_active_ = std::max(max_active_, active_ + 1);
        reply_ = success(id, with_usage ? usage(prompt) : std::string(prompt));
        send_frame(peer_, true);
        send_bodies(reply_, 1);
        return true;
    }

    void handle_parsed(std::string_view body) {
        if (body == "ACK")
            return acknowledge();
        const json request = json::parse(body, nullptr, false);
        if (!request.is_object() || !request.contains("method") || !request["method"].is_string())
            return refuse("Malformed request");
        const std::string id =
            request.contains("id") ? request["id"].dump() : json_text("echo-" + std::to_string(sequence_));
        const auto method = request["method"].get<std::string>();
        requests_[method]++;
        try {
            dispatch(method, request.value("params", json::object()), id);
        } catch (const json::exception &problem) {  // a parameter of the wrong type
            send(peer_.to_string(), failure(id, problem.what()));
        }
    }

    void refuse(std::string_view why) {
        malformed_++;
        if (!why.empty())
            send(peer_.to_string(), failure("null", why));
    }

    // --- methods ---

    void dispatch(const std::string &method, const json &params, const std::string &id) {
        if (method == "control")
            return send(peer_.to_string(), success(id, control(params)));
        if (method == "stats")
            return send(peer_.to_string(), success(id, stats().dump()));
        if (method == "cancel" && !options_.serial)
            return send(peer_.to_string(),
                        success(id, cancel(params) ? R"({"cancelled": true})" : R"({"cancelled": false})"));
        Work work;
        work.peer = peer_.to_string();
        work.id = id;
        work.takes_slot = options_.serial || (method != "ping" && method != "info" && method != "shutdown");
        work.delay = method != "ping" && work.takes_slot ? options_.delay : milliseconds(0);
        if (const json timeout = params.value("timeout_ms", json()); timeout.is_number())
            work.deadline = Clock::now() + milliseconds(timeout.get<long>());
        if (method == "generate_iter")
            stream(work, params);
        else
            work.replies = {answer(method, params, id)};
        admit(spoil(std::move(work), method, params));
    }

    std::string answer(const std::string &method, const json &params, const std::string &id) {
        if (method == "ping")
            return success(id, R"("pong")");
        if (method == "shutdown") {
            stopping_ = true;
            return success(id, R"("shutdown initiated")");
        }
        if (method == "generate") {
            const std::string prompt = json_text(params.value("prompt", std::string()));
            return success(id, params.value("return_usage", false) ? usage(prompt) : prompt);
        }
        if (method == "embed")
            return success(id,
                           unit_vector(as_texts(params.value("text_input", json(""))), options_.dimensions));
        if (method == "rerank")
            return success(id, reranked(params).dump());
        if (method == "embed_batch" && !options_.serial)
            return success(id, embed_batch(params));
        if (method == "info" && !options_.serial)
            return success(id, info().dump());
        return failure(id, "Unknown method: " + method);
    }

    std::string usage(std::string_view prompt) const {
        const std::string words = std::to_string(count_words(prompt));
        std::string object = R"({"text": )";
        return object.append(prompt)
            .append(R"(, "prompt_tokens": )")
            .append(words)
            .append(R"(, "completion_tokens": )")
            .append(words)
            .append(R"(, "finish_reason": "stop", "engine_ms": )")
            .append(std::to_string(options_.delay.count()))
            .append(R"(, "model": "echo", "fingerprint": )")
            .append(json_text(options_.fingerprint))
            .append("}");
    }

    std::string embed_batch(const json &params) const {
        std::string vectors;
        std::size_t tokens = 0;
        for (const std::string &text : as_texts(params.at("texts"))) {
            vectors.append(vectors.empty() ? "" : ", ").append(unit_vector({text}, options_.dimensions));
            tokens += count_words(json_text(text));
        }
        return R"({"embeddings": [)" + vectors + R"(], "dimensions": )" +
               std::to_string(options_.dimensions) + R"(, "model": "echo-embedding", "fingerprint": )" +
               json_text(options_.fingerprint) + R"(, "prompt_tokens": )" + std::to_string(tokens) + "}";
    }

    json info() const {
        return {{"name", options_.name},
                {"version", "1"},
                {"protocol", 1},
                {"slots", options_.slots},
                {"capabilities",
                 {"ping", "info", "generate", "generate_iter", "embed", "embed_batch", "rerank", "cancel",
                  "shutdown", "return_usage", "timeout_ms", "stats", "control"}},
                {"determinism", {{"checked", true}, {"batch_invariant", true}, {"mode", "batched"}}},
                {"models",
                 {{{"role", "generation"},
                   {"name", "echo"},
                   {"fingerprint", options_.fingerprint},
                   {"context", 1 << 20}},
                  {{"role", "embedding"},
                   {"name", "echo-embedding"},
                   {"fingerprint", options_.fingerprint},
                   {"context", 1 << 20},
                   {"dimensions", options_.dimensions}},
                  {{"role", "reranker"},
                   {"name", "echo-reranker"},
                   {"fingerprint", options_.fingerprint},
                   {"context", 1 << 20}}}}};
    }

    // The prompt word by word, each word with the blanks before it, so that the tokens put together are the
    // prompt.
    void stream(Work &work, const json &params) const {
        const std::string prompt = params.value("prompt", std::string());
        for (std::size_t start = 0; start < prompt.size();) {
            const std::size_t word = std::min(prompt.find_first_not_of(' ', start), prompt.size());
            const std::size_t end = std::min(prompt.find(' ', word), prompt.size());
            work.replies.push_back(
                success(work.id, R"({"token": )" + json_text(prompt.substr(start, end - start)) + "}"));
            start = end;
        }
        work.replies.push_back(success(work.id, R"({"token": "##STREAM_END##"})"));
        work.wants_ack = params.value("ack", true);
    }

    bool cancel(const json &params) {
        const std::string id = params.at("id").dump();
        const std::string peer = peer_.to_string();
        for (auto &[sequence, work] : work_)
            if (work.id == id && work.peer == peer && !work.deaf) {
                cancelled_++;
                end(sequence, "Request cancelled");
                return true;
            }
        return false;
    }

    // Behaviour changed while it runs; what is absent stays. {"fault": LIST, "count": N, "methods": [...]}
    // spoils the next N requests (1; -1 = all) of these methods (all that work); {"reset": true} ends all
    // faults and delays.
    std::string control(const json &params) {
        if (params.value("reset", false)) {
            armed_ = 0;
            options_.delay = milliseconds(0);
        }
        options_.delay = milliseconds(params.value("delay_ms", options_.delay.count()));
        options_.slots = params.value("slots", options_.slots);
        options_.fingerprint = params.value("fingerprint", options_.fingerprint);
        if (params.contains("fault")) {
            armed_fault_ = params["fault"].get<std::string>();
            armed_methods_ = as_texts(params.value("methods", json::array()));
            const int count = params.value("count", 1);
            armed_ = count < 0 ? INT_MAX : count;
        }
        start_waiting();
        return R"({"released": )" + std::to_string(params.value("release", false) ? release_held() : 0) + "}";
    }

    int release_held() {
        int released = 0;
        for (auto &[sequence, work] : work_)
            if (work.held) {
                work.held = false;
                released++;
                if (work.started)
                    schedule(sequence, work);
            }
        return released;
    }

    json stats() const {
        json requests(requests_);
        requests["generate"] = generates_ + requests.value("generate", 0L);
        return {{"requests", requests},          {"in_flight", work_.size()}, {"processing", active_},
                {"max_concurrent", max_active_}, {"cancelled", cancelled_},   {"expired", expired_},
                {"spoiled", spoiled_},           {"malformed", malformed_},   {"peers", peers_.size()}};
    }

    Work spoil(Work work, const std::string &method, const json &params) {
        std::string faults;
        const bool named =
            std::find(armed_methods_.begin(), armed_methods_.end(), method) != armed_methods_.end();
        const bool generic =
            armed_methods_.empty() && method != "ping" && method != "info" && method != "shutdown";
        if (const std::string text = leading_text(method, params); text.starts_with(kFaultPrefix)) {
            faults = text.substr(kFaultPrefix.size());
        } else if (armed_ > 0 && (named || generic)) {
            armed_ -= armed_ != INT_MAX;
            faults = armed_fault_;
        }
        spoiled_ += !faults.empty();
        if (const std::string_view unknown = commit_faults(work, faults); !unknown.empty())
            work.replies = {failure(work.id, "Unknown fault: " + std::string(unknown))};
        return work;
    }

    // --- work: waiting for a slot, for its delay, for its client's ACK ---

    void admit(Work &&work) {
        const std::uint64_t sequence = sequence_++;
        if (work.deadline != Clock::time_point::max())
            timers_.emplace(work.deadline, sequence);
        work_.emplace(sequence, std::move(work));
        if (work_.at(sequence).takes_slot)
            waiting_.push_back(sequence);
        else
            start(sequence);
        start_waiting();
        run_timers();
    }

    void start_waiting() {
        while (active_ < options_.slots && !waiting_.empty()) {
            const std::uint64_t sequence = waiting_.front();
            waiting_.pop_front();
            if (work_.contains(sequence)) {
                active_++;
                max_active_ = std::max(max_active_, active_);
                start(sequence);
            }
        }
    }

    void start(std::uint64_t sequence) {
        Work &work = work_.at(sequence);
        work.started = true;
        if (!work.held)
            schedule(sequence, work);
    }

    void schedule(std::uint64_t sequence, Work &work) {
        work.due = Clock::now() + work.delay;
        timers_.emplace(work.due, sequence);
    }

    void run_timers() {
        while (!timers_.empty() && timers_.begin()->first <= Clock::now()) {
            const std::uint64_t sequence = timers_.begin()->second;
            timers_.erase(timers_.begin());
            const auto found = work_.find(sequence);
            if (found == work_.end())
                continue;
            Work &work = found->second;
            if (work.deadline <= Clock::now() && !work.deaf) {
                expired_++;
                end(sequence, "Deadline exceeded");
            } else if (work.due <= Clock::now()) {
                step(sequence, work);
            }
        }
    }

    int milliseconds_to_next_timer() const {
        if (timers_.empty())
            return -1;
        const auto wait = std::chrono::ceil<milliseconds>(timers_.begin()->first - Clock::now());
        return static_cast<int>(std::clamp<long>(wait.count(), 0, 60000));
    }

    // Sends the next reply of a work that is due, or finishes it.
    void step(std::uint64_t sequence, Work &work) {
        if (work.kills_daemon)
            _exit(kDiedOfFault);
        if (!work.replies.empty()) {
            send(work.peer, std::move(work.replies.front()), work.frames_per_reply);
            work.replies.pop_front();
        }
        if (work.replies.empty())
            return finish(sequence);
        if (!work.wants_ack)
            return schedule(sequence, work);
        work.awaiting_ack = true;
        work.due = Clock::time_point::max();
        work.deadline = Clock::now() + kAckWait;
        timers_.emplace(work.deadline, sequence);
    }

    void acknowledge() {
        const std::string peer = peer_.to_string();
        for (auto &[sequence, work] : work_)
            if (work.awaiting_ack && work.peer == peer) {
                work.awaiting_ack = false;
                work.deadline = Clock::time_point::max();
                schedule(sequence, work);
                return run_timers();
            }
        refuse("Unexpected ACK");
    }

    void end(std::uint64_t sequence, std::string_view why) {
        const Work &work = work_.at(sequence);
        send(work.peer, failure(work.id, why));
        finish(sequence);
    }

    void finish(std::uint64_t sequence) {
        const auto found = work_.find(sequence);
        active_ -= found->second.started && found->second.takes_slot;
        work_.erase(found);
        start_waiting();
    }

    // --- sending ---

    void send_frame(zmq::message_t &frame, bool more) {
        zmq_msg_send(frame.handle(), router_.handle(), ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    }

    void send_bodies(std::string_view body, int frames) {
        zmq_send(router_.handle(), "", 0, ZMQ_DONTWAIT | ZMQ_SNDMORE);
        for (; frames > 0; frames--)
            zmq_send(router_.handle(), body.data(), body.size(),
                     ZMQ_DONTWAIT | (frames > 1 ? ZMQ_SNDMORE : 0));
    }

    void send(const std::string &peer, const std::string &body, int frames = 1) {
        zmq::message_t identity(peer.data(), peer.size());
        send_frame(identity, true);
        send_bodies(body, frames);
    }

    // Requests come in runs from the same peer, so the last one seen saves most look-ups.
    void note_peer(std::string_view peer) {
        if (peer != last_peer_)
            peers_.insert(last_peer_ = peer);
    }

    Options options_;
    zmq::socket_t router_;
    bool stopping_ = false;

    zmq::message_t peer_;  // the message being handled
    zmq::message_t body_;
    int frames_ = 0;  // after the peer's identity
    bool delimited_ = false;
    std::string reply_;

    std::map<std::uint64_t, Work> work_;  // by order of arrival
    std::deque<std::uint64_t> waiting_;   // for a slot
    std::multimap<Clock::time_point, std::uint64_t> timers_;
    std::uint64_t sequence_ = 1;
    int active_ = 0;  // works that hold a slot

    int armed_ = 0;  // requests still to be spoiled
    std::string armed_fault_;
    std::vector<std::string> armed_methods_;

    std::map<std::string, long> requests_;  // by method; plain generates are counted apart
    long generates_ = 0;
    long cancelled_ = 0;
    long expired_ = 0;
    long spoiled_ = 0;
    long malformed_ = 0;
    int max_active_ = 0;
    std::unordered_set<std::string> peers_;
    std::string last_peer_;
};

// --- Start-up
// --------------------------------------------------------------------------------------------------------

void print_help() {
    std::puts(
        "echo-daemon - answers like a SteadyText daemon, without a model; for tests and measurements\n\n"
        "  --endpoint ENDPOINT   where to listen, such as ipc:///tmp/echo or tcp://127.0.0.1:*; repeatable "
        "(required)\n"
        "  --delay-ms MS         time each request takes (0)\n"
        "  --slots N             requests worked on at a time; others wait (no limit)\n"
        "  --serial              behave like the Python daemon: one request at a time, no info, cancel or "
        "embed_batch\n"
        "  --name NAME           name told by info (echo)\n"
        "  --fingerprint TEXT    fingerprint told by info (echo:1)\n"
        "  --dimensions N        numbers in an embedding (384)\n"
        "  --exit-on-stdin-eof   stop when standard input ends, so that no daemon outlives its test\n\n"
        "Prints `listening on ENDPOINT` for each endpoint once it can be connected to. Beyond the protocol "
        "it answers\n"
        "  stats    {}           requests by method, in_flight, processing, max_concurrent, cancelled, "
        "expired, spoiled,\n"
        "                        malformed, peers\n"
        "  control  {delay_ms, slots, fingerprint, fault: LIST, count: N (1; -1 = all), methods: [...], "
        "release, reset}\n\n"
        "Faults, by control or by a prompt (text, first text, query) that starts with "
        "!fault:NAME[=ARGUMENT][,...]:");
    for (const Fault &fault : kFaults)
        std::printf("  %-14.*s %.*s\n", static_cast<int>(fault.name.size()), fault.name.data(),
                    static_cast<int>(fault.help.size()), fault.help.data());
}

// Returns false where the program should not start.
bool parse_options(int argc, char **argv, Options &options) {
    static const option kLong[] = {{"endpoint", required_argument, nullptr, 'e'},
                                   {"delay-ms", required_argument, nullptr, 'd'},
                                   {"slots", required_argument, nullptr, 's'},
                                   {"serial", no_argument, nullptr, 'S'},
                                   {"name", required_argument, nullptr, 'n'},
                                   {"fingerprint", required_argument, nullptr, 'f'},
                                   {"dimensions", required_argument, nullptr, 'D'},
                                   {"exit-on-stdin-eof", no_argument, nullptr, 'x'},
                                   {"help", no_argument, nullptr, 'h'},
                                   {nullptr, 0, nullptr, 0}};
    for (int chosen; (chosen = getopt_long(argc, argv, "", kLong, nullptr)) != -1;) {
        switch (chosen) {
        case 'e':
            options.endpoints.emplace_back(optarg);
            break;
        case 'd':
            options.delay = milliseconds(std::atol(optarg));
            break;
        case 's':
            options.slots = std::atoi(optarg);
            break;
        case 'S':
            options.serial = true;
            options.slots = 1;
            break;
        case 'n':
            options.name = optarg;
            break;
        case 'f':
            options.fingerprint = optarg;
            break;
        case 'D':
            options.dimensions = std::atoi(optarg);
            break;
        case 'x':
            options.exit_on_stdin_eof = true;
            break;
        case 'h':
            print_help();
            std::exit(0);
        default:
            return false;
        }
    }
    if (options.endpoints.empty() || options.slots < 1 || options.dimensions < 1)
        std::fputs(
            "echo-daemon: an --endpoint and positive --slots and --dimensions are needed; see --help\n",
            stderr);
    return !options.endpoints.empty() && options.slots >= 1 && options.dimensions >= 1;
}

}  // namespace steadytext::echo

int main(int argc, char **argv) {
    steadytext::echo::Options options;
    if (!steadytext::echo::parse_options(argc, argv, options))
        return 2;
    sigset_t stop_signals;  // blocked before libzmq's threads exist, so that only the signalfd sees them
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGINT);
    sigaddset(&stop_signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop_signals, nullptr);
    try {
        zmq::context_t context(1);
        steadytext::echo::EchoDaemon(context, options).run(signalfd(-1, &stop_signals, SFD_CLOEXEC));
    } catch (const zmq::error_t &problem) {
        std::fprintf(stderr, "echo-daemon: could not listen: %s\n", problem.what());
        return 1;
    }
    return 0;
}
