// Makes, loses and remakes a daemon's connections: see daemon.hpp. Regime: pure.
#include "bgworker/daemon.hpp"

#include "bgworker/open_channel.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"

#include <algorithm>
#include <iterator>

namespace steadytext::gateway {

using shmem::DaemonState;
using shmem::SlotId;

namespace {

constexpr std::int64_t kReopenUs = 1'000'000;
constexpr std::int64_t kMisbehavedUs = 60'000'000;
constexpr std::int64_t kShutOutUs = 10'000'000;
constexpr std::ptrdiff_t kMaxSpares = 16;  // the number of requests that steadytextd works on at once

}  // namespace

void Daemon::open() {
    if (!entry_.valid || entry_.endpoint.kind == core::EndpointKind::DnsTcp)
        return;  // a dns+tcp entry stands for daemons still to be found
    if (awaits_address())
        show_state("looking up its name");
    else
        add_channel();
}

// The name of its host was looked up again.
void Daemon::on_name_looked_up() {
    if (retired_ || !entry_.valid || !core::has_host_name(entry_.endpoint) || !channels_.empty())
        return;
    if (addresses().empty()) {
        show_state(name_problem().c_str());
        hand_back_waiting();
    } else if (entry_.endpoint.kind != core::EndpointKind::DnsTcp) {
        add_channel();
    }
}

bool Daemon::awaits_address() const {
    if (!core::has_host_name(entry_.endpoint))
        return false;
    const Name *name = services_.names.find(entry_.endpoint.host);
    return name == nullptr || !name->is_answered;
}

std::vector<std::string> Daemon::addresses() const {
    if (!core::has_host_name(entry_.endpoint))
        return {entry_.endpoint.host};
    const Name *name = services_.names.find(entry_.endpoint.host);
    return name == nullptr ? std::vector<std::string>() : name->addresses;
}

std::string Daemon::name_problem() const {
    const Name *name = services_.names.find(entry_.endpoint.host);
    return name == nullptr ? std::string() : name->reason;
}

void Daemon::add_channel() {
    if (core::monotonic_us() < shut_out_until_us_)
        return;
    const std::vector<std::string> known = addresses();
    if (known.empty()) {
        show_state(name_problem().c_str());
        return;
    }
    route_ = route_among(known);
    std::string reason;
    std::unique_ptr<Channel> channel = open_channel(services_, entry_, route_, reason);
    could_not_open_ = channel == nullptr;
    if (could_not_open_) {
        set_state(DaemonState::Invalid, reason.c_str());
        return;
    }
    channels_.push_back(std::move(channel));
    show_connections();
}

void Daemon::show_connections() {
    channels_changed_ = true;
    row_state().connections.store(static_cast<std::uint32_t>(channels_.size()), std::memory_order_relaxed);
}

// The addresses for a new connection: each address in its turn; libcurl tries all of them itself.
std::vector<std::string> Daemon::route_among(const std::vector<std::string> &known) const {
    if (core::is_http(entry_.endpoint))
        return known;
    return {known[next_address_ % known.size()]};
}

// Closes a connection whose peer owes an answer that may never come, and makes another connection if needed.
void Daemon::replace(Channel &channel) {
    const auto found =
        std::find_if(channels_.begin(), channels_.end(), [&](const auto &other) { return other.get() == &channel; });
    if (found == channels_.end())
        return;
    lose_flights(channel, "the connection was given up");
    channel.is_closed = true;
    replaced_.push_back(std::move(*found));
    channels_.erase(found);
    show_connections();
    if (std::all_of(channels_.begin(), channels_.end(), [](const auto &other) { return other->is_spare; }))
        add_channel();
}

// A connection that was lost is closed at once. If none is left, another is made: at once after a lost connection, once a
// second if the peer speaks another protocol.
void Daemon::reopen_ended(std::int64_t now_us) {
    for (std::size_t i = channels_.size(); i-- > 0;) {
        Channel &channel = *channels_[i];
        if (!channel.ended || channel.is_spare)
            continue;
        const auto others =
            std::count_if(channels_.begin(), channels_.end(), [](const auto &c) { return !c->is_spare; }) - 1;
        if (others == 0 && now_us < reopen_not_before_us_)
            return;
        if (others == 0)
            reopen_not_before_us_ = now_us + kReopenUs;
        replace(channel);
    }
}

// Closes spare connections whose peer went, and spare connections that are no longer needed.
void Daemon::close_spares() {
    const bool any_alone = std::any_of(waiting_.begin(), waiting_.end(), [&](SlotId id) { return goes_alone(id); });
    for (std::size_t i = channels_.size(); i-- > 0;) {
        Channel &channel = *channels_[i];
        if (channel.is_spare && (channel.ended || (!any_alone && channel.in_flight == 0)))
            replace(channel);
    }
}

void Daemon::look_for_unending_message(std::int64_t &kept, std::int64_t now_us) {
    constexpr std::int64_t kSpare = 1 << 20;  // a message beside the one that is as long as may be
    for (const auto &channel : channels_) {
        const std::optional<std::int64_t> bytes = channel->unfinished_bytes();
        channel->is_watched = bytes.has_value();
        kept += bytes.has_value() ? channel->waiting_bytes : 0;
        if (bytes.value_or(0) > services_.settings.max_message_bytes + kSpare) {
            shut_out_for_unending_message(now_us);
            break;
        }
    }
    discard_replaced();
}

std::int64_t Daemon::waiting_bytes() const {
    std::int64_t bytes = 0;
    for (const auto &channel : channels_)
        bytes += channel->waiting_bytes;
    return bytes;
}

void Daemon::close_waiting_connections() {
    constexpr std::int64_t kFewest = 64 << 10;
    std::vector<Channel *> waiting;
    for (const auto &channel : channels_)
        if (channel->waiting_bytes >= kFewest)
            waiting.push_back(channel.get());
    for (Channel *channel : waiting)
        replace(*channel);
    discard_replaced();
}

void Daemon::on_many_parts(Channel &) { shut_out("sends much that nobody asked it for", core::monotonic_us()); }

Channel *Daemon::silent_channel() const {
    Channel *silent = nullptr;
    for (const auto &channel : channels_)
        if (!channel->is_watched && channel->last_message_us != INT64_MAX &&
            (silent == nullptr || channel->last_message_us < silent->last_message_us))
            silent = channel.get();
    return silent;
}

std::int64_t Daemon::silent_since_us() const {
    const Channel *silent = silent_channel();
    return silent == nullptr ? INT64_MAX : silent->last_message_us;
}

void Daemon::close_silent_connection() {
    if (Channel *silent = silent_channel(); silent != nullptr)
        replace(*silent);
    discard_replaced();
}

void Daemon::shut_out_for_unending_message(std::int64_t now_us) {
    shut_out("sends a message that does not end", now_us);
}

// It harms others: its connections are closed for a while. Those that it has later do not make up for it.
void Daemon::shut_out(const char *what, std::int64_t now_us) {
    const std::string reason = std::string("it ") + what;
    shut_out_until_us_ = now_us + kShutOutUs;
    misbehaved_until_us_ = now_us + kMisbehavedUs;
    unasked_ = 0;
    services_.connections_ended++;
    services_.complaints.push_back(std::string("daemon \"") + name() + "\" " + what +
                                   "; its connections were closed for 10 s");
    std::vector<std::unique_ptr<Channel>> closed;
    closed.swap(channels_);
    for (const auto &channel : closed) {
        channel->is_closed = true;
        channel->up = false;
        lose_flights(*channel, reason.c_str());
    }
    std::move(closed.begin(), closed.end(), std::back_inserter(replaced_));
    show_connections();
    went_down(reason.c_str());
    note_failure(reason.c_str());
    row_state().breaker.trip(services_.settings.breaker, now_us);
    hand_back_waiting();
}

// A leaky bucket for messages that answer nothing, and for the part of others that is longer than answers are.
void Daemon::charge_unasked(std::int64_t now_us) {
    constexpr std::int64_t kMost = 64 << 20, kPerSecond = 8 << 20;
    const std::int64_t forgiven_us = std::min<std::int64_t>(now_us - unasked_us_, kMost / kPerSecond * 1'000'000);
    unasked_ = std::max<std::int64_t>(0, unasked_ - forgiven_us * kPerSecond / 1'000'000) + unasked_now_;
    unasked_us_ = now_us;
    if (unasked_ > kMost)
        shut_out("sends much that nobody asked it for", now_us);
}

void Daemon::discard_replaced() { replaced_.clear(); }

bool Daemon::receive() {
    bool any = false;
    for (std::size_t i = 0; i < channels_.size(); i++)
        any |= channels_[i]->receive(*this);
    discard_replaced();
    return any;
}

void Daemon::notice() {
    for (std::size_t i = 0; i < channels_.size(); i++)
        channels_[i]->notice(*this);
    if (!retired_)
        reopen_ended(core::monotonic_us());
    discard_replaced();
}

void Daemon::append_wait_fds(std::vector<int> &fds) const {
    for (const auto &channel : channels_)
        channel->append_wait_fds(fds);
}

bool Daemon::take_channels_changed() { return std::exchange(channels_changed_, false); }

// A connection that can take a request now. For a serial daemon, another connection is made, up to the pool's size.
Channel *Daemon::free_channel() {
    for (const auto &channel : channels_)
        if (channel->up && !channel->is_spare && (!is_serial() || channel->in_flight == 0))
            return channel.get();
    const bool any_up = is_up();
    const bool one_coming = std::any_of(channels_.begin(), channels_.end(), [](const auto &c) { return !c->up; });
    if (is_serial() && any_up && !one_coming && channels_.size() < services_.settings.pool_size)
        add_channel();
    return nullptr;
}

// A spare connection for a request that goes alone. Makes another while the daemon can be reached.
Channel *Daemon::spare_channel() {
    std::ptrdiff_t spares = 0, coming = 0;
    for (const auto &channel : channels_) {
        if (!channel->is_spare)
            continue;
        if (channel->up && channel->in_flight == 0)
            return channel.get();
        spares++;
        coming += !channel->up;
    }
    const auto alone = std::count_if(waiting_.begin(), waiting_.end(), [&](SlotId id) { return goes_alone(id); });
    const std::size_t before = channels_.size();
    if (is_up() && coming < alone && spares < kMaxSpares)
        add_channel();
    if (channels_.size() > before)
        channels_.back()->is_spare = true;
    return nullptr;
}

bool Daemon::is_up() const {
    return std::any_of(channels_.begin(), channels_.end(), [](const auto &channel) { return channel->up; });
}

// ---- events of connections -----------------------------------------------------------------------------------------

void Daemon::on_up(Channel &) {
    const std::int64_t now_us = core::monotonic_us();
    owed_failures_ = 0;
    is_loading_ = says_busy_ = false;
    // It was away; or a connection was given up while up, and its successor failed at first.
    const bool was_away = row_state().ready_since_us.load(std::memory_order_relaxed) == 0 ||
                          row_state().state.load(std::memory_order_relaxed) == DaemonState::Connecting ||
                          row_state().state.load(std::memory_order_relaxed) == DaemonState::Loading;
    if (was_away) {
        row_state().ready_since_us.store(now_us, std::memory_order_relaxed);
        show_state(excluded_ ? identity_.reason : entry_.drain ? "drained" : "");
        // A new connection does not clear bad answers, but it closes the breaker if refused connections opened it.
        if (now_us >= misbehaved_until_us_)
            row_state().breaker.reset();
        timeouts_.forgive();
        next_info_us_ = now_us;
    }
    check_controls(now_us);
    pump(now_us);
}

// For the embedded daemon the launcher knows a better reason than that it cannot be reached.
const char *Daemon::reason_shown(const char *reason) const {
    static core::Problem told;
    if (is_stopped())
        return "stopped by steadytext_daemon_stop()";
    const shmem::EmbeddedState &embedded = services_.segment.header->embedded;
    const bool knows =
        embedded_ && embedded.pid.load(std::memory_order_relaxed) == 0 && embedded.last_problem.load(told);
    return knows && told.is_set() ? told.message : reason;
}

void Daemon::on_down(Channel &channel, const char *reason) {
    services_.connections_ended++;
    lose_flights(channel, reason);
    if (!is_up())
        went_down(reason);
}

void Daemon::went_down(const char *reason) {
    is_loading_ = says_busy_ = false;
    loading_since_us_ = 0;
    services_.models_changed = true;
    identity_.models_loaded = false;
    row_state().ready_since_us.store(0, std::memory_order_relaxed);
    row_state().resident_bytes.store(0, std::memory_order_relaxed);
    if (!retired_ && !excluded_)
        show_state(reason_shown(reason));
    if (!expected_back())
        hand_back_waiting();
}

// Requests in flight on a lost connection go back to the gateway, which retries or ends them. While the daemon is
// there, this is a single failure for the breaker: else the breaker would open and refuse harmless requests.
void Daemon::lose_flights(Channel &channel, const char *reason) {
    const std::int64_t now_us = core::monotonic_us();
    std::size_t lost = 0;
    for (std::uint32_t index = 0; index < services_.segment.slots->size(); index++) {
        Flight &flight = services_.flights.of({index, 0});
        if (!flight.active || flight.channel != &channel)
            continue;
        const SlotId id{index, flight.generation};
        settle(flight);
        flight.failure = reason;
        // If a request was alone on its connection while the daemon is there, the request itself broke the connection.
        const bool is_its_own_doing = channel.is_spare && is_up();
        lost++ == 0 && !is_its_own_doing ? record_failure(now_us, reason) : note_failure(reason);
        services_.lost.push_back(id);
    }
    if (lost > 1)
        owed_failures_ = lost - 1;
    channel.in_flight = 0;
    std::erase_if(sharings_, [&](const Sharing &sharing) { return sharing.channel == &channel; });
    for (Control *control : {&info_, &ping_})
        if (control->channel == &channel)
            ask_again(*control, now_us);
}

// The daemon is there: its calls wait for it within their deadlines, and it has not failed.
void Daemon::on_loading(Channel &, const char *reason) {
    if (is_up())
        return;
    is_loading_ = true;
    owed_failures_ = 0;
    row_state().breaker.reset();
    if (!retired_ && !excluded_)
        show_state(reason);
}

void Daemon::on_connect_failed(Channel &channel, const char *reason) {
    if (is_up())
        return;
    is_loading_ = false;
    services_.models_changed |= !std::exchange(has_failed_, true) && !has_told_models();
    reason = reason_shown(reason);
    if (!retired_ && !excluded_)
        show_state(reason);
    const std::int64_t now_us = core::monotonic_us();
    record_failure(now_us, reason);
    settle_owed_failures(now_us);
    next_address_++;
    if (const std::vector<std::string> known = addresses(); !known.empty() && route_among(known) != route_)
        channel.ended = true;  // the next connection goes elsewhere
}

// The daemon is not there: each lost request counts as a failure, so that the next requests do not wait for it.
void Daemon::settle_owed_failures(std::int64_t now_us) {
    for (; owed_failures_ > 0; owed_failures_--)
        row_state().breaker.record_failure(services_.settings.breaker, now_us);
    if (!expected_back() && row_state().breaker.state(services_.settings.breaker, now_us) == core::BreakerState::Open)
        hand_back_waiting();
}

}  // namespace steadytext::gateway
