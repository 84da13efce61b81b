// What a hit in the hot cache costs: for 1,000 to a million values, bare and with the key made from a 1 kB
// prompt, as a session does.
//
// Run by `make -C bench/hot_cache`. Asks for random values, find() and copy_out() each. Which is next depends
// on the last answer, so that the processor cannot overlap two lookups. All caches take turns in each of 15
// rounds; medians.
#include "shmem/hot_cache.hpp"

#include <sys/mman.h>

#include <cstdio>
#include <string>
#include <vector>

namespace {

using namespace steadytext;
using shmem::HotCache;

constexpr int kRounds = 15;
constexpr int kHits = 100'000;

// The key of a prompt that holds `number`; without a prompt, a made-up one that costs next to nothing.
core::Digest key_of(std::uint32_t number, std::string &prompt) {
    core::Digest key;
    if (prompt.empty()) {
        std::uint64_t word = number + 1;
        for (int i = 0; i < 4; i++) {
            word = (word ^ word >> 29) * 0xBF58'476D'1CE4'E5B9U;
            word ^= word >> 32;
            std::memcpy(key.bytes + 8 * i, &word, 8);
        }
        return key;
    }
    core::Sha256 *sha = core::Sha256::instance();
    std::memcpy(prompt.data(), &number, sizeof number);
    sha->begin();
    sha->add(prompt);
    return sha->finish();
}

// A cache of so many values; each measure() is one round of hits.
class FilledCache {
public:
    FilledCache(std::uint32_t entries, std::size_t bytes, std::size_t prompt_bytes)
        : entries_(entries), prompt_(prompt_bytes, 'p') {
        const shmem::HotCacheConfig config{std::max<std::size_t>(1U << 20, entries * (bytes + 220) * 5 / 4)};
        void *memory =
            mmap(nullptr, HotCache::bytes_needed(config), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        cache_ = HotCache::place(memory, config);
        const std::string value(bytes, 'v');
        for (std::uint32_t i = 0; i < entries; i++)
            cache_->insert(key_of(i, prompt_), {shmem::ValueKind::Text, value}, core::unix_us());
    }

    void measure() {
        char buffer[2048] = "";
        shmem::CacheHit hit;
        std::uint64_t state = rounds_.size();
        int hits = 0;
        const std::int64_t begin = core::monotonic_us();
        for (int i = 0; i < kHits; i++) {
            state = state * 6'364'136'223'846'793'005U + 1'442'695'040'888'963'407U + (buffer[0] == '\0');
            const auto number = static_cast<std::uint32_t>((state >> 32) * entries_ >> 32);
            if (cache_->find(key_of(number, prompt_), begin, hit) && cache_->copy_out(hit, begin, buffer))
                hits++;
        }
        rounds_.push_back(1000.0 * static_cast<double>(core::monotonic_us() - begin) / hits);
    }

    [[nodiscard]] double median() {
        std::sort(rounds_.begin(), rounds_.end());
        return rounds_[rounds_.size() / 2];
    }

private:
    HotCache *cache_;
    std::uint32_t entries_;
    std::string prompt_;
    std::vector<double> rounds_;
};

}  // namespace

int main() {
    const std::size_t kPrompt = 1024;
    std::printf("%9s %12s %16s %28s\n", "entries", "value bytes", "ns per hit", "with key of a 1 kB prompt");
    struct Case {
        std::uint32_t entries;
        std::size_t bytes;
    };
    std::vector<FilledCache> bare, keyed;
    const std::vector<Case> cases{{1'000, 100}, {100'000, 100}, {1'000'000, 100}, {1'000, 1024}, {50'000, 1024}};
    for (const Case &each : cases) {
        bare.emplace_back(each.entries, each.bytes, 0);
        keyed.emplace_back(each.entries, each.bytes, kPrompt);
    }
    for (int round = 0; round < kRounds; round++)
        for (std::size_t i = 0; i < cases.size(); i++) {
            bare[i].measure();
            keyed[i].measure();
        }
    for (std::size_t i = 0; i < cases.size(); i++)
        std::printf("%9u %12zu %16.0f %28.0f\n", cases[i].entries, cases[i].bytes, bare[i].median(), keyed[i].median());
}
