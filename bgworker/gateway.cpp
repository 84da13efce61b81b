// Dispatch, fail-over and reconciliation of daemons: see gateway.hpp. Regime: pure. Limits of daemons are in
// gateway_limits.cpp.
#include "bgworker/gateway.hpp"

#include "bgworker/model_memory.hpp"
#include "shmem/segment.hpp"
#include "src/core/balance.hpp"
#include "src/core/clock.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace steadytext::gateway {

using shmem::Counter;
using shmem::Outcome;
using shmem::SlotId;
using shmem::SlotState;

namespace {

constexpr int kMaxAttempts = 2;  // the first attempt, and a single retry

// Prompts leave this machine encrypted, or not at all.
void refuse_plaintext(core::DaemonEntry &entry) {
    const bool is_encrypted = entry.endpoint.kind == core::EndpointKind::Https || entry.server_key_file[0] != '\0';
    if (!entry.valid || is_encrypted || core::is_local(entry.endpoint))
        return;
    entry.valid = false;
    entry.problem.set(core::sqlstate::kInvalidParameterValue,
                      "prompts would go unencrypted: it needs %s, or steadytext.allow_plaintext",
                      core::is_http(entry.endpoint) ? "https" : "server_key_file");
}

// A daemon at one of the addresses of a dns+tcp entry.
core::DaemonEntry at_address(const core::DaemonEntry &entry, const std::string &address) {
    core::DaemonEntry found = entry;
    const std::string host = address.find(':') == std::string::npos ? address : "[" + address + "]";
    const std::string endpoint = "tcp://" + host + ":" + std::to_string(entry.endpoint.port);
    found.valid = core::parse_endpoint(endpoint, found.endpoint, found.problem);
    return found;
}

// Describes a model of the same name but another fingerprint at the other daemon, in words; empty if there is none.
std::string difference(const std::vector<shmem::Model> &models, const Daemon &other) {
    for (const shmem::Model &model : models) {
        const shmem::Model *known = other.model_of(model.role, model.name);
        if (known != nullptr && model.fingerprint[0] != '\0' && known->fingerprint[0] != '\0' &&
            std::string_view(model.fingerprint) != known->fingerprint)
            return std::string("serves model \"") + model.name + "\" with fingerprint " + model.fingerprint + ", but " +
                   other.name() + " has " + known->fingerprint;
    }
    return {};
}

// The models that go into the table: each name once per role, as long as there is room.
class Publication {
public:
    // False if there is no room. Models that are already there, or have no fingerprint, are skipped.
    bool add(const shmem::Model &model, bool served, bool is_listed) {
        if (model.fingerprint[0] == '\0' || !seen_.emplace(model.role, model.name).second)
            return true;
        if (models_.size() == shmem::ModelTable::kMost)
            return false;
        bool &taken = has_default_[static_cast<std::size_t>(model.role)];
        shmem::Model &added = models_.emplace_back(model);
        added.served = served;
        added.is_listed = is_listed;
        added.is_default = !taken && (served || model.is_default);
        taken |= added.is_default;
        return true;
    }
    // Of a role of which no daemon serves a model the default stays what it was: by it cached answers are found.
    void keep_defaults(const std::vector<shmem::Model> &before) {
        for (const shmem::Model &model : before) {
            bool &taken = has_default_[static_cast<std::size_t>(model.role)];
            if (!model.is_default || taken)
                continue;
            for (shmem::Model &kept : models_)
                if (kept.role == model.role && std::string_view(kept.name) == model.name)
                    taken = kept.is_default = true;
        }
    }
    [[nodiscard]] const std::vector<shmem::Model> &models() const { return models_; }

private:
    std::vector<shmem::Model> models_;
    std::set<std::pair<shmem::ModelRole, std::string>> seen_;
    bool has_default_[shmem::kModelRoleCount] = {};
};

}  // namespace

Gateway::Gateway(const shmem::Segment &segment, void *zmq_context, void (*wake)(std::int32_t),
                 bool (*is_gone)(std::int32_t), std::string model_file)
    : segment_(segment), is_gone_(is_gone),
      flights_(segment, wake), services_{segment, flights_, zmq_context, {}, {}, {}, false, {}, {}, {}, 0},
      memory_watch_(std::size_t{segment.payloads->chunk_count()} * shmem::PayloadPool::kChunkBytes),
      model_file_(std::move(model_file)) {
    const std::vector<shmem::Model> remembered = recall_models(model_file_.c_str());
    if (!remembered.empty()) {
        segment_.daemons->models.store(remembered, {.any = true});
        segment_.daemons->models_epoch.fetch_add(1, std::memory_order_release);
    }
}

// ---- the set of daemons ---------------------------------------------------------------------------------------------

void Gateway::configure(Configuration configuration) {
    configuration_ = std::move(configuration);
    services_.settings = configuration_.daemons;
    reconcile();
    services_.names.tick(core::monotonic_us());
    for (const Member &member : members_)
        if (member.wanted && !member.daemon->entry().valid)
            services_.complaints.push_back(std::string("ignoring entry \"") + member.daemon->name() +
                                           "\" of steadytext.daemons: " + member.daemon->entry().problem.message);
}

