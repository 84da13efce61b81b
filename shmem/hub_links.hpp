// An independent node's link to its hub, one for each database: what sessions and the node worker tell each other.
//
// Sessions use it by way of src/session/hub_link.*; the node worker (bgworker/node_main.cpp) keeps it. On a hub it has what nodes wish to be
// cleared. Regime: pure, noexcept; independent atomics, but where an order is named.
//
// A row belongs to the same database as the row of the same number in database_table.hpp; a database that takes the row begins anew.
#pragma once

#include "shmem/atomic.hpp"
#include "shmem/spin_word.hpp"
#include "src/core/breaker.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>

namespace steadytext::shmem {

// Whether the table _steadytext.hub_link of this database has a row, by which it is a node.
enum class Standing : std::uint32_t { Unknown, Alone, Node };

struct HubLinkState {
    std::atomic<Standing> standing{Standing::Unknown};
    // CLOCK_MONOTONIC: the node knows of all clears of its hub that were committed before; 0: of none.
    std::atomic<std::int64_t> current_as_of_us{0};
    [[nodiscard]] bool is_current(std::int64_t now_us, std::int64_t max_staleness_us) const noexcept {
        const std::int64_t as_of_us = current_as_of_us.load();
        return as_of_us != 0 && (max_staleness_us == 0 || now_us < as_of_us + max_staleness_us);
    }
    // Rows of the table cache may be older than a clear of the hub; set before the epoch of the cache is raised, and taken back once they are
    // deleted.
    std::atomic<bool> table_is_stale{false};
    // The number of the hub's clears up to which the cache is cleared here; -1: not known. Release, after the epoch: pairs with the acquire of
    // the worker's batches.
    std::atomic<std::int64_t> heard{-1};

    // Clears of this node's own sessions: transactions that have cleared and are not over; those that are committed; and up to where the hub
    // has been told. While they differ the hub is not asked, as it may still have what was cleared.
    std::atomic<std::uint32_t> clearing{0};
    std::atomic<std::uint64_t> cleared{0};
    std::atomic<std::uint64_t> told{0};
    [[nodiscard]] bool has_untold_clears() const noexcept {
        return clearing.load() != 0 || cleared.load() != told.load();
    }

    std::atomic<std::uint32_t> pending{0};  // records for the hub
    std::atomic<std::uint64_t> dropped{0};  // that found no room

    // The node worker; 0 and -1: there is none.
    std::atomic<std::int32_t> pid{0};
    std::atomic<std::int32_t> proc_number{-1};
    // CLOCK_MONOTONIC: until then the hub that the setting names is believed to be this server itself.
    std::atomic<std::int64_t> is_self_until_us{0};

    core::Breaker breaker;  // of lookups
    std::atomic<std::uint64_t> asked{0}, found{0}, led{0}, late{0}, waited{0}, forgotten{0};

    // On a hub. CLOCK_MONOTONIC, when a node last asked for the number of clears; 0: never.
    std::atomic<std::int64_t> watched_us{0};
    // What nodes wish to be cleared is done by the keeper: wish n is fulfilled when `wishes_done` >= n.
    static constexpr std::uint32_t kRoles = 64;
    SpinWord wishing;
    bool wishes_all = false;
    std::uint32_t role_count = 0;
    std::uint32_t roles[kRoles] = {};
    std::atomic<std::uint64_t> wishes{0};
    std::atomic<std::uint64_t> wishes_done{0};

    // Wishes for the answers of the roles, 0 among them: of all; returns the number of the wish.
    std::uint64_t wish(const std::uint32_t *of, std::size_t count) noexcept {
        const SpinHold hold(wishing);
        for (std::size_t i = 0; i < count; i++) {
            const bool is_there = std::find(roles, roles + role_count, of[i]) != roles + role_count;
            if (of[i] == 0 || (!is_there && role_count == kRoles))
                wishes_all = true;
            else if (!is_there)
                roles[role_count++] = of[i];
        }
        return wishes.fetch_add(1) + 1;
    }
    struct Wishes {
        std::uint64_t last = 0;
        bool all = false;
        std::uint32_t count = 0;
        std::uint32_t roles[kRoles];
    };
    // Takes the wishes; they come back if the keeper cannot fulfil them.
    void take_wishes(Wishes &taken) noexcept {
        const SpinHold hold(wishing);
        taken.last = wishes.load();
        taken.all = wishes_all;
        taken.count = role_count;
        std::copy(roles, roles + role_count, taken.roles);
        wishes_all = false;
        role_count = 0;
    }
    void wish_again(const Wishes &taken) noexcept {
        (void)wish(taken.roles, taken.count);
        const SpinHold hold(wishing);
        wishes_all = wishes_all || taken.all;
    }
};

struct alignas(kCacheLine) HubLink : HubLinkState {
    std::atomic<std::uint32_t> database{0};
};

class alignas(kCacheLine) HubLinks {
public:
    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t count) noexcept {
        return sizeof(HubLinks) + std::size_t{count} * sizeof(HubLink);
    }
    // Once, before any other process sees the memory.
    static HubLinks *place(void *memory, std::uint32_t count) noexcept {
        auto *links = new (memory) HubLinks;
        for (std::uint32_t i = 0; i < count; i++)
            new (links->rows() + i) HubLink;
        return links;
    }

    // For a process that is connected to the database.
    [[nodiscard]] HubLink &link(std::uint32_t row, std::uint32_t database) noexcept {
        HubLink &link = rows()[row];
        if (link.database.load(std::memory_order_acquire) != database) {
            const SpinHold hold(changing_);
            if (link.database.load() != database) {
                new (static_cast<HubLinkState *>(&link)) HubLinkState;
                link.database.store(database, std::memory_order_release);
            }
        }
        return link;
    }
    // For others. Null: nothing was said of the database yet.
    [[nodiscard]] HubLink *find(std::uint32_t row, std::uint32_t database) noexcept {
        HubLink &link = rows()[row];
        return link.database.load(std::memory_order_acquire) == database ? &link : nullptr;
    }

    // Tells this server from others, as long as its shared memory lasts: a random number.
    std::atomic<std::uint64_t> server{0};

private:
    [[nodiscard]] HubLink *rows() noexcept { return reinterpret_cast<HubLink *>(this + 1); }
    SpinWord changing_;
};

// Records for the hub wait in shmem/cache_writes.hpp beside those for the keeper, as if they were of another database. 0: of a number that is
// too large for it.
[[nodiscard]] constexpr std::uint32_t for_hub(std::uint32_t database) noexcept {
    return (database & 0x80000000U) != 0 ? 0 : database | 0x80000000U;
}

// The HubLinks of the segment (segment.cpp). Call segment() first: it raises if the library was not preloaded.
[[nodiscard]] HubLinks &hub_links() noexcept;

}  // namespace steadytext::shmem
