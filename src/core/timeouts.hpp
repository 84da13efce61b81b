// Whether requests that time out are the daemon's fault, or the fault of the role that sends them.
//
// Kept by bgworker/daemon.*. Regime: pure (may throw std::bad_alloc). Callers choose what they ask and how long they
// wait, so a role can make its own requests time out at a daemon that works. So the timeouts of a single role, even of
// the only role that uses the daemon, count against that role only: after some in a row, its requests are held back for
// a while, and no others; who asks next finds the daemon open. Timeouts of several roles, with no answer to anybody
// between them, are the daemon's: all of them but those of the role that has most.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace steadytext::core {

class Timeouts {
public:
    static constexpr std::size_t kMaxRoles = 256;  // beyond them, the role that timed out longest ago is forgotten

    // The daemon answered somebody, or is connected anew.
    void forgive() noexcept { roles_.clear(); }

    // A request of the role timed out, and nobody was answered since it was sent. True: the daemon has failed.
    // `most` timeouts of the role in a row hold it back for `hold_us`. Timeouts of an earlier epoch are forgiven
    // (steadytext_daemon_reset() begins a new epoch, as in put_offs.hpp).
    [[nodiscard]] bool is_the_daemons(std::uint32_t role, std::uint32_t most, std::int64_t hold_us, std::uint32_t epoch,
                                      std::int64_t now_us) {
        if (epoch_ != epoch)
            forgive();
        epoch_ = epoch;
        Role &mine = of(role);
        const bool another_has_more =
            std::any_of(roles_.begin(), roles_.end(), [&](const Role &other) { return other.strikes > mine.strikes; });
        mine.struck_us = now_us;
        if (++mine.strikes >= most)
            mine.held_until_us = now_us + hold_us;
        return another_has_more;
    }

    [[nodiscard]] bool holds_back(std::uint32_t role, std::uint32_t epoch, std::int64_t now_us) const noexcept {
        return epoch_ == epoch && std::any_of(roles_.begin(), roles_.end(), [&](const Role &known) {
                   return known.id == role && now_us < known.held_until_us;
               });
    }

private:
    struct Role {
        std::uint32_t id;
        std::int64_t struck_us = 0;
        std::int64_t held_until_us = 0;
        std::uint32_t strikes = 0;
    };

    Role &of(std::uint32_t role) {
        for (Role &known : roles_)
            if (known.id == role)
                return known;
        if (roles_.size() < kMaxRoles)
            return roles_.emplace_back(Role{role});
        return *std::min_element(roles_.begin(), roles_.end(),
                                 [](const Role &a, const Role &b) { return a.struck_us < b.struck_us; }) = Role{role};
    }

    std::vector<Role> roles_;  // that timed out since the last answer
    std::uint32_t epoch_ = 0;  // of the strikes
};

}  // namespace steadytext::core
