// Incidents: the conditions, the value that each condition measures, and when an incident opens and closes.
//
// Called by the launcher (bgworker/incident_watch.*) once a second. Regime: pure, noexcept. The reactions to an
// incident are not here. docs/runbooks.md has a section for each condition.
//
// Hysteresis: an incident opens when its value has been at or above `opens_at` for the delay without a break, and
// closes when it has been below `closes_below` for the same time. Between the two values it keeps its state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace steadytext::core {

// A look at the server. Counts only go up, except at a reset.
struct Vitals {
    static constexpr std::size_t kDaemons = 64;
    struct Daemon {
        bool down = false;  // it should answer, and does not
        std::uint64_t breaker_opened = 0;
        // Tenure of the row (shmem/daemon_table.hpp): counts of another tenure say nothing about this daemon
        std::uint64_t tenure = 0;
    };
    std::int64_t at_us = 0;
    std::uint64_t requests = 0;
    std::uint64_t failed = 0;
    std::uint64_t limited = 0;
    std::uint64_t hits = 0;
    std::uint64_t uncached = 0;   // calls that were no cache hits
    std::uint64_t slow = 0;       // of them: took more than ten seconds
    std::uint64_t evictions = 0;  // of the hot cache
    double oldest_waiting_s = 0;
    double memory_in_use = 0;  // request slots or payload memory, whichever is fuller: 0 to 1
    std::array<Daemon, kDaemons> daemons{};
    // Calls that no cache answered, by role (shmem/role_calls.hpp).
    struct Role {
        std::uint64_t asked = 0;
        std::uint64_t failed = 0;
        std::uint32_t id = 0;  // the role, or the last of several that are counted together
    };
    static constexpr std::size_t kRoles = 32;
    std::array<Role, kRoles> roles{};
};

// The events between two looks; after a reset, the events since then.
[[nodiscard]] constexpr double between(std::uint64_t then, std::uint64_t now) noexcept {
    return static_cast<double>(now >= then ? now - then : now);
}
// A share of fewer than ten calls says nothing.
[[nodiscard]] constexpr double share(double part, double all) noexcept { return all < 10 ? 0 : part / all; }
[[nodiscard]] constexpr double seconds(const Vitals &then, const Vitals &now) noexcept {
    return static_cast<double>(now.at_us - then.at_us) / 1e6;
}

// The share of calls that failed, without the calls of the role with the most failures: trouble of a single role
// (prompts that no model takes, schemas that no engine knows) is no incident of the server. 1 while no other role
// calls: then only this role's calls can be judged, and the incident is that role's (lone_role()).
[[nodiscard]] constexpr double share_beyond_one_role(const Vitals &then, const Vitals &now) noexcept {
    double asked = 0, failed = 0, worst_asked = 0, worst_failed = 0;
    for (std::size_t i = 0; i < Vitals::kRoles; i++) {
        const double its_asked = between(then.roles[i].asked, now.roles[i].asked);
        const double its_failed = between(then.roles[i].failed, now.roles[i].failed);
        asked += its_asked;
        failed += its_failed;
        if (its_failed > worst_failed) {
            worst_asked = its_asked;
            worst_failed = its_failed;
        }
    }
    return asked - worst_asked < 1 ? 1 : (failed - worst_failed) / (asked - worst_asked);
}

// The role if no other one calls; 0: none calls, or several do.
[[nodiscard]] constexpr std::uint32_t lone_role(const Vitals &then, const Vitals &now) noexcept {
    std::uint32_t role = 0;
    for (std::size_t i = 0; i < Vitals::kRoles; i++) {
        if (between(then.roles[i].asked, now.roles[i].asked) < 1)
            continue;
        if (role != 0)
            return 0;
        role = now.roles[i].id;
    }
    return role;
}

enum class ConditionId : std::uint8_t {
    DaemonDown,
    ErrorRate,
    Latency,
    BreakerFlapping,
    QueueStuck,
    CacheThrash,
    LimitStorm,
    MemoryShort,
};

