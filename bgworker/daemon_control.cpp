// What the gateway asks of a daemon for itself: info (who are you), ping (are you there), cancel. Regime: pure.
#include "bgworker/daemon.hpp"

#include "shmem/segment.hpp"
#include "src/core/clock.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace steadytext::gateway {

using nlohmann::json;
using shmem::DaemonKind;

namespace {

constexpr std::string_view kControlPrefix = "control-";
constexpr std::int64_t kInfoPatienceUs = 2'000'000;
constexpr std::int64_t kInfoAgainUs = 300'000;      // while a daemon still loads its models
constexpr std::int64_t kInfoRetryUs = 3'000'000;    // of one that did not answer
constexpr std::int64_t kPingEveryUs = 5'000'000;
constexpr std::int64_t kPingPatienceUs = 3'000'000;

template <std::size_t Size>
void copy_text(char (&target)[Size], const json &object, const char *key) {
    const auto found = object.find(key);
    if (found != object.end() && found->is_string())
        std::snprintf(target, Size, "%s", found->get_ref<const std::string &>().c_str());
}

int number_or(const json &object, const char *key, int otherwise) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number_integer() ? found->get<int>() : otherwise;
}

std::uint64_t bytes_or_0(const json &object, const char *key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

// Null unless the reply has a result with members.
const json *members_of_result(const json &reply) {
    const auto result = reply.is_object() ? reply.find("result") : reply.end();
    return result != reply.end() && result->is_object() ? &*result : nullptr;
}

bool read_model(const json &described, shmem::Model &model) {
    if (!described.is_object())
        return false;
    const std::string role = described.value("role", "");
    if (role == "generation")
        model.role = shmem::ModelRole::Generation;
    else if (role == "embedding")
        model.role = shmem::ModelRole::Embedding;
    else if (role == "reranker")
        model.role = shmem::ModelRole::Reranker;
    else
        return false;
    copy_text(model.name, described, "name");
    copy_text(model.fingerprint, described, "fingerprint");
    model.dimensions = number_or(described, "dimensions", 0);
    return true;
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
    Control unawaited;  // its answer, like that of the cancelled request, has nobody waiting
    if (send_control(unawaited, channel, "cancel", params, core::monotonic_us()))
        channel.in_flight--;
    services_.segment.counters->add(0, shmem::Counter::Cancels);
}

// The question of the gateway's own that has this id; null if it is none, or none that still waits.
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
    if (control == &info_) {
        learn(body);
    } else {
        learn_memory(body);
        next_ping_us_ = now_us + kPingEveryUs;
    }
    return true;
}

// Reads an `info` answer. One that is no such answer comes from a daemon that does not know the method.
void Daemon::learn(std::string_view body) {
    const json reply = json::parse(body, nullptr, false);
    const json *result = members_of_result(reply);
    if (result == nullptr) {
        become_serial();
        return;
    }
    if (identity_.kind != DaemonKind::Http)
        identity_.kind = DaemonKind::Native;
    identity_.slots = static_cast<std::uint32_t>(std::max(0, number_or(*result, "slots", 0)));
    const auto capabilities = result->find("capabilities");
    shares_ = capabilities != result->end() && capabilities->is_array() &&
              std::find(capabilities->begin(), capabilities->end(), "embed_batch") != capabilities->end();
    copy_text(identity_.name, *result, "name");
    copy_text(identity_.version, *result, "version");
    row_state().resident_bytes.store(bytes_or_0(*result, "resident_bytes"), std::memory_order_relaxed);

    models_.clear();
    models_complete_ = true;
    const auto models = result->find("models");
    if (models != result->end() && models->is_array()) {
        for (const json &described : *models) {
            shmem::Model model;
            if (read_model(described, model)) {
                models_complete_ &= model.fingerprint[0] != '\0';
                models_.push_back(model);
            }
        }
    }
    models_complete_ &= !models_.empty();
    tell_models();
    identity_.models_loaded = models_complete_;
    next_info_us_ = models_complete_ ? INT64_MAX : core::monotonic_us() + kInfoAgainUs;
    services_.models_changed = true;
    publish();
}

// What changes while a daemon runs: of an `info` that stands for a ping. A pong tells nothing.
void Daemon::learn_memory(std::string_view body) {
    const json reply = json::parse(body, nullptr, false);
    if (const json *result = members_of_result(reply))
        row_state().resident_bytes.store(bytes_or_0(*result, "resident_bytes"), std::memory_order_relaxed);
}

void Daemon::tell_models() {
    std::snprintf(identity_.fingerprint, sizeof identity_.fingerprint, "%s", models_.empty() ? "" : models_.front().fingerprint);
    std::string names;
    for (const shmem::Model &model : models_)
        if (const std::string line = model.name + std::string("\n"); ("\n" + names).find("\n" + line) == std::string::npos)
            names += line;
    std::snprintf(identity_.models, sizeof identity_.models, "%s", names.c_str());
}

// The safe way with a daemon that does not say what it is: one request at a time. What models it has stays unknown, so nothing is
// cached under a name that is only a guess.
void Daemon::guess_serial() {
    identity_.kind = DaemonKind::Serial;
    shares_ = false;
    identity_.models_loaded = true;
    std::snprintf(identity_.name, sizeof identity_.name, "serial");
    publish();
}

// A daemon that cannot tell its model's fingerprint is known by its kind, or by what its entry says.
void Daemon::become_serial() {
    guess_serial();
    next_info_us_ = INT64_MAX;
    models_.clear();
    for (const auto role : {shmem::ModelRole::Generation, shmem::ModelRole::Embedding, shmem::ModelRole::Reranker}) {
        shmem::Model model;
        model.role = role;
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

// A control whose answer will not come: its question is due again.
void Daemon::ask_again(Control &control, std::int64_t now_us) {
    control = Control{};
    if (&control == &info_)
        next_info_us_ = now_us + kInfoRetryUs;
    next_ping_us_ = now_us + kPingEveryUs;
}

// Asks info of a new daemon, and pings an idle one; a serial daemon at work is left alone, since it cannot answer.
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
