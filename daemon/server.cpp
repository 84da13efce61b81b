// Sockets, requests and outcomes: see server.hpp. Regime: pure.
#include "daemon/server.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "daemon/answers.hpp"
#include "daemon/log.hpp"
#include "src/core/clock.hpp"
#include "src/core/resident_memory.hpp"

namespace steadytext::daemon {

namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kMaxMessageBytes = 16 << 20;
constexpr int kUnreadReplies = 10000;  // replies that a peer may leave unread before further replies are dropped
constexpr std::int64_t kUnreadBytes = 512 << 20;  // that have come from a peer
constexpr int kReadAtOnce = 256;                  // messages read before the server looks at outcomes and deadlines
constexpr std::size_t kBytesAtOnce = 1 << 20;     // and their bytes, as reading a long message takes time
constexpr auto kAckPatience = std::chrono::seconds(30);
constexpr std::size_t kQuotedBytes = 200;
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
    : options_(options), router_(context, zmq::socket_type::router),
      watch_(context, router_, kMaxMessageBytes, kUnreadBytes), shelf_(options, outbox_) {
    router_.set(zmq::sockopt::maxmsgsize, kMaxMessageBytes);
    router_.set(zmq::sockopt::router_mandatory, true);
    router_.set(zmq::sockopt::sndhwm, kUnreadReplies);
    router_.set(zmq::sockopt::rcvhwm, 0);  // see peer_watch.hpp
    router_.set(zmq::sockopt::heartbeat_ivl, 2000);
    router_.set(zmq::sockopt::heartbeat_timeout, 10000);
    router_.set(zmq::sockopt::heartbeat_ttl, 10000);
    router_.set(zmq::sockopt::handshake_ivl, 2000);
    router_.set(zmq::sockopt::linger, 0);  // what the kernel takes at once is sent
}

Server::~Server() { remove_socket_files(bound_); }

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

ExitStatus Server::run(int signals) {
    if (core::Problem problem; !shelf_.start(problem)) {
        log_line("%s", problem.message);
        return ExitStatus::BadModel;
    }
    shelf_.advance();
    while (!ending_.has_value()) {
        zmq_pollitem_t items[] = {{router_.handle(), 0, ZMQ_POLLIN, 0},
                                  {nullptr, outbox_.wake_fd(), ZMQ_POLLIN, 0},
                                  {nullptr, signals, ZMQ_POLLIN, 0},
                                  {watch_.events(), 0, ZMQ_POLLIN, 0}};
        zmq_poll(items, std::size(items), milliseconds_to_next_deadline());
        if (items[2].revents != 0)
            ending_ = ExitStatus::Stopped;
        std::size_t bytes = 0;
        for (int i = 0; i < kReadAtOnce && bytes < kBytesAtOnce && receive(bytes); i++) {
        }
        for (Outcome &outcome : outbox_.take_all())
            handle(std::move(outcome));
        expire();
        watch_.look(core::monotonic_us());
        shelf_.advance();
        end_failed();
    }
    while (!pending_.empty())
        end_with_error(pending_.begin(), "The daemon is shutting down");
    return *ending_;
}

// --- sockets ---

// Adds the message's bytes to `bytes`. False: there is no message.
bool Server::receive(std::size_t &bytes) {
    zmq::message_t frame;
    if (zmq_msg_recv(frame.handle(), router_.handle(), ZMQ_DONTWAIT) < 0) {
        watch_.note_drained();
        return false;
    }
    Peer peer{frame.to_string(), false};
    int frames = 0;
    std::string body;
    while (frame.more()) {
        if (zmq_msg_recv(frame.handle(), router_.handle(), ZMQ_DONTWAIT) < 0)
            return false;
        watch_.note_part(frame);
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
    auto next = shelf_.next_time();
    for (const auto &[serial, pending] : pending_)
        next = std::min({next, pending.deadline, pending.ack_deadline});
    const milliseconds::rep longest = watch_.is_needed() ? PeerWatch::kLookUs / 1'000 : 60'000;
    if (next == kNever)
        return watch_.is_needed() ? static_cast<int>(longest) : -1;
    const auto left = std::chrono::ceil<milliseconds>(next - Clock::now());
    return static_cast<int>(std::clamp<milliseconds::rep>(left.count(), 0, longest));
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

template <typename Task>
void Server::hand_over(ModelShelf::Entry *model, Role role, Peer peer, Request request, Task task) {
    if (model == nullptr) {
        const bool is_named = !request.model.empty() && shelf_.has_directory();
        const std::string name = request.model.substr(0, kQuotedBytes);
        send(peer, error_reply(request.id, is_named ? "Unknown model: " + name + ". There are: " + shelf_.names_of(role)
                                                    : "This daemon has no model for that"));
        return;
    }
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
    pending.model = model;
    pending.abandoned = std::make_shared<std::atomic<bool>>(false);
    if (request.timeout.count() > 0)
        pending.deadline = Clock::now() + request.timeout;
    shelf_.submit(*model, Job<Task>{serial, std::hash<std::string>{}(pending.peer.identity), request.is_background,
                                    pending.abandoned, std::move(task)});
}

void Server::submit(Peer peer, Request request) {
    if (pending_.size() >= static_cast<std::size_t>(options_.max_queue)) {
        send(peer, error_reply(request.id, "Queue full"));
        return;
    }
    auto task = std::move(request.task);
    const std::string name = request.model;
    if (auto *generate = std::get_if<GenerateTask>(&task))
        return hand_over(shelf_.find(Role::Generation, name), Role::Generation, std::move(peer), std::move(request),
                         std::move(*generate));
    if (auto *embed = std::get_if<EmbedTask>(&task))
        return hand_over(shelf_.find(Role::Embedding, name), Role::Embedding, std::move(peer), std::move(request),
                         std::move(*embed));
    if (auto *count = std::get_if<CountTask>(&task))
        return hand_over(model_to_count(name), Role::Generation, std::move(peer), std::move(request),
                         std::move(*count));
    auto &rank = std::get<RankTask>(task);
    if (ModelShelf::Entry *reranker = shelf_.find(Role::Reranker, name); reranker != nullptr)
        return hand_over(reranker, Role::Reranker, std::move(peer), std::move(request), std::move(rank));
    hand_over(shelf_.find(Role::Embedding, name), Role::Embedding, std::move(peer), std::move(request),
              as_embeddings(std::move(rank)));
}

// The model of this name, whatever it does; the one that generates, if there is none.
ModelShelf::Entry *Server::model_to_count(const std::string &name) {
    ModelShelf::Entry *generates = shelf_.find(Role::Generation, name);
    ModelShelf::Entry *embeds = shelf_.find(Role::Embedding, name);
    const bool is_embedders = embeds != nullptr && !name.empty() && shelf_.info_of(*embeds).name == name &&
                              (generates == nullptr || shelf_.info_of(*generates).name != name);
    return generates == nullptr || is_embedders ? embeds : generates;
}

std::string Server::info() {
    shelf_.look_again();
    DaemonInfo daemon{.ready = !shelf_.is_loading(),
                      .cuts_texts = options_.embedding_overflow == Overflow::Cut,
                      .has_more_models = shelf_.has_more_models(),
                      .slots = options_.slots,
                      .slots_in_use = shelf_.slots_in_use(),
                      .resident_bytes = core::resident_bytes(),
                      .models = shelf_.models()};
    daemon.idle_ms = std::chrono::duration<double, std::milli>(Clock::now() - shelf_.idle_since()).count();
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
    const std::string result = stream && !piece
                                   ? stream_end(form, outcome.answer, shelf_.info_of(*pending->second.model))
                                   : format_answer(form, outcome.answer, shelf_.info_of(*pending->second.model));
    deliver(pending, result_reply(pending->second.id, result, usage_of(form, outcome.answer)), !piece);
}

void Server::note_engine(Answer answer) {
    if (auto *errand = std::get_if<Errand>(&answer))
        return errand->run();
    if (auto *info = std::get_if<ModelInfo>(&answer))
        return shelf_.note(std::move(*info));
    shelf_.note(std::get<LoadFailure>(answer));
    if (shelf_.has_failed())
        ending_ = ExitStatus::BadModel;
}

// The requests of models that turned out not to work.
void Server::end_failed() {
    for (const auto &[model, reason] : shelf_.take_failures())
        for (auto pending = pending_.begin(); pending != pending_.end();)
            if (const auto current = pending++; current->second.model == model)
                end_with_error(current, reason);
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
    shelf_.release(*pending->second.model);
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
