// A daemon's requests: which it may have, what becomes of its answers, failing over. Regime: pure; see daemon.hpp.
//
// The other parts: sending in daemon_sending.cpp, turns in daemon_turns.cpp, its row in daemon_state.cpp, connections in daemon_connections.cpp, streams in daemon_streams.cpp,
// info and ping in daemon_control.cpp, shared messages in daemon_sharing.cpp.
#include "bgworker/daemon.hpp"

#include "shmem/segment.hpp"
#include "src/core/balance.hpp"
#include "src/core/clock.hpp"

#include <algorithm>

namespace steadytext::gateway {

using core::WireId;
using shmem::Counter;
using shmem::DaemonKind;
using shmem::DaemonState;
using shmem::Outcome;
using shmem::SlotId;

namespace {

constexpr std::int64_t kPieceBytes = 64 << 10;  // of a stream: more than that, again and again, keeps the gateway busy

}  // namespace

Daemon::Daemon(Services &services, const core::DaemonEntry &entry, std::uint16_t row, bool embedded)
    : services_(services), entry_(entry), row_(row), embedded_(embedded) {
    take_name();
    identity_.weight = static_cast<std::uint32_t>(entry.weight);
    identity_.embedded = embedded;
    if (core::is_http(entry.endpoint))
        identity_.kind = DaemonKind::Http;
    if (row_state().is_of(entry.endpoint.text))
        row_state().disconnect();
    else
        services_.segment.daemons->move_in(row_, identity_);
    show_state(entry.valid ? "" : entry.problem.message);
}

Daemon::~Daemon() {
    if (retired_) {  // a later daemon of the same name is another daemon
        row_state().clear();
        return;
    }
    row_state().connections.store(0, std::memory_order_relaxed);
    row_state().in_flight.store(0, std::memory_order_relaxed);
    set_state(DaemonState::Absent, "");
}

shmem::DaemonRow &Daemon::row_state() const { return services_.segment.daemons->rows[row_]; }

void Daemon::retire() {
    retired_ = true;
    show_state("removed from steadytext.daemons");
    if (channels_.empty())
        hand_back_waiting();
}

void Daemon::adopt(const core::DaemonEntry &entry) {
    const bool was_drained = entry_.drain;
    entry_ = entry;
    identity_.weight = static_cast<std::uint32_t>(entry.weight);
    if (entry.drain == was_drained)
        publish();
    else
        show_state(entry.drain ? "drained" : "");
}

void Daemon::exclude(const char *reason) {
    const bool was_excluded = std::exchange(excluded_, reason != nullptr);
    if (excluded_ != was_excluded)
        show_state(excluded_ ? reason : "");
    if (excluded_)
        hand_back_waiting();
}

// ---- requests ------------------------------------------------------------------------------------------------------

// Stopped by steadytext_daemon_stop(): then no request waits for it.
bool Daemon::is_stopped() const {
    using Wanted = shmem::EmbeddedState::Wanted;
    return embedded_ && services_.segment.header->embedded.wanted.load(std::memory_order_relaxed) == Wanted::Stopped;
}

// The embedded daemon comes back by itself, as the launcher restarts it; so its requests wait within their deadlines.
bool Daemon::expected_back() const {
    return embedded_ && services_.segment.header->embedded.expected.load(std::memory_order_relaxed);
}

// True if the settings let it have requests, whether or not it can be reached.
bool Daemon::is_in_service() const {
    return !retired_ && !excluded_ && !entry_.drain && entry_.valid && !is_stopped() && !row_state().rests();
}

bool Daemon::is_tripped(std::int64_t now_us) const {
    return is_in_service() && is_up() &&
           row_state().breaker.state(services_.settings.breaker, now_us) != core::BreakerState::Closed;
}

bool Daemon::is_available(std::int64_t now_us) {
    if (!is_in_service())
        return false;
    if (row_state().state.load(std::memory_order_relaxed) != DaemonState::Ready && expected_back())
        return true;
    if (channels_.empty() && !awaits_address())
        return false;
    return row_state().breaker.state(services_.settings.breaker, now_us) != core::BreakerState::Open;
}

bool Daemon::serves(shmem::Operation operation, std::string_view model) const {
    if (is_engine() && operation == shmem::Operation::Rerank)
        return false;
    // Where it is not known yet what the daemon can do, the request waits for that (next_in_turn).
    if (operation == shmem::Operation::CountTokens && !identity_.counts_tokens && identity_.kind != DaemonKind::Unknown)
        return false;
    if (!models_complete_)
        return true;  // not reported yet, or a daemon that never reports
    return has_model_for(operation, model);
}

// Documents are ranked by a reranker or by embeddings.
bool Daemon::has_model_for(shmem::Operation operation, std::string_view model) const {
    if (operation == shmem::Operation::CountTokens)
        return identity_.counts_tokens &&
               (has_model(shmem::ModelRole::Generation, model) || has_model(shmem::ModelRole::Embedding, model));
    const auto role =
        operation == shmem::Operation::Generate ? shmem::ModelRole::Generation : shmem::ModelRole::Embedding;
    return has_model(role, model) ||
           (operation == shmem::Operation::Rerank && has_model(shmem::ModelRole::Reranker, model));
}

bool Daemon::has_model(shmem::ModelRole role, std::string_view model) const {
    const auto found = models_by_name_.lower_bound({role, model});
    return found != models_by_name_.end() && found->first.first == role &&
           (model.empty() || found->first.second == model);
}

const shmem::Model *Daemon::model_of(shmem::ModelRole role, std::string_view name) const {
    const auto found = models_by_name_.find({role, name});
    return found == models_by_name_.end() ? nullptr : found->second;
}

bool Daemon::may_have_model_for(shmem::Operation operation) const {
    return serves(operation, {}) && (has_more_models_ || !models_complete_);
}

// Its endpoint, its entry (they differ where a dns+tcp entry stands for many daemons), and its public name.
std::array<std::uint64_t, 3> Daemon::names() const {
    const std::string_view entry = entry_.text;
    return {core::stable_hash(entry_.endpoint.text), core::stable_hash(entry.substr(0, entry.find_first_of(" \t\r\n"))),
            core::stable_hash(identity_.endpoint)};
}

// The request is no longer on its connection, however it ended.
void Daemon::settle(Flight &flight) {
    turns_of(flight).ended(party_of(flight), flight.lasts);
    flight.channel->in_flight--;
    flight.channel = nullptr;
    flight.sharing = 0;
    in_flight_--;
    row_state().in_flight.store(static_cast<std::uint32_t>(in_flight_), std::memory_order_relaxed);
}

void Daemon::abandon(SlotId id, std::int64_t now_us) {
    Flight &flight = services_.flights.of(id);
    if (flight.channel == nullptr) {
        for (std::deque<SlotId> *queue : {&waiting_, &gathering_})
            std::erase_if(*queue, [&](SlotId other) { return other.index == id.index; });
        drop(id, now_us);
        return;
    }
    Channel &channel = *flight.channel;
    const bool timed_out = services_.segment.slots->abandoned_because(id.index) == shmem::Abandon::TimedOut;
    judge_abandoned(id, timed_out, now_us);
    const std::uint64_t sharing = flight.sharing;
    const bool streaming = services_.flights.slot(id).streaming;
    const std::int64_t sent_us = flight.sent_us;
    settle(flight);
    late_owed_++;
    if (timed_out)
        turns_of(flight).gave_up(party_of(flight), sent_us, now_us);
    services_.flights.drop(id);
    if (sharing != 0)
        leave_shared(channel, sharing);
    else if (!is_serial())
        send_cancel(channel, id);
    else if (streaming && !timed_out)
        stop_stream(channel, now_us);
    else
        replace(channel);  // the next message on it would be an answer that nobody waits for
}

// Callers choose how long they wait, so a short wait proves nothing. A daemon has failed if it had the request for
// steadytext.breaker_timeout, answered no request meanwhile, and was not loading its models.
void Daemon::judge_abandoned(SlotId id, bool timed_out, std::int64_t now_us) {
    const Flight &flight = services_.flights.of(id);
    const bool had_time = now_us - flight.sent_us >= services_.settings.breaker_timeout_us;
    const core::BreakerSettings &breaker = services_.settings.breaker;
    const bool counts =
        timed_out && had_time && heard_us_ <= flight.sent_us && speaks_for_all(id) && !loads_models(now_us);
    const std::size_t kind = shmem::kind_of(services_.flights.slot(id).operation);
    if (counts && timeouts_.is_the_daemons(flight.role, breaker.threshold, breaker.recovery_us, resets(), now_us) &&
        row_state().kinds.is_the_daemons(kind, breaker, now_us)) {
        if (flight.is_probe)
            let_others_probe(flight.role, now_us + 2 * breaker.recovery_us);  // it is open for the first half of that
        return record_failure(now_us, "a request timed out");
    }
    if (counts)
        note_failure("a request timed out");
    return_probe(flight, now_us);
}

void Daemon::tick(std::int64_t now_us) {
    notice();
    if (shut_out_until_us_ != 0 && now_us >= shut_out_until_us_) {
        shut_out_until_us_ = 0;
        if (channels_.empty() && !retired_)
            add_channel();
    }
    put_offs_.forget_past(now_us, resets());
    hand_back_held_off(now_us);
    expire_waiting(now_us);
    check_controls(now_us);
    give_up_stopping(now_us);
    for (core::Turns *turns : {&turns_, &turns_behind_})
        call_back_surplus(*turns, now_us);
    pump(now_us);
    close_spares();
    discard_replaced();
}

void Daemon::expire_waiting(std::int64_t now_us) {
    if ((waiting_.empty() && gathering_.empty()) ||
        (row_state().state.load(std::memory_order_relaxed) != DaemonState::Ready && expected_back()))
        return;
    if (row_state().breaker.state(services_.settings.breaker, now_us) == core::BreakerState::Open) {
        hand_back_waiting();
        return;
    }
    if (is_busy(now_us))
        return;  // it said until when; the gateway has checked that their deadlines are later
    if (is_loading_)
        return;  // it says that it will be ready
    if (!is_serial() && is_up())
        return;  // they wait for their turn, not for a connection
    core::Problem problem;
    problem.set(core::sqlstate::kTooManyConnections, "no connection to daemon %s became free", identity_.endpoint);
    problem.with_detail("All %zu connections are in use.", channels_.size())
        .with_hint("Raise steadytext.pool_size or steadytext.pool_wait, or add a daemon.");
    for (auto next = waiting_.begin(); next != waiting_.end();) {
        const SlotId id = *next;
        if (services_.flights.of(id).queued_us + services_.settings.pool_wait_us > now_us)
            return;
        if (goes_alone(id)) {  // it does not wait for the pool
            ++next;
            continue;
        }
        next = waiting_.erase(next);
        leave_queue(id);
        services_.segment.counters->add(0, Counter::PoolExhausted);
        services_.flights.fail(id, Outcome::Refused, problem, now_us);
    }
}

// Returns the waiting requests to the gateway, which finds another daemon for them or refuses them.
void Daemon::hand_back_waiting() {
    for (std::deque<SlotId> *queue : {&waiting_, &gathering_}) {
        for (const SlotId id : *queue)
            leave_queue(id);
        services_.lost.insert(services_.lost.end(), queue->begin(), queue->end());
        queue->clear();
    }
}

template <class Takes>
void Daemon::hand_back_if(Takes takes) {
    for (std::deque<SlotId> *queue : {&waiting_, &gathering_})
        std::erase_if(*queue, [&](SlotId id) {
            if (!takes(id))
                return false;
            leave_queue(id);
            services_.lost.push_back(id);
            return true;
        });
}

// The same for requests of a kind that the daemon, as it has just told, does not serve.
void Daemon::hand_back_unserved() {
    hand_back_if([&](SlotId id) { return !serves(services_.flights.slot(id).operation, {}); });
}

void Daemon::hand_back_held_off(std::int64_t now_us) {
    hand_back_if([&](SlotId id) { return holds_off(id, now_us); });
}

// ---- incoming messages ----------------------------------------------------------------------------------------------

void Daemon::on_message(Channel &channel, std::string_view body) {
    const std::int64_t now_us = core::monotonic_us();
    unasked_now_ = channel.message_bytes;
    row_state().last_answer_unix_us.store(core::unix_us(), std::memory_order_relaxed);
    reopen_not_before_us_ = 0;
    std::string_view id_text;
    if (!core::envelope_id(body, id_text, services_.id_storage))
        id_text = {};
    if (!handle_control(id_text, body, now_us) && !handle_shared_reply(channel, id_text, body, now_us))
        handle_reply(channel, id_text, body, now_us);
    if (channel.message_bytes > 0 && unasked_now_ > 0)
        charge_unasked(now_us);
    pump(now_us);
}

void Daemon::handle_reply(Channel &channel, std::string_view id_text, std::string_view body, std::int64_t now_us) {
    WireId wire_id;
    if (!WireId::parse(id_text, wire_id) || wire_id.boot_epoch != services_.segment.header->boot_epoch) {
        handle_stray(channel, id_text, now_us);
        return;
    }
    const SlotId id{wire_id.slot, wire_id.generation};
    Flight *flight = services_.flights.find(id);
    if (flight == nullptr || flight->channel != &channel) {
        if (continue_stopping(channel, body))
            return;
        // A late or second answer: the request has ended. The answer to a cancel is expected, and nobody waits for it.
        if (answers_cancel(body))
            return;
        if (late_owed_ > 0) {
            late_owed_--;
            unasked_now_ = 0;
        }
        row_state().late_replies.fetch_add(1, std::memory_order_relaxed);
        services_.segment.counters->add(0, Counter::LateReplies);
        return;
    }
    unasked_now_ = services_.flights.slot(id).streaming ? unasked_now_ - kPieceBytes : 0;
    if (flight->is_called_back && take_called_back(id, *flight, body, now_us))
        return;
    if (services_.flights.slot(id).streaming) {
        handle_stream(channel, id, *flight, body, now_us);
        return;
    }
    record_answer(id, now_us, now_us - flight->sent_us);
    settle(*flight);
    services_.flights.deliver(id, body, now_us);
}

// A message that answers none of our requests. On a serial connection it takes the place of the expected answer.
void Daemon::handle_stray(Channel &channel, std::string_view id_text, std::int64_t now_us) {
    WireId previous_boot;
    const bool foreign = WireId::parse(id_text, previous_boot);
    services_.segment.counters->add(0, foreign ? Counter::ForeignReplies : Counter::InvalidReplies);
    record_failure(now_us, foreign ? "it answered a request of another server" : "it sent an unreadable message");

    // If a single request is in flight, the message was meant for it.
    Flight *only = nullptr;
    SlotId id{};
    for (std::uint32_t index = 0; channel.in_flight == 1 && index < services_.segment.slots->size(); index++) {
        Flight &flight = services_.flights.of({index, 0});
        if (flight.active && flight.channel == &channel) {
            only = &flight;
            id = {index, flight.generation};
        }
    }
    if (only == nullptr || foreign)
        return;
    core::Problem problem;
    problem.set(core::sqlstate::kProtocolViolation, "daemon %s sent an invalid reply", identity_.endpoint);
    problem.with_detail("The message is not JSON, or its id is not that of the request.");
    settle(*only);
    services_.flights.fail(id, Outcome::InvalidReply, problem, now_us);
    if (is_serial())
        replace(channel);
}

// An engine declined a request and goes on with the others.
void Daemon::on_declined(Channel &channel, const Declined &declined) {
    const std::int64_t now_us = core::monotonic_us();
    const bool is_busy = declined.why == Declined::Why::Busy, is_unserved = declined.why == Declined::Why::Unserved;
    const bool is_reworded = declined.why == Declined::Why::Reworded;
    const bool works_otherwise = declined.is_its_failure && declined.is_of_its_model;
    if (is_unserved || is_reworded || (is_busy && declined.is_its_failure) || works_otherwise)
        row_state().breaker.record_success(services_.settings.breaker, now_us);
    else if (declined.is_its_failure)
        record_failure(now_us, declined.shown_reason().c_str());
    else if (!is_busy)
        note_failure(declined.shown_reason().c_str());
    if (is_busy)
        show_busy(declined);
    if (Control *control = control_of(declined.id); control != nullptr) {
        channel.in_flight--;
        ask_again(*control, now_us);
        return;
    }
    if (is_busy)
        services_.segment.counters->add(0, Counter::ComeAgain);
    // All requests wait, or, as far as is known, only requests of this role for this model: if a text exceeds the
    // account's limit per minute, other roles need not wait.
    if (is_busy && declined.is_its_failure && !declined.is_of_its_model)
        row_state().busy_until_us.store(now_us + declined.retry_after_us, std::memory_order_relaxed);
    WireId wire_id;
    if (decline_shared(channel, declined, now_us) || !WireId::parse(declined.id, wire_id))
        return;
    const SlotId id{wire_id.slot, wire_id.generation};
    if (Flight *flight = services_.flights.find(id); flight != nullptr && flight->channel == &channel)
        decline(id, *flight, declined, now_us);
}

// Declines a single request, also a request that shared a message.
void Daemon::decline(SlotId id, Flight &flight, const Declined &declined, std::int64_t now_us) {
    using Why = Declined::Why;
    settle(flight);
    flight.failure = declined.reason;
    if (!declined.is_its_failure)
        return_probe(flight, now_us);
    if (declined.why == Why::Invalid) {
        services_.segment.counters->add(0, Counter::InvalidReplies);
        core::Problem problem;
        problem.set(core::sqlstate::kProtocolViolation, "daemon %s sent an invalid reply", identity_.endpoint);
        problem.with_detail("The engine failed: %s.", declined.reason.c_str());
        services_.flights.fail(id, Outcome::InvalidReply, problem, now_us);
        return;
    }
    if (declined.why == Why::Busy && (!declined.is_its_failure || declined.is_of_its_model))
        put_offs_.put_off(declined.is_its_failure ? core::PutOffs::kEverybody : flight.role, subject_of(id),
                          now_us + declined.retry_after_us, resets());
    if (declined.why == Why::Busy || declined.why == Why::Unserved || declined.why == Why::Reworded)
        flight.attempts--;  // it was not processed
    if (declined.why == Why::Exhausted)
        flight.avoided_tenure = row_state().tenure.load(std::memory_order_relaxed);
    services_.lost.push_back(id);
}

std::int64_t Daemon::busy_until_us_for(SlotId id) const {
    if (put_offs_.empty())
        return busy_until_us();
    const std::string subject = subject_of(id);
    return std::max({busy_until_us(), put_offs_.until_us(core::PutOffs::kEverybody, subject, resets()),
                     put_offs_.until_us(services_.flights.of(id).role, subject, resets())});
}

bool Daemon::has_put_off_its_role(SlotId id, std::int64_t now_us) const {
    return !put_offs_.empty() && now_us < put_offs_.until_us(services_.flights.of(id).role, subject_of(id), resets());
}

// The engine's name for the model, whether the caller gave it with the provider, without it, or gave none.
std::string_view Daemon::model_asked(SlotId id) const {
    std::string_view model = services_.flights.slot(id).model;
    if (model.empty() && !models_.empty())
        model = models_.front().name;
    const std::string_view provider = entry_.provider;
    if (!provider.empty() && model.starts_with(provider) && model.substr(provider.size()).starts_with(':'))
        model.remove_prefix(provider.size() + 1);
    return model;
}

namespace {

std::string subject(bool generates, std::string_view model) {
    return std::string(generates ? "texts " : "embeddings ").append(model);
}

}  // namespace

// What an engine may put off or fail at alone: a kind of requests, by the model's name.
std::string Daemon::subject_of(SlotId id) const {
    return subject(services_.flights.slot(id).operation == shmem::Operation::Generate, model_asked(id));
}

bool Daemon::holds_off(SlotId id, std::int64_t now_us) const {
    return row_state().kinds.holds_off(shmem::kind_of(services_.flights.slot(id).operation), now_us) ||
           (!convictions_.empty() && convictions_.holds_off(subject_of(id), resets(), now_us));
}

void Daemon::on_convicted(bool generates, std::string_view model, const std::string &reason) {
    const std::int64_t now_us = core::monotonic_us();
    const core::BreakerSettings &breaker = services_.settings.breaker;
    convictions_.convict(subject(generates, model), breaker.threshold, breaker.recovery_us, resets(), now_us);
    note_failure(("calls for " + std::string(generates ? "texts" : "embeddings") + " by model \"" + std::string(model) +
                  "\" fail: " + reason)
                     .c_str());
    show_held_off(now_us);
}

// Whether any other request would fare the same. If an engine has several models and one model hangs, that proves
// nothing about the others.
bool Daemon::speaks_for_all(SlotId id) const {
    const std::string_view model = services_.flights.slot(id).model;
    return !is_engine() || model.empty() || models_.empty() || model == models_.front().name;
}

}  // namespace steadytext::gateway
