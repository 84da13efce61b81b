// Incidents of this life of the server: which are open, and a ring of what happened, for keepers to write down.
//
// Written by the launcher alone; read by the keepers, which write events into their database's steadytext_incidents, and by the
// metrics. Regime: pure, noexcept. A keeper that comes too late finds the oldest events gone; what is open it can still see.
#pragma once

#include "shmem/daemon_table.hpp"
#include "shmem/seqlock.hpp"
#include "src/core/incident.hpp"

namespace steadytext::shmem {

struct IncidentEvent {
    enum class What : std::uint8_t {
        Opened,
        Closed,
        Settled,  // once in a life: what was open before it and is not open now is over
    };
    What what = What::Opened;
    core::ConditionId condition = core::ConditionId::DaemonDown;
    std::int64_t at_unix_us = 0;
    double value = 0;
    char subject[sizeof(DaemonIdentity::endpoint)] = "";  // a daemon, or empty
    char response[80] = "";                               // what was done about it, in words; or empty
};

class Incidents {
public:
    static constexpr std::uint64_t kKept = 64;

    // An incident's own memory, which outlives the launcher. One per daemon; those of the whole server use the first.
    struct Track {
        core::IncidentState state;
        std::uint64_t tenure = 0;  // of the daemon it is about (daemon_table.hpp)
        char subject[sizeof(IncidentEvent::subject)] = "";
    };
    Track tracks[core::kConditionCount][kMaxDaemons];  // the launcher's alone

    std::array<std::atomic<std::uint32_t>, core::kConditionCount> open{};
    std::array<std::atomic<std::uint64_t>, core::kConditionCount> opened{};

    void post(const IncidentEvent &event) noexcept {
        const std::uint64_t number = last_.load(std::memory_order_relaxed) + 1;
        ring_[number % kKept].store(event);
        last_.store(number, std::memory_order_release);  // pairs with last()
    }
    // Events are numbered from 1.
    [[nodiscard]] std::uint64_t last() const noexcept { return last_.load(std::memory_order_acquire); }
    // False if it is gone.
    [[nodiscard]] bool read(std::uint64_t number, IncidentEvent &event) const noexcept {
        return ring_[number % kKept].load(event) && last() < number + kKept;
    }

private:
    std::atomic<std::uint64_t> last_{0};
    SeqLock<IncidentEvent> ring_[kKept];
};

}  // namespace steadytext::shmem
