// Finding, evicting and copying entries: see statement_stats.hpp. Regime: pure.
#include "shmem/statement_stats.hpp"
#include "shmem/fair_ways.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <type_traits>

namespace steadytext::shmem {

namespace {

// FNV-1a, over the fields and not over the padding between them.
class Hash {
public:
    void add(const void *bytes, std::size_t size) noexcept {
        for (std::size_t i = 0; i < size; i++)
            value_ = (value_ ^ static_cast<const unsigned char *>(bytes)[i]) * 0x100000001b3;
    }
    [[nodiscard]] std::uint64_t value() const noexcept { return value_ ^ value_ >> 32; }

private:
    std::uint64_t value_ = 0xcbf29ce484222325;
};

std::uint64_t hash_of(const StatementKey &key) noexcept {
    Hash hash;
    hash.add(&key.role, sizeof key.role);
    hash.add(&key.database, sizeof key.database);
    hash.add(&key.query_id, sizeof key.query_id);
    hash.add(&key.kind, sizeof key.kind);
    hash.add(key.model, std::strlen(key.model));
    return hash.value();
}

constexpr std::size_t kHeaderBytes = round_up(sizeof(StatementStats));

}  // namespace

bool StatementKey::operator==(const StatementKey &other) const noexcept {
    return role == other.role && database == other.database && query_id == other.query_id && kind == other.kind &&
           std::strcmp(model, other.model) == 0;
}

void StatementCounts::add(const EndedCall &call) noexcept {
    min_us = calls == 0 ? call.took_us : std::min(min_us, call.took_us);
    max_us = std::max(max_us, call.took_us);
    total_us += call.took_us;
    calls++;
    hits += call.outcome == CallOutcome::Hit || (call.outcome == CallOutcome::Joined && !call.has_failed);
    failures += call.has_failed;
    limited += call.outcome == CallOutcome::Limited;
    saved_tokens += call.saved_tokens;
    if (was_sent(call.outcome)) {
        prompt_tokens += call.prompt_tokens;
        completion_tokens += call.completion_tokens;
    }
}

void StatementCounts::add(const StatementCounts &other) noexcept {
    min_us = calls == 0 ? other.min_us : std::min(min_us, other.min_us);
    max_us = std::max(max_us, other.max_us);
    calls += other.calls;
    hits += other.hits;
    failures += other.failures;
    limited += other.limited;
    prompt_tokens += other.prompt_tokens;
    completion_tokens += other.completion_tokens;
    saved_tokens += other.saved_tokens;
    total_us += other.total_us;
}

std::size_t StatementStats::bytes_needed(std::uint32_t entries) noexcept {
    return kHeaderBytes + (entries + kWays - 1) / kWays * sizeof(Set);
}

StatementStats *StatementStats::place(void *memory, std::uint32_t entries) noexcept {
    return new (memory) StatementStats((entries + kWays - 1) / kWays);
}

StatementStats::StatementStats(std::uint32_t sets) noexcept : sets_(sets) {
    for (std::uint32_t i = 0; i < sets; i++)
        new (&set(i)) Set;
}

StatementStats::Set &StatementStats::set(std::uint32_t index) noexcept {
    return *reinterpret_cast<Set *>(reinterpret_cast<char *>(this) + kHeaderBytes + index * sizeof(Set));
}

// The key's entry. If there is none, takes a free entry, else one that gives way.
StatementStats::Entry &StatementStats::entry_for(Set &set, const StatementKey &key) noexcept {
    Entry *found = nullptr;
    for (Entry &entry : set.entries) {
        if (entry.usage != 0 && entry.key == key)
            return entry;
        if (entry.usage == 0)
            found = &entry;
    }
    if (found == nullptr) {
        deallocations_.fetch_add(1, std::memory_order_relaxed);
        const std::size_t way = way_to_give<kWays>(
            key.role, [&](std::size_t i) { return set.entries[i].key.role; },
            [&](std::size_t i) { return set.entries[i].usage; });
        found = way < kWays ? &set.entries[way]
                            : std::min_element(std::begin(set.entries), std::end(set.entries),
                                               [](const Entry &a, const Entry &b) { return a.usage < b.usage; });
        const std::uint32_t giver = found->key.role;
        for (Entry &entry : set.entries)
            if (way == kWays || entry.key.role == giver)
                entry.usage = (entry.usage + 1) / 2;
    }
    *found = Entry{key, {}, 0};
    return *found;
}

void StatementStats::add(const StatementKey &key, const StatementCounts &counts) noexcept {
    Set &home = set(static_cast<std::uint32_t>(hash_of(key) % sets_));
    const SpinHold hold(home.lock);
    Entry &entry = entry_for(home, key);
    entry.counts.add(counts);
    entry.usage += counts.calls;
}

std::uint32_t StatementStats::copy(std::uint32_t index, Entry *entries) noexcept {
    Set &source = set(index);
    const SpinHold hold(source.lock);
    const Entry *end = std::copy_if(std::begin(source.entries), std::end(source.entries), entries,
                                    [](const Entry &entry) { return entry.usage != 0; });
    return static_cast<std::uint32_t>(end - entries);
}

void StatementStats::reset() noexcept {
    for (std::uint32_t i = 0; i < sets_; i++) {
        Set &each = set(i);
        const SpinHold hold(each.lock);
        for (Entry &entry : each.entries)
            entry.usage = 0;
    }
    deallocations_.store(0, std::memory_order_relaxed);
}

static_assert(std::is_trivially_destructible_v<StatementStats::Entry>);

}  // namespace steadytext::shmem
