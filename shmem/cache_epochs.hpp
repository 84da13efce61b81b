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

private:
    static constexpr std::uint32_t kEpochs = 4096;
    std::atomic<std::uint64_t> epochs_[kEpochs]{};
};

}  // namespace steadytext::shmem
