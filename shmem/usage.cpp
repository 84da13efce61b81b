// Finding, taking and copying entries: see usage.hpp. Regime: pure.
#include "shmem/usage.hpp"

#include "src/core/fair_share.hpp"

#include <cstring>

namespace steadytext::shmem {

namespace {

std::uint32_t home_of(const UsageKey &key) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325;
    const auto mix = [&](std::uint64_t value) { hash = (hash ^ value) * 0x100000001b3; };
    mix(key.role);
    mix(key.database);
    mix(static_cast<std::uint32_t>(key.day));
    for (const char *c = key.model; *c != '\0'; c++)
        mix(static_cast<unsigned char>(*c));
    return static_cast<std::uint32_t>((hash ^ hash >> 32) % Usage::kSets);
}

}  // namespace

bool UsageKey::operator==(const UsageKey &other) const noexcept {
    return role == other.role && database == other.database && day == other.day && std::strcmp(model, other.model) == 0;
}

bool Usage::may_take(const UsageKey &key) noexcept {
    const std::uint32_t in_use = in_use_.load(std::memory_order_relaxed);
    return key.model[0] == '\0' ||
           core::FairShare::allows(held_by(key.role).load(std::memory_order_relaxed), 1, in_use, kEntries);
}

Usage::Added Usage::add(Set &set, const UsageKey &key, const StatementCounts &counts) noexcept {
    const SpinHold hold(set.lock);
    Entry *free = nullptr;
    for (Entry &entry : set.entries) {
        if (entry.counts.calls == 0) {
            free = free != nullptr ? free : &entry;
        } else if (entry.key == key) {
            entry.counts.add(counts);
            return Added::Yes;
        }
    }
    if (free == nullptr)
        return Added::SetIsFull;
    if (!may_take(key))
        return Added::BeyondShare;
    in_use_.fetch_add(1, std::memory_order_relaxed);
    held_by(key.role).fetch_add(1, std::memory_order_relaxed);
    free->key = key;
    free->counts.add(counts);
    return Added::Yes;
}

bool Usage::add_as(const UsageKey &key, const StatementCounts &counts) noexcept {
    const std::uint32_t home = home_of(key);
    for (std::uint32_t i = 0; i < kSets; i++)
        if (const Added added = add(sets_[(home + i) % kSets], key, counts); added != Added::SetIsFull)
            return added == Added::Yes;
    return false;
}

bool Usage::add(const UsageKey &key, const StatementCounts &counts) noexcept {
    if (counts.calls == 0 || add_as(key, counts))
        return true;
    UsageKey without_model = key;
    std::memset(without_model.model, 0, sizeof without_model.model);
    return key.model[0] != '\0' && add_as(without_model, counts);
}

std::uint32_t Usage::take(std::uint32_t database, Entry *entries, std::uint32_t room) noexcept {
    std::uint32_t count = 0;
    for (Set &set : sets_) {
        const SpinHold hold(set.lock);
        for (Entry &entry : set.entries) {
            if (count == room)
                return count;
            if (entry.counts.calls == 0 || entry.key.database != database)
                continue;
            entries[count++] = entry;
            entry.counts = {};
            in_use_.fetch_sub(1, std::memory_order_relaxed);
            held_by(entry.key.role).fetch_sub(1, std::memory_order_relaxed);
        }
    }
    return count;
}

std::uint32_t Usage::copy(Entry *entries) noexcept {
    std::uint32_t count = 0;
    for (Set &set : sets_) {
        const SpinHold hold(set.lock);
        for (const Entry &entry : set.entries)
            if (entry.counts.calls != 0)
                entries[count++] = entry;
    }
    return count;
}

}  // namespace steadytext::shmem
