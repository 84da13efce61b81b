// What sessions of a node ask of the hub after a miss: is the answer there, and if not, who computes it?
//
// A session fills a slot (src/session/hub_link.*); the node worker sends all that are filled in one statement (bgworker/node_main.cpp), writes
// what came, and sets the session's latch. Regime: pure, noexcept, lock-free.
//
//   Free ─▶ Filling ─▶ Asked ─▶ Taken ─┬▶ None, Found ─▶ Free              None: not there, or not known
//                        ▲             ├▶ Wait ─▶ Asked                     another node computes it: ask again
//                        │             ├▶ Lead ─▶ Kept, Failed ─▶ Free     the hub keeps others waiting: the worker tells it the end
//                        └── Wait      └▶ Free, Failed                      the session had left (Left)
//
// The session owns a slot but for Asked, Taken, Left, Kept and Failed, which are the worker's; Asked and Taken a session leaves by a
// compare-and-swap. Fields are written by the owner before the release that gives the slot away.
#pragma once

#include "shmem/atomic.hpp"
#include "shmem/payload_pool.hpp"
#include "src/core/sha256.hpp"

#include <cstdint>
#include <cstring>
#include <string_view>

namespace steadytext::shmem {

class HubAsks {
public:
    static constexpr std::uint32_t kSlots = 512;
    static constexpr std::uint32_t kNone = UINT32_MAX;
    static constexpr std::size_t kScopeBytes = 256;

    enum class State : std::uint32_t { Free, Filling, Asked, Taken, Left, None, Found, Lead, Wait, Kept, Failed };

    struct alignas(kCacheLine) Slot {
        std::atomic<State> state{State::Free};
        std::atomic<std::uint32_t> database{0};  // relaxed: looked at before the slot is taken, and again after
        std::int32_t proc_number = -1;           // whose latch is set
        bool is_vector = false;
        std::uint64_t link = 0;  // the number of the connection by which Lead came
        core::Digest key{};
        std::uint32_t scope_bytes = 0;
        char scope[kScopeBytes];
        Chain answer;  // of Found: a core::CacheRecord
    };

    // kNone: there is no room, or the scope is too long.
    [[nodiscard]] std::uint32_t ask(std::uint32_t database, std::int32_t proc_number, const core::Digest &key,
                                    bool is_vector, std::string_view scope) noexcept {
        constexpr std::uint32_t kLooks = 32;
        if (scope.size() > kScopeBytes)
            return kNone;
        const std::uint32_t start = next_.fetch_add(1, std::memory_order_relaxed);
        for (std::uint32_t look = 0; look < kLooks; look++) {
            const std::uint32_t index = (start + look * 7) % kSlots;
            Slot &slot = slots_[index];
            State expected = State::Free;
            if (!slot.state.compare_exchange_strong(expected, State::Filling, std::memory_order_acquire))
                continue;
            slot.database.store(database, std::memory_order_relaxed);
            slot.proc_number = proc_number;
            slot.is_vector = is_vector;
            slot.link = 0;
            slot.key = key;
            slot.scope_bytes = static_cast<std::uint32_t>(scope.size());
            std::memcpy(slot.scope, scope.data(), scope.size());
            slot.answer = Chain{};
            slot.state.store(State::Asked, std::memory_order_release);
            return index;
        }
        return kNone;
    }

    [[nodiscard]] State state(std::uint32_t index) const noexcept {
        return slots_[index].state.load(std::memory_order_acquire);
    }
    [[nodiscard]] Slot &operator[](std::uint32_t index) noexcept { return slots_[index]; }

    // Session. After Wait.
    void ask_again(std::uint32_t index) noexcept { slots_[index].state.store(State::Asked, std::memory_order_release); }

    // Session: it does not want the slot any longer. `is_kept`: of Lead, that the answer goes to the hub. True: the worker should be woken.
    bool leave(std::uint32_t index, bool is_kept, PayloadPool &pool) noexcept {
        Slot &slot = slots_[index];
        State now = slot.state.load(std::memory_order_acquire);
        for (;;) {
            State next = State::Free;
            if (now == State::Taken)
                next = State::Left;
            else if (now == State::Lead)
                next = is_kept ? State::Kept : State::Failed;
            if (now == State::Found)
                pool.free(slot.answer);
            if (slot.state.compare_exchange_strong(now, next, std::memory_order_acq_rel))
                return next == State::Kept || next == State::Failed;
        }
    }

    // Worker: from Asked, Kept or Failed to Taken.
    [[nodiscard]] bool take(std::uint32_t index, std::uint32_t database, State from) noexcept {
        Slot &slot = slots_[index];
        if (slot.state.load(std::memory_order_acquire) != from ||
            slot.database.load(std::memory_order_relaxed) != database)
            return false;
        State expected = from;
        if (!slot.state.compare_exchange_strong(expected, State::Taken, std::memory_order_acq_rel))
            return false;
        if (slot.database.load(std::memory_order_relaxed) == database)
            return true;
        expected = State::Taken;  // meanwhile it came to be another's
        if (!slot.state.compare_exchange_strong(expected, from, std::memory_order_acq_rel))
            slot.state.store(State::Free, std::memory_order_release);
        return false;
    }
    // Worker. The answer to a slot that it has taken; true: the session's latch is to be set.
    bool answer(std::uint32_t index, State verdict, PayloadPool &pool) noexcept {
        Slot &slot = slots_[index];
        State expected = State::Taken;
        if (slot.state.compare_exchange_strong(expected, verdict, std::memory_order_acq_rel))
            return true;
        if (verdict == State::Found)
            pool.free(slot.answer);
        slot.state.store(verdict == State::Lead ? State::Failed : State::Free, std::memory_order_release);
        return false;
    }
    void free(std::uint32_t index) noexcept { slots_[index].state.store(State::Free, std::memory_order_release); }

private:
    std::atomic<std::uint32_t> next_{0};
    Slot slots_[kSlots];
};

// The HubAsks of the segment (segment.cpp). Call segment() first: it raises if the library was not preloaded.
[[nodiscard]] HubAsks &hub_asks() noexcept;

}  // namespace steadytext::shmem
