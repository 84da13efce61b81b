// A strict sliding window: the amount admitted in the last `window` microseconds, to be compared with a limit.
//
// Part of a meter of the rate limiter (rate_limiter.hpp), which holds the meter's spin word around every call. Regime:
// pure, noexcept, constant memory, no loop longer than kMarks. The caller gives the time. A clock that does not go back
// is best; if it goes back, the window's time stands still. Limit and window come with each call, so both can change at
// any time.
//
// The algorithm is a log of admissions. Admissions that are at most a 128th of the window apart share a mark: {amount,
// time of the last admission}. A mark counts until a window after its last admission. With W the window, K = 128:
//
//   Strict. An admission at time a is written into a mark whose `last` is then a, and only grows. The mark is dropped
//   at a time t >= last + W >= a + W. So at any t everything admitted in (t-W, t] is in `used`, and nothing is admitted
//   that would bring `used` above the limit: no window of length W, wherever it begins, ever holds more than the limit.
//   (Overdrafts, which charge() allows, are the exception by purpose.)
//
//   Exact in a burst. With nothing admitted in the last W (1 + 1/K) all marks can be dropped, and the whole limit is
//   there at once.
//
//   At least K/(K+1) = 99.2 % under saturation. A mark takes admissions for less than W/K after its first, so an
//   admission at a counts until last + W < a + W (1 + 1/K) at most. Under constant demand, every dropped unit is
//   admitted again at once; so each unit of the limit goes round in less than W (1 + 1/K). A burst shares a mark and
//   comes back whole after exactly W: then it is 100 %.
//
//   Room. Marks begin at least W/K apart, and marks that count began after t - W (1 + 1/K): at most K + 1 of them, and
//   the mark being written. There can be more only after the window has become longer; then the newest mark goes on
//   taking admissions, which errs on the strict side.
//
// Estimates by two counters or by GCRA are smaller and not strict: two counters admit too much under uneven traffic,
// GCRA admits up to twice the limit in the window after an idle time.
#pragma once

#include <algorithm>
#include <cstdint>

namespace steadytext::shmem {

class SlidingWindow {
public:
    static constexpr std::int64_t kNever = INT64_MAX;

    // The mark that holds an admission, to give part of it back.
    using Mark = std::uint32_t;

    // Whether `amount` can be admitted without exceeding the limit.
    [[nodiscard]] bool fits(std::int64_t amount, std::int64_t limit, std::int64_t window_us,
                            std::int64_t now_us) noexcept {
        if (amount > limit)
            return false;
        if (used_ > limit - amount)
            drop_old(window_us, now_us);
        return used_ <= limit - amount;
    }

    // Charges without a check: after fits(), with the meter still held, or for usage beyond the amount that was asked
    // for.
    Mark charge(std::int64_t amount, std::int64_t window_us, std::int64_t now_us) noexcept {
        now_us = std::max(now_us, last_us_);
        if (count_ == 0)  // nobody can give back to it any more
            first_us_ = now_us;
        else if (now_us - first_us_ >= window_us / kMarksPerWindow)
            begin_mark(window_us, now_us);
        last_us_ = now_us;
        count_ += amount;
        used_ += amount;
        return newest_;
    }

    // Empties the window, so that times from `at_us` on can be charged in order: for usage from before the meter was
    // taken.
    void begin_at(std::int64_t at_us) noexcept {
        clear();
        first_us_ = last_us_ = at_us;
    }

    // Takes back an amount charged to a mark, unless the mark no longer counts.
    void give_back(Mark mark, std::int64_t amount) noexcept {
        if (mark == newest_)
            count_ -= amount;
        else if (mark - oldest_ < newest_ - oldest_)
            older_[mark % kMarks].count -= amount;
        else
            return;
        used_ -= amount;
    }

    // The time of the last charge: no admission is earlier.
    [[nodiscard]] std::int64_t last_us() const noexcept { return last_us_; }

    // The amount that counts at this time.
    [[nodiscard]] std::int64_t used(std::int64_t window_us, std::int64_t now_us) noexcept {
        drop_old(window_us, now_us);
        return used_;
    }

    // How long until `amount` would be admitted if no other call came; 0: at once, kNever: it is more than the limit.
    [[nodiscard]] std::int64_t wait_us(std::int64_t amount, std::int64_t limit, std::int64_t window_us,
                                       std::int64_t now_us) noexcept {
        if (amount > limit)
            return kNever;
        drop_old(window_us, now_us);
        std::int64_t left = used_;
        if (left <= limit - amount)
            return 0;
        now_us = std::max(now_us, last_us_);
        for (Mark mark = oldest_; mark != newest_; mark++) {
            left -= older_[mark % kMarks].count;
            if (left <= limit - amount)
                return older_[mark % kMarks].last_us + window_us - now_us;
        }
        return last_us_ + window_us - now_us;
    }

    // Forgets everything; charges from before are not given back afterwards.
    void clear() noexcept {
        oldest_ = ++newest_;
        count_ = used_ = 0;
    }

private:
    static constexpr std::int64_t kMarksPerWindow = 128;
    static constexpr std::uint32_t kMarks = 130;

    struct Admissions {
        std::int64_t last_us;
        std::int64_t count;
    };

    void drop_old(std::int64_t window_us, std::int64_t now_us) noexcept {
        now_us = std::max(now_us, last_us_);
        const std::int64_t begin_us = now_us - window_us;
        while (oldest_ != newest_ && older_[oldest_ % kMarks].last_us <= begin_us)
            used_ -= older_[oldest_++ % kMarks].count;
        if (oldest_ == newest_ && last_us_ <= begin_us)
            clear();
    }

    void begin_mark(std::int64_t window_us, std::int64_t now_us) noexcept {
        if (newest_ - oldest_ == kMarks) {
            drop_old(window_us, now_us);
            if (newest_ - oldest_ == kMarks)
                return;
        }
        older_[newest_ % kMarks] = {last_us_, count_};
        newest_++;
        first_us_ = now_us;
        count_ = 0;
    }

    // The newest mark stands apart, beside the sum: most admissions touch only this cache line.
    std::int64_t used_ = 0;
    std::int64_t first_us_ = 0;
    std::int64_t last_us_ = 0;
    std::int64_t count_ = 0;
    Mark oldest_ = 0;
    Mark newest_ = 0;  // marks are numbered; the marks from oldest_ to newest_ - 1 are in older_
    Admissions older_[kMarks]{};
};

}  // namespace steadytext::shmem
