// What the row of a daemon tells: its name, state, failures and times. Regime: pure; see daemon.hpp.
#include "bgworker/daemon.hpp"

#include "shmem/segment.hpp"
#include "src/core/balance.hpp"
#include "src/core/clock.hpp"

#include <algorithm>

namespace steadytext::gateway {

using shmem::DaemonState;
using shmem::SlotId;

// The public form of its endpoint, without possible keys, and with a number if another daemon has the same name: so a
// row, a metric or a function always means a single daemon. A name that an earlier gateway gave stays.
void Daemon::take_name() {
    const core::PublicEndpoint shown(entry_.endpoint.text);
    identity_.endpoint_hash = core::stable_hash(entry_.endpoint.text);
    std::snprintf(identity_.endpoint, sizeof identity_.endpoint, "%s", shown.text);
    shmem::DaemonIdentity known;
    if (row_state().is_of(entry_.endpoint.text) && row_state().identity.load(known)) {
        std::snprintf(identity_.endpoint, sizeof identity_.endpoint, "%s", known.endpoint);
        return;
    }
    constexpr int kRoom = sizeof identity_.endpoint - 5;
    const auto is_anothers = [&](const shmem::DaemonRow &row) {
        return row.is_taken() && row.identity.load(known) && known.endpoint_hash != identity_.endpoint_hash &&
               std::string_view(known.endpoint) == identity_.endpoint;
    };
    const auto &rows = services_.segment.daemons->rows;
    for (unsigned number = 2; std::any_of(std::begin(rows), std::end(rows), is_anothers); number++)
        std::snprintf(identity_.endpoint, sizeof identity_.endpoint, "%.*s#%u", kRoom, shown.text, number);
}

void Daemon::show_disagreement(const char *text) {
    if (std::string_view(identity_.disagreement) == text)
        return;
    std::snprintf(identity_.disagreement, sizeof identity_.disagreement, "%s", text);
    publish();
}

// For the health check.
void Daemon::show_held_off(std::int64_t now_us) {
    row_state().held_off_until_us.store(convictions_.until_us(resets(), now_us), std::memory_order_relaxed);
}

// Calls wait for the daemon: the view shows why, until it answers a call.
void Daemon::show_busy(const Declined &declined) {
    says_busy_ = true;
    if (declined.is_its_failure && !declined.is_of_its_model)
        is_loading_ = declined.is_loading;
    if (!excluded_)
        show_state(((declined.is_of_its_model  ? "calls for one model wait: "
                     : declined.is_its_failure ? ""
                                               : "calls of one role wait: ") +
                    declined.shown_reason())
                       .c_str());
}

void Daemon::on_lesson(std::string_view lesson) {
    constexpr std::size_t kShown = sizeof identity_.reason;
    if (lessons_.size() < kShown)
        lessons_.append(lessons_.empty() ? "learned: " : "; ").append(lesson);
    if (!excluded_)
        show_state("");
}

void Daemon::show_free() {
    if (!says_busy_ && !is_loading_)
        return;
    says_busy_ = is_loading_ = false;
    if (!excluded_ && !retired_)
        show_state(entry_.drain ? "drained" : "");
}

void Daemon::record_answer(SlotId id, std::int64_t now_us, std::int64_t took_us) {
    heard_us_ = now_us;
    timeouts_.forgive();
    if (!convictions_.empty()) {
        convictions_.forgive(subject_of(id));
        show_held_off(now_us);
    }
    turns_of(services_.flights.of(id)).answered(took_us);
    show_free();
    row_state().breaker.record_success(services_.settings.breaker, now_us);
    row_state().last_ok_unix_us.store(core::unix_us(), std::memory_order_relaxed);
    row_state().latencies.record(took_us);
    row_state().answered.fetch_add(1, std::memory_order_relaxed);
    row_state().answered_us.fetch_add(static_cast<std::uint64_t>(took_us), std::memory_order_relaxed);
}

void Daemon::record_failure(std::int64_t now_us, const char *reason) {
    row_state().breaker.record_failure(services_.settings.breaker, now_us);
    note_failure(reason);
}

// Counts a failure that the breaker does not count, or not yet.
void Daemon::note_failure(const char *reason) {
    row_state().failures.fetch_add(1, std::memory_order_relaxed);
    if (!excluded_ && std::string_view(identity_.reason) != reason) {
        std::snprintf(identity_.reason, sizeof identity_.reason, "%s", reason);
        publish();
    }
}

// Derives the state from the flags and connections.
void Daemon::show_state(const char *reason) {
    if (reason[0] == '\0')
        reason = lessons_.c_str();
    if (!entry_.valid || excluded_)
        set_state(DaemonState::Invalid, reason);
    else if (retired_ || entry_.drain)
        set_state(DaemonState::Draining, reason);
    else
        set_state(is_loading_ || loading_since_us_ != 0 ? DaemonState::Loading
                  : is_up()                             ? DaemonState::Ready
                                                        : DaemonState::Connecting,
                  reason);
}

void Daemon::set_state(DaemonState state, const char *reason) {
    row_state().state.store(state, std::memory_order_relaxed);
    if (reason != identity_.reason)
        std::snprintf(identity_.reason, sizeof identity_.reason, "%s", reason);
    publish();
}

void Daemon::publish() { row_state().identity.store(identity_); }

}  // namespace steadytext::gateway
