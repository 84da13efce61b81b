// Finding a free record; counting by window: see audit_ring.hpp. Regime: pure, noexcept.
#include "shmem/audit_ring.hpp"

#include "src/core/mix.hpp"

namespace steadytext::shmem {

bool AuditRing::has_room(std::uint32_t database, std::uint32_t role) const noexcept {
    std::uint32_t in_use = 0, of_database = 0, of_role = 0;
    for (const Slot &slot : slots_) {
        const std::uint64_t seen = slot.word.load(std::memory_order_relaxed);
        if (seen == word(State::Free))
            continue;
        in_use++;
        if (seen >> 32 != database)
            continue;
        of_database++;
        of_role += slot.role.load(std::memory_order_relaxed) == role;
    }
    if (!core::FairShare::allows(of_database, 1, in_use, kRecords))
        return false;
    return of_role == 0 ||
           core::FairShare::allows(of_role, 1, of_database, core::FairShare::most(in_use - of_database, kRecords));
}

bool AuditRing::put(std::uint32_t database, std::uint32_t role, const AuditRecord &record) noexcept {
    if (!has_room(database, role))
        return false;
    const std::uint32_t start = next_.fetch_add(1, std::memory_order_relaxed);
    for (std::uint32_t look = 0; look < kRecords; look++) {
        Slot &slot = slots_[(start + look) % kRecords];
        std::uint64_t expected = word(State::Free);
        if (!slot.word.compare_exchange_strong(expected, word(State::Filling, database), std::memory_order_acquire,
                                               std::memory_order_relaxed))
            continue;
        slot.role.store(role, std::memory_order_relaxed);
        slot.record = record;
        slot.word.store(word(State::Ready, database), std::memory_order_release);
        return true;
    }
    return false;
}

std::uint32_t AuditRing::find(std::uint32_t database, std::uint32_t index) const noexcept {
    while (index < kRecords && slots_[index].word.load(std::memory_order_acquire) != word(State::Ready, database))
        index++;
    return index < kRecords ? index : kNone;
}

void AuditRing::finish(std::uint32_t index) noexcept {
    slots_[index].word.store(word(State::Free), std::memory_order_release);  // pairs with the acquire in put()
}

AuditPacing::Turn AuditPacing::take(std::uint32_t kind, std::uint64_t who, std::int64_t now_us,
                                    std::uint32_t most) noexcept {
    const std::uint64_t hash = core::mix(who + (kind + 1) * core::kGoldenRatio);
    const std::uint64_t tag = hash >> 48;
    // 0 marks a cell that was never used
    const std::uint64_t window = static_cast<std::uint64_t>(now_us / kWindowUs + 1) & 0xFF'FFFF;
    for (std::size_t look = 0;; look++) {
        std::atomic<std::uint64_t> &cell = cells_[(hash + look) & (kCells - 1)];
        std::uint64_t seen = cell.load(std::memory_order_relaxed);
        for (;;) {
            const bool is_current = seen >> 40 == window, is_own = (seen >> 24 & 0xFFFF) == tag;
            if (is_current && !is_own && look + 1 < kLooks)
                break;
            const std::uint64_t before = is_own || is_current ? seen & kMaxCounted : 0;
            const std::uint64_t count = !is_current ? 1 : before == kMaxCounted ? before : before + 1;
            const std::uint64_t kept_tag = is_current ? seen >> 24 & 0xFFFF : tag;
            if (cell.compare_exchange_weak(seen, window << 40 | kept_tag << 24 | count, std::memory_order_acq_rel))
                return {!is_current, count <= most,
                        static_cast<std::uint32_t>(!is_current && before > 0 ? before - 1 : 0)};
        }
    }
}

}  // namespace steadytext::shmem
