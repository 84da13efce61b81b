// Divides the memory of a shard. Regime: pure.
#include "shmem/hot_cache_shard.hpp"

namespace steadytext::shmem::cache {

std::size_t ShardGeometry::shard_bytes() const noexcept {
    return sizeof(ShardState) + round_up(slots * sizeof(Slot)) + round_up(sketch_words * std::size_t{8}) +
           round_up(departed * sizeof(DepartedHits)) + round_up(log_words[0] * 8) + round_up(log_words[1] * 8);
}

Shard::Shard(const ShardGeometry &geometry_, char *memory) noexcept : geometry(&geometry_) {
    const auto take = [&memory](std::size_t bytes) {
        char *piece = memory;
        memory += round_up(bytes);
        return piece;
    };
    state = reinterpret_cast<ShardState *>(take(sizeof(ShardState)));
    slots = reinterpret_cast<Slot *>(take(geometry->slots * sizeof(Slot)));
    sketch_words = reinterpret_cast<std::uint64_t *>(take(geometry->sketch_words * std::size_t{8}));
    departed = reinterpret_cast<DepartedHits *>(take(geometry->departed * sizeof(DepartedHits)));
    for (int i = 0; i < 2; i++)
        log_words[i] = reinterpret_cast<std::uint64_t *>(take(geometry->log_words[i] * 8));
}

}  // namespace steadytext::shmem::cache
