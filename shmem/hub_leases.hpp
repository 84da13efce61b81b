// On a hub: which node computes which answer now, so that others wait for it instead of computing it, too.
//
// Used by src/functions/hub_link.cpp in the sessions of nodes. Regime: pure, noexcept, but for a spin word (spin_word.hpp). A lease is of a key
// and the role whose answer it is; who may not bring a role's answers gets no lease of it. It ends when its holder says so, with the holder's
// connection (end_of()), or after kLongestUs: a node that stands still keeps others waiting no longer. After an answer it stays for a moment,
// until the answer can be found here. Where there is no room, or a holder has its share, everybody computes.
#pragma once

#include "shmem/spin_word.hpp"
#include "src/core/sha256.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace steadytext::shmem {

class HubLeases {
public:
    static constexpr std::uint32_t kLeases = 2048;
    static constexpr std::uint32_t kPerHolder = 256;
    static constexpr std::int64_t kLongestUs = 60'000'000;
    static constexpr std::int64_t kSettleUs = 10'000'000;

    struct What {
        std::uint32_t database = 0;
        std::uint32_t role = 0;
        core::Digest key{};
        [[nodiscard]] bool operator==(const What &other) const noexcept {
            return database == other.database && role == other.role &&
                   std::memcmp(key.bytes, other.key.bytes, sizeof key.bytes) == 0;
        }
    };
    enum class Verdict { Mine, Others, NoRoom };

    // `holder` is the process of the node's session.
    [[nodiscard]] Verdict claim(const What &what, std::int32_t holder, std::int64_t now_us) noexcept {
        const SpinHold hold(changing_);
        std::uint32_t free = kLeases;
        const std::uint32_t start = place_of(what);
        // A lease is within kLooks of its place.
        for (std::uint32_t look = 0; look < kLooks; look++) {
            const std::uint32_t at = (start + look) % kLeases;
            const bool is_over = leases_[at].until_us <= now_us;
            if (!is_over && leases_[at].what == what)
                return leases_[at].holder == holder ? Verdict::Mine : Verdict::Others;
            if (is_over && free == kLeases)
                free = at;
        }
        if (held(holder) >= kPerHolder)
            drop_over(now_us);
        if (free == kLeases || held(holder) >= kPerHolder)
            return Verdict::NoRoom;
        drop(leases_[free]);
        leases_[free] = {what, holder, now_us + kLongestUs};
        held(holder)++;
        return Verdict::Mine;
    }

    void end(const What &what, std::int32_t holder, bool is_answered, std::int64_t now_us) noexcept {
        const SpinHold hold(changing_);
        const std::uint32_t start = place_of(what);
        for (std::uint32_t look = 0; look < kLooks; look++) {
            Lease &lease = leases_[(start + look) % kLeases];
            if (lease.holder == holder && lease.what == what)
                lease.until_us = is_answered ? std::min(lease.until_us, now_us + kSettleUs) : 0;
        }
    }

    // The holder's process ends.
    void end_of(std::int32_t holder) noexcept {
        const SpinHold hold(changing_);
        for (Lease &lease : leases_)
            if (lease.holder == holder)
                drop(lease);
    }

private:
    static constexpr std::uint32_t kLooks = 64;
    static constexpr std::uint32_t kCounts = 256;
    struct Lease {
        What what;
        std::int32_t holder = -1;
        std::int64_t until_us = 0;  // CLOCK_MONOTONIC
    };
    [[nodiscard]] static std::uint32_t place_of(const What &what) noexcept {
        std::uint64_t word;
        std::memcpy(&word, what.key.bytes, sizeof word);
        return static_cast<std::uint32_t>((word ^ what.role ^ std::uint64_t{what.database} << 32) % kLeases);
    }

    // What a holder holds; holders of the same number share the count.
    [[nodiscard]] std::uint32_t &held(std::int32_t holder) noexcept {
        return held_[static_cast<std::uint32_t>(holder) % kCounts];
    }
    void drop(Lease &lease) noexcept {
        if (lease.holder >= 0)
            held(lease.holder)--;
        lease = Lease{};
    }
    void drop_over(std::int64_t now_us) noexcept {
        for (Lease &lease : leases_)
            if (lease.until_us <= now_us)
                drop(lease);
    }

    SpinWord changing_;
    std::uint32_t held_[kCounts] = {};
    Lease leases_[kLeases];
};

// The HubLeases of the segment (segment.cpp). Call segment() first: it raises if the library was not preloaded.
[[nodiscard]] HubLeases &hub_leases() noexcept;

}  // namespace steadytext::shmem
