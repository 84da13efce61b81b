// A copy of data of the catalog or of a table. It counts until an invalidation says that the data may have changed.
//
// Called by src/session. Regime: pg. A copy is current only if it was made completely and no invalidation came
// meanwhile: a read that is cancelled halfway leaves no half copy, and a change that arrives during a read makes the
// next call read again.
//
//     void forget(Datum, Oid relation) { if (...) copy.forget(); }     // a callback of utils/inval.h
//     if (!copy.is_current()) copy.make([] { ... });                   // may raise
//
// A copy of tables (make_of(), is_confirmed()) stays in use for a time while another transaction has the tables locked,
// and each call tries again. The time is steadytext.request_timeout, but at most kMaxStaleUs, since the copy was last
// known to be current. At that moment every change that the copy lacks had not been committed. So a limit binds every
// session at most that long after its commit, whoever locks the tables.
//
// A session without such a copy waits for the tables as long as a call may take, and then raises 55P03. For as long
// again, calls that find the tables locked fail at once, so that a statement that goes on after an error is not held up
// by each row.
#pragma once

#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/table_rows.hpp"

#include <algorithm>
#include <cstdint>
#include <span>

namespace steadytext::session {

class Kept {
public:
    [[nodiscard]] bool is_current() const { return made_at_ == heard_; }
    void forget() { heard_++; }

    // The same, of a copy of tables.
    [[nodiscard]] bool is_confirmed() {
        if (!is_current())
            return false;
        confirmed_us_ = core::monotonic_us();
        return true;
    }

    template <class Make>
    void make(Make &&make) {
        const std::uint64_t heard = heard_;
        made_at_ = kNever;
        make();  // a longjmp out of it leaves kNever
        made_at_ = heard;
    }

    template <class Make>
    void make_of(std::span<const Oid> tables, Make &&make_copy) {
        const std::int64_t now_us = core::monotonic_us();
        if (!pg::try_lock_tables(tables)) {
            if (made_at_ != kNever && now_us - confirmed_us_ < std::min(timeout_us(), kMaxStaleUs))
                return;
            pg::lock_tables(tables, patience_ms(now_us));
        }
        make(make_copy);
        pg::unlock_tables(tables);
        confirmed_us_ = now_us;
        gives_up_us_ = 0;
    }

private:
    static constexpr std::uint64_t kNever = 0;
    static constexpr std::int64_t kMaxStaleUs = 30'000'000;  // a cap, because a session sets its own timeout
    static std::int64_t timeout_us() { return std::int64_t{guc::request_timeout_ms} * 1000; }

    // While tables stay locked, all waits for them end when the first wait ends.
    int patience_ms(std::int64_t now_us) {
        if (now_us - gives_up_us_ >= timeout_us())
            gives_up_us_ = now_us + timeout_us();
        return static_cast<int>(
            std::clamp((gives_up_us_ - now_us) / 1000, std::int64_t{1}, std::int64_t{guc::request_timeout_ms}));
    }

    std::uint64_t heard_ = 1;
    std::uint64_t made_at_ = kNever;
    std::int64_t confirmed_us_ = 0;  // CLOCK_MONOTONIC: when a copy of tables was last known to be current
    std::int64_t gives_up_us_ = 0;
};

}  // namespace steadytext::session
