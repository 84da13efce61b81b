// The set of daemons that the gateway has, as settings and names want it, and the models that they serve: see gateway.hpp.
// Regime: pure.
#include "bgworker/gateway.hpp"

#include "bgworker/model_memory.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"

#include <algorithm>
#include <set>

namespace steadytext::gateway {

namespace {

// Prompts leave this machine encrypted, or not at all.
void refuse_plaintext(core::DaemonEntry &entry) {
    const bool is_encrypted = core::is_http(entry.endpoint) ? entry.endpoint.kind == core::EndpointKind::Https
                                                            : entry.server_key_file[0] != '\0';
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
    const std::vector<std::size_t> rooms = rooms_of({entries.get(), count});
    for (std::size_t i = 0; i < count; i++)
        add_entry(entries[i], rooms[i]);
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

// The name of an entry that stands for a daemon at each of the name's addresses; nullptr: it stands for itself.
const Name *Gateway::fleet_of(const core::DaemonEntry &entry) const {
    const bool is_fleet = entry.valid && entry.endpoint.kind == core::EndpointKind::DnsTcp;
    const Name *name = is_fleet ? services_.names.find(entry.endpoint.host) : nullptr;
    return name == nullptr || name->addresses.empty() ? nullptr : name;
}

// How many rows of the table each entry may have: one for each, then equal parts of what is left for names with more
// addresses. So no name keeps out another entry's daemons.
std::vector<std::size_t> Gateway::rooms_of(std::span<const core::DaemonEntry> entries) const {
    std::vector<std::size_t> rooms(entries.size(), 1);
    std::size_t left = shmem::kMaxDaemons - entries.size() - (configuration_.embedded_endpoint.empty() ? 0 : 1);
    for (bool any = true; any && left > 0;) {
        any = false;
        for (std::size_t i = 0; i < entries.size() && left > 0; i++)
            if (const Name *name = fleet_of(entries[i]); name != nullptr && name->addresses.size() > rooms[i])
                rooms[i]++, left--, any = true;
    }
    return rooms;
}

bool Gateway::has_daemon_at(const core::DaemonEntry &entry) const {
    return std::any_of(members_.begin(), members_.end(), [&](const Member &member) {
        return !member.daemon->is_retired() && core::same_connection(member.daemon->entry(), entry);
    });
}

// Until the name of an entry is known, the entry is shown as itself. Of more addresses than there is room for, those
// that have a daemon already keep it.
void Gateway::add_entry(core::DaemonEntry &entry, std::size_t room) {
    const Name *name = fleet_of(entry);
    if (name == nullptr)
        return add_daemon(entry, false);
    std::vector<core::DaemonEntry> daemons;
    for (const std::string &address : name->addresses)
        daemons.push_back(at_address(entry, address));
    if (daemons.size() > room) {
        std::stable_partition(daemons.begin(), daemons.end(),
                              [this](const core::DaemonEntry &each) { return has_daemon_at(each); });
        daemons.resize(room);
        complain_once("there is no room for all addresses of \"" + std::string(entry.endpoint.host) +
                      "\": a name has its share of the places for daemons");
    }
    for (const core::DaemonEntry &daemon : daemons)
        add_daemon(daemon, false);
}

// Once in the life of this gateway, or in a long time.
void Gateway::complain_once(const std::string &complaint) {
    if (std::find(warned_.begin(), warned_.end(), complaint) != warned_.end())
        return;
    constexpr std::size_t kMaxWarnings = 256;  // also of a daemon that changes each time it is asked
    if (warned_.size() == kMaxWarnings)
        warned_.erase(warned_.begin());
    warned_.push_back(complaint);
    services_.complaints.push_back(complaint);
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
        if (!reason.empty())
            complain_once(std::string("daemon \"") + daemon.name() + "\" " + reason);
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

}  // namespace steadytext::gateway
