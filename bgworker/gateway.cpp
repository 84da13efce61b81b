// Requests: their daemons, their retries and their ends: see gateway.hpp. Regime: pure. The set of daemons is in
// gateway_daemons.cpp, limits of daemons are in gateway_limits.cpp.
#include "bgworker/gateway.hpp"

#include "shmem/segment.hpp"
#include "src/core/balance.hpp"
#include "src/core/clock.hpp"
#include "src/core/shared_part.hpp"

#include <algorithm>
#include <map>

namespace steadytext::gateway {

using shmem::Counter;
using shmem::Outcome;
using shmem::SlotId;
using shmem::SlotState;

namespace {

constexpr int kMaxAttempts = 2;  // the first attempt, and a single retry

}  // namespace

bool Gateway::work(bool woken_by_descriptor) {
    const std::int64_t now_us = core::monotonic_us();
    if (woken_by_descriptor)
        apply_resolved(now_us);
    take_hints(now_us);
    retry_waiting(now_us);
    bool any = false;
    for (Member &member : members_) {
        member.daemon->begin_turn();
        member.daemon->pump(now_us);
        if (woken_by_descriptor)
            member.daemon->notice();
        any |= member.daemon->receive() || member.daemon->is_cut_short();
    }
    if (!services_.lost.empty())
        retry_lost(core::monotonic_us());
    if (services_.models_changed)
        publish_models();
    flights_.wake_owners();
    return any;
}

std::int64_t Gateway::due_us() const {
    std::int64_t due_us = INT64_MAX;
    for (const Member &member : members_)
        due_us = std::min(due_us, member.daemon->due_us());
    for (const Waiting &waiting : waiting_)
        due_us = std::min(due_us, waiting.until_us);
    return due_us;
}

void Gateway::take_hints(std::int64_t now_us) {
    std::uint32_t index;
    for (std::size_t i = 0; i < shmem::kRingCapacity && segment_.ring->pop(index); i++)
        if (index < segment_.slots->size())
            process_slot(index, now_us);
}

// Does the next step for a slot's state; a hint or the sweep pointed at it.
void Gateway::process_slot(std::uint32_t index, std::int64_t now_us) {
    const SlotId id{index, segment_.slots->generation(index)};
    Flight *flight = flights_.find(id);
    bool is_orphan = false;
    switch (segment_.slots->state(index)) {
    case SlotState::Inflight:
        if (flight != nullptr) {
            flights_.forward_backlog(id);
            if (flight->daemon != nullptr)
                flight->daemon->resume_stream(id);
            return;
        }
        // A request that this gateway does not know was taken by an earlier gateway: begin it again.
        if (!segment_.slots->put_back(id))
            return;
        is_orphan = true;
        [[fallthrough]];
    case SlotState::Queued:
        if (!flights_.begin(id, now_us))
            return;
        if (is_orphan && flights_.slot(id).streaming)
            break_off(id, now_us);
        else
            dispatch(id, now_us);
        return;
    case SlotState::Abandoned:
        if (flight != nullptr && flight->daemon != nullptr)
            flight->daemon->abandon(id, now_us);
        else if (flight != nullptr)
            flights_.drop(id);
        else
            flights_.reclaim(id);
        return;
    case SlotState::Free:
    case SlotState::Claimed:
    case SlotState::Done:
        return;
    }
}

// Takes back a request that is past its deadline, or whose process is gone. Sessions let go by themselves at the
// deadline; this is for a session that does not: it is stopped, or fetches no more. A new process with the number of a
// gone process has slots of other generations.
void Gateway::take_back(std::uint32_t index, std::int64_t now_us) {
    constexpr std::int64_t kGraceUs = 1'000'000;
    const SlotId id{index, segment_.slots->generation(index)};
    switch (segment_.slots->state(index)) {
    case SlotState::Free:
    case SlotState::Abandoned:
        return;
    case SlotState::Claimed:
        break;
    case SlotState::Queued:
    case SlotState::Inflight:
    case SlotState::Done:
        if (now_us >= (*segment_.slots)[index].deadline_us.load(std::memory_order_relaxed) + kGraceUs &&
            segment_.slots->expire(id)) {
            segment_.counters->add(0, Counter::TakenBack);
            return;
        }
        break;
    }
    if (is_gone_(segment_.slots->owner(index)))
        (void)segment_.slots->bury(id);
}

void Gateway::dispatch(SlotId id, std::int64_t now_us) {
    RejectReason reason = RejectReason::Daemon;
    flights_.cancel_reservation(id, now_us);
    if (Daemon *daemon = choose(id, now_us, reason); daemon != nullptr) {
        flights_.of(id).is_reserved = flights_.slot(id).limits.charged != 0;
        daemon->enqueue(id, now_us);
    } else if (reason != RejectReason::Quota || !wait_for_quota(id, now_us)) {
        refuse(id, reason, now_us);
    }
}

// Ends a stream whose pieces an earlier gateway has given out, or may have given out.
void Gateway::break_off(SlotId id, std::int64_t now_us) {
    core::Problem problem;
    problem.set(core::sqlstate::kConnectionFailure, "the connection to the inference daemon was lost");
    problem.with_detail("The gateway was restarted while the answer was streamed.");
    flights_.fail(id, Outcome::ConnectionLost, problem, now_us);
}

void Gateway::refuse(SlotId id, RejectReason reason, std::int64_t now_us) {
    core::Problem problem;
    Counter counter = Counter::NoDaemon;
    const Outcome outcome = reason == RejectReason::Model ? Outcome::Unserved : Outcome::Refused;
    switch (reason) {
    case RejectReason::None:
    case RejectReason::Daemon:
        problem.set(core::sqlstate::kPrerequisiteState, "no inference daemon is configured");
        problem.with_hint("Set steadytext.daemons, or steadytext.embedded_model for the embedded daemon.");
        break;
    case RejectReason::Model:
        if (services_.models_changed)
            publish_models();  // the session looks there for another model
        counter = Counter::NoModel;
        if (const char *model = flights_.slot(id).model; model[0] != '\0')
            problem.set(core::sqlstate::kUndefinedObject, "no daemon serves model \"%s\"", model);
        else
            problem.set(core::sqlstate::kUndefinedObject, "no daemon serves a model for this operation");
        problem.with_hint("Look at steadytext_models() and the models the daemons were started with.");
        if (flights_.slot(id).operation == shmem::Operation::Rerank) {
            problem.set(core::sqlstate::kUndefinedObject, "no daemon serves a model that ranks documents");
            problem.with_detail(
                "Engines over HTTP do not rank; a steadytextd ranks by a reranker or an embedding model.");
            problem.with_hint("Name one in steadytext.embedded_embedding_model or steadytext.embedded_reranker_model, "
                              "or add a steadytextd that has one to steadytext.daemons.");
        }
        break;
    case RejectReason::Connection:
        counter = Counter::DaemonsDown;
        problem.set(core::sqlstate::kCannotConnect, "no inference daemon can be reached");
        problem.with_detail("Every daemon that could answer is down, drained or invalid.");
        problem.with_hint("SELECT endpoint, state, reason FROM steadytext_daemons tells which, and why.");
        break;
    case RejectReason::Breaker:
        counter = Counter::BreakersOpen;
        problem.set(core::sqlstate::kHeldBack, "the circuit breaker of every inference daemon that is up is open");
        problem.with_detail("It opens after steadytext.breaker_threshold failures in a row, or by "
                            "steadytext_daemon_trip(), for steadytext.breaker_recovery.");
        problem.with_hint("SELECT endpoint, reason, until FROM steadytext_daemons tells why and how long; "
                          "steadytext_daemon_reset() closes it.");
        break;
    case RejectReason::HeldOff:
        counter = Counter::BreakersOpen;
        problem.set(core::sqlstate::kHeldBack,
                    "calls of this kind for this model fail at every inference daemon that is up");
        problem.with_detail("After steadytext.breaker_threshold failures in a row they are held off for "
                            "steadytext.breaker_recovery; other calls are not.");
        problem.with_hint(
            "SELECT endpoint, reason FROM steadytext_daemons tells why; steadytext_daemon_reset() lets them through.");
        break;
    case RejectReason::HeldBack:
        counter = Counter::BreakersOpen;
        problem.set(core::sqlstate::kHeldBack, "this role's requests fail at every inference daemon that is up");
        problem.with_detail("After steadytext.breaker_threshold in a row that timed out, or whose answers nobody can "
                            "read, they are held back for steadytext.breaker_recovery; those of other roles are not.");
        problem.with_hint(
            "Raise steadytext.request_timeout, or ask for less at once; steadytext_daemon_reset() lets them through.");
        break;
    case RejectReason::Time:
        counter = Counter::EnginesBusy;
        problem.set(core::sqlstate::kCannotConnectNow, "every inference daemon asks to come again later");
        problem.with_detail("The time they ask for is beyond the deadline of the call.");
        problem.with_hint("Raise steadytext.request_timeout, or add a daemon.");
        break;
    case RejectReason::Account:
        counter = Counter::EnginesBusy;
        problem.set(core::sqlstate::kInsufficientResources, "the account at the inference daemon has nothing left");
        problem.with_detail("The engine says: %s.", flights_.of(id).failure.c_str());
        problem.with_hint("Raise the quota of the account, or add a daemon.");
        break;
    case RejectReason::Quota:  // the session finds the words
        flights_.fail(id, Outcome::Limited, problem, now_us);
        return;
    }
    segment_.counters->add(0, counter);
    flights_.fail(id, outcome, problem, now_us);
}

// The daemons that may serve a request: daemons with the model; else the daemons of its provider, whether or not they
// know the model; else daemons that may have it, as they report no models, or not all. If there is no such daemon,
// nobody serves it: only the session may choose another model, before it asks.
struct Gateway::ModelRequirement {
    shmem::Operation operation;
    std::string_view model;     // empty: any
    std::string_view provider;  // empty: any daemon
    bool is_a_guess = false;

