// The centre of the daemon: a thread that owns the ROUTER socket, knows every request in progress, and hands work to
// engines.
//
// Run by main.cpp. Regime: pure; libzmq by its C calls, which do not throw.
//
// Every request that can be read gets exactly one last reply, and this thread ensures it: a request stays in `pending_`
// until then, whatever its end (answer, failure, cancel, deadline, a peer that left). An engine's outcome whose serial
// is no longer there is dropped.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <zmq.hpp>

#include "daemon/mailbox.hpp"
#include "daemon/model_shelf.hpp"
#include "daemon/options.hpp"
#include "daemon/peer_watch.hpp"
#include "daemon/requests.hpp"

namespace steadytext::daemon {

enum class ExitStatus { Stopped = 0, BadOptions = 2, BadModel = 3, CannotBind = 4 };

class Server {
public:
    Server(const Options &options, zmq::context_t &context);
    Server(const Server &) = delete;
    Server &operator=(const Server &) = delete;
    ~Server();

    [[nodiscard]] bool bind(core::Problem &problem);

    // Loads the models and serves until `signals` (a signalfd) is readable, `shutdown` is obeyed or a model fails.
    [[nodiscard]] ExitStatus run(int signals);

private:
    using Clock = std::chrono::steady_clock;
    static constexpr Clock::time_point kNever = Clock::time_point::max();

    // The destination of a reply, and whether an empty frame stood before the body, as REQ and similar sockets send it.
    struct Peer {
        std::string identity;
        bool delimited = false;
    };

    struct Pending {
        Peer peer;
        std::string id;
        Form form;
        ModelShelf::Entry *model = nullptr;
        std::shared_ptr<std::atomic<bool>> abandoned;
        Clock::time_point deadline = kNever;
        // Of an acknowledged stream:
        std::deque<std::string> unsent;
        Clock::time_point ack_deadline = kNever;  // kNever: no token is out
        bool complete = false;                    // no more will be added to `unsent`
    };
    using PendingMap = std::unordered_map<std::uint64_t, Pending>;

    // --- sockets ---
    bool receive(std::size_t &bytes);
    bool send(const Peer &peer, std::string_view body);
    [[nodiscard]] int milliseconds_to_next_deadline() const;

    // --- requests ---
    void handle(Peer peer, std::string_view body);
    void answer_control(const Peer &peer, const std::string &id, Control control);
    void cancel(const Peer &peer, const std::string &id, const std::string &target);
    void submit(Peer peer, Request request);
    template <typename Task>
    void hand_over(ModelShelf::Entry *model, Role role, Peer peer, Request request, Task task);
    [[nodiscard]] ModelShelf::Entry *model_to_count(const std::string &name);
    [[nodiscard]] std::string info();

    // --- outcomes ---
    void handle(Outcome outcome);
    void note_engine(Answer answer);
    void end_failed();
    void deliver(PendingMap::iterator pending, std::string reply, bool last);
    bool continue_stream(const Peer &peer, std::string_view body);
    void send_next(PendingMap::iterator pending);
    void end_with_error(PendingMap::iterator pending, std::string_view message);
    void give_up(PendingMap::iterator pending);
    void expire();

    const Options &options_;
    zmq::socket_t router_;
    PeerWatch watch_;
    std::vector<std::string> bound_;
    Outbox outbox_;
    ModelShelf shelf_;
    PendingMap pending_;
    std::unordered_map<std::string, std::uint64_t> streams_;  // from a peer's identity to its acknowledged stream
    std::uint64_t last_serial_ = 0;
    std::optional<ExitStatus> ending_;
};

// Removes the files of ipc endpoints, as libzmq leaves them behind.
void remove_socket_files(const std::vector<std::string> &endpoints);

}  // namespace steadytext::daemon
