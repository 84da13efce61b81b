// What is known of each daemon and of the models they serve, for every session to read.
//
// Written by the gateway alone (one writer), read by the status functions and, for the models, by every request. Only the
// breaker, `busy_until_us` and `resets` are written by sessions too (steadytext_daemon_trip and _reset), and `resting` by the launcher.
//
// What is known of a daemon belongs to the daemon, not to its place in the table. Each daemon that moves into a row gets a number
// of its own, the row's tenure, which no other ever has; whoever remembers something of a row's daemon (an incident, a rest, a reply
// still to be judged) remembers the tenure with it, and drops what it remembers once the row has another.
//
// Regime: pure. Texts are behind a SeqLock, numbers are atomics of their own; see seqlock.hpp for the ordering.
#pragma once

#include "shmem/latency_histogram.hpp"
#include "shmem/model_table.hpp"
#include "shmem/seqlock.hpp"
#include "shmem/slot_table.hpp"
#include "src/core/balance.hpp"
#include "src/core/breaker.hpp"

namespace steadytext::shmem {

inline constexpr std::size_t kMaxDaemons = 64;

enum class DaemonKind : std::uint8_t { Unknown, Native, Serial, Http };

enum class DaemonState : std::uint8_t {
    Absent,      // this row is free
    Invalid,     // its entry in steadytext.daemons cannot be used; `reason` says why
    Connecting,  // no connection yet, or lost and being made again
    Ready,       // connected and answering
    Draining,    // finishes what it has, gets nothing new
    Loading,     // it is there, and says that it is not ready yet: calls wait for it
};

[[nodiscard]] constexpr const char *name_of(DaemonState state) noexcept {
    constexpr const char *kNames[] = {"absent", "invalid", "connecting", "ready", "draining", "loading"};
    return kNames[static_cast<std::size_t>(state)];
}

// What a row is called and what the daemon said of itself.
struct DaemonIdentity {
    char endpoint[256] = "";                   // as everybody may see it (core::PublicEndpoint); no other daemon's is the same
    std::uint64_t endpoint_hash = 0;           // core::stable_hash() of what steadytext.daemons has
    char name[64] = "";
    char version[32] = "";
    char reason[256] = "";                     // of the present state, in words
    char fingerprint[kFingerprintBytes] = "";  // of its first model
    char models[256] = "";                     // their names, one a line
    char disagreement[256] = "";               // with an earlier daemon, about what a model's name means
    DaemonKind kind = DaemonKind::Unknown;
    std::uint32_t weight = 1;
    std::uint32_t slots = 0;  // how many requests it works on at once; 0: not told
    std::uint32_t batch = 1;  // how many texts one message of ours may have embedded
    bool embedded = false;
    bool models_loaded = false;  // it told all it serves, or is of a kind that never tells
};

struct alignas(kCacheLine) DaemonRow {
    SeqLock<DaemonIdentity> identity;
    std::atomic<DaemonState> state{DaemonState::Absent};
    std::atomic<std::uint64_t> tenure{0};  // which daemon the row is of; 0: of none. release: pairs with the acquire of who looks
    core::Breaker breaker;
    // The tenure of the daemon that gets nothing new while it flaps; 0: none. Written by the launcher (bgworker/incident_watch.*).
    std::atomic<std::uint64_t> resting_tenure{0};
    std::atomic<std::int64_t> busy_until_us{0};  // CLOCK_MONOTONIC: it asked to be left alone until then
    std::atomic<std::uint32_t> resets{0};        // so often steadytext_daemon_reset() was called: then no role is put off either
    std::atomic<std::uint32_t> in_flight{0};
    std::atomic<std::uint32_t> connections{0};
    std::atomic<std::uint64_t> requests{0};
    std::atomic<std::uint64_t> failures{0};
    std::atomic<std::uint64_t> late_replies{0};
    std::atomic<std::uint64_t> answered{0};
    std::atomic<std::uint64_t> answered_us{0};         // total time of the answered ones
    LatencyHistogram latencies;                        // of the answered ones
    std::atomic<std::int64_t> last_ok_unix_us{0};      // last request answered
    std::atomic<std::int64_t> last_answer_unix_us{0};  // last sign of life
    std::atomic<std::int64_t> ready_since_us{0};       // CLOCK_MONOTONIC; 0 while not connected
    std::atomic<std::uint64_t> resident_bytes{0};      // its memory as it told last; 0: it does not tell, or is not connected

    // The daemon is gone, and with it what was known of it.
    void clear() noexcept {
        tenure.store(0, std::memory_order_release);
        state.store(DaemonState::Absent, std::memory_order_relaxed);
        identity.store(DaemonIdentity());
        disconnect();
        breaker.forget();
        resting_tenure.store(0, std::memory_order_relaxed);
        latencies.clear();
        for (std::atomic<std::uint64_t> *number : {&requests, &failures, &late_replies, &answered, &answered_us})
            number->store(0, std::memory_order_relaxed);
        for (std::atomic<std::int64_t> *number : {&last_ok_unix_us, &last_answer_unix_us})
            number->store(0, std::memory_order_relaxed);
    }
    // For the same daemon and another gateway, which has no connection yet: what was counted stays.
    void disconnect() noexcept {
        breaker.reset();
        busy_until_us.store(0, std::memory_order_relaxed);
        in_flight.store(0, std::memory_order_relaxed);
        connections.store(0, std::memory_order_relaxed);
        ready_since_us.store(0, std::memory_order_relaxed);
        resident_bytes.store(0, std::memory_order_relaxed);
    }
    // Whether the row is, or was left behind as, that of this daemon.
    [[nodiscard]] bool is_of(std::string_view endpoint) const noexcept {
        DaemonIdentity known;
        return is_taken() && identity.load(known) && core::stable_hash(endpoint) == known.endpoint_hash;
    }
    [[nodiscard]] bool is_taken() const noexcept { return tenure.load(std::memory_order_acquire) != 0; }
    [[nodiscard]] bool rests() const noexcept {
        const std::uint64_t resting = resting_tenure.load(std::memory_order_relaxed);
        return resting != 0 && resting == tenure.load(std::memory_order_relaxed);
    }
};

struct DaemonTable {
    DaemonRow rows[kMaxDaemons];
    std::atomic<std::uint64_t> last_tenure{0};  // the gateway's

    // Gateway. A daemon moves into a free row: nothing of an earlier one's is its.
    void move_in(std::uint16_t row, const DaemonIdentity &identity) noexcept {
        rows[row].clear();
        rows[row].identity.store(identity);
        rows[row].tenure.store(last_tenure.fetch_add(1, std::memory_order_relaxed) + 1, std::memory_order_release);
    }

    // Two numbers that are others when something is: who is in which state, and how much was asked of them.
    struct Outlook {
        std::uint64_t standing;
        std::uint64_t traffic;
    };
    [[nodiscard]] Outlook outlook() const noexcept {
        Outlook seen{models_epoch.load(std::memory_order_acquire), 0};
        for (const DaemonRow &row : rows) {
            seen.standing = seen.standing * 31 + static_cast<std::uint64_t>(row.state.load(std::memory_order_relaxed));
            seen.standing = seen.standing * 31 + static_cast<std::uint64_t>(row.ready_since_us.load(std::memory_order_relaxed));
            seen.traffic += row.requests.load(std::memory_order_relaxed);
        }
        return seen;
    }
    std::atomic<std::uint64_t> models_epoch{0};  // raised after every store to `models`
    ModelTable models;
};

}  // namespace steadytext::shmem
