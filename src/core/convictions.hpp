// The kinds of requests, by model, that an engine fails at while it works otherwise: since when in a row, and until
// when they are held off.
//
// Kept by bgworker/daemon.*. Regime: pure (may throw std::bad_alloc); one thread. Only failures of requests that the
// gateway itself made are counted (bgworker/http_trials.cpp), so no role can have another's requests held off. A count
// belongs to an epoch: steadytext_daemon_reset() begins a new one (see put_offs.hpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace steadytext::core {

class Convictions {
public:
    // Beyond them, the one that is held off for the shortest time is forgotten.
    static constexpr std::size_t kMost = 256;

    // The gateway's own request failed. `most` failures in a row hold such requests off for `hold_us`.
    void convict(std::string_view subject, std::uint32_t most, std::int64_t hold_us, std::uint32_t epoch,
                 std::int64_t now_us) {
        Conviction &known = of(subject);
        if (known.epoch != epoch)
            known = {0, 0, epoch};
        if (++known.failures >= most)
            known.held_until_us = now_us + hold_us;
    }

    // Somebody's request was answered.
    void forgive(std::string_view subject) {
        if (const auto found = known_.find(subject); found != known_.end())
            known_.erase(found);
    }
    void forgive_all() { known_.clear(); }

    [[nodiscard]] bool holds_off(std::string_view subject, std::uint32_t epoch, std::int64_t now_us) const {
        const auto found = known_.find(subject);
        return found != known_.end() && found->second.epoch == epoch && now_us < found->second.held_until_us;
    }
    // When the last of them may be asked for again; 0: none is held off.
    [[nodiscard]] std::int64_t until_us(std::uint32_t epoch, std::int64_t now_us) const {
        std::int64_t until_us = 0;
        for (const auto &[subject, known] : known_)
            if (known.epoch == epoch && now_us < known.held_until_us)
                until_us = std::max(until_us, known.held_until_us);
        return until_us;
    }
    [[nodiscard]] bool empty() const { return known_.empty(); }

private:
    struct Conviction {
        std::uint32_t failures = 0;  // in a row
        std::int64_t held_until_us = 0;
        std::uint32_t epoch = 0;
    };

    Conviction &of(std::string_view subject) {
        if (const auto found = known_.find(subject); found != known_.end())
            return found->second;
        if (known_.size() == kMost)
            known_.erase(std::min_element(known_.begin(), known_.end(), [](const auto &a, const auto &b) {
                return a.second.held_until_us < b.second.held_until_us;
            }));
        return known_[std::string(subject)];
    }

    std::map<std::string, Conviction, std::less<>> known_;
};

}  // namespace steadytext::core
