// Sockets, requests and outcomes: see server.hpp. Regime: pure.
#include "daemon/server.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "daemon/log.hpp"
#include "daemon/model_file.hpp"
#include "src/core/resident_memory.hpp"

namespace steadytext::daemon {

namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kMaxMessageBytes = 16 << 20;
constexpr int kUnreadReplies = 10000;  // replies that a peer may leave unread before further replies are dropped
constexpr int kReadAtOnce = 256;       // messages read before the server looks at outcomes and deadlines
constexpr std::size_t kBytesAtOnce = 1 << 20;  // and their bytes, as reading a long message takes time
constexpr auto kAckPatience = std::chrono::seconds(30);
constexpr std::string_view kIpc = "ipc://";

// libzmq would take an ipc endpoint away from a process that already listens there.
bool someone_listens(const std::string &endpoint) {
    sockaddr_un address = {};
    const std::string path = endpoint.substr(kIpc.size());
    if (path.size() >= sizeof address.sun_path)
        return false;
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    const int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool connected = connect(socket_fd, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0;
    close(socket_fd);
    return connected;
}

}  // namespace

void remove_socket_files(const std::vector<std::string> &endpoints) {
    for (const std::string &endpoint : endpoints)
        if (endpoint.starts_with(kIpc))
            unlink(endpoint.c_str() + kIpc.size());
}

Server::Server(const Options &options, zmq::context_t &context)
    : options_(options), router_(context, zmq::socket_type::router) {
    router_.set(zmq::sockopt::maxmsgsize, kMaxMessageBytes);
    router_.set(zmq::sockopt::router_mandatory, true);
    router_.set(zmq::sockopt::router_handover, true);
    router_.set(zmq::sockopt::sndhwm, kUnreadReplies);
    router_.set(zmq::sockopt::rcvhwm, options.max_queue);
    router_.set(zmq::sockopt::heartbeat_ivl, 2000);
    router_.set(zmq::sockopt::heartbeat_timeout, 10000);
    router_.set(zmq::sockopt::heartbeat_ttl, 10000);
    router_.set(zmq::sockopt::handshake_ivl, 2000);
    router_.set(zmq::sockopt::linger, 100);
}

Server::~Server() {
    generator_.reset();
    embedder_.reset();
    reranker_.reset();
    remove_socket_files(bound_);
}

bool Server::bind(core::Problem &problem) {
    for (const std::string &endpoint : options_.endpoints) {
        const bool taken = endpoint.starts_with(kIpc) && someone_listens(endpoint);
        if (taken || zmq_bind(router_.handle(), endpoint.c_str()) != 0)
            return problem.set(core::sqlstate::kCannotConnect, "could not listen on \"%s\": %s", endpoint.c_str(),
                               taken ? "another process does" : zmq_strerror(zmq_errno()));
        bound_.push_back(endpoint);
        log_line("listening on %s", router_.get(zmq::sockopt::last_endpoint).c_str());
    }
    return true;
}

template <typename Engine>
void Server::start_engine(std::optional<Engine> &engine, ModelInfo &model, const char *role, const std::string &file) {
    if (file.empty())
        return;
    model.role = role;
    model.name = model_name_of(file);
    engine.emplace(options_, outbox_);
    loading_++;
}

ExitStatus Server::run(int signals) {
    start_engine(generator_, generation_model_, "generation", options_.model);
    start_engine(embedder_, embedding_model_, "embedding", options_.embedding_model);
    start_engine(reranker_, reranking_model_, "reranker", options_.reranker_model);
    while (!ending_.has_value()) {
        zmq_pollitem_t items[] = {{router_.handle(), 0, ZMQ_POLLIN, 0},
                                  {nullptr, outbox_.wake_fd(), ZMQ_POLLIN, 0},
                                  {nullptr, signals, ZMQ_POLLIN, 0}};
        zmq_poll(items, std::size(items), milliseconds_to_next_deadline());
        if (items[2].revents != 0)
            ending_ = ExitStatus::Stopped;
        std::size_t bytes = 0;
        for (int i = 0; i < kReadAtOnce && bytes < kBytesAtOnce && receive(bytes); i++) {
        }
        for (Outcome &outcome : outbox_.take_all())
            handle(std::move(outcome));
        expire();
    }
    while (!pending_.empty())
        end_with_error(pending_.begin(), "The daemon is shutting down");
    return *ending_;
}

// --- sockets ---

// Adds the message's bytes to `bytes`. False: there is no message.
bool Server::receive(std::size_t &bytes) {
    zmq::message_t frame;
    if (zmq_msg_recv(frame.handle(), router_.handle(), ZMQ_DONTWAIT) < 0)
        return false;
    Peer peer{frame.to_string(), false};
    int frames = 0;
    std::string body;
    while (frame.more()) {
        if (zmq_msg_recv(frame.handle(), router_.handle(), ZMQ_DONTWAIT) < 0)
            return false;
        frames++;
        if (frames == 1 && frame.size() == 0 && frame.more())
            peer.delimited = true;
        else
            body.append(frame.data<char>(), frame.size());
    }
    bytes += body.size();
    handle(std::move(peer), body);
    return true;
}

// A reply that cannot be delivered is lost with its peer. The requests of a peer that left are given up one by one,
// each at its first reply.
bool Server::send(const Peer &peer, std::string_view body) {
    const int flags = ZMQ_DONTWAIT;
    if (zmq_send(router_.handle(), peer.identity.data(), peer.identity.size(), flags | ZMQ_SNDMORE) < 0)
        return false;
    if (peer.delimited)
        zmq_send(router_.handle(), "", 0, flags | ZMQ_SNDMORE);
    return zmq_send(router_.handle(), body.data(), body.size(), flags) >= 0;
}

int Server::milliseconds_to_next_deadline() const {
    auto next = kNever;
    for (const auto &[serial, pending] : pending_)
        next = std::min({next, pending.deadline, pending.ack_deadline});
    if (next == kNever)
        return -1;
    const auto left = std::chrono::ceil<milliseconds>(next - Clock::now());
    return static_cast<int>(std::clamp<milliseconds::rep>(left.count(), 0, 60'000));
}

// --- requests ---

void Server::handle(Peer peer, std::string_view body) {
    if (!body.starts_with('{') && continue_stream(peer, body))
        return;
    Request request = parse_request(body);
    if (const auto *immediate = std::get_if<Immediate>(&request.task))
        send(peer, immediate->error.empty() ? result_reply(request.id, immediate->result)
                                            : error_reply(request.id, immediate->error));
    else if (const auto *control = std::get_if<Control>(&request.task))
        answer_control(peer, request.id, *control);
    else if (const auto *target = std::get_if<Cancel>(&request.task))
        cancel(peer, request.id, target->id);
    else
        submit(std::move(peer), std::move(request));
}

void Server::answer_control(const Peer &peer, const std::string &id, Control control) {
    if (control == Control::Ping)
        send(peer, result_reply(id, json_text("pong")));
    else if (control == Control::Info)
        send(peer, result_reply(id, info()));
    else if (!options_.allow_shutdown)
        send(peer, error_reply(id, "Shutdown is not allowed"));
    else {
        send(peer, result_reply(id, json_text("shutdown initiated")));
        ending_ = ExitStatus::Stopped;
    }
}

void Server::cancel(const Peer &peer, const std::string &id, const std::string &target) {
    const auto found = std::find_if(pending_.begin(), pending_.end(), [&](const auto &entry) {
        return entry.second.peer.identity == peer.identity && entry.second.id == target;
    });
    const bool cancelled = found != pending_.end();
    if (cancelled)
        end_with_error(found, "Request cancelled");
    send(peer, result_reply(id, cancelled ? "{\"cancelled\": true}" : "{\"cancelled\": false}"));
}

template <typename Engine, typename Task>
void Server::hand_over(Engine &engine, const ModelInfo &model, Peer peer, Request request, Task task) {
    const std::uint64_t serial = ++last_serial_;
    if (request.form.acknowledged) {
        if (const auto previous = streams_.find(peer.identity); previous != streams_.end())
            give_up(pending_.find(previous->second));  // its client went on without it
        streams_[peer.identity] = serial;
    }
    Pending &pending = pending_[serial];
    pending.peer = std::move(peer);
    pending.id = std::move(request.id);
    pending.form = std::move(request.form);
    pending.model = &model;
    pending.abandoned = std::make_shared<std::atomic<bool>>(false);
    if (request.timeout.count() > 0)
        pending.deadline = Clock::now() + request.timeout;
    engine.submit(Job<Task>{serial, std::hash<std::string>{}(pending.peer.identity), request.is_background,
                            pending.abandoned, std::move(task)});
}

void Server::submit(Peer peer, Request request) {
    if (pending_.size() >= static_cast<std::size_t>(options_.max_queue)) {
        send(peer, error_reply(request.id, "Queue full"));
        return;
    }
    auto task = std::move(request.task);
    if (auto *generate = std::get_if<GenerateTask>(&task); generate != nullptr && generator_.has_value())
        return hand_over(*generator_, generation_model_, std::move(peer), std::move(request), std::move(*generate));
    if (auto *embed = std::get_if<EmbedTask>(&task); embed != nullptr && embedder_.has_value())
        return hand_over(*embedder_, embedding_model_, std::move(peer), std::move(request), std::move(*embed));
    if (auto *count = std::get_if<CountTask>(&task)) {
        const bool by_embedder =
            embedder_.has_value() &&
            (!generator_.has_value() || (!count->model.empty() && count->model == embedding_model_.name));
        if (by_embedder)
            return hand_over(*embedder_, embedding_model_, std::move(peer), std::move(request), std::move(*count));
        if (generator_.has_value())
            return hand_over(*generator_, generation_model_, std::move(peer), std::move(request), std::move(*count));
    }
    if (auto *rank = std::get_if<RankTask>(&task)) {
        if (reranker_.has_value())
            return hand_over(*reranker_, reranking_model_, std::move(peer), std::move(request), std::move(*rank));
        if (embedder_.has_value())
            return hand_over(*embedder_, embedding_model_, std::move(peer), std::move(request),
                             as_embeddings(std::move(*rank)));
    }
    send(peer, error_reply(request.id, "This daemon has no model for that"));
}

std::string Server::info() const {
    DaemonInfo daemon{.ready = loading_ == 0,
                      .cuts_texts = options_.embedding_overflow == Overflow::Cut,
                      .slots = options_.slots,
                      .resident_bytes = core::resident_bytes(),
                      .models = {}};
    if (generator_.has_value()) {
        daemon.slots_in_use = generator_->slots_in_use();
        daemon.idle_ms = std::chrono::duration<double, std::milli>(Clock::now() - generator_->idle_since()).count();
    }
    for (const ModelInfo *model : {&generation_model_, &embedding_model_, &reranking_model_})
        if (!model->name.empty())
            daemon.models.push_back(model);
    return format_info(daemon);
}

// --- outcomes ---

void Server::handle(Outcome outcome) {
    if (outcome.serial == 0)
        return note_engine(std::move(outcome.answer));
    const auto pending = pending_.find(outcome.serial);
    if (pending == pending_.end())
        return;
    const auto *failure = std::get_if<Failure>(&outcome.answer);
    if (failure != nullptr)
        return deliver(pending, error_reply(pending->second.id, failure->message), true);
    const Form &form = pending->second.form;
    const bool stream = form.kind == Form::Kind::Stream || form.kind == Form::Kind::StreamWithLogprobs;
    const bool piece = std::holds_alternative<Piece>(outcome.answer);
    const std::string result = stream && !piece ? stream_end(form, outcome.answer, *pending->second.model)
                                                : format_answer(form, outcome.answer, *pending->second.model);
    deliver(pending, result_reply(pending->second.id, result, usage_of(form, outcome.answer)), !piece);
}

void Server::note_engine(Answer answer) {
    if (const auto *failed = std::get_if<LoadFailure>(&answer)) {
        log_line("%s%s%s", failed->problem.message, failed->problem.detail[0] != '\0' ? ": " : "",
                 failed->problem.detail);
        ending_ = ExitStatus::BadModel;
        return;
    }
    auto &model = std::get<ModelInfo>(answer);
    const std::string_view role = model.role;
    log_line("%s model %s is ready, fingerprint %.16s...", model.role, model.name.c_str(), model.fingerprint.c_str());
    if (role == "generation" && !model.batch_invariant)
        log_line("this model's tokens would depend on batching, so requests are served one at a time");
    (role == "generation"  ? generation_model_
     : role == "embedding" ? embedding_model_
                           : reranking_model_) = std::move(model);
    if (--loading_ == 0)
        log_line("ready");
}

// Sends a reply, or keeps it until the client has acknowledged the previous reply.
void Server::deliver(PendingMap::iterator pending, std::string reply, bool last) {
    Pending &request = pending->second;
    if (!request.form.acknowledged) {
        if (!send(request.peer, reply) || last)
            give_up(pending);
        return;
    }
    request.unsent.push_back(std::move(reply));
    request.complete = last;
    if (request.ack_deadline == kNever)
        send_next(pending);
}

void Server::send_next(PendingMap::iterator pending) {
    Pending &request = pending->second;
    const bool sent = send(request.peer, request.unsent.front());
    request.unsent.pop_front();
    const bool last = request.complete && request.unsent.empty();  // no client acknowledges the last reply
    if (!sent || last)
        return give_up(pending);
    request.ack_deadline = Clock::now() + kAckPatience;
}

// True if the message belongs to an acknowledged stream of this peer: `ACK`, or any other text, which ends the stream.
bool Server::continue_stream(const Peer &peer, std::string_view body) {
    const auto stream = streams_.find(peer.identity);
    if (stream == streams_.end())
        return false;
    const auto pending = pending_.find(stream->second);
    if (body != "ACK") {
        send(peer, result_reply(pending->second.id, stream_end()));
        give_up(pending);
        return true;
    }
    pending->second.ack_deadline = kNever;
    if (!pending->second.unsent.empty())
        send_next(pending);
    return true;
}

void Server::end_with_error(PendingMap::iterator pending, std::string_view message) {
    send(pending->second.peer, error_reply(pending->second.id, message));
    give_up(pending);
}

void Server::give_up(PendingMap::iterator pending) {
    pending->second.abandoned->store(true, std::memory_order_relaxed);
    const auto stream = streams_.find(pending->second.peer.identity);
    if (stream != streams_.end() && stream->second == pending->first)
        streams_.erase(stream);
    pending_.erase(pending);
}

void Server::expire() {
    const auto now = Clock::now();
    for (auto pending = pending_.begin(); pending != pending_.end();) {
        const auto current = pending++;
        if (current->second.deadline <= now)
            end_with_error(current, "Deadline exceeded");
        else if (current->second.ack_deadline <= now)
            give_up(current);  // without a reply: the client would take it for the answer to its next request
    }
}

}  // namespace steadytext::daemon
