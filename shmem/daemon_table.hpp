// The state of each daemon and the models that the daemons serve, for every session to read.
//
// The gateway is the only writer. The status functions read the rows; every request reads the models. Exceptions:
// sessions also write the breaker, `busy_until_us` and `resets` (steadytext_daemon_trip and _reset), and the launcher
// writes `resting`.
//
// The state belongs to the daemon, not to its row in the table. Each daemon that moves into a row gets a new number,
// the row's tenure, which is never used again. A process that remembers something about a row's daemon (an incident, a
// rest, a reply still to be judged) remembers the tenure with it, and forgets it when the row has another tenure.
//
// Regime: pure. Texts are behind a SeqLock, numbers are separate atomics; see seqlock.hpp for the ordering.
#pragma once

#include "shmem/latency_histogram.hpp"
#include "shmem/model_table.hpp"
#include "shmem/seqlock.hpp"
#include "shmem/slot_table.hpp"
#include "src/core/balance.hpp"
#include "src/core/breaker.hpp"
#include "src/core/kind_health.hpp"
#include "src/core/role_streak.hpp"

namespace steadytext::shmem {

inline constexpr std::size_t kMaxDaemons = 64;

enum class DaemonKind : std::uint8_t { Unknown, Native, Serial, Http };

enum class DaemonState : std::uint8_t {
    Absent,      // this row is free
    Invalid,     // its entry in steadytext.daemons cannot be used; `reason` says why
    Connecting,  // no connection yet, or lost and being made again
    Ready,       // connected and answering
    Draining,    // finishes the requests it has, gets no new requests
    Loading,     // it answers, but reports that it is not ready yet: calls wait for it
};

[[nodiscard]] constexpr const char *name_of(DaemonState state) noexcept {
    constexpr const char *kNames[] = {"absent", "invalid", "connecting", "ready", "draining", "loading"};
    return kNames[static_cast<std::size_t>(state)];
}

// The names of a row, and the facts that its daemon reported.
struct DaemonIdentity {
    // as everybody may see it (core::PublicEndpoint); no other daemon has the same
    char endpoint[256] = "";
    std::uint64_t endpoint_hash = 0;  // core::stable_hash() of the endpoint in steadytext.daemons
    char name[64] = "";
    char version[32] = "";
    char reason[256] = "";                     // of the present state, in words
    char fingerprint[kFingerprintBytes] = "";  // of its first model
    char models[256] = "";                     // the names of its models, one per line
    char disagreement[256] = "";               // a conflict with an earlier daemon about the meaning of a model's name
    DaemonKind kind = DaemonKind::Unknown;
    std::uint32_t weight = 1;
    std::uint32_t slots = 0;  // how many requests it works on at once; 0: not told
    std::uint32_t batch = 1;  // how many texts it embeds for a single message
    bool embedded = false;
    bool models_loaded = false;  // it reported all its models, or is of a kind that never reports them
    bool counts_tokens = false;
};

// Of the kinds that core::KindHealth tells apart.
[[nodiscard]] constexpr std::size_t kind_of(Operation operation) noexcept {
    return operation == Operation::Generate ? 0 : operation == Operation::Rerank ? 2 : 1;
}

struct alignas(kCacheLine) DaemonRow {
    SeqLock<DaemonIdentity> identity;
    std::atomic<DaemonState> state{DaemonState::Absent};
    // number of the daemon that has the row; 0: no daemon. release: pairs with the acquire in is_taken()
    std::atomic<std::uint64_t> tenure{0};
    core::Breaker breaker;
    core::KindHealth kinds;
    core::RoleStreak unreadable;                     // answers, by role
    std::atomic<std::int64_t> held_off_until_us{0};  // CLOCK_MONOTONIC: of an engine, the latest of its convictions
    // The tenure of the daemon that gets nothing new while it flaps; 0: none. Written by the launcher
    // (bgworker/incident_watch.*).
    std::atomic<std::uint64_t> resting_tenure{0};
    std::atomic<std::int64_t> busy_until_us{0};  // CLOCK_MONOTONIC: it asked to be left alone until then
    // how often steadytext_daemon_reset() was called: what the daemon put off before counts no longer
    // (src/core/put_offs.hpp)
    std::atomic<std::uint32_t> resets{0};
    std::atomic<std::uint32_t> in_flight{0};
    std::atomic<std::uint32_t> connections{0};
    std::atomic<std::uint64_t> requests{0};
    std::atomic<std::uint64_t> failures{0};
    std::atomic<std::uint64_t> late_replies{0};
    std::atomic<std::uint64_t> answered{0};
    std::atomic<std::uint64_t> answered_us{0};         // total time of the answered requests
    LatencyHistogram latencies;                        // of the answered requests
    std::atomic<std::int64_t> last_ok_unix_us{0};      // last request answered
    std::atomic<std::int64_t> last_answer_unix_us{0};  // last sign of life
    std::atomic<std::int64_t> ready_since_us{0};       // CLOCK_MONOTONIC; 0 while not connected
    std::atomic<std::uint64_t> resident_bytes{
        0};  // its memory as it told last; 0: it does not tell, or is not connected

