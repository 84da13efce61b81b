// The sliding window against a log that remembers everything: never more than the limit, never much less, and no wrong
// promise.
#include "shmem/sliding_window.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <vector>

namespace {

using steadytext::shmem::SlidingWindow;

constexpr std::int64_t kSecond = 1'000'000;

bool admit(SlidingWindow &window, std::int64_t amount, std::int64_t limit, std::int64_t window_us,
           std::int64_t now_us) {
    if (!window.fits(amount, limit, window_us, now_us))
        return false;
    (void)window.charge(amount, window_us, now_us);
    return true;
}

// What counts, by the book: every admission with its time, and how much of it was not given back.
class Log {
public:
    void add(std::int64_t now_us, std::int64_t amount) { log_.push_back({now_us, amount}); }
    [[nodiscard]] std::int64_t in(std::int64_t after_us, std::int64_t until_us) const {
        std::int64_t sum = 0;
        for (const Entry &entry : log_)
            if (entry.at_us > after_us && entry.at_us <= until_us)
                sum += entry.amount;
        return sum;
    }
    struct Entry {
        std::int64_t at_us;
        std::int64_t amount;
    };
    std::deque<Entry> log_;
};

TEST(SlidingWindowTest, AdmitsTheWholeLimitAtOnceAndAgainAWindowLater) {
    for (const std::int64_t limit : {1, 2, 60, 1000, 100'000}) {
        SlidingWindow window;
        for (const std::int64_t start_us : {5 * kSecond, 6 * kSecond, 6 * kSecond + 999'999 + 1, 3600 * kSecond}) {
            for (std::int64_t i = 0; i < limit; i++)
                ASSERT_TRUE(admit(window, 1, limit, kSecond, start_us)) << limit << ", " << i << " at " << start_us;
            EXPECT_FALSE(admit(window, 1, limit, kSecond, start_us));
            EXPECT_FALSE(admit(window, 1, limit, kSecond, start_us + kSecond - 1)) << "a microsecond too early";
            EXPECT_EQ(window.wait_us(1, limit, kSecond, start_us), kSecond);
        }
    }
}

TEST(SlidingWindowTest, RefusesForGoodWhatIsMoreThanTheLimit) {
    SlidingWindow window;
    EXPECT_FALSE(window.fits(11, 10, kSecond, 0));
    EXPECT_EQ(window.wait_us(11, 10, kSecond, 0), SlidingWindow::kNever);
    EXPECT_FALSE(window.fits(1, 0, kSecond, 0));
    EXPECT_TRUE(window.fits(10, 10, kSecond, 0));
}

// The strictness and the 99.2 % of the header, over random traffic; and that wait_us() is when it says.
TEST(SlidingWindowTest, AgreesWithALogOfEverything) {
    for (unsigned seed = 1; seed <= 60; seed++) {
        std::mt19937_64 random(seed);
        const auto any = [&](std::int64_t from, std::int64_t to) {
            return std::uniform_int_distribution<std::int64_t>(from, to)(random);
        };
        const std::int64_t window_us = any(10'000, 3 * kSecond);
        const std::int64_t limit = any(1, 300);
        const std::int64_t largest = any(1, std::max<std::int64_t>(limit / 3, 1));
        const std::int64_t gap_us = any(1, 2 * window_us / limit + 1);  // from far above the limit to half of it
        SlidingWindow window;
        Log log;
        std::int64_t now_us = 10 * window_us;
        for (int call = 0; call < 4000; call++) {
            now_us += any(0, 3) == 0 ? any(0, gap_us * 8) : any(0, gap_us / 2);
            const std::int64_t amount = any(1, largest);
            if (any(0, 9) == 0) {
                const std::int64_t wait_us = window.wait_us(amount, limit, window_us, now_us);
                SlidingWindow just_before = window, then = window;
                ASSERT_TRUE(wait_us == 0 || !just_before.fits(amount, limit, window_us, now_us + wait_us - 1));
                ASSERT_TRUE(then.fits(amount, limit, window_us, now_us + wait_us));
            }
            if (admit(window, amount, limit, window_us, now_us)) {
                log.add(now_us, amount);
                ASSERT_LE(log.in(now_us - window_us, now_us), limit) << "seed " << seed;
            } else {
                const std::int64_t grace_us = window_us / 128 + 1;
                ASSERT_GT(log.in(now_us - window_us - grace_us, now_us) + amount, limit)
                    << "seed " << seed << ": refused for nothing";
            }
            while (!log.log_.empty() && log.log_.front().at_us < now_us - 2 * window_us)
                log.log_.pop_front();
        }
    }
}

TEST(SlidingWindowTest, KeepsItsPromiseWhileThingsAreGivenBackAndTheWindowChanges) {
    for (unsigned seed = 1; seed <= 40; seed++) {
        std::mt19937_64 random(seed);
        const auto any = [&](std::int64_t from, std::int64_t to) {
            return std::uniform_int_distribution<std::int64_t>(from, to)(random);
        };
        const std::int64_t limit = any(10, 5000);
        std::int64_t window_us = any(10'000, kSecond);
        SlidingWindow window;
        Log log;
        std::vector<std::pair<SlidingWindow::Mark, std::size_t>> open;  // with the place in the log
        std::int64_t now_us = 10 * kSecond;
        std::int64_t shortest_us = window_us;
        for (int call = 0; call < 3000; call++) {
            now_us += any(0, window_us / 50);
            const std::int64_t amount = any(1, std::max<std::int64_t>(limit / 10, 1));
            if (window.fits(amount, limit, window_us, now_us)) {
                open.emplace_back(window.charge(amount, window_us, now_us), log.log_.size());
                log.add(now_us, amount);
                ASSERT_LE(log.in(now_us - std::min(shortest_us, window_us), now_us), limit) << "seed " << seed;
            }
            if (!open.empty() && any(0, 2) == 0) {
                const auto which = static_cast<std::size_t>(any(0, static_cast<std::int64_t>(open.size()) - 1));
                Log::Entry &entry = log.log_[open[which].second];
                const std::int64_t back = any(0, entry.amount);
                window.give_back(open[which].first, back);
                entry.amount -= back;
                open.erase(open.begin() + static_cast<std::ptrdiff_t>(which));
            }
            if (any(0, 300) == 0) {
                // What was dropped under a shorter window is not remembered under a longer one.
                shortest_us = window_us = any(10'000, kSecond);
                log.log_.clear();
                open.clear();
                window.clear();
            } else if (any(0, 300) == 0) {
                window_us = any(window_us, kSecond);
            }
        }
    }
}

TEST(SlidingWindowTest, UsesNinetyEightPercentWhateverTheRhythmOfThoseWhoAlwaysAsk) {
    for (const std::int64_t limit : {1, 7, 60, 1000}) {
        for (const std::int64_t ask_every_us : {1, 37, 1000, 4999}) {
            if (kSecond / ask_every_us < 10 * limit)
                continue;  // not saturated
            SlidingWindow window;
            std::mt19937_64 random(static_cast<unsigned>(limit * ask_every_us));
            constexpr std::int64_t kWindows = 20;
            std::int64_t admitted = 0;
            for (std::int64_t at_us = 0; at_us < kWindows * kSecond; at_us += ask_every_us) {
                // At first slower than the limit, so that admissions are spread and no burst helps.
                if (at_us < kSecond &&
                    random() % static_cast<std::uint64_t>(kSecond / ask_every_us) >= static_cast<std::uint64_t>(limit))
                    continue;
                admitted += admit(window, 1, limit, kSecond, 100 * kSecond + at_us) && at_us >= kSecond;
            }
            EXPECT_GE(static_cast<double>(admitted), 0.98 * static_cast<double>(limit * (kWindows - 1)))
                << limit << " per second, asked every " << ask_every_us << " us";
        }
    }
}

TEST(SlidingWindowTest, StandsStillWithAClockThatGoesBack) {
    SlidingWindow window;
    ASSERT_TRUE(admit(window, 5, 10, kSecond, 100 * kSecond));
    ASSERT_TRUE(admit(window, 5, 10, kSecond, 40 * kSecond));
    EXPECT_FALSE(admit(window, 1, 10, kSecond, 40 * kSecond)) << "going back frees nothing";
    EXPECT_FALSE(admit(window, 1, 10, kSecond, 100 * kSecond + kSecond - 1));
    EXPECT_TRUE(admit(window, 10, 10, kSecond, 101 * kSecond)) << "and locks nobody out for longer than a window";
}

TEST(SlidingWindowTest, GivesBackOnlyWhatStillCounts) {
    SlidingWindow window;
    const auto old = window.charge(6, kSecond, 10 * kSecond);
    const auto recent = window.charge(4, kSecond, 10 * kSecond + 500'000);
    EXPECT_EQ(window.used(kSecond, 10 * kSecond + 500'000), 10);
    window.give_back(old, 2);
    EXPECT_EQ(window.used(kSecond, 10 * kSecond + 500'000), 8);
    EXPECT_EQ(window.used(kSecond, 11 * kSecond), 4) << "the first mark's time is over";
    window.give_back(old, 4);
    EXPECT_EQ(window.used(kSecond, 11 * kSecond), 4) << "so nothing of it is left to give back";
    window.give_back(recent, 4);
    EXPECT_EQ(window.used(kSecond, 11 * kSecond), 0);
    EXPECT_EQ(window.used(kSecond, 20 * kSecond), 0);
    (void)window.charge(3, kSecond, 20 * kSecond);
    window.give_back(recent, 4);
    EXPECT_EQ(window.used(kSecond, 20 * kSecond), 3) << "nor of marks that came later";
}

TEST(SlidingWindowTest, KeepsTheRateWhileEverythingIsGivenBackAtOnce) {
    SlidingWindow window;
    std::int64_t now_us = 10 * kSecond;
    for (int i = 0; i < 10'000; i++, now_us += 7)  // calls that cost nothing in the end
        window.give_back(window.charge(100, kSecond, now_us), 100);
    EXPECT_EQ(window.used(kSecond, now_us), 0);
    EXPECT_TRUE(admit(window, 100, 100, kSecond, now_us));
}

TEST(SlidingWindowTest, AnOverdraftIsPaidBeforeAnythingElseIsAdmitted) {
    SlidingWindow window;
    (void)window.charge(25, kSecond, 10 * kSecond);
    EXPECT_FALSE(window.fits(1, 10, kSecond, 10 * kSecond));
    EXPECT_FALSE(window.fits(0, 10, kSecond, 10 * kSecond));
    EXPECT_TRUE(window.fits(10, 10, kSecond, 11 * kSecond));
}

TEST(SlidingWindowTest, ForgetsWhenToldTo) {
    SlidingWindow window;
    const auto mark = window.charge(10, kSecond, 10 * kSecond);
    window.clear();
    EXPECT_TRUE(admit(window, 10, 10, kSecond, 10 * kSecond));
    window.give_back(mark, 10);
    EXPECT_EQ(window.used(kSecond, 10 * kSecond), 10) << "what was forgotten cannot be given back";
}

}  // namespace
