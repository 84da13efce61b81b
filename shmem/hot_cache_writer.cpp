// Insertion and eviction: see hot_cache_writer.hpp for the policy. Regime: pure.
#include "shmem/hot_cache_writer.hpp"

namespace steadytext::shmem::cache {

namespace {

// Bounds on the work for a single value, so that the shard is never held for long.
constexpr int kMaxReinsertions = 32;
constexpr int kMaxVictims = 64;

}  // namespace

ShardWriter::ShardWriter(const Shard &shard, Admission admission, std::int64_t now_us) noexcept
    : shard_(shard), fresh_(shard.log(LogId::Fresh)), proven_(shard.log(LogId::Proven)),
      sketch_(shard.sketch_words, shard.geometry->sketch_words, shard.state->sketch_additions), admission_(admission),
      now_us_(now_us) {}

bool ShardWriter::put(const EntryHeader &header, const char *value) noexcept {
    sketch_.add(header.key, 1, entries());
    const std::uint64_t words = header.words();
    const bool fits_fresh = words <= fresh_.capacity() / 2;
    const std::uint32_t wanted = admission_ == Admission::All ? UINT32_MAX : sketch_.estimate(header.key);
    if (!fits_fresh && !make_proven_room(words, wanted))
        return false;
    while (fits_fresh && fresh_.free_words() < words)
        retire_fresh();

    const LogId id = fits_fresh ? LogId::Fresh : LogId::Proven;
    Log &log = fits_fresh ? fresh_ : proven_;
    const std::uint64_t position = log.extend(words);
    log.store(position, reinterpret_cast<const char *>(&header), sizeof header);
    log.store(position + kHeaderWords, value, header.size());

    // Only now, as making room may have moved or evicted the key's previous value.
    const Place place(header.key, id, position);
    Slot *previous = slot_of(header.key);
    if (previous == nullptr || !previous->swap_place(previous->load_place(), place))
        assign(slot_for_new(header.key), place);
    return true;
}

// ---- room ----------------------------------------------------------------------------------------------------------

// The oldest fresh value is promoted or evicted.
void ShardWriter::retire_fresh() noexcept {
    const std::uint64_t position = fresh_.begin();
    const EntryHeader header = fresh_.load_header(position);
    Slot *slot = owner(header.key, Place(header.key, LogId::Fresh, position));
    if (slot != nullptr) {
        const bool proven = take_frequency(header.key, *slot) > 0 || admission_ == Admission::All;
        const std::uint32_t wanted = proven ? UINT32_MAX : sketch_.estimate(header.key);
        if (!header.is_expired(now_us_) && make_proven_room(header.words(), wanted))
            move_to_proven(LogId::Fresh, position, header, *slot);
        else
            evict(*slot, header);
    }
    fresh_.advance(header.words());
}

// Makes room in the proven log for a value with the count `wanted`. Evicts nothing if the victims together
// weigh as much or more.
bool ShardWriter::make_proven_room(std::uint64_t words, std::uint32_t wanted) noexcept {
    if (words > proven_.capacity())
        return false;
    for (int round = 0; proven_.free_words() < words; round++) {
        if (round == kMaxVictims || !settle_proven() || !outweighs_victims(words, wanted))
            return false;
        // settle_proven() left the next victim at the beginning.
        const std::uint64_t position = proven_.begin();
        const EntryHeader header = proven_.load_header(position);
        if (Slot *slot = owner(header.key, Place(header.key, LogId::Proven, position)))
            evict(*slot, header);
        proven_.advance(header.words());
    }
    return true;
}

// Reinserts values that were requested, until a value that was not requested is at the beginning. False if
// this took too long.
bool ShardWriter::settle_proven() noexcept {
    for (int round = 0; round < kMaxReinsertions && proven_.begin() != proven_.end(); round++) {
        const std::uint64_t position = proven_.begin();
        const EntryHeader header = proven_.load_header(position);
        Slot *slot = owner(header.key, Place(header.key, LogId::Proven, position));
        if (is_dead(header, slot) || take_frequency(header.key, *slot) == 0)
            return true;
        proven_.advance(header.words());
        move_to_proven(LogId::Proven, position, header, *slot);
    }
    return false;
}

// Whether `wanted` is more than the sum of the counts of all values that must go for `words` words, from the
// beginning on.
bool ShardWriter::outweighs_victims(std::uint64_t words, std::uint32_t wanted) const noexcept {
    std::uint64_t position = proven_.begin();
    std::uint64_t room = proven_.free_words();
    std::uint32_t weight = 0;
    for (int victims = 0; room < words; victims++) {
        if (victims == kMaxVictims || position == proven_.end())
            return false;
        const EntryHeader header = proven_.load_header(position);
        const Slot *slot = owner(header.key, Place(header.key, LogId::Proven, position));
        if (!is_dead(header, slot))
            weight += sketch_.estimate(header.key) + slot->load_use().frequency();
        if (weight >= wanted)
            return false;
        position += header.words();
        room += header.words();
    }
    return true;
}

// If there is less room than the value takes, its old words are overwritten while they are copied. In
// ascending order this is safe, as the target never overtakes the source. Readers of the old place notice, and
// look again.
void ShardWriter::move_to_proven(LogId from, std::uint64_t position, const EntryHeader &header, Slot &slot) noexcept {
    constexpr std::uint64_t kPiece = 64;
    char piece[kPiece * 8];
    const Log source = shard_.log(from);
    const std::uint64_t words = header.words();
    const std::uint64_t target = proven_.extend(words);
    for (std::uint64_t done = 0; done < words; done += kPiece) {
        const std::uint64_t count = std::min(kPiece, words - done);
        source.load(position + done, piece, count * 8);
        proven_.store(target + done, piece, count * 8);
    }
    // Fails if the value was erased meanwhile; its copy is then dead.
    (void)slot.swap_place(Place(header.key, from, position), Place(header.key, LogId::Proven, target));
}

bool ShardWriter::is_dead(const EntryHeader &header, const Slot *slot) const noexcept {
    return slot == nullptr || header.is_expired(now_us_);
}

// ---- slots ---------------------------------------------------------------------------------------------------------

// The slot that holds `place`; null if the value there was erased, replaced or displaced.
Slot *ShardWriter::owner(const KeyWords &key, Place place) const noexcept {
    for (int choice = 0; choice < 2; choice++)
        for (std::uint32_t i = 0; i < kSlotsPerBucket; i++) {
            Slot &slot = shard_.slots[shard_.bucket(key, choice) + i];
            if (slot.load_place().word() == place.word())
                return &slot;
        }
    return nullptr;
}

Slot *ShardWriter::slot_of(const KeyWords &key) const noexcept {
    for (int choice = 0; choice < 2; choice++)
        for (std::uint32_t i = 0; i < kSlotsPerBucket; i++) {
            Slot &slot = shard_.slots[shard_.bucket(key, choice) + i];
            const Place place = slot.load_place();
            EntryHeader header;
            if (place.may_be(key) && shard_.load_header(place, header) && header.key == key)
                return &slot;
        }
    return nullptr;
}

// An empty slot in the emptier bucket of `key`; if both are full, the least wanted value of them is evicted.
Slot &ShardWriter::slot_for_new(const KeyWords &key) noexcept {
    Slot *empty[2] = {};
    int empties[2] = {};
    Slot *coldest = nullptr;
    for (int choice = 0; choice < 2; choice++)
        for (std::uint32_t i = 0; i < kSlotsPerBucket; i++) {
            Slot &slot = shard_.slots[shard_.bucket(key, choice) + i];
            if (slot.load_place().is_empty()) {
                empty[choice] = &slot;
                empties[choice]++;
            } else if (coldest == nullptr || slot.load_use().frequency() < coldest->load_use().frequency()) {
                coldest = &slot;
            }
        }
    if (empties[0] + empties[1] > 0)
        return *empty[empties[1] > empties[0]];
    EntryHeader header;
    if (shard_.load_header(coldest->load_place(), header))
        evict(*coldest, header);
    return *coldest;
}

// Gives an empty slot to a new value. Hits still in the slot belong to an erased value.
void ShardWriter::assign(Slot &slot, Place place) noexcept {
    Use use = slot.load_use();
    while (!slot.swap_use(use, use.next_generation())) {
    }
    count(shard_.state->settled_hits, use.hits());
    count(shard_.state->unfolded_hits, use.hits());
    shard_.state->entries.fetch_add(1, std::memory_order_relaxed);
    slot.place.store(place.word(), std::memory_order_release);  // pairs with Slot::load_place()
}

void ShardWriter::evict(Slot &slot, const EntryHeader &header) noexcept {
    if (!shard_.vacate(slot, slot.load_place()))
        return;  // erased this moment
    Use use = slot.load_use();
    while (!slot.swap_use(use, use.next_generation())) {
    }
    count(shard_.state->evictions);
    depart(header, use);
}

// Keeps an evicted value's hits for the next drain.
void ShardWriter::depart(const EntryHeader &header, Use use) noexcept {
    if (use.hits() == 0)
        return;
    ShardState &state = *shard_.state;
    const std::uint32_t waiting = state.departed_count.load(std::memory_order_relaxed);
    count(state.settled_hits, use.hits());
    if (waiting == shard_.geometry->departed) {
        count(state.unfolded_hits, use.hits());
        return;
    }
    shard_.departed[waiting] = {header.key, use.word(), header.owner(), header.role()};
    state.departed_count.store(waiting + 1, std::memory_order_relaxed);
}

// How often the value was asked for since this was last called; the sketch learns it.
std::uint32_t ShardWriter::take_frequency(const KeyWords &key, Slot &slot) noexcept {
    Use use = slot.load_use();
    if (use.frequency() == 0)
        return 0;
    while (!slot.swap_use(use, use.with_frequency(0))) {
    }
    sketch_.add(key, use.frequency(), entries());
    return use.frequency();
}

}  // namespace steadytext::shmem::cache
