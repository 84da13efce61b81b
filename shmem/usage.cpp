// Finding, taking and copying entries: see usage.hpp. Regime: pure.
#include "shmem/usage.hpp"

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

bool Usage::add(Set &set, const UsageKey &key, const StatementCounts &counts) noexcept {
    const SpinHold hold(set.lock);
    Entry *place = nullptr;
    for (Entry &entry : set.entries) {
        if (entry.counts.calls == 0) {
            place = place != nullptr ? place : &entry;
        } else if (entry.key == key) {
            place = &entry;
            break;
        }
    }
    if (place == nullptr)
        return false;
    place->key = key;
    place->counts.add(counts);
    return true;
}

bool Usage::add(const UsageKey &key, const StatementCounts &counts) noexcept {
    const std::uint32_t home = home_of(key);
    for (std::uint32_t i = 0; i < kSets; i++)
        if (add(sets_[(home + i) % kSets], key, counts))
            return true;
    return false;
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
