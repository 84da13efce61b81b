// A copy of something of the catalogue or of a table, which counts until an invalidation says that it may have changed.
//
// Used by src/session. Regime: pg. A copy is current only if making it came to its end and nothing was heard of meanwhile: a read that
// is cancelled halfway leaves no half copy, and a change that arrives during a read makes the next call read again.
//
//     void forget(Datum, Oid relation) { if (...) copy.forget(); }     // a callback of utils/inval.h
//     if (!copy.is_current()) copy.make([] { ... });                   // may raise
//
// A copy of tables that somebody has locked is used as it is (make_of()), and looked at again by the next call; only who has none yet waits for them.
#pragma once

#include "src/guc.hpp"
#include "src/pg/table_rows.hpp"

#include <cstdint>
#include <span>

namespace steadytext::session {

class Kept {
public:
    [[nodiscard]] bool is_current() const { return made_at_ == heard_; }
    void forget() { heard_++; }

    template <class Make>
    void make(Make &&make) {
        const std::uint64_t heard = heard_;
        made_at_ = kNever;
        make();  // a longjmp out of it leaves kNever
        made_at_ = heard;
    }

    template <class Make>
    void make_of(std::span<const Oid> tables, Make &&make_copy) {
        if (!pg::try_lock_tables(tables)) {
            if (made_at_ != kNever)
                return;
            pg::lock_tables(tables, guc::request_timeout_ms);
        }
        make(make_copy);
        pg::unlock_tables(tables);
    }

private:
    static constexpr std::uint64_t kNever = 0;
    std::uint64_t heard_ = 1;
    std::uint64_t made_at_ = kNever;
};

}  // namespace steadytext::session
