// The chunk pool: see payload_pool.hpp for the protocol. Regime: pure.
#include "shmem/payload_pool.hpp"

#include <algorithm>
#include <new>

namespace steadytext::shmem {

namespace {

constexpr std::uint32_t index_of(std::uint64_t head) noexcept { return static_cast<std::uint32_t>(head); }

// The word that follows `head`: a new first index under a raised tag.
constexpr std::uint64_t successor(std::uint64_t head, std::uint32_t index) noexcept {
    return ((head >> 32) + 1) << 32 | index;
}

constexpr std::size_t links_offset() noexcept { return round_up(sizeof(PayloadPool)); }

constexpr std::size_t chunks_offset(std::uint32_t count) noexcept {
    return round_up(links_offset() + count * sizeof(std::atomic<std::uint32_t>));
}

}  // namespace

std::size_t PayloadPool::bytes_needed(std::size_t payload_bytes) noexcept {
    const std::uint32_t count = chunks_for(payload_bytes);
    return chunks_offset(count) + count * kChunkBytes;
}

PayloadPool *PayloadPool::place(void *memory, std::size_t payload_bytes) noexcept {
    return new (memory) PayloadPool(chunks_for(payload_bytes));
}

PayloadPool::PayloadPool(std::uint32_t chunk_count) noexcept
    : head_(chunk_count == 0 ? Chain::kNone : 0), chunk_count_(chunk_count) {
    for (std::uint32_t i = 0; i < chunk_count; i++)
        new (&links()[i]) std::atomic<std::uint32_t>(i + 1 < chunk_count ? i + 1 : Chain::kNone);
}

std::atomic<std::uint32_t> *PayloadPool::links() noexcept {
    return reinterpret_cast<std::atomic<std::uint32_t> *>(reinterpret_cast<char *>(this) + links_offset());
}

const std::atomic<std::uint32_t> *PayloadPool::links() const noexcept {
    return const_cast<PayloadPool *>(this)->links();
}

char *PayloadPool::chunk(std::uint32_t index) noexcept {
    return reinterpret_cast<char *>(this) + chunks_offset(chunk_count_) + index * kChunkBytes;
}

const char *PayloadPool::chunk(std::uint32_t index) const noexcept {
    return const_cast<PayloadPool *>(this)->chunk(index);
}

bool PayloadPool::allocate(std::size_t bytes, Chain &chain) noexcept {
    chain = Chain{};
    if (bytes > std::size_t{chunk_count_} * kChunkBytes)
        return false;
    const std::uint32_t wanted = chunks_for(bytes);
    if (wanted == 0)
        return true;

    std::uint64_t head = head_.load();  // acquire: pairs with the release in free(); seq_cst: see waiting_line.hpp
    for (;;) {
        std::uint32_t last = index_of(head);
        std::uint32_t found = last < chunk_count_ ? 1 : 0;
        while (found > 0 && found < wanted) {
            last = links()[last].load(std::memory_order_relaxed);
            if (last >= chunk_count_)
                break;
            found++;
        }
        if (found < wanted) {
            // Too short, or walked over links that changed under us: only an unchanged head tells the two apart.
            const std::uint64_t again = head_.load(std::memory_order_acquire);
            if (again == head)
                return false;
            head = again;
            continue;
        }
        const std::uint32_t rest = links()[last].load(std::memory_order_relaxed);
        const std::uint32_t first = index_of(head);
        if (head_.compare_exchange_weak(head, successor(head, rest), std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
            links()[last].store(Chain::kNone, std::memory_order_relaxed);
            in_use_.fetch_add(wanted, std::memory_order_relaxed);
            chain.first = first;
            chain.bytes = static_cast<std::uint32_t>(bytes);
            return true;
        }
    }
}

bool PayloadPool::store(std::string_view text, Chain &chain) noexcept {
    if (!allocate(text.size(), chain))
        return false;
    std::uint32_t index = chain.first;
    for (std::size_t done = 0; done < text.size(); done += kChunkBytes) {
        std::memcpy(chunk(index), text.data() + done, std::min(kChunkBytes, text.size() - done));
        index = links()[index].load(std::memory_order_relaxed);
    }
    return true;
}

void PayloadPool::free(Chain &chain) noexcept {
    if (chain.first >= chunk_count_) {
        chain = Chain{};
        return;
    }
    std::uint32_t last = chain.first;
    std::uint32_t count = 1;
    for (std::uint32_t next; (next = links()[last].load(std::memory_order_relaxed)) < chunk_count_; last = next)
        if (++count > chunk_count_)
            return;  // a ring of links: damaged; losing the chunks is better than looping for ever

    std::uint64_t head = head_.load(std::memory_order_relaxed);
    do
        links()[last].store(index_of(head), std::memory_order_relaxed);
    while (!head_.compare_exchange_weak(head, successor(head, chain.first),
                                        std::memory_order_seq_cst,  // release: pairs with the acquire in allocate()
                                        std::memory_order_relaxed));
    in_use_.fetch_sub(count);  // last: a chunk counted as free is in the free list
    chain = Chain{};
}

bool PayloadPool::copy_out(const Chain &chain, char *target) const noexcept {
    std::uint32_t index = chain.first;
    for (std::size_t done = 0; done < chain.bytes; done += kChunkBytes) {
        if (index >= chunk_count_)
            return false;
        std::memcpy(target + done, chunk(index), std::min<std::size_t>(kChunkBytes, chain.bytes - done));
        index = links()[index].load(std::memory_order_relaxed);
    }
    return true;
}

}  // namespace steadytext::shmem