    [[nodiscard]] bool is_granted_by(const Daemon &daemon) const {
        if (!provider.empty() && provider != daemon.entry().provider)
            return false;
        return is_a_guess ? daemon.may_have_model_for(operation) : daemon.serves(operation, model);
    }
};

Gateway::ModelRequirement Gateway::requirement_of(const shmem::Slot &slot) const {
    const std::string_view model = slot.model, provider = core::provider_of(model);
    const auto any = [&](auto &&has) {
        return std::any_of(members_.begin(), members_.end(),
                           [&](const Member &member) { return member.wanted && has(*member.daemon); });
    };
    if (model.empty() || any([&](const Daemon &daemon) { return daemon.has_model_for(slot.operation, model); }))
        return {slot.operation, model, {}};
    if (!provider.empty() && any([&](const Daemon &daemon) { return provider == daemon.entry().provider; }))
        return {slot.operation, {}, provider};
    if (slot.operation == shmem::Operation::Rerank)
        return {slot.operation, {}, {}};  // the session guessed the model, nobody named it
    return {slot.operation, {}, {}, true};
}

// The next daemon in turn of the daemons that can take the request, in the order of readiness: ready, ready at a known
// time, not connected yet. A daemon whose rate limit refuses the request is skipped.
Daemon *Gateway::choose(SlotId id, std::int64_t now_us, RejectReason &reason) {
    shmem::Slot &slot = flights_.slot(id);
    enum class Readiness { Ready, Busy, Connecting };
    const ModelRequirement required = requirement_of(slot);
    const std::uint64_t key = configuration_.affinity ? affinity_key(slot) : 0;
    reason = members_.empty() ? RejectReason::Daemon : RejectReason::Model;
    slot.limits.refusal = {};
    slot.limits.charged = 0;
    for (const Readiness readiness : {Readiness::Ready, Readiness::Busy, Readiness::Connecting}) {
        std::vector<core::Candidate> candidates;
        std::vector<Daemon *> daemons;
        for (Member &member : members_) {
            Daemon &daemon = *member.daemon;
            if (!member.wanted || !required.is_granted_by(daemon))
                continue;
            if (daemon.is_avoided_by(flights_.of(id))) {
                reason = std::max(reason, RejectReason::Account);
                continue;
            }
            if (!daemon.is_available(now_us)) {
                reason = std::max(reason, daemon.is_tripped(now_us) ? RejectReason::Breaker : RejectReason::Connection);
                continue;
            }
            if (daemon.holds_off(id, now_us)) {
                reason = std::max(reason, RejectReason::HeldOff);
                continue;
            }
            if (daemon.holds_back(flights_.of(id).role, now_us)) {
                reason = std::max(reason, RejectReason::HeldBack);
                continue;
            }
            const bool is_busy = daemon.is_busy_for(id, now_us);
            if (is_busy && daemon.busy_until_us_for(id) >= slot.deadline_us.load(std::memory_order_relaxed)) {
                reason = std::max(reason, RejectReason::Time);
                continue;
            }
            // A daemon that has not answered yet counts as not connected; if fingerprints are binding, also a daemon that
            // has not reported its own.
            const bool known = daemon.is_up() && daemon.is_known() &&
                               (!configuration_.strict_fingerprints || !daemon.models().empty());
            const Readiness its_own = !known ? Readiness::Connecting : is_busy ? Readiness::Busy : Readiness::Ready;
            if (its_own != readiness)
                continue;
            const std::uint64_t name = configuration_.affinity ? core::stable_hash(daemon.entry().endpoint.text) : 0;
            candidates.push_back({&member.turn, daemon.entry().weight, daemon.outstanding(), name});
            daemons.push_back(&daemon);
        }
        while (!candidates.empty()) {
            const std::size_t winner =
                configuration_.affinity ? core::choose_for_key(candidates, key) : core::choose(candidates);
            const RejectReason missing = reserve(slot, *daemons[winner], now_us);
            if (missing == RejectReason::None)
                return daemons[winner];
            reason = std::max(reason, missing);
            candidates.erase(candidates.begin() + static_cast<std::ptrdiff_t>(winner));
            daemons.erase(daemons.begin() + static_cast<std::ptrdiff_t>(winner));
        }
    }
    return nullptr;
}

// Equal requests have equal texts. Those that share a prefix go to the daemon that has computed it.
std::uint64_t Gateway::affinity_key(const shmem::Slot &slot) {
    std::string &text = services_.buffer;
    text.resize(slot.request.bytes);
    return segment_.payloads->copy_out(slot.request, text.data()) ? core::stable_hash(core::shared_part(text)) : 0;
}

// Sending again is safe, as the same request has the same answer. A stream cannot be sent again, as rows are already
// out.
void Gateway::retry_lost(std::int64_t now_us) {
    std::vector<SlotId> lost;
    lost.swap(services_.lost);
    for (const SlotId id : lost) {
        Flight *flight = flights_.find(id);
        if (flight == nullptr)
            continue;
        if (!flights_.is_wanted(id)) {
            flights_.drop(id);
            continue;
        }
        const shmem::Slot &slot = flights_.slot(id);
        const bool has_begun = slot.streaming && flight->avoided_tenure == 0;
        const int most_attempts = has_begun ? 1 : kMaxAttempts;
        if (flight->attempts < most_attempts && now_us < slot.deadline_us.load(std::memory_order_relaxed)) {
            segment_.counters->add(0, Counter::Retries);
            flight->queued_us = now_us;
            dispatch(id, now_us);
            continue;
        }
        if (flight->avoided_tenure != 0) {
            refuse(id, RejectReason::Account, now_us);
            continue;
        }
        segment_.counters->add(0, Counter::ConnectionsLost);
        core::Problem problem;
        const bool lacks_key = flight->failure.find("refuses the key") != std::string::npos;
        problem.set(core::sqlstate::kConnectionFailure, "%s",
                    lacks_key ? "the inference daemon refuses the key"
                              : "the connection to the inference daemon was lost");
        problem.with_detail("The request was sent %d times; the last time: %s.", flight->attempts,
                            flight->failure.c_str());
        if (lacks_key)
            problem.with_hint("key_file= of its entry in steadytext.daemons names the file that has the key.");
        flights_.fail(id, Outcome::ConnectionLost, problem, now_us);
    }
}

void Gateway::tick() {
    const std::int64_t now_us = core::monotonic_us();
    services_.names.tick(now_us);
    apply_resolved(now_us);
    for (Member &member : members_)
        member.daemon->tick(now_us);
    for (std::uint32_t index = 0; index < segment_.slots->size(); index++) {
        take_back(index, now_us);
        process_slot(index, now_us);
    }
    memory_watch_.look(
        [this](const std::function<void(Daemon &)> &see) {
            for (Member &member : members_)
                see(*member.daemon);
        },
        services_.connections_ended, now_us);
    drop_retired();
    if (std::exchange(has_dropped_, false) && lacks_room_)
        reconcile();  // daemons that are gone have left room for others
    publish_waiting(now_us);
    flights_.wake_owners();
}

// A request does not wait for a daemon if its own role holds it back: by the role's limit, by a daemon that has put off
// that role only, or by the role's requests under way.
bool Gateway::waits_for_daemon(SlotId id, std::int64_t now_us) {
    const Flight &flight = flights_.of(id);
    return flight.active && flight.channel == nullptr && flight.daemon != nullptr &&
           !flight.daemon->is_held_back(flight, now_us) && !flight.daemon->has_put_off_its_role(id, now_us);
}

// For the metrics and incidents: how many requests no daemon has yet, and since when the oldest waits. If a role waits
// while another role's requests are answered, that is no trouble of the server: then the oldest request of the other
// roles counts.
void Gateway::publish_waiting(std::int64_t now_us) {
    std::uint32_t count = 0;
    std::map<std::uint32_t, std::int64_t> since_us;  // by role
    for (std::uint32_t index = 0; index < segment_.slots->size(); index++) {
        if (!waits_for_daemon({index, 0}, now_us))
            continue;
        count++;
        const std::int64_t submitted_us = (*segment_.slots)[index].submitted_us;
        std::int64_t &its = since_us.try_emplace(flights_.of({index, 0}).role, submitted_us).first->second;
        its = std::min(its, submitted_us);
    }
    std::int64_t oldest_us = 0;
    for (const auto &[role, since] : since_us)
        if (flights_.answered_beside_us(role) < since && (oldest_us == 0 || since < oldest_us))
            oldest_us = since;
    segment_.header->waiting.count.store(count, std::memory_order_relaxed);
    segment_.header->waiting.oldest_us.store(oldest_us, std::memory_order_relaxed);
}

bool Gateway::take_wait_fds_changed() {
    bool changed = std::exchange(members_changed_, false);
    for (Member &member : members_)
        changed |= member.daemon->take_channels_changed();
    return changed;
}

void Gateway::append_wait_fds(std::vector<int> &fds) const {
    fds.push_back(services_.names.wait_fd());
    for (const Member &member : members_)
        member.daemon->append_wait_fds(fds);
}

}  // namespace steadytext::gateway