// Compares the daemons that the settings and names ask for with the daemons there are.
void Gateway::reconcile() {
    services_.models_changed = true;  // the order of daemons, or the policy, may have changed
    lacks_room_ = false;
    for (Member &member : members_)
        member.wanted = false;

    auto entries = std::make_unique<core::DaemonEntry[]>(shmem::kMaxDaemons);
    core::Problem first_problem;
    const std::size_t count =
        core::parse_daemon_list(configuration_.daemon_list, entries.get(), shmem::kMaxDaemons - 1, first_problem);
    std::vector<std::string> hosts;
    for (std::size_t i = 0; i < count; i++) {
        if (!configuration_.daemons.allow_plaintext)
            refuse_plaintext(entries[i]);
        if (entries[i].valid && core::has_host_name(entries[i].endpoint))
            hosts.emplace_back(entries[i].endpoint.host);
    }
    services_.names.want(hosts);
    for (std::size_t i = 0; i < count; i++)
        add_entry(entries[i]);
    if (!configuration_.embedded_endpoint.empty()) {
        core::DaemonEntry embedded{};
        embedded.valid = true;
        embedded.weight = 1;
        embedded.endpoint.kind = core::EndpointKind::Ipc;
        std::snprintf(embedded.text, sizeof embedded.text, "%s", configuration_.embedded_endpoint.c_str());
        std::snprintf(embedded.endpoint.text, sizeof embedded.endpoint.text, "%s",
                      configuration_.embedded_endpoint.c_str());
        add_daemon(embedded, true);
    }
    for (Member &member : members_)
        if (!member.wanted)
            member.daemon->retire();
    drop_retired();
    clear_deserted_rows();
}

// An entry whose name leads to several addresses stands for a daemon at each; until the name is known, it is shown as
// itself.
void Gateway::add_entry(core::DaemonEntry &entry) {
    const bool is_fleet = entry.valid && entry.endpoint.kind == core::EndpointKind::DnsTcp;
    const Name *name = is_fleet ? services_.names.find(entry.endpoint.host) : nullptr;
    if (name == nullptr || name->addresses.empty()) {
        add_daemon(entry, false);
        return;
    }
    for (const std::string &address : name->addresses)
        add_daemon(at_address(entry, address), false);
}

void Gateway::apply_resolved(std::int64_t now_us) {
    const std::vector<std::string> answered = services_.names.take(now_us);
    if (answered.empty())
        return;
    reconcile();
    for (Member &member : members_)
        if (std::find(answered.begin(), answered.end(), member.daemon->entry().endpoint.host) != answered.end())
            member.daemon->on_name_looked_up();
}

void Gateway::add_daemon(const core::DaemonEntry &entry, bool embedded) {
    for (Member &member : members_) {
        // A daemon that could not be opened is made anew: the cause may be gone, for example a missing key file.
        Daemon &daemon = *member.daemon;
        const bool same = entry.valid ? !daemon.could_not_open() && core::same_connection(daemon.entry(), entry)
                                      : !daemon.entry().valid && std::string_view(daemon.entry().text) == entry.text;
        if (!member.wanted && !daemon.is_retired() && same) {
            member.wanted = true;
            daemon.adopt(entry);
            return;
        }
    }
    const std::uint16_t row = free_row(entry.endpoint.text);
    if (row == shmem::kMaxDaemons) {
        lacks_room_ = true;
        services_.complaints.push_back(std::string("no room for daemon \"") +
                                       core::PublicEndpoint(entry.endpoint.text).text + "\": there are too many");
        return;
    }
    members_.push_back(Member{std::make_unique<Daemon>(services_, entry, row, embedded), 0, true});
    members_.back().daemon->open();
    members_changed_ = true;
}

// The row that an earlier gateway left behind for the daemon, else any row; kMaxDaemons if all are taken.
std::uint16_t Gateway::free_row(const char *endpoint) const {
    std::uint16_t untouched = shmem::kMaxDaemons, free = shmem::kMaxDaemons;
    for (std::uint16_t row = shmem::kMaxDaemons; row-- > 0;) {
        if (is_owned(row))
            continue;
        if (segment_.daemons->rows[row].is_of(endpoint))
            return row;
        free = row;
        if (!segment_.daemons->rows[row].is_taken())
            untouched = row;
    }
    // A row left behind for another daemon may still be asked for
    return untouched < shmem::kMaxDaemons ? untouched : free;
}

bool Gateway::is_owned(std::uint16_t row) const {
    return std::any_of(members_.begin(), members_.end(),
                       [&](const Member &member) { return member.daemon->row() == row; });
}

