// Looks at the memory, and tries one connection after the other: see memory_watch.hpp. Regime: pure.
#include "bgworker/memory_watch.hpp"
#include "src/core/resident_memory.hpp"

#include <malloc.h>

#include <tuple>
#include <utility>

namespace steadytext::gateway {

namespace {

constexpr std::size_t kMegabyte = std::size_t{1} << 20;
constexpr std::size_t kSpare = 256 * kMegabyte;
constexpr std::size_t kFreed = 64 * kMegabyte;  // less may be chance
constexpr std::size_t kFalls = 8 * kMegabyte;   // between two looks
constexpr std::int64_t kSilentUs = 1'000'000;   // a connection that has just brought a whole message keeps no old one
constexpr int kMostWaited = 10;                 // looks, in which a connection ended each time
constexpr std::size_t kBytesPerByte = 32;       // that libzmq takes at most for a byte of a part: parts may be empty
constexpr std::size_t kMaxRemembered = 1000;    // offenders

// Without the segment.
std::size_t own_bytes() { return core::resident_memory().own_bytes(); }

}  // namespace

MemoryWatch::MemoryWatch(std::size_t payload_bytes) : most_(own_bytes() + 2 * payload_bytes + kSpare) {}

// The connection that was closed at the last look has been freed by now, if libzmq had anything of it.
void MemoryWatch::judge(const EachDaemon &each, std::size_t bytes, std::int64_t now_us) {
    constexpr int kConvincing = 2;
    const bool has_freed = bytes + kFreed < before_;
    if (has_freed && (offences_.contains(suspect_) || offences_.size() < kMaxRemembered) &&
        ++offences_[suspect_] >= kConvincing)
        each([&](Daemon &daemon) {
            if (std::string(daemon.name()) == suspect_)
                daemon.shut_out_for_unending_message(now_us);
        });
}

void MemoryWatch::look(const EachDaemon &each, const std::uint64_t &ended, std::int64_t now_us) {
    std::int64_t kept = 0;
    each([&](Daemon &daemon) { daemon.look_for_unending_message(kept, now_us); });
    std::size_t bytes = own_bytes();
    if (!suspect_.empty()) {
        malloc_trim(0);
        bytes = own_bytes();
        if (ended == ended_before_)
            judge(each, bytes, now_us);
        suspect_.clear();
    }
    const bool any_ended = std::exchange(ended_seen_, ended) != ended;
    const std::size_t explained = static_cast<std::size_t>(kept) * kBytesPerByte;
    if (bytes > most_ + explained) {  // what is free already says nothing of a connection that is closed next
        malloc_trim(0);
        bytes = own_bytes();
    }
    const bool falls = bytes + kFalls < std::exchange(seen_, bytes);
    if (bytes <= most_ + explained) {
        tried_.clear();
        waited_ = 0;
        return;
    }
    // What a connection that has gone had kept is freed over several looks. But who comes and goes all the time hides
    // nobody for ever.
    if (falls || (any_ended && waited_++ < kMostWaited))
        return;
    waited_ = 0;
    Daemon *next = nullptr;
    std::tuple<int, int, std::int64_t> least;
    each([&](Daemon &daemon) {
        const std::int64_t silent_since_us = daemon.silent_since_us();
        if (silent_since_us == INT64_MAX || now_us - silent_since_us < kSilentUs)
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
    ended_before_ = ended;
    next->close_silent_connection();
}

}  // namespace steadytext::gateway
