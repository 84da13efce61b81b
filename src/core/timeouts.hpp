// Whether requests that time out are the daemon's fault, or the fault of the role that sends them.
//
// Kept by bgworker/daemon.*. Regime: pure (may throw std::bad_alloc). Callers choose what they ask and how long they
// wait, so a role can make its own requests time out at a daemon that works. While several roles use a daemon, the
// timeouts of a single role count against that role only: after some in a row, its requests are held back for a while,
// and no others. Timeouts of two roles, with no answer to anybody between them, are the daemon's. So are those of a
// role that uses the daemon alone: holding it back and holding back all is then the same.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace steadytext::core {

class Timeouts {
public:
    static constexpr std::int64_t kMemoryUs = 600'000'000;  // a role that asked so lately uses the daemon
    static constexpr std::size_t kMostRoles = 256;          // beyond them, the role that asked longest ago is forgotten

    // A request of the role was sent.
    void asked(std::uint32_t role, std::int64_t now_us) { of(role).asked_us = now_us; }

    // The daemon answered somebody, or is connected anew.
    void forgive() noexcept {
        if (!has_strikes_)
            return;
        has_strikes_ = false;
        for (Role &role : roles_)
            role.strikes = 0, role.held_until_us = 0;
    }

    // A request of the role timed out, and nobody was answered since it was sent. True: the daemon has failed.
    // `most` timeouts of the role in a row hold it back for `hold_us`. Timeouts of an earlier epoch are forgiven
    // (steadytext_daemon_reset() begins a new epoch, as in put_offs.hpp).
    [[nodiscard]] bool is_the_daemons(std::uint32_t role, std::uint32_t most, std::int64_t hold_us, std::uint32_t epoch,
                                      std::int64_t now_us) {
        if (epoch_ != epoch)
            forgive();
        epoch_ = epoch;
        Role &mine = of(role);
        has_strikes_ = true;
        if (++mine.strikes >= most)
            mine.held_until_us = now_us + hold_us;
        const bool others_fail = std::any_of(roles_.begin(), roles_.end(),
                                             [&](const Role &other) { return other.id != role && other.strikes > 0; });
        const bool others_ask = std::any_of(roles_.begin(), roles_.end(), [&](const Role &other) {
            return other.id != role && now_us - other.asked_us < kMemoryUs;
        });
        return others_fail || !others_ask;
    }

    [[nodiscard]] bool holds_back(std::uint32_t role, std::uint32_t epoch, std::int64_t now_us) const noexcept {
        return has_strikes_ && epoch_ == epoch && std::any_of(roles_.begin(), roles_.end(), [&](const Role &known) {
                   return known.id == role && now_us < known.held_until_us;
               });
    }

private:
    struct Role {
        std::uint32_t id;
        std::int64_t asked_us = 0;
        std::int64_t held_until_us = 0;
        std::uint32_t strikes = 0;
    };

    Role &of(std::uint32_t role) {
        for (Role &known : roles_)
            if (known.id == role)
                return known;
        if (roles_.size() < kMostRoles)
            return roles_.emplace_back(Role{role});
        return *std::min_element(roles_.begin(), roles_.end(),
                                 [](const Role &a, const Role &b) { return a.asked_us < b.asked_us; }) = Role{role};
    }

    std::vector<Role> roles_;
    bool has_strikes_ = false;
    std::uint32_t epoch_ = 0;  // of the strikes
};

}  // namespace steadytext::core
