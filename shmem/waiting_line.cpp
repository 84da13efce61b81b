// The lines of the roles and their turns: see waiting_line.hpp. Regime: pure.
#include "shmem/waiting_line.hpp"

#include "src/core/fair_share.hpp"

#include <new>
#include <type_traits>

namespace steadytext::shmem {

namespace {

// Free room, the holdings of roles, and the room that would be left if given sessions took theirs. Counted once, from
// the slots.
class Reckoning {
public:
    Reckoning(SlotTable &slots, const PayloadPool &pool) noexcept
        : table_(slots), slots_in_use_(slots.in_use()), chunks_in_use_(pool.chunks_in_use()),
          chunks_(pool.chunk_count()) {
        for (std::uint32_t i = 0; i < slots.size(); i++) {
            std::uint32_t role;
            Holdings held;
            if (!slots.holding(i, role, held))
                continue;
            if (Entry *entry = entry_of(role); entry != nullptr) {
                entry->held.slots += held.slots;
                entry->held.chunks += held.chunks;
            }
        }
    }

    // Takes the room if the role's share allows it.
    [[nodiscard]] bool take(const WaitingLine::Want &want) noexcept {
        Entry *entry = entry_of(want.role);
        const Holdings held = entry != nullptr ? entry->held : table_.held_by(want.role);
        if (!core::FairShare::allows(held.slots, 1, slots_in_use_, table_.size()) ||
            !core::FairShare::allows(held.chunks, want.chunks, chunks_in_use_, chunks_))
            return false;
        slots_in_use_++;
        chunks_in_use_ += want.chunks;
        if (entry != nullptr) {
            entry->held.slots++;
            entry->held.chunks += want.chunks;
        }
        return true;
    }
    [[nodiscard]] bool is_full() const noexcept { return slots_in_use_ >= table_.size(); }

private:
    // If more roles than this hold or want something, the holdings of each further role are counted when they are
    // needed.
    static constexpr std::uint32_t kRoles = 128;  // a power of two
    static constexpr std::uint32_t kMaxLooks = 16;

    struct Entry {
        std::uint32_t role;
        bool is_taken;
        Holdings held;
    };

    [[nodiscard]] Entry *entry_of(std::uint32_t role) noexcept {
        for (std::uint32_t i = 0; i < kMaxLooks; i++) {
            Entry &entry = entries_[(role * 2'654'435'761U + i) % kRoles];
            if (!entry.is_taken)
                entry = {role, true, {}};
            if (entry.role == role)
                return &entry;
        }
        return nullptr;
    }

    SlotTable &table_;
    std::uint64_t slots_in_use_;
    std::uint64_t chunks_in_use_;
    std::uint64_t chunks_;
    Entry entries_[kRoles] = {};
};

}  // namespace

static_assert(std::is_trivially_destructible_v<WaitingLine>);

std::size_t WaitingLine::bytes_needed(std::uint32_t processes) noexcept {
    return round_up(sizeof(WaitingLine)) + processes * sizeof(Seat);
}

WaitingLine *WaitingLine::place(void *memory, std::uint32_t processes) noexcept {
    auto *line = new (memory) WaitingLine(processes);
    for (std::uint32_t i = 0; i < processes; i++)
        new (&line->seat(static_cast<std::int32_t>(i))) Seat;
    return line;
}

WaitingLine::Seat &WaitingLine::seat(std::int32_t process) noexcept {
    return reinterpret_cast<Seat *>(reinterpret_cast<char *>(this) + round_up(sizeof(WaitingLine)))[process];
}

// ---- places in line: all under the lock -----------------------------------------------------------------------------

std::int32_t WaitingLine::first_of(std::uint32_t role) noexcept {
    std::int32_t first = first_line_;
    while (first != kNobody && seat(first).want.role != role)
        first = seat(first).next_line;
    return first;
}

void WaitingLine::append_line(std::int32_t first) noexcept {
    Seat &mine = seat(first);
    mine.next_line = kNobody;
    mine.previous_line = last_line_;
    (last_line_ == kNobody ? first_line_ : seat(last_line_).next_line) = first;
    last_line_ = first;
}

void WaitingLine::remove_line(std::int32_t first) noexcept {
    const Seat &mine = seat(first);
    (mine.previous_line == kNobody ? first_line_ : seat(mine.previous_line).next_line) = mine.next_line;
    (mine.next_line == kNobody ? last_line_ : seat(mine.next_line).previous_line) = mine.previous_line;
}

void WaitingLine::remove(std::int32_t process) noexcept {
    Seat &mine = seat(process);
    mine.is_taken = false;
    count_.fetch_sub(1, std::memory_order_relaxed);
    if (mine.next != kNobody)
        seat(mine.next).previous = mine.previous;
    if (mine.previous != kNobody) {
        seat(mine.previous).next = mine.next;
        if (mine.next == kNobody)
            seat(first_of(mine.want.role)).last = mine.previous;
        return;
    }
    remove_line(process);
    if (mine.next == kNobody)
        return;
    seat(mine.next).last = mine.last;
    append_line(mine.next);
}

// ---- called by sessions ---------------------------------------------------------------------------------------------

void WaitingLine::join(std::int32_t process, const Want &want) noexcept {
    if (!is_known(process))
        return;
    const SpinHold hold(lock_);
    Seat &mine = seat(process);
    if (mine.is_taken)
        remove(process);
    mine.is_taken = true;
    mine.want = want;
    mine.called.store(0, std::memory_order_relaxed);
    mine.next = mine.previous = kNobody;
    mine.last = process;
    const std::int32_t first = first_of(want.role);
    if (first == kNobody) {
        append_line(process);
    } else {
        mine.previous = seat(first).last;
        seat(mine.previous).next = process;
        seat(first).last = process;
    }
    count_.fetch_add(1);  // seq_cst: before this session looks for free room. Pairs with is_empty()
}

void WaitingLine::leave(std::int32_t process) noexcept {
    if (!is_known(process))
        return;
    const SpinHold hold(lock_);
    if (seat(process).is_taken)
        remove(process);
}

bool WaitingLine::take_call(std::int32_t process) noexcept {
    return is_known(process) &&
           seat(process).called.exchange(0, std::memory_order_acquire) != 0;  // pairs with call_some()
}

bool WaitingLine::is_called(std::int32_t process) noexcept {
    return is_known(process) && seat(process).called.load(std::memory_order_relaxed) != 0;
}

// ---- turns ----------------------------------------------------------------------------------------------------------

WaitingLine::Called WaitingLine::call_some(SlotTable &slots, const PayloadPool &pool, std::int64_t now_us) noexcept {
    Called called;
    Reckoning room(slots, pool);
    if (room.is_full())
        return called;
    const SpinHold hold(lock_);
    for (std::int32_t first = first_line_; first != kNobody; first = seat(first).next_line)
        for (std::int32_t process = first; process != kNobody; process = seat(process).next) {
            Seat &waiting = seat(process);
            if (waiting.want.deadline_us <= now_us)
                continue;  // it is about to leave, or stopped
            if (!room.take(waiting.want))
                break;                                           // the sessions behind it wait too
            waiting.called.store(1, std::memory_order_release);  // pairs with take_call()
            called.processes[called.count++] = process;
            if (called.count == Called::kMost || room.is_full())
                return called;
        }
    return called;
}

}  // namespace steadytext::shmem
