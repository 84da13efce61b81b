// Rows on their way to steadytext_audit_log, and a limit on the rows that a role may cause.
//
// A session puts a record here, outside its transaction. So the row is written even after an error, in a read-only
// transaction, or on a standby (then after its promotion). The keeper of the database writes the row. The ring is
// bounded: a record that finds no room, or is beyond the share of its database or role, is counted and not written. The
// same holds for records of a kind beyond kPerWindow per window and role. Regime: pure, noexcept.
//
// Databases have shares of the ring (fair_share.hpp), and the roles of a database have shares of what the database may
// have. So a database whose keeper cannot write leaves room for other databases, and a role that floods the ring leaves
// room for other roles. Sessions that put at the same moment may go beyond a share by one each.
//
// A record goes Free -> Filling -> Ready -> Free. A session does the first two steps. The database's only keeper does
// the last step, after its transaction has committed.
#pragma once

#include "shmem/atomic.hpp"
#include "src/core/fair_share.hpp"

#include <cstddef>
#include <cstdint>

namespace steadytext::shmem {

// Texts end with NUL and are ASCII, but for the role's name.
struct AuditRecord {
    std::int64_t at_us = 0;  // since 1970
    char user[64] = "";      // name of the role that caused the event: the role may be gone when the row is written
    char address[48] = "";   // of the client; empty for a local connection
    char event_type[32] = "";
    char message[128] = "";
    char details[736] = "";  // JSON
};

class AuditRing {
public:
    static constexpr std::uint32_t kRecords = 512;
    static constexpr std::uint32_t kNone = UINT32_MAX;

    // False when there is no room for it.
    [[nodiscard]] bool put(std::uint32_t database, std::uint32_t role, const AuditRecord &record) noexcept;

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
    [[nodiscard]] bool has_room(std::uint32_t database, std::uint32_t role) const noexcept;

    struct alignas(kCacheLine) Slot {
        std::atomic<std::uint64_t> word{
            AuditRing::word(State::Free)};  // release into Ready: pairs with the acquire in find()
        std::atomic<std::uint32_t> role{0};
        AuditRecord record;
    };
    std::atomic<std::uint32_t> next_{0};  // where the next put() looks first
    Slot slots_[kRecords];
};

// Limits the records of a role, kind by kind: the first record of a window is logged, the first kPerWindow records are
// written.
class AuditPacing {
public:
    static constexpr std::int64_t kWindowUs = 60'000'000;
    static constexpr std::uint32_t kPerWindow = 100;

    struct Turn {
        bool is_first;  // of its window
        bool is_written;
        std::uint32_t left_out;  // if is_first: how many records of the previous window were not logged
    };
    // `who`: role and database. `most` of a window are written. Cells that another role or kind uses in this window are passed over; only where kLooks
    // cells in a row are used do two of them share a limit.
    [[nodiscard]] Turn take(std::uint32_t kind, std::uint64_t who, std::int64_t now_us,
                            std::uint32_t most = kPerWindow) noexcept;

private:
    static constexpr std::size_t kCells = 1024, kLooks = 8;
    static constexpr std::uint64_t kMaxCounted = 0xFF'FFFF;
    std::atomic<std::uint64_t> cells_[kCells]{};  // {window:24 | tag:16 | count:24}; acq_rel: each cell is independent
};

}  // namespace steadytext::shmem
