// The gateway's own requests to a daemon: info (what are your models), ping (are you there), cancel: see daemon.hpp.
// Regime: pure.
#include "bgworker/daemon.hpp"

#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/core/daemon_info.hpp"
#include "src/core/utf8.hpp"

#include <algorithm>
#include <charconv>
#include <set>

namespace steadytext::gateway {

using shmem::DaemonKind;

namespace {

constexpr std::string_view kControlPrefix = "control-";
constexpr std::int64_t kInfoPatienceUs = 2'000'000;
constexpr std::int64_t kInfoAgainUs = 300'000;    // while a daemon still loads its models
constexpr std::int64_t kInfoRetryUs = 3'000'000;  // if the daemon did not answer
constexpr std::int64_t kPingEveryUs = 5'000'000;
constexpr std::int64_t kPingPatienceUs = 3'000'000;

constexpr std::int64_t kControlBytes = 256 << 10;  // more in an answer counts as unasked for

constexpr core::InfoLimits kInfoLimits{shmem::kModelNameBytes - 1, shmem::kFingerprintBytes - 1};

// Cut between two characters if it is too long.
template <std::size_t Size>
void copy_text(char (&target)[Size], std::string_view text) {
    text = core::utf8_prefix(text, Size - 1);
    text.copy(target, text.size());
    target[text.size()] = '\0';
}

shmem::Model model_told(const core::ToldModel &told) {
    static_assert(static_cast<int>(core::ToldRole::Reranker) == static_cast<int>(shmem::ModelRole::Reranker));
    shmem::Model model;
    model.role = static_cast<shmem::ModelRole>(told.role);
    model.dimensions = told.dimensions;
    copy_text(model.name, told.name);
    copy_text(model.fingerprint, told.fingerprint);
    return model;
}

}  // namespace

bool Daemon::send_control(Control &control, Channel &channel, std::string_view method, std::string_view params,
                          std::int64_t now_us) {
    const std::uint64_t number = next_control_++;
    std::string &message = services_.buffer;
    message.assign("{\"method\": \"").append(method).append("\", \"params\": ").append(params);
    message.append(", \"id\": \"").append(kControlPrefix).append(std::to_string(number)).append("\"}");
    if (channel.send(message) != Channel::Sent::Yes)
        return false;
    control = Control{number, &channel, now_us};
    channel.in_flight++;
    return true;
}

void Daemon::send_cancel(Channel &channel, shmem::SlotId id) { send_cancel(channel, wire_id_of(id)); }

void Daemon::send_cancel(Channel &channel, std::string_view id_text) {
    std::string params = "{\"id\": \"";
    params.append(id_text).append("\"}");
    Control unawaited;  // nobody waits for its answer
    if (send_control(unawaited, channel, "cancel", params, core::monotonic_us()))
        channel.in_flight--;
    services_.segment.counters->add(0, shmem::Counter::Cancels);
}

// The pending request of the gateway with this id; null if there is none.
Daemon::Control *Daemon::control_of(std::string_view id_text) {
    if (!id_text.starts_with(kControlPrefix))
        return nullptr;
    std::uint64_t number = 0;
    const std::string_view digits = id_text.substr(kControlPrefix.size());
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    for (Control *control : {&info_, &ping_})
        if (number != 0 && control->number == number)
            return control;
    return nullptr;
}

bool Daemon::handle_control(std::string_view id_text, std::string_view body, std::int64_t now_us) {
    if (!id_text.starts_with(kControlPrefix))
        return false;
    Control *control = control_of(id_text);
    if (control == nullptr)
        return true;
    control->channel->in_flight--;
    *control = Control{};
    unasked_now_ -= kControlBytes;
    if (control == &info_) {
        learn(body);
    } else {
        learn_again(body);
        if (!is_busy(now_us))
            show_free();
        next_ping_us_ = now_us + kPingEveryUs;
    }
    return true;
}

// Takes an answer to `info`. If it is no such answer, the daemon does not know the method.
void Daemon::learn(std::string_view body) {
    core::DaemonInfo info;
    if (!core::read_daemon_info(body, kInfoLimits, info)) {
        become_serial();
        return;
    }
    if (!is_engine())
        identity_.kind = DaemonKind::Native;
    identity_.slots = info.slots;
    shares_ = info.embeds_batches;
    identity_.counts_tokens = info.counts_tokens;
    knows_priority_ = info.knows_priority;
    identity_.batch = shares_ && is_engine() ? static_cast<std::uint32_t>(entry_.batch) : 1;
    copy_text(identity_.name, info.name);
    copy_text(identity_.version, info.version);
    row_state().resident_bytes.store(info.resident_bytes, std::memory_order_relaxed);

    models_.clear();
    for (const core::ToldModel &told : info.models) {
        models_.push_back(model_told(told));
        models_.back().ranks = !is_engine();
    }
    has_more_models_ = info.has_more_models;
    models_complete_ = !models_.empty() && std::all_of(models_.begin(), models_.end(), [](const shmem::Model &model) {
        return model.fingerprint[0] != '\0';
    });
    tell_models();
    identity_.models_loaded = models_complete_;
    const bool is_over = models_complete_ && !info.is_loading;
    next_info_us_ = is_over ? INT64_MAX : core::monotonic_us() + kInfoAgainUs;
    services_.models_changed = true;
    learn_state(info.is_loading);
    hand_back_unserved();
    publish();
}

// Calls are sent to a daemon that loads its models, and wait there.
void Daemon::learn_state(bool is_loading) {
    if (is_engine() || is_loading == (loading_since_us_ != 0))
        return;
    loading_since_us_ = is_loading ? core::monotonic_us() : 0;
    if (!retired_ && !excluded_)
        show_state(is_loading ? "it loads its models" : entry_.drain ? "drained" : "");
}

// A daemon that says so for ever is not believed for ever.
bool Daemon::loads_models(std::int64_t now_us) const {
    constexpr std::int64_t kBelievedUs = 600'000'000;
    return loading_since_us_ != 0 && now_us - loading_since_us_ < kBelievedUs;
}

// Takes what changes while a daemon runs: an `info` may stand for a ping. A pong contains nothing.
void Daemon::learn_again(std::string_view body) {
    std::uint64_t bytes = 0;
    if (!core::read_resident_bytes(body, bytes))
        return;
    row_state().resident_bytes.store(bytes, std::memory_order_relaxed);
    core::DaemonInfo info;
    if (core::read_daemon_info(body, kInfoLimits, info) && !info.models.empty() && tells_other_models(info))
        learn(body);
}

// A directory of models may have got another one since.
bool Daemon::tells_other_models(const core::DaemonInfo &info) const {
    return info.has_more_models != has_more_models_ ||
           !std::equal(models_.begin(), models_.end(), info.models.begin(), info.models.end(),
                       [](const shmem::Model &known, const core::ToldModel &told) {
                           return static_cast<int>(known.role) == static_cast<int>(told.role) &&
                                  told.name == known.name && told.fingerprint == known.fingerprint;
                       });
}

void Daemon::tell_models() {
    copy_text(identity_.fingerprint, models_.empty() ? "" : models_.front().fingerprint);
    models_by_name_.clear();
    std::set<std::string_view> shown;
    std::string names;
    for (const shmem::Model &model : models_) {
        models_by_name_.try_emplace({model.role, model.name}, &model);
        if (names.size() < sizeof identity_.models && shown.insert(model.name).second)
            names.append(model.name).append("\n");
    }
    copy_text(identity_.models, names);
}

// The safe way for a daemon that does not say what it is: a single request at a time. Its models stay unknown, so no
// answer is cached under a guessed name.
void Daemon::guess_serial() {
    identity_.kind = DaemonKind::Serial;
    shares_ = knows_priority_ = identity_.counts_tokens = false;
    identity_.models_loaded = true;
    std::snprintf(identity_.name, sizeof identity_.name, "serial");
    publish();
}

// A daemon that cannot report its model's fingerprint is known by its kind, or by its entry.
void Daemon::become_serial() {
    guess_serial();
    next_info_us_ = INT64_MAX;
    models_.clear();
    for (const auto role : {shmem::ModelRole::Generation, shmem::ModelRole::Embedding, shmem::ModelRole::Reranker}) {
        shmem::Model model;
        model.role = role;
        model.takes_any = true;
        std::snprintf(model.name, sizeof model.name, "%s", entry_.model);
        if (entry_.fingerprint[0] != '\0')
            std::snprintf(model.fingerprint, sizeof model.fingerprint, "%s", entry_.fingerprint);
        else
            std::snprintf(model.fingerprint, sizeof model.fingerprint, "serial:%.64s", entry_.model);
        models_.push_back(model);
    }
    tell_models();
    services_.models_changed = true;
    publish();
}

// The answer to this control will not come, so it is due again.
void Daemon::ask_again(Control &control, std::int64_t now_us) {
    control = Control{};
    if (&control == &info_)
        next_info_us_ = now_us + kInfoRetryUs;
    next_ping_us_ = now_us + kPingEveryUs;
}

// Sends info to a new daemon, and pings an idle daemon. A serial daemon at work is left alone, as it cannot answer.
void Daemon::check_controls(std::int64_t now_us) {
    for (Control *control : {&info_, &ping_}) {
        const std::int64_t patience = control == &info_ ? kInfoPatienceUs : kPingPatienceUs;
        if (control->number == 0 || now_us < control->sent_us + patience)
            continue;
        Channel &channel = *control->channel;
        channel.in_flight--;
        ask_again(*control, now_us);
        if (is_serial() && in_flight_ > 0) {
            replace(channel);  // busy with a request on another connection: no failure
        } else {
            record_failure(now_us, "it does not answer");
            if (channel.in_flight == 0)
                replace(channel);
        }
        if (control == &info_ && identity_.kind == DaemonKind::Unknown) {
            guess_serial();
        }
    }
    for (const auto &channel : channels_) {
        if (!channel->up || channel->is_spare || (is_serial() && (channel->in_flight > 0 || in_flight_ > 0)))
            continue;
        if (info_.number == 0 && now_us >= next_info_us_) {
            if (send_control(info_, *channel, "info", "{}", now_us))
                next_info_us_ = INT64_MAX;
        } else if (ping_.number == 0 && identity_.kind != DaemonKind::Unknown && now_us >= next_ping_us_) {
            if (send_control(ping_, *channel, tells_memory() ? "info" : "ping", "{}", now_us))
                next_ping_us_ = INT64_MAX;
        }
        return;
    }
}

}  // namespace steadytext::gateway
