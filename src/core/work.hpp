// A limit for computations over a user's input: their loops count steps, and may be asked to stop between steps.
//
// Made by callers of pure code (src/pg/interrupts.hpp for sessions, daemon/generator.cpp for the engine); spent by the
// loops of src/core. Regime: pure, noexcept. Once the work has ended, every further spend() returns false, so nested
// loops end together.
//
// Steps are counted, never timed: the same input ends at the same step on every machine.
#pragma once

#include "src/core/problem.hpp"

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace steadytext::core {

class Work {
public:
    static constexpr std::uint64_t kUnlimited = UINT64_MAX;
    // True if the computation must stop. Called every kStride steps: some tens of microseconds.
    using Stop = bool (*)(void *context);

    explicit Work(std::uint64_t limit = kUnlimited, Stop stop = nullptr, void *context = nullptr) noexcept
        : limit_(limit), stop_(stop), context_(context), next_look_(std::min(limit, kStride)) {}

    // Counts the steps; false if the computation must end.
    bool spend(std::uint64_t steps = 1) noexcept {
        used_ += steps;
        return used_ <= next_look_ || look();
    }
    // Ends the work whatever was counted, for computations with another limit, such as memory.
    void exhaust() noexcept { end(End::TooMuch); }

    [[nodiscard]] bool has_ended() const noexcept { return end_ != End::None; }
    [[nodiscard]] bool was_stopped() const noexcept { return end_ == End::Stopped; }
    [[nodiscard]] std::uint64_t used() const noexcept { return used_; }

    // Reports why the work ended. Returns false.
    bool tell(Problem &problem, const char *what) const noexcept {
        if (end_ == End::Stopped)
            return problem.set(sqlstate::kQueryCanceled, "%s was given up", what);
        problem.set(sqlstate::kProgramLimitExceeded, "%s takes too much work", what);
        return false;
    }

private:
    static constexpr std::uint64_t kStride = 4096;
    enum class End : std::uint8_t { None, TooMuch, Stopped };

    bool look() noexcept {
        if (end_ != End::None)
            return false;
        if (used_ > limit_)
            return end(End::TooMuch);
        if (stop_ != nullptr && stop_(context_))
            return end(End::Stopped);
        next_look_ = limit_ - used_ < kStride ? limit_ : used_ + kStride;
        return true;
    }

    bool end(End end) noexcept {
        end_ = end_ == End::None ? end : end_;
        next_look_ = 0;
        used_ = std::max<std::uint64_t>(used_, 1);
        return false;
    }

    std::uint64_t limit_;
    Stop stop_;
    void *context_;
    std::uint64_t used_ = 0;
    std::uint64_t next_look_;
    End end_ = End::None;
};

static_assert(std::is_trivially_destructible_v<Work>);  // so a longjmp may skip it

}  // namespace steadytext::core
