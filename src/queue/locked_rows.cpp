// Remembers locked rows and gives them back: see locked_rows.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/locked_rows.hpp"
#include "bgworker/worker_transaction.hpp"
#include "src/core/clock.hpp"
#include "src/queue/queue_sql.hpp"

#include <algorithm>
#include <span>

namespace steadytext::queue {

namespace {

constexpr std::int64_t kAgainUs = 250'000, kLongestUs = 4'000'000;

// For the current transaction: first the rows to give back, then the rows that were still locked.
std::span<std::int64_t> rows;

void give_rows_back() {
    const std::span<const std::int64_t> locked = give_back(rows);
    std::copy(locked.begin(), locked.end(), rows.begin());
    rows = rows.first(locked.size());
}

}  // namespace

void LockedRows::add(std::int64_t id) {
    if (count_ == room_) {
        room_ = std::max(2 * room_, 16U);
        ids_ = static_cast<std::int64_t *>(ids_ == nullptr ? palloc(room_ * sizeof *ids_)
                                                           : repalloc_huge(ids_, room_ * sizeof *ids_));
    }
    if (count_ == 0) {
        pause_us_ = kAgainUs;
        due_us_ = core::monotonic_us() + pause_us_;
    }
    ids_[count_++] = id;
}

bool LockedRows::try_again(std::int64_t now_us) {
    rows = {ids_, count_};
    const bool good = worker::run_transaction("giving locked jobs back", give_rows_back);
    pause_us_ = good && rows.size() < count_ ? kAgainUs : std::min(pause_us_ * 2, kLongestUs);
    due_us_ = now_us + pause_us_;
    if (good)
        count_ = static_cast<std::uint32_t>(rows.size());
    return good;
}

}  // namespace steadytext::queue
