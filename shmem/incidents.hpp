// Incidents of this life of the server: the open incidents, and a ring of events that keepers write down.
//
// Written by the launcher alone. Read by the keepers, which write events into the steadytext_incidents of their
// database, and by the metrics. Regime: pure, noexcept. A keeper that comes too late finds the oldest events gone, but
// still sees the open incidents.
#pragma once

#include "shmem/daemon_table.hpp"
#include "shmem/seqlock.hpp"
#include "src/core/incident.hpp"

namespace steadytext::shmem {

struct IncidentEvent {
    enum class What : std::uint8_t {
        Opened,
        Closed,
        Settled,  // once in a life: incidents that were open before it and are not open now are over
    };
    What what = What::Opened;
    core::ConditionId condition = core::ConditionId::DaemonDown;
    std::int64_t at_unix_us = 0;
    double value = 0;
    char subject[sizeof(DaemonIdentity::endpoint)] = "";  // a daemon; of error_rate a role; or empty
    char response[80] = "";                               // the reaction to it, in words; or empty
};

class Incidents {
public:
    static constexpr std::uint64_t kKept = 64;

    // The memory of an incident, which outlives the launcher. Each daemon has a track; incidents of the whole server
    // use the first track. One of error_rate with a subject is of a role that calls alone.
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
    // False if the event is gone.
    [[nodiscard]] bool read(std::uint64_t number, IncidentEvent &event) const noexcept {
        return ring_[number % kKept].load(event) && last() < number + kKept;
    }

private:
    std::atomic<std::uint64_t> last_{0};
    SeqLock<IncidentEvent> ring_[kKept];
};

}  // namespace steadytext::shmem
