// An inference daemon as the gateway sees it: its connections, its waiting requests, the facts it reported, its
// breaker.
//
// Made and called by bgworker/gateway.cpp only. Regime: pure.
//
// A pipelined daemon (it answers `info`; also any engine over HTTP) gets a single channel with many requests in flight.
// A serial daemon (the Python daemon's REP socket, and any daemon that is still unknown) gets up to pool_size
// connections with a single request each. Requests that find no free connection wait here, for at most pool_wait; if an
// engine asked to come again later, its requests wait until then. If a daemon already has as many requests as it works
// on at once, further requests wait for their role's turn (src/core/turns.hpp).
//
// A reply beyond max_message_bytes, or a breach of ZeroMQ's protocol, costs a connection and every request on it, and
// nothing tells which request caused it. So each of these requests is sent again alone, on a spare connection: the
// harmless requests are answered, and the harmful request affects no other.
#pragma once

#include "bgworker/channel.hpp"
#include "bgworker/flights.hpp"
#include "bgworker/host_names.hpp"
#include "shmem/daemon_table.hpp"
#include "src/core/convictions.hpp"
#include "src/core/daemon_info.hpp"
#include "src/core/daemon_list.hpp"
#include "src/core/put_offs.hpp"
#include "src/core/reply.hpp"
#include "src/core/timeouts.hpp"
#include "src/core/turns.hpp"
#include "src/core/wire_id.hpp"

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace steadytext::gateway {

struct DaemonSettings {
    core::BreakerSettings breaker;
    std::int64_t breaker_timeout_us;
    std::size_t pool_size;
    std::int64_t pool_wait_us;
    std::int64_t batch_window_us;
    std::int64_t max_message_bytes;
    bool allow_plaintext;  // to other machines
};

// Shared by all daemons.
struct Services {
    const shmem::Segment &segment;
    Flights &flights;
    void *zmq_context;
    HostNames names;
    DaemonSettings settings;
    // Their daemon or connection is gone: the gateway finds another daemon, or ends them
    std::vector<shmem::SlotId> lost;
    bool models_changed = false;
    std::string buffer;                   // buffer in which messages are built
    std::string id_storage;               // buffer in which an unusual id is unescaped
    std::vector<std::string> complaints;  // for the server log
    std::uint64_t connections_ended = 0;  // by themselves, or for what they brought
};

class Daemon final : public ChannelListener {
public:
    Daemon(Services &services, const core::DaemonEntry &entry, std::uint16_t row, bool embedded);
    ~Daemon();
    Daemon(const Daemon &) = delete;
    Daemon &operator=(const Daemon &) = delete;

    void open();  // makes the first connection; the others come with need
    [[nodiscard]] bool could_not_open() const { return could_not_open_; }
    void on_name_looked_up();
    [[nodiscard]] bool receive();
    void notice();  // connections that came or went
    void append_wait_fds(std::vector<int> &fds) const;
    // True if connections came or went since the last call: the event loop must watch other descriptors.
    [[nodiscard]] bool take_channels_changed();

    // May new requests come here? False at once for a dead or tripped daemon.
    [[nodiscard]] bool is_available(std::int64_t now_us);
    // The daemon is there, and only its breaker keeps requests away.
    [[nodiscard]] bool is_tripped(std::int64_t now_us) const;
    // The daemon asked to be left alone until busy_until_us(); this is no failure.
    [[nodiscard]] bool is_busy(std::int64_t now_us) const { return now_us < busy_until_us(); }
    [[nodiscard]] std::int64_t busy_until_us() const {
        return row_state().busy_until_us.load(std::memory_order_relaxed);
    }
    // As is_busy(), but for a request: the daemon may have put off only requests for its model, or only requests of its
    // role for its model.
    [[nodiscard]] bool is_busy_for(shmem::SlotId id, std::int64_t now_us) const {
        return now_us < busy_until_us_for(id);
    }
    [[nodiscard]] std::int64_t busy_until_us_for(shmem::SlotId id) const;
    // The daemon has put off requests of this request's role only.
    [[nodiscard]] bool has_put_off_its_role(shmem::SlotId id, std::int64_t now_us) const;
    // Requests of the role fail here, and no other role's: they time out, or nobody can read their answers.
    [[nodiscard]] bool holds_back(std::uint32_t role, std::int64_t now_us) const {
        return timeouts_.holds_back(role, resets(), now_us) || row_state().unreadable.holds_back(role, now_us);
    }
    // Such requests fail here, whoever asks, while others are answered.
    [[nodiscard]] bool holds_off(shmem::SlotId id, std::int64_t now_us) const;
    [[nodiscard]] bool admit(std::uint32_t role, std::int64_t now_us);
    [[nodiscard]] bool serves(shmem::Operation operation, std::string_view model) const;
    [[nodiscard]] bool has_model(shmem::ModelRole role, std::string_view model) const;
    [[nodiscard]] bool has_model_for(shmem::Operation operation, std::string_view model) const;
    // The daemon may have a model that it has not reported.
    [[nodiscard]] bool may_have_model_for(shmem::Operation operation) const;
    [[nodiscard]] bool has_told_models() const { return models_complete_ || never_tells(); }
    // It has not reported its models, and is there, or may be there.
    [[nodiscard]] bool will_tell_models() const {
        return !has_told_models() && (is_up() || is_loading_ || !has_failed_ || expected_back());
    }
    [[nodiscard]] bool has_more_models() const { return has_more_models_; }
    // Null if it has no model of this name.
    [[nodiscard]] const shmem::Model *model_of(shmem::ModelRole role, std::string_view name) const;
    [[nodiscard]] std::size_t outstanding() const { return waiting_.size() + gathering_.size() + in_flight_; }

    // The request was here and must not come here again.
    [[nodiscard]] bool is_avoided_by(const Flight &flight) const {
        return flight.avoided_tenure == row_state().tenure.load(std::memory_order_relaxed);
    }
    void enqueue(shmem::SlotId id, std::int64_t now_us);
    // The request waits behind other requests of its role while other roles are served: nothing is stuck.
    [[nodiscard]] bool is_held_back(const Flight &flight, std::int64_t now_us) {
        core::Turns &turns = turns_of(flight);
        return turns.in_flight(party_of(flight)) > 0 && turns.several_ask(now_us);
    }
    void pump(std::int64_t now_us);  // sends waiting requests; large requests only up to a limit until begin_turn()
    void begin_turn() {
        turn_bytes_ = 0;
        is_cut_short_ = false;
    }
    [[nodiscard]] bool is_cut_short() const { return is_cut_short_; }
    void tick(std::int64_t now_us);  // timers: about ten times a second
    // For the memory watch. Closes the connections if one is known to bring a message that does not end; else adds to `kept`
    // what libzmq keeps for the connections, as far as it is known.
    void look_for_unending_message(std::int64_t &kept, std::int64_t now_us);
    // Of connections of which it is not known: since when the one that has brought no whole message for the longest time has
    // brought none; INT64_MAX: there is none.
    [[nodiscard]] std::int64_t silent_since_us() const;
    void close_silent_connection();  // that one, and makes another
    // What has come over its connections and was not handed out, in whole messages or not: as of the last look.
    [[nodiscard]] std::int64_t waiting_bytes() const;
    void close_waiting_connections();  // those that have such bytes, and makes another if none is left
    void shut_out_for_unending_message(std::int64_t now_us);
    // When pump() must send requests that gather company until then; INT64_MAX: there are none.
    [[nodiscard]] std::int64_t due_us() const;
    // The session gave up a request that is waiting or in flight here.
    void abandon(shmem::SlotId id, std::int64_t now_us);
    void resume_stream(shmem::SlotId id);
    void retire();                               // takes no new requests; the gateway drops it once it is idle
    void adopt(const core::DaemonEntry &entry);  // the same connection with another weight or drain
    void show_disagreement(const char *text);
    // Excludes the daemon, and says why; null: it may answer again.
    void exclude(const char *reason);
    [[nodiscard]] bool is_excluded() const { return excluded_; }
    [[nodiscard]] bool is_retired() const { return retired_; }
    [[nodiscard]] bool is_retired_and_idle() const { return retired_ && outstanding() == 0; }

    [[nodiscard]] const core::DaemonEntry &entry() const { return entry_; }
    [[nodiscard]] std::uint16_t row() const { return row_; }
    // The names by which rate limits know it (shmem/daemon_limits.hpp).
    [[nodiscard]] std::array<std::uint64_t, 3> names() const;
    // Its public name.
    [[nodiscard]] const char *name() const { return identity_.endpoint; }
    [[nodiscard]] bool is_up() const;
    // It has answered once. Before, it may be anything that accepts connections: calls go to it only where there is no other daemon.
    [[nodiscard]] bool is_known() const {
        return is_engine() || identity_.kind == shmem::DaemonKind::Native || never_tells();
    }
    [[nodiscard]] const std::vector<shmem::Model> &models() const { return models_; }

    void on_up(Channel &channel) override;
    void on_down(Channel &channel, const char *reason) override;
    void on_connect_failed(Channel &channel, const char *reason) override;
    void on_loading(Channel &channel, const char *reason) override;
    void on_message(Channel &channel, std::string_view body) override;
    void on_many_parts(Channel &channel) override;
    void on_declined(Channel &channel, const Declined &declined) override;
    void on_convicted(bool generates, std::string_view model, const std::string &reason) override;
    void on_described(std::string_view info) override { learn(info); }
    void on_lesson(std::string_view lesson) override;

private:
    // A request of the gateway itself (info, ping, cancel): it has no slot.
    struct Control {
        std::uint64_t number = 0;  // 0: none is pending
        Channel *channel = nullptr;
        std::int64_t sent_us = 0;
    };

    // Several embeddings in a single message.
    struct Sharing {
        std::uint64_t number = 0;
        Channel *channel = nullptr;
        std::vector<shmem::SlotId> members;  // in the order of the texts
        std::vector<std::string> texts;      // as JSON; kept until the message is sent
        std::string rest;                    // the rest of the params, which all texts share
    };

    [[nodiscard]] shmem::DaemonRow &row_state() const;
    [[nodiscard]] static bool answers_cancel(std::string_view body) {
        return body.size() < 256 && body.find("\"Request cancelled\"") != std::string_view::npos;
    }
    [[nodiscard]] bool is_engine() const { return identity_.kind == shmem::DaemonKind::Http; }
    [[nodiscard]] bool never_tells() const { return identity_.kind == shmem::DaemonKind::Serial && !models_.empty(); }
    [[nodiscard]] bool is_serial() const {
        return identity_.kind == shmem::DaemonKind::Serial || identity_.kind == shmem::DaemonKind::Unknown;
    }
    [[nodiscard]] bool is_stopped() const;
    [[nodiscard]] const char *reason_shown(const char *reason) const;
    [[nodiscard]] bool is_in_service() const;
    [[nodiscard]] bool expected_back() const;

    [[nodiscard]] bool awaits_address() const;
    [[nodiscard]] std::vector<std::string> addresses() const;
    [[nodiscard]] std::string name_problem() const;
    [[nodiscard]] std::vector<std::string> route_among(const std::vector<std::string> &known) const;
    void add_channel();
    [[nodiscard]] bool goes_alone(shmem::SlotId id);
    struct Lanes;
    [[nodiscard]] std::deque<shmem::SlotId>::iterator next_in_turn(const Lanes &lanes, std::int64_t now_us);
    void drop(shmem::SlotId id, std::int64_t now_us);
    void leave_queue(shmem::SlotId id);
    [[nodiscard]] core::Turns &turns_of(const Flight &flight) { return flight.goes_behind ? turns_behind_ : turns_; }
    [[nodiscard]] const core::Turns &turns_of(const Flight &flight) const {
        return flight.goes_behind ? turns_behind_ : turns_;
    }
    [[nodiscard]] static std::uint64_t party_of(const Flight &flight) {
        return core::Turns::party_of(flight.role, flight.is_background);
    }
    void tell_priority(std::string &message, std::size_t params_at, const Flight &flight) const;
    [[nodiscard]] std::uint32_t capacity() const;
    void call_back_surplus(core::Turns &turns, std::int64_t now_us);
    void call_back(shmem::SlotId id, std::int64_t now_us);
    [[nodiscard]] bool take_called_back(shmem::SlotId id, Flight &flight, std::string_view body, std::int64_t now_us);
    void judge_abandoned(shmem::SlotId id, bool timed_out, std::int64_t now_us);
    void return_probe(const Flight &flight, std::int64_t now_us);
    void let_others_probe(std::uint32_t role, std::int64_t until_us);
    [[nodiscard]] Channel *free_channel();
    [[nodiscard]] Channel *spare_channel();
    [[nodiscard]] Channel *silent_channel() const;
    void close_spares();
    void show_connections();
    void replace(Channel &channel);
    void discard_replaced();
    void went_down(const char *reason);
    void shut_out(const char *what, std::int64_t now_us);
    void charge_unasked(std::int64_t now_us);
    void reopen_ended(std::int64_t now_us);
    // True if the request no longer waits here: it is sent, or it can never be sent and has failed.
    [[nodiscard]] bool send(Channel &channel, shmem::SlotId id, std::int64_t now_us);
    void refuse_unsendable(shmem::SlotId id, std::int64_t now_us);
    [[nodiscard]] core::WireId::Text wire_id_of(shmem::SlotId id) const;
    void note_sent(Channel &channel, shmem::SlotId id, std::int64_t now_us);
    void settle(Flight &flight);

    [[nodiscard]] bool may_share(shmem::SlotId id);
    [[nodiscard]] std::size_t most_together() const;
    void send_gathered(std::int64_t now_us);
    [[nodiscard]] std::int64_t due_us_of(shmem::SlotId id) const;
    [[nodiscard]] bool is_kept_waiting(shmem::SlotId id, std::int64_t now_us) const;
    [[nodiscard]] Sharing take_alike(std::int64_t now_us);
    [[nodiscard]] bool send_shared(Channel &channel, Sharing &sharing, std::int64_t now_us);
    [[nodiscard]] bool handle_shared_reply(Channel &channel, std::string_view id_text, std::string_view body,
                                           std::int64_t now_us);
    [[nodiscard]] bool take_shared(Channel &channel, std::string_view id_text, Sharing &sharing);
    [[nodiscard]] Flight *flight_in(const Sharing &sharing, shmem::SlotId id);
    void halve(const Sharing &sharing, std::int64_t now_us);
    [[nodiscard]] bool decline_shared(Channel &channel, const Declined &declined, std::int64_t now_us);
    void leave_shared(Channel &channel, std::uint64_t number);

    void lose_flights(Channel &channel, const char *reason);
    void expire_waiting(std::int64_t now_us);
    void hand_back_waiting();
    template <class Takes>
    void hand_back_if(Takes takes);
    void hand_back_unserved();
    void hand_back_held_off(std::int64_t now_us);

    void handle_reply(Channel &channel, std::string_view id_text, std::string_view body, std::int64_t now_us);
    void handle_stream(Channel &channel, shmem::SlotId id, Flight &flight, std::string_view body, std::int64_t now_us);
    void deliver_piece(Channel &channel, shmem::SlotId id, Flight &flight, std::string_view piece, std::int64_t now_us);
    enum class Fault { Daemons, Readers };
    void break_off_stream(Channel &channel, shmem::SlotId id, Flight &flight, const char *why, Fault fault,
                          std::int64_t now_us);
    void stop_stream(Channel &channel, std::int64_t now_us);
    void give_up_stopping(std::int64_t now_us);
    [[nodiscard]] bool continue_stopping(Channel &channel, std::string_view body);
    [[nodiscard]] core::StreamMessage read_stream(std::string_view body, std::string_view &piece);
    void handle_stray(Channel &channel, std::string_view id_text, std::int64_t now_us);
    void decline(shmem::SlotId id, Flight &flight, const Declined &declined, std::int64_t now_us);
    void show_busy(const Declined &declined);
    // How often steadytext_daemon_reset() was called: the epoch of put-offs and timeouts.
    [[nodiscard]] std::uint32_t resets() const { return row_state().resets.load(std::memory_order_relaxed); }
    [[nodiscard]] std::string_view model_asked(shmem::SlotId id) const;
    [[nodiscard]] bool speaks_for_all(shmem::SlotId id) const;
    // A request that cannot be called back once it is sent: a stream, and any request to a serial daemon.
    [[nodiscard]] bool lasts(shmem::SlotId id) const { return is_serial() || services_.flights.slot(id).streaming; }
    [[nodiscard]] bool loads_models(std::int64_t now_us) const;
    void learn_state(bool is_loading);
    void show_free();
    [[nodiscard]] std::string subject_of(shmem::SlotId id) const;
    void show_held_off(std::int64_t now_us);
    void record_answer(shmem::SlotId id, std::int64_t now_us, std::int64_t took_us);
    void record_failure(std::int64_t now_us, const char *reason);
    void note_failure(const char *reason);
    void settle_owed_failures(std::int64_t now_us);

    [[nodiscard]] bool send_control(Control &control, Channel &channel, std::string_view method,
                                    std::string_view params, std::int64_t now_us);
    void send_cancel(Channel &channel, shmem::SlotId id);
    void send_cancel(Channel &channel, std::string_view id_text);
    [[nodiscard]] Control *control_of(std::string_view id_text);
    [[nodiscard]] bool handle_control(std::string_view id_text, std::string_view body, std::int64_t now_us);
    void learn(std::string_view body);
    [[nodiscard]] bool tells_memory() const { return row_state().resident_bytes.load(std::memory_order_relaxed) > 0; }
    void learn_again(std::string_view body);
    [[nodiscard]] bool tells_other_models(const core::DaemonInfo &info) const;
    void guess_serial();
    void become_serial();
    void tell_models();
    void ask_again(Control &control, std::int64_t now_us);
    void check_controls(std::int64_t now_us);

    void take_name();
    void show_state(const char *reason);
    void set_state(shmem::DaemonState state, const char *reason);
    void publish();

    Services &services_;
    core::DaemonEntry entry_;
    std::uint16_t row_;
    std::int64_t misbehaved_until_us_ = 0;  // its breaker stays open for that, whatever connections it makes
    std::int64_t shut_out_until_us_ = 0;    // no connection is made until then; 0: it is not shut out
    std::int64_t unasked_ = 0;              // bytes that it has sent and nobody asked for, less what time has forgiven
    std::int64_t unasked_us_ = 0;           // when that was reckoned
    std::int64_t unasked_now_ = 0;          // of the message in hand
    std::int64_t late_owed_ = 0;            // requests that were given up: an answer to each may come yet
    bool embedded_;
    bool retired_ = false;
    bool excluded_ = false;
    bool could_not_open_ = false;
    bool channels_changed_ = true;

    std::vector<std::unique_ptr<Channel>> channels_;
    std::vector<std::unique_ptr<Channel>> replaced_;  // freed here, outside their own callbacks
    std::int64_t reopen_not_before_us_ = 0;
    core::PutOffs put_offs_;
    core::Timeouts timeouts_;
    core::Convictions convictions_;
    std::int64_t loading_since_us_ = 0;  // a native daemon says that it loads models; 0: it does not, or is away
    bool says_busy_ = false;             // the view shows why, until it answers
    bool is_loading_ = false;            // it says so itself
    std::string lessons_;                // lessons that it taught, shown while nothing else is
    std::vector<std::string> route_;     // addresses that the connections were made to
    std::size_t next_address_ = 0;
    std::deque<shmem::SlotId> waiting_;
    std::size_t turn_bytes_ = 0;           // of requests that were sent in this turn of the loop
    unsigned sent_before_background_ = 0;  // requests of sessions, since the last request in the background
    bool is_cut_short_ = false;            // there is more to send than was sent in this turn
    std::deque<shmem::SlotId> gathering_;
    std::vector<Sharing> sharings_;
    std::uint64_t next_sharing_ = 1;
    std::uint64_t next_company_ = 1;
    bool shares_ = false;          // it can embed_batch
    bool knows_priority_ = false;  // it puts requests in the background behind the others
    std::size_t in_flight_ = 0;
    core::Turns turns_;
    core::Turns turns_behind_;       // of requests that the daemon puts behind the others
    std::int64_t heard_us_ = 0;      // time of the last answer or piece of an answer
    std::uint32_t last_prober_ = 0;  // its probe told nothing or timed out: other roles go first
    std::int64_t last_prober_waits_until_us_ = 0;
    // Requests lost with the last connection: they count for the breaker if no connection can be made
    std::size_t owed_failures_ = 0;

    shmem::DaemonIdentity identity_;
    std::vector<shmem::Model> models_;
    std::map<std::pair<shmem::ModelRole, std::string_view>, const shmem::Model *> models_by_name_;
    bool models_complete_ = false;
    bool has_more_models_ = false;  // more than it reported, or than are kept
    bool has_failed_ = false;       // it has failed to connect before
    Control info_;
    Control ping_;
    std::uint64_t next_control_ = 1;
    std::int64_t next_info_us_ = 0;
    std::int64_t next_ping_us_ = 0;
};

}  // namespace steadytext::gateway
