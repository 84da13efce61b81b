// What the rate limiter's check costs: limit_checks SECONDS THREADS same|own LIMITS hot|refused|add prints checks per
// second, all threads together.
//
// `same`: all threads ask one meter; `own`: each asks its own. LIMITS: how many limits bind each call. A check reads
// the clock, asks and charges, as a session does. `hot`: calls are admitted; `refused`: all but a few are not; `add`:
// no check, but what none goes without: a look at the clock, and an atomic add to one counter.
#include "shmem/rate_limiter.hpp"
#include "src/core/clock.hpp"

#include <sched.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

using namespace steadytext;
using shmem::RateLimiter;

namespace {

constexpr std::uint32_t kMeters = 1024;

std::vector<RateLimiter::Limit> limits_of(RateLimiter &limiter, std::uint32_t asker, int count, std::int64_t most) {
    std::vector<RateLimiter::Limit> limits;
    for (int i = 0; i < count; i++) {
        RateLimiter::Key key;
        key.role = asker;
        key.rule = static_cast<std::uint32_t>(i);
        limits.push_back({{}, RateLimiter::Unit::Requests, most, 60'000'000});
        if (!limiter.find(key, core::monotonic_us(), limits.back().meter))
            std::abort();
    }
    return limits;
}

void pin(std::uint32_t thread) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(thread % std::thread::hardware_concurrency(), &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

std::uint64_t add_for(std::atomic<std::uint64_t> &counter, std::uint32_t thread, double seconds) {
    pin(thread);
    std::uint64_t adds = 0;
    const std::int64_t until_us = core::monotonic_us() + static_cast<std::int64_t>(seconds * 1e6);
    for (; core::monotonic_us() < until_us; adds++)
        counter.fetch_add(1);
    return adds;
}

std::uint64_t check_for(RateLimiter &limiter, std::uint32_t thread, const std::vector<RateLimiter::Limit> &limits,
                        double seconds) {
    pin(thread);
    RateLimiter::Grant grant;
    std::uint64_t checks = 0;
    const std::int64_t until_us = core::monotonic_us() + static_cast<std::int64_t>(seconds * 1e6);
    for (std::int64_t now_us; (now_us = core::monotonic_us()) < until_us; checks++)
        (void)limiter.admit(limits, {}, {static_cast<std::int32_t>(thread), 1}, now_us, grant);
    return checks;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 6)
        return std::fprintf(stderr, "usage: limit_checks SECONDS THREADS same|own LIMITS hot|refused|add\n"), 2;
    const double seconds = std::atof(argv[1]);
    const auto threads = static_cast<std::uint32_t>(std::atoi(argv[2]));
    const bool same = std::strcmp(argv[3], "same") == 0;
    const bool only_adds = std::strcmp(argv[5], "add") == 0;
    const std::int64_t most = std::strcmp(argv[5], "hot") == 0 ? INT32_MAX : 60;

    const std::size_t bytes = RateLimiter::bytes_needed(kMeters, threads);
    const std::unique_ptr<void, void (*)(void *)> memory(std::aligned_alloc(shmem::kCacheLine, shmem::round_up(bytes)),
                                                         std::free);
    RateLimiter &limiter = *RateLimiter::place(memory.get(), kMeters, threads);
    alignas(shmem::kCacheLine) std::atomic<std::uint64_t> counter{0};
    std::vector<std::uint64_t> checks(threads);
    std::vector<std::thread> askers;
    for (std::uint32_t i = 0; i < threads; i++)
        askers.emplace_back([&, i] {
            checks[i] =
                only_adds ? add_for(counter, i, seconds)
                          : check_for(limiter, i, limits_of(limiter, same ? 0 : i, std::atoi(argv[4]), most), seconds);
        });
    std::uint64_t all = 0;
    for (std::uint32_t i = 0; i < threads; i++) {
        askers[i].join();
        all += checks[i];
    }
    std::printf("%.0f\n", static_cast<double>(all) / seconds);
}