// Clears rows that an earlier gateway left behind and no setting asks for any more. While a name is being looked up it
// may still lead to such a daemon: then the row is only hidden.
void Gateway::clear_deserted_rows() {
    const bool awaits_names = std::any_of(members_.begin(), members_.end(), [&](const Member &member) {
        const core::Endpoint &endpoint = member.daemon->entry().endpoint;
        const Name *name = endpoint.kind == core::EndpointKind::DnsTcp ? services_.names.find(endpoint.host) : nullptr;
        return endpoint.kind == core::EndpointKind::DnsTcp && (name == nullptr || !name->is_answered);
    });
    for (std::uint16_t row = 0; row < shmem::kMaxDaemons; row++) {
        if (!segment_.daemons->rows[row].is_taken() || is_owned(row))
            continue;
        if (awaits_names)
            segment_.daemons->rows[row].state.store(shmem::DaemonState::Absent, std::memory_order_relaxed);
        else
            segment_.daemons->rows[row].clear();
    }
}

void Gateway::drop_retired() {
    const auto dropped =
        std::erase_if(members_, [](const Member &member) { return member.daemon->is_retired_and_idle(); });
    members_changed_ |= dropped > 0;
    has_dropped_ |= dropped > 0;
}

// If two daemons use the same model name for different models, the earlier daemon is right. Its models count while it
// is down too: else answers would change with every restart.
void Gateway::compare_fingerprints() {
    for (std::size_t later = 0; later < members_.size(); later++) {
        Daemon &daemon = *members_[later].daemon;
        if (!members_[later].wanted)
            continue;
        std::string reason;
        for (std::size_t earlier = 0; earlier < later && reason.empty(); earlier++) {
            const Member &other = members_[earlier];
            if (other.wanted && !other.daemon->is_excluded())
                reason = difference(daemon.models(), *other.daemon);
        }
        daemon.show_disagreement(reason.c_str());
        daemon.exclude(configuration_.strict_fingerprints && !reason.empty() ? reason.c_str() : nullptr);
        const std::string warning = std::string("daemon \"") + daemon.name() + "\" " + reason;
        if (reason.empty() || std::find(warned_.begin(), warned_.end(), warning) != warned_.end())
            continue;
        constexpr std::size_t kMaxWarnings = 256;  // also for a daemon that changes each time it is asked
        if (warned_.size() == kMaxWarnings)
            warned_.erase(warned_.begin());
        warned_.push_back(warning);
        services_.complaints.push_back(warning);
    }
}

// Tells calls that name a model whether a daemon may still have a model that no daemon has reported.
shmem::ModelsUntold Gateway::untold() const {
    shmem::ModelsUntold untold;
    bool any_up = false;
    for (const Member &member : members_) {
        if (!member.wanted || !member.daemon->entry().valid || member.daemon->is_excluded())
            continue;
        any_up |= member.daemon->is_up();
        untold.any |= !member.daemon->has_told_models();
        untold.is_awaited |= member.daemon->will_tell_models();
        untold.is_whole &= !member.daemon->has_more_models();
    }
    untold.is_awaited |= untold.any && !any_up;
    return untold;
}

// First models that are served, then models of daemons that are down, then models that are only remembered. The first
// model of each role in the order of the settings is the default. A daemon with very many models leaves room for the
// first models of the others.
void Gateway::publish_models() {
    constexpr std::size_t kFirstOnes = 16;
    services_.models_changed = false;
    compare_fingerprints();
    std::vector<shmem::Model> remembered(shmem::ModelTable::kMost);
    remembered.resize(segment_.daemons->models.load(remembered.data()));
    shmem::ModelsUntold rest = untold();
    Publication publication;
    const auto add = [&](bool are_up, std::size_t from, std::size_t to) {
        for (const Member &member : members_) {
            const std::vector<shmem::Model> &models = member.daemon->models();
            if (member.wanted && member.daemon->is_up() == are_up && !member.daemon->is_excluded())
                for (std::size_t i = from; i < std::min(models.size(), to); i++)
                    rest.is_whole &= publication.add(models[i], are_up, true);
        }
    };
    for (const bool are_up : {true, false})
        add(are_up, 0, kFirstOnes);
    for (const bool are_up : {true, false})
        add(are_up, kFirstOnes, SIZE_MAX);
    for (const shmem::Model &model : remembered)
        if (!publication.add(model, false, false))
            break;
    publication.keep_defaults(remembered);
    segment_.daemons->models.store(publication.models(), rest);
    segment_.daemons->models_epoch.fetch_add(1, std::memory_order_release);
    // If it fails, only a restart with all daemons down suffers
    (void)remember_models(model_file_.c_str(), publication.models());
}

// ---- requests ------------------------------------------------------------------------------------------------------

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
            // If fingerprints are binding, a daemon that has not reported its own yet counts as not connected.
            const bool known = daemon.is_up() && (!configuration_.strict_fingerprints || !daemon.models().empty());
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

// Equal requests have equal texts.
std::uint64_t Gateway::affinity_key(const shmem::Slot &slot) {
    std::string &text = services_.buffer;
    text.resize(slot.request.bytes);
    return segment_.payloads->copy_out(slot.request, text.data()) ? core::stable_hash(text) : 0;
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