    // The daemon is gone. Clears the row.
    void clear() noexcept {
        tenure.store(0, std::memory_order_release);
        state.store(DaemonState::Absent, std::memory_order_relaxed);
        identity.store(DaemonIdentity());
        disconnect();
        breaker.forget();
        kinds.reset();
        unreadable.forget();
        resting_tenure.store(0, std::memory_order_relaxed);
        latencies.clear();
        for (std::atomic<std::uint64_t> *number : {&requests, &failures, &late_replies, &answered, &answered_us})
            number->store(0, std::memory_order_relaxed);
        for (std::atomic<std::int64_t> *number : {&last_ok_unix_us, &last_answer_unix_us})
            number->store(0, std::memory_order_relaxed);
    }
    // The same daemon under a new gateway, which has no connection yet. The counters stay.
    void disconnect() noexcept {
        breaker.reset();
        kinds.release();
        unreadable.forget();
        held_off_until_us.store(0, std::memory_order_relaxed);
        busy_until_us.store(0, std::memory_order_relaxed);
        in_flight.store(0, std::memory_order_relaxed);
        connections.store(0, std::memory_order_relaxed);
        ready_since_us.store(0, std::memory_order_relaxed);
        resident_bytes.store(0, std::memory_order_relaxed);
    }
    // Calls of some kind fail at it, and are held off.
    [[nodiscard]] bool holds_some_off(std::int64_t now_us) const noexcept {
        return now_us < held_off_until_us.load(std::memory_order_relaxed) || kinds.holds_any_off(now_us);
    }
    // Whether the row belongs to this daemon, or was left behind by it.
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

    // Gateway. Moves a daemon into a free row; the row keeps nothing of an earlier daemon.
    void move_in(std::uint16_t row, const DaemonIdentity &identity) noexcept {
        rows[row].clear();
        rows[row].identity.store(identity);
        rows[row].tenure.store(last_tenure.fetch_add(1, std::memory_order_relaxed) + 1, std::memory_order_release);
    }

    // Two numbers that change when something changes: `standing` with the states of the daemons, `traffic` with the
    // number of requests.
    struct Outlook {
        std::uint64_t standing;
        std::uint64_t traffic;
    };
    [[nodiscard]] Outlook outlook() const noexcept {
        Outlook seen{models_epoch.load(std::memory_order_acquire), 0};
        for (const DaemonRow &row : rows) {
            seen.standing = seen.standing * 31 + static_cast<std::uint64_t>(row.state.load(std::memory_order_relaxed));
            seen.standing =
                seen.standing * 31 + static_cast<std::uint64_t>(row.ready_since_us.load(std::memory_order_relaxed));
            seen.traffic += row.requests.load(std::memory_order_relaxed);
        }
        return seen;
    }
    std::atomic<std::uint64_t> models_epoch{0};  // raised after every store to `models`
    ModelTable models;
};

}  // namespace steadytext::shmem
