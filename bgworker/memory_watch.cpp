// Looks at the memory, and tries one connection after the other: see memory_watch.hpp. Regime: pure.
#include "bgworker/memory_watch.hpp"
#include "src/core/resident_memory.hpp"

#include <algorithm>
#include <malloc.h>

#include <tuple>
#include <utility>

namespace steadytext::gateway {

namespace {

constexpr std::size_t kMegabyte = std::size_t{1} << 20;
constexpr std::size_t kSpare = 256 * kMegabyte;
constexpr std::size_t kFreed = 64 * kMegabyte;   // less may be chance
constexpr std::size_t kFalls = 8 * kMegabyte;    // between two looks
constexpr std::int64_t kSilentUs = 1'000'000;    // a connection that has just brought a whole message keeps no old one
constexpr int kMostWaited = 10;                  // looks, in which a connection ended each time
constexpr std::size_t kBytesPerByte = 32;        // that libzmq takes at most for a byte of a part: parts may be empty
constexpr std::size_t kUsualPerByte = 2;         // and for one of an answer, with a copy of it
constexpr std::size_t kGrowth = 64 * kMegabyte;  // beyond what is usual, while a daemon keeps us waiting
constexpr std::size_t kFreedOfParts = 32 * kMegabyte;  // by closing what brought a few megabytes
constexpr std::int64_t kMuchWaiting = 2 << 20;         // of a daemon: of less, empty parts take no more than kGrowth
constexpr std::int64_t kForgivenUs = 600'000'000;      // an offence: it may have been chance
constexpr std::size_t kMaxRemembered = 1000;           // offenders

// Without the segment.
std::size_t own_bytes() { return core::resident_memory().own_bytes(); }

}  // namespace

MemoryWatch::MemoryWatch(std::size_t payload_bytes)
    : most_(own_bytes() + 2 * payload_bytes + kSpare), floor_(own_bytes()) {}

// What was closed at the last look has been freed by now, if it was the cause.
void MemoryWatch::judge(const EachDaemon &each, std::size_t bytes, std::int64_t now_us) {
    constexpr int kConvincing = 2;
    if (bytes + least_freed_ >= before_ || (!offences_.contains(suspect_) && offences_.size() >= kMaxRemembered))
        return;
    Offences &known = offences_[suspect_];
    known.count = now_us - known.last_us > kForgivenUs ? 1 : known.count + 1;
    known.last_us = now_us;
    if (known.count >= kConvincing)
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
    const std::size_t usual = static_cast<std::size_t>(kept) * kUsualPerByte;
    Daemon *keeping = most_waiting(each);
    // What there was before anybody had much on the way
    floor_ = keeping == nullptr ? bytes : std::min(floor_, bytes);
    const std::size_t enough = (keeping != nullptr ? floor_ + kGrowth : most_) + usual;
    const std::size_t least = std::min(enough, most_ + usual);
    if (bytes > least) {  // what is free already says nothing of who is closed next
        malloc_trim(0);
        bytes = own_bytes();
    }
    const bool falls = bytes + kFalls < std::exchange(seen_, bytes);
    if (bytes <= least) {
        tried_.clear();
        waited_ = 0;
        return;
    }
    if (falls)  // what a connection that has gone had kept is freed over several looks
        return;
    if (keeping != nullptr && bytes > enough) {
        const auto waiting = static_cast<std::size_t>(keeping->waiting_bytes());
        suspect(*keeping, bytes, std::max(kFreedOfParts, waiting * 2 * kUsualPerByte), ended);
        keeping->close_waiting_connections();
    } else if (bytes > most_ + static_cast<std::size_t>(kept) * kBytesPerByte) {
        try_silent(each, bytes, any_ended, ended, now_us);
    }
}

// The daemon of whose messages most has come and was not handed out, if that is much.
Daemon *MemoryWatch::most_waiting(const EachDaemon &each) {
    Daemon *most = nullptr;
    std::tuple<int, int, std::int64_t> least;
    each([&](Daemon &daemon) {
        if (daemon.waiting_bytes() < kMuchWaiting)
            return;
        const std::tuple rank(tries(daemon), -offences(daemon), -daemon.waiting_bytes());
        if (most == nullptr || rank < least)
            most = &daemon, least = rank;
    });
    return most;
}

// One of those of which nothing is known.
void MemoryWatch::try_silent(const EachDaemon &each, std::size_t bytes, bool any_ended, std::uint64_t ended,
                             std::int64_t now_us) {
    // Who comes and goes all the time hides nobody for ever.
    if (any_ended && waited_++ < kMostWaited)
        return;
    waited_ = 0;
    Daemon *next = nullptr;
    std::tuple<int, int, std::int64_t> least;
    each([&](Daemon &daemon) {
        const std::int64_t silent_since_us = daemon.silent_since_us();
        if (silent_since_us == INT64_MAX || now_us - silent_since_us < kSilentUs)
            return;
        const std::tuple rank(tries(daemon), -offences(daemon), silent_since_us);
        if (next == nullptr || rank < least)
            next = &daemon, least = rank;
    });
    if (next == nullptr)
        return;
    suspect(*next, bytes, kFreed, ended);
    next->close_silent_connection();
}

void MemoryWatch::suspect(const Daemon &daemon, std::size_t bytes, std::size_t least_freed, std::uint64_t ended) {
    suspect_ = daemon.name();
    tried_[suspect_]++;
    before_ = bytes;
    least_freed_ = least_freed;
    ended_before_ = ended;
}

int MemoryWatch::tries(const Daemon &daemon) const {
    const auto found = tried_.find(daemon.name());
    return found == tried_.end() ? 0 : found->second;
}

int MemoryWatch::offences(const Daemon &daemon) const {
    const auto found = offences_.find(daemon.name());
    return found == offences_.end() ? 0 : found->second.count;
}

}  // namespace steadytext::gateway
