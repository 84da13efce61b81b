// How often each database's cache has been cleared: what was computed before is neither found nor written afterwards.
//
// Sessions read their database's epoch before they look an answer up or compute it, and hand it on with the answer; clearing raises it.
// So one database's clear is no other's. Regime: pure, lock-free, noexcept.
//
// An epoch belongs to the number of a database, not to a row that is taken and given back: it never goes down, and there is nothing to
// free. Databases whose OIDs are equal modulo kEpochs share one, and with it their clears: that costs misses, never a wrong answer.
#pragma once

#include "shmem/atomic.hpp"

#include <cstdint>

namespace steadytext::shmem {

class CacheEpochs {
public:
    // acquire: pairs with clear(), so that who sees the raised epoch sees what was cleared.
    [[nodiscard]] std::uint64_t of(std::uint32_t database) const noexcept {
        return epochs_[database % kEpochs].load(std::memory_order_acquire);
    }
    void clear(std::uint32_t database) noexcept { epochs_[database % kEpochs].fetch_add(1, std::memory_order_acq_rel); }

private:
    static constexpr std::uint32_t kEpochs = 4096;
    std::atomic<std::uint64_t> epochs_[kEpochs]{};
};

}  // namespace steadytext::shmem
