// Decides which role's request a daemon gets next, when several roles ask at once.
//
// Used by the gateway, which keeps an object for each daemon (bgworker/daemon.cpp). Regime: pure (may throw
// std::bad_alloc).
//
// A daemon works on some requests at once and lets the others wait in the order they came. So a role that sends
// hundreds of requests would make all other roles wait behind them. While a single role asks, it may have twice as many
// requests in flight as the daemon works on: the daemon never idles, and the next role waits only a little. Requests
// that last (streams, and all at a serial daemon) cannot be called back, so of them a role has only its share even
// then. While several roles ask, no more requests are sent than the daemon works on. Each role has its fair share of
// them (src/core/fair_share.hpp), with room left for a role that has none in flight; the role with the fewest goes
// first.
//
// A request that was given up at its caller's deadline still counts against its role's share for as long as an answer
// usually takes, at most a second: else deadlines too short for an answer would buy more turns than calls that wait for
// their answers. If a role then has too many in flight, lent to it while it was alone, the gateway calls them back
// (bgworker/daemon_turns.cpp). A role asks as long as it has requests here, and for kRecentUs after its last request.
//
// Requests in the background (the queue's) count as those of another role than the requests of a role's sessions: see
// party_of(). Which goes first, the gateway decides.
#pragma once

#include "src/core/fair_share.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace steadytext::core {

class Turns {
public:
    // What is called a role below.
    [[nodiscard]] static constexpr std::uint64_t party_of(std::uint32_t role, bool is_background) noexcept {
        return std::uint64_t{role} | std::uint64_t{is_background} << 32;
    }

    [[nodiscard]] static constexpr bool is_background(std::uint64_t party) noexcept { return party >> 32 != 0; }

    static constexpr std::int64_t kRecentUs = 10'000'000;

    // A request of the role has come.
    void asked(std::uint64_t role, std::int64_t now_us) {
        Role &mine = of(role);
        mine.last_us = now_us;
        mine.waiting++;
    }
    // The request waits no longer: it was given up, goes elsewhere, or is sent, which sent() then reports.
    void stopped_waiting(std::uint64_t role) noexcept { take_one(role, &Role::waiting); }
    // A request that `lasts` cannot be called back.
    void sent(std::uint64_t role, bool lasts, std::int64_t now_us) {
        Role &mine = of(role);
        mine.last_us = now_us;
        mine.in_flight++;
        in_flight_++;
        lasting_ += lasts;
    }
    void ended(std::uint64_t role, bool lasts) noexcept {
        const std::uint32_t ended = take_one(role, &Role::in_flight);
        in_flight_ -= ended;
        lasting_ -= lasts ? ended : 0;
    }

    // A request was answered after `took_us`.
    void answered(std::int64_t took_us) noexcept { usual_us_ += (took_us - usual_us_) / 8; }
    // A request was sent at `sent_us` and given up at its deadline; call it after ended(). As many as matter are kept.
    void gave_up(std::uint64_t role, std::int64_t sent_us, std::int64_t now_us) {
        constexpr std::int64_t kMaxUs = 1'000'000;
        constexpr std::size_t kMaxKept = 4096;
        const std::int64_t until_us = sent_us + std::min(usual_us_, kMaxUs);
        if (until_us > now_us && given_up(role, now_us) < kMaxKept)
            of(role).given_up.push_back(until_us);
    }

    // May another request of the role be sent to a daemon that works on `slots` at once? 0: the daemon does not report
    // it; then the number of places is a guess, which keeps no role from its equal part of them.
    [[nodiscard]] bool may_send(std::uint64_t role, bool lasts, std::uint32_t slots, std::int64_t now_us) {
        constexpr std::uint32_t kUntold = 64;
        if (!several_ask(now_us))
            return slots == 0 || (in_flight_ < 2 * std::uint64_t{slots} && (!lasts || lasting_ < share_of(slots)));
        const std::uint32_t places = slots == 0 ? kUntold : slots;
        if (slots == 0 && in_flight(role) < std::max<std::size_t>(kUntold / roles_.size(), 1))
            return in_flight(role) + given_up(role, now_us) < share_of(places);
        return FairShare::allows(in_flight(role), 1, in_flight_, places) &&
               in_flight(role) + given_up(role, now_us) < share_of(places);
    }

    // Forgets roles that no longer ask; true if more than one role is left.
    [[nodiscard]] bool several_ask(std::int64_t now_us) {
        std::erase_if(roles_, [&](const Role &role) {
            return role.in_flight == 0 && role.waiting == 0 && now_us - role.last_us >= kRecentUs;
        });
        return roles_.size() > 1;
    }

    // Finds the role that has more in flight than its share, now that several roles ask; false if there is none. It may
    // keep `share`.
    [[nodiscard]] bool has_too_many(std::uint32_t slots, std::uint64_t &role, std::uint32_t &share) const noexcept {
        share = share_of(slots);
        const auto most = std::max_element(roles_.begin(), roles_.end(),
                                           [](const Role &a, const Role &b) { return a.in_flight < b.in_flight; });
        if (most == roles_.end() || most->in_flight <= share)
            return false;
        role = most->id;
        return true;
    }

    [[nodiscard]] std::uint32_t in_flight(std::uint64_t role) const noexcept {
        const auto found =
            std::find_if(roles_.begin(), roles_.end(), [&](const Role &known) { return known.id == role; });
        return found == roles_.end() ? 0 : found->in_flight;
    }

private:
    struct Role {
        std::uint64_t id;
        std::uint32_t waiting = 0;
        std::uint32_t in_flight = 0;
        std::int64_t last_us = 0;
        // Until when each counts; at most as many as its share, except for requests lent to it while it was alone
        std::vector<std::int64_t> given_up;
    };

    // The number of requests that a role may have which cannot be called back.
    [[nodiscard]] static constexpr std::uint32_t share_of(std::uint32_t slots) noexcept {
        constexpr std::uint64_t kTimes = FairShare::kTimes;
        return static_cast<std::uint32_t>(std::max<std::uint64_t>(kTimes * slots / (kTimes + 1), 1));
    }

    Role &of(std::uint64_t role) {
        for (Role &known : roles_)
            if (known.id == role)
                return known;
        return roles_.emplace_back(Role{role, 0, 0, 0, {}});
    }
    [[nodiscard]] std::uint32_t given_up(std::uint64_t role, std::int64_t now_us) noexcept {
        const auto found =
            std::find_if(roles_.begin(), roles_.end(), [&](const Role &known) { return known.id == role; });
        if (found == roles_.end())
            return 0;
        std::erase_if(found->given_up, [&](std::int64_t until_us) { return until_us <= now_us; });
        return static_cast<std::uint32_t>(found->given_up.size());
    }
    std::uint32_t take_one(std::uint64_t role, std::uint32_t Role::*count) noexcept {
        for (Role &known : roles_)
            if (known.id == role && known.*count > 0) {
                known.*count -= 1;
                return 1;
            }
        return 0;
    }

    std::vector<Role> roles_;
    std::uint64_t in_flight_ = 0;
    std::uint64_t lasting_ = 0;  // of them, requests that last
    std::int64_t usual_us_ = 0;  // how long answers took lately
};

}  // namespace steadytext::core
