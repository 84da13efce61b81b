// The number of workers that wait for a place among max_worker_processes, the number of callback workers that wait for
// a place of their own, and the notes that a database's worker leaves for the next worker there.
//
// The launcher writes the numbers; workers that have places read them (bgworker/places.hpp). Regime: pure, lock-free,
// noexcept.
#pragma once

#include "shmem/atomic.hpp"

#include <cstddef>
#include <cstdint>
#include <new>

namespace steadytext::shmem {

class alignas(kCacheLine) WorkerPlaces {
public:
    // Belongs to the database in the row of the same index of shmem/database_table.hpp.
    struct Left {
        std::atomic<std::uint32_t> database{0};
        // The pid of a queue worker that left in good order and could not give its jobs back: these jobs are not lost.
        // 0: there is none.
        std::atomic<std::int32_t> queue_pid{0};
        // How long a queue worker whose turn is over goes on with the jobs it began; 0: as long as the first queue
        // worker.
        std::atomic<std::int64_t> queue_patience_us{0};
        // The roles for which the queue worker wants callback workers. They stay wanted when the queue worker hands its
        // own place over.
        struct CallbackWish {
            // 0: none, or the launcher has begun it. The release pairs with the launcher's acquire, which then reads
            // the rest.
            std::atomic<std::uint32_t> role{0};
            std::atomic<std::int32_t> deadline_ms{0};
            std::atomic<std::int64_t> since_us{0};  // CLOCK_MONOTONIC
        };
        static constexpr std::uint32_t kMaxCallbackWishes = 16;
        CallbackWish callbacks[kMaxCallbackWishes];
    };

    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t count) noexcept {
        return sizeof(WorkerPlaces) + std::size_t{count} * sizeof(Left);
    }
    // Once, before any other process sees the memory.
    static WorkerPlaces *place(void *memory, std::uint32_t count) noexcept {
        auto *places = new (memory) WorkerPlaces;
        for (std::uint32_t i = 0; i < count; i++)
            new (places->rows() + i) Left;
        return places;
    }

    // For the database's workers; the row may have belonged to another database.
    [[nodiscard]] Left &left_in(std::uint32_t row, std::uint32_t database) noexcept {
        Left &left = rows()[row];
        if (left.database.load() != database) {
            left.queue_pid.store(0);
            left.queue_patience_us.store(0);
            for (Left::CallbackWish &wish : left.callbacks)
                wish.role.store(0);
            left.database.store(database);
        }
        return left;
    }
    // Null: the row's database has left nothing yet.
    [[nodiscard]] Left *find_left(std::uint32_t row, std::uint32_t database) noexcept {
        Left &left = rows()[row];
        return left.database.load() == database ? &left : nullptr;
    }

    // Keepers, queue workers and callback workers that wait, in all databases.
    std::atomic<std::uint32_t> waiting{0};
    // Callback workers that wait for a place in shmem/callback_workers.hpp, in all databases.
    std::atomic<std::uint32_t> waiting_callbacks{0};

private:
    [[nodiscard]] Left *rows() noexcept { return reinterpret_cast<Left *>(this + 1); }
};

// The WorkerPlaces of the segment (segment.cpp). Call segment() first: it raises if the library was not preloaded.
[[nodiscard]] WorkerPlaces &worker_places() noexcept;

}  // namespace steadytext::shmem
