// Reads /proc, and tries one connection after the other: see memory_watch.hpp. Regime: pure.
#include "bgworker/memory_watch.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <tuple>

namespace steadytext::gateway {

namespace {

constexpr std::size_t kMegabyte = std::size_t{1} << 20;
constexpr std::size_t kSpare = 256 * kMegabyte;
constexpr std::size_t kFreed = 64 * kMegabyte;  // less may be chance
constexpr std::size_t kMaxRemembered = 1000;    // offenders

// This process's own memory: without the shared segment. 0 where the system does not tell.
std::size_t own_bytes() {
    const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    char text[128] = "";
    const ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    std::size_t all = 0, resident = 0, shared = 0;
    if (size <= 0 || std::sscanf(text, "%zu %zu %zu", &all, &resident, &shared) != 3 || resident < shared)
        return 0;
    return (resident - shared) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

MemoryWatch::MemoryWatch(std::size_t payload_bytes) : most_(own_bytes() + 2 * payload_bytes + kSpare) {}

// The connection that was closed at the last look has been freed by now, if libzmq had anything of it.
void MemoryWatch::judge(const EachDaemon &each, std::size_t bytes, std::int64_t now_us,
                        std::vector<std::string> &complaints) {
    const bool has_freed = bytes + kFreed < before_;
    if (has_freed && (offences_.contains(suspect_) || offences_.size() < kMaxRemembered))
        offences_[suspect_]++;
    if (has_freed) {
        each([&](Daemon &daemon) {
            if (std::string(daemon.name()) == suspect_)
                daemon.fail_for_unending_message(now_us);
        });
        complaints.push_back("daemon \"" + suspect_ +
                             "\" sends a message that does not end; its connection was closed");
    }
    suspect_.clear();
}

void MemoryWatch::look(const EachDaemon &each, std::int64_t now_us, std::vector<std::string> &complaints) {
    std::size_t bytes = own_bytes();
    if (!suspect_.empty()) {
        malloc_trim(0);
        bytes = own_bytes();
        judge(each, bytes, now_us, complaints);
    }
    if (bytes <= most_) {
        tried_.clear();
        return;
    }
    Daemon *next = nullptr;
    std::tuple<int, int, std::int64_t> least;
    each([&](Daemon &daemon) {
        const std::int64_t silent_since_us = daemon.silent_since_us();
        if (silent_since_us == INT64_MAX)
            return;
        const std::string name = daemon.name();
        const auto offences = offences_.find(name);
        const std::tuple rank(tried_[name], offences == offences_.end() ? 0 : -offences->second, silent_since_us);
        if (next == nullptr || rank < least)
            next = &daemon, least = rank;
    });
    if (next == nullptr)
        return;
    suspect_ = next->name();
    tried_[suspect_]++;
    before_ = bytes;
    next->close_silent_connection();
}

}  // namespace steadytext::gateway