struct Condition {
    const char *name;
    const char *severity;
    const char *says;
    bool per_daemon;
    double (*measure)(const Vitals &then, const Vitals &now, std::size_t daemon);  // over steadytext.incident_window
    double opens_at;
    double closes_below;
};

// In the order of ConditionId.
inline constexpr Condition kConditions[] = {
    {"daemon_down", "critical", "a daemon does not answer", true,
     [](const Vitals &, const Vitals &now, std::size_t daemon) -> double { return now.daemons[daemon].down; }, 1, 1},

    {"error_rate", "critical", "calls get no real answer: their share", false,
     [](const Vitals &then, const Vitals &now, std::size_t) {
         const double all = share(between(then.failed, now.failed), between(then.requests, now.requests));
         const double others = share_beyond_one_role(then, now);
         return others < all ? others : all;
     },
     0.05, 0.02},

    {"latency", "warning", "calls take more than ten seconds: their share", false,
     [](const Vitals &then, const Vitals &now, std::size_t) {
         return share(between(then.slow, now.slow), between(then.uncached, now.uncached));
     },
     0.05, 0.02},

    {"breaker_flapping", "warning", "a daemon's circuit breaker opens again and again: how often", true,
     [](const Vitals &then, const Vitals &now, std::size_t daemon) {
         const bool same = then.daemons[daemon].tenure == now.daemons[daemon].tenure;
         return between(same ? then.daemons[daemon].breaker_opened : 0, now.daemons[daemon].breaker_opened);
     },
     3, 1},

    {"queue_stuck", "critical", "a request waits for a daemon: seconds", false,
     [](const Vitals &, const Vitals &now, std::size_t) { return now.oldest_waiting_s; }, 10, 1},

    {"cache_thrash", "warning", "the hot cache gives up answers faster than it gives them out: how many times", false,
     [](const Vitals &then, const Vitals &now, std::size_t) {
         const double evictions = between(then.evictions, now.evictions), hits = between(then.hits, now.hits);
         return evictions <= seconds(then, now) ? 0 : evictions / (hits < 1 ? 1 : hits);
     },
     1, 0.5},

    {"limit_storm", "warning", "rate limits and budgets turn calls away: their share", false,
     [](const Vitals &then, const Vitals &now, std::size_t) {
         return share(between(then.limited, now.limited), between(then.requests, now.requests));
     },
     0.2, 0.1},

    {"memory_short", "warning", "request slots or payload memory are nearly used up: their share", false,
     [](const Vitals &, const Vitals &now, std::size_t) { return now.memory_in_use; }, 0.8, 0.6},
};
inline constexpr std::size_t kConditionCount = std::size(kConditions);
static_assert(kConditionCount == static_cast<std::size_t>(ConditionId::MemoryShort) + 1);

[[nodiscard]] constexpr const Condition &condition(ConditionId id) noexcept {
    return kConditions[static_cast<std::size_t>(id)];
}

// Whether an incident is open, and since when its value favours the other state.
struct IncidentState {
    bool open = false;
    std::int64_t since_us = 0;  // 0: it does not favour the other state
};

enum class IncidentTurn : std::uint8_t { None, Opens, Closes };

[[nodiscard]] constexpr IncidentTurn step(IncidentState &state, const Condition &condition, double value,
                                          std::int64_t now_us, std::int64_t delay_us) noexcept {
    const bool speaks = state.open ? value < condition.closes_below : value >= condition.opens_at;
    if (!speaks) {
        state.since_us = 0;
        return IncidentTurn::None;
    }
    if (state.since_us == 0)
        state.since_us = now_us;
    if (now_us - state.since_us < delay_us)
        return IncidentTurn::None;
    state = {!state.open, 0};
    return state.open ? IncidentTurn::Opens : IncidentTurn::Closes;
}

}  // namespace steadytext::core
