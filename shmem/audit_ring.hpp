// Rows on their way to steadytext_audit_log, and how many of them a role may cause.
//
// A session puts a record here, outside its transaction, so that the row is written whatever becomes of the call: an error, a
// read-only transaction, a standby (then once it is promoted). The keeper of its database writes it. Bounded: what finds no room,
// or is more than kPerWindow of one kind from one role, is counted and not written. Regime: pure, noexcept.
//
// A record goes Free -> Filling -> Ready -> Free, the first two steps by a session, the last by the database's only keeper once its
// transaction has committed.
#pragma once

#include "shmem/atomic.hpp"

#include <cstddef>
#include <cstdint>

namespace steadytext::shmem {

// Texts end with NUL and are ASCII, but for the role's name.
struct AuditRecord {
    std::int64_t at_us = 0;  // since 1970
    char user[64] = "";      // whoever asked, by name: a role may be gone when the row is written
    char address[48] = "";   // of the client; empty: a local one
    char event_type[32] = "";
    char message[128] = "";
    char details[736] = "";  // JSON
};

class AuditRing {
public:
    static constexpr std::uint32_t kRecords = 512;
    static constexpr std::uint32_t kNone = UINT32_MAX;

    // False when there is no room.
    [[nodiscard]] bool put(std::uint32_t database, const AuditRecord &record) noexcept;

    // Keeper. The next record of the database at or after `index`; kNone if there is none. It stays until finish().
    [[nodiscard]] std::uint32_t find(std::uint32_t database, std::uint32_t index) const noexcept;
    [[nodiscard]] const AuditRecord &operator[](std::uint32_t index) const noexcept { return slots_[index].record; }
    void finish(std::uint32_t index) noexcept;

private:
    enum class State : std::uint32_t { Free, Filling, Ready };
    // {database:32 | state:32}
    static constexpr std::uint64_t word(State state, std::uint32_t database = 0) {
        return std::uint64_t{database} << 32 | static_cast<std::uint32_t>(state);
    }
    struct alignas(kCacheLine) Slot {
        std::atomic<std::uint64_t> word{AuditRing::word(State::Free)};  // release into Ready: pairs with the acquire in find()
        AuditRecord record;
    };
    std::atomic<std::uint32_t> next_{0};  // where the next put() looks first
    Slot slots_[kRecords];
};

// What one role may put down of one kind: the first in a window is logged, the first kPerWindow are written.
class AuditPacing {
public:
    static constexpr std::int64_t kWindowUs = 60'000'000;
    static constexpr std::uint32_t kPerWindow = 100;

    struct Turn {
        bool is_first;            // of its window
        bool is_written;
        std::uint32_t left_out;   // is_first: how many of the window before were not logged
    };
    // Roles that meet in a cell share it.
    [[nodiscard]] Turn take(std::uint32_t kind, std::uint32_t role, std::int64_t now_us) noexcept;

private:
    static constexpr std::size_t kCells = 1024;
    std::atomic<std::uint64_t> cells_[kCells]{};  // {window:32 | count:32}; acq_rel: each stands for itself
};

}  // namespace steadytext::shmem
