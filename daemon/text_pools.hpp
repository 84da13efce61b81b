// Threads that make tokens of long texts, for which each byte takes about a microsecond: one for texts of some tens of
// kilobytes, one for longer texts. A task that has begun cannot be interrupted, so without the first a text of 17 kB
// would wait for one of many megabytes.
//
// Owned by a token counter or an engine, which treats shorter texts by itself. Regime: pure.
#pragma once

#include <cstddef>
#include <functional>
#include <utility>

#include "daemon/worker_pool.hpp"

namespace steadytext::daemon {

class TextPools {
public:
    // A text up to this has its tokens in 20 ms.
    static constexpr std::size_t kShortBytes = 16 * 1024;

    void submit(std::function<void()> run, std::size_t bytes) {
        (bytes <= kMiddleBytes ? middle_ : long_).submit(std::move(run), bytes);
    }

private:
    static constexpr std::size_t kMiddleBytes = 256 * 1024;

    WorkerPool middle_{1, WorkerPool::Tasks::Short}, long_{1, WorkerPool::Tasks::Long};
};

}  // namespace steadytext::daemon
