// A counter per database that each clear of its cache raises: answers computed before a clear are neither found nor
// written after it.
//
// Sessions read the epoch of their database before they look up or compute an answer, and pass it on with the answer.
// Clearing raises the epoch of that database only. Regime: pure, lock-free, noexcept.
//
// An epoch belongs to the OID of a database, not to a row that is taken and given back. It never goes down, and there
// is nothing to free. Databases whose OIDs are equal modulo kEpochs share an epoch, and so share their clears: this
// costs misses, never a wrong answer.
#pragma once

#include "shmem/atomic.hpp"

#include <cstdint>

namespace steadytext::shmem {

class CacheEpochs {
public:
    // acquire: pairs with clear(): a session that sees the raised epoch also sees what was cleared before.
    [[nodiscard]] std::uint64_t of(std::uint32_t database) const noexcept {
        return epochs_[database % kEpochs].load(std::memory_order_acquire);
    }
    void clear(std::uint32_t database) noexcept { epochs_[database % kEpochs].fetch_add(1, std::memory_order_acq_rel); }

    // On a standby, before it looks up an answer: values in shared memory may be older than a clear which was replayed
    // and of which no session has heard yet. release: pairs with end_following().
    void follow() noexcept { follows_.store(true, std::memory_order_release); }
    // After a promotion: forgets all such values, before any session sees that the standby has ended.
    void end_following() noexcept {
        if (!follows_.load(std::memory_order_acquire))
            return;
        for (std::atomic<std::uint64_t> &epoch : epochs_)
            epoch.fetch_add(1, std::memory_order_acq_rel);
        follows_.store(false, std::memory_order_release);
    }

private:
    static constexpr std::uint32_t kEpochs = 4096;
    std::atomic<std::uint64_t> epochs_[kEpochs]{};
    std::atomic<bool> follows_{false};
};

}  // namespace steadytext::shmem
