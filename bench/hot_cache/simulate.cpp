// Hit ratios of the hot cache itself on made-up traces, beside LRU, S3-FIFO and W-TinyLFU of the same
// capacity.
//
// Run by `make -C bench/hot_cache`, and by the hot_cache topic with the number of a run, which makes other
// traces each time: then Zipf, scans and loops only. Prints a line of a table for each trace and cache size:
// the name, the capacity as a share of all bytes asked for more than once, and hit ratios in percent, each
// rival's followed by our lead. The others are charged for each value what ours takes for it in its logs, and get as
// many bytes as our logs have.
#include "bench/hot_cache/policies.hpp"
#include "bench/hot_cache/traces.hpp"
#include "shmem/hot_cache.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_set>

namespace steadytext::bench {
namespace {

core::Digest digest_of(std::uint64_t object) {
    Random random(object * 2 + 1);
    core::Digest digest;
    for (int i = 0; i < 4; i++) {
        const std::uint64_t word = random.next();
        std::memcpy(digest.bytes + i * 8, &word, 8);
    }
    return digest;
}

std::size_t charge(std::size_t value_bytes) { return shmem::cache::EntryHeader::words_for(value_bytes) * 8; }

class Ours : public Policy {
public:
    explicit Ours(std::size_t bytes)
        : memory_(std::aligned_alloc(64, shmem::round_up(shmem::HotCache::bytes_needed({bytes}))), std::free),
          cache_(shmem::HotCache::place(memory_.get(), {bytes})), value_(1U << 20, 'x') {}

    bool request(std::uint64_t object, std::size_t bytes) override {
        const core::Digest key = digest_of(object);
        shmem::CacheHit hit;
        now_us_ += 100;
        if (cache_->read(key, now_us_, value_.data(), value_.size(), hit) == shmem::ReadResult::Hit)
            return true;
        cache_->insert(key, {shmem::ValueKind::Text, {value_.data(), bytes}}, now_us_);
        return false;
    }
    std::size_t capacity() { return cache_->stats().bytes_total; }

private:
    std::unique_ptr<void, void (*)(void *)> memory_;
    shmem::HotCache *cache_;
    std::string value_;
    std::int64_t now_us_ = core::unix_us();
};

double hit_percent(Policy &policy, const Trace &trace) {
    std::size_t hits = 0;
    for (const std::uint64_t object : trace.requests)
        hits += policy.request(object, trace.size_of(object));
    return 100.0 * static_cast<double>(hits) / static_cast<double>(trace.requests.size());
}

// Charges the simulated policies what an entry of ours takes.
class Charged : public Policy {
public:
    explicit Charged(std::unique_ptr<Policy> policy) : policy_(std::move(policy)) {}
    bool request(std::uint64_t object, std::size_t bytes) override { return policy_->request(object, charge(bytes)); }

private:
    std::unique_ptr<Policy> policy_;
};

std::size_t footprint(const Trace &trace) {
    std::unordered_set<std::uint64_t> seen;
    std::size_t bytes = 0;
    for (const std::uint64_t object : trace.requests)
        if (object < kScanObjects && seen.insert(object).second)
            bytes += charge(trace.size_of(object));
    return bytes;
}

void measure(const Trace &trace) {
    const std::size_t all = footprint(trace);
    for (const double share : {0.03, 0.1, 0.3}) {
        Ours ours(static_cast<std::size_t>(static_cast<double>(all) * share));
        const std::size_t capacity = ours.capacity();
        Charged lru(std::make_unique<Lru>(capacity));
        Charged s3(std::make_unique<S3Fifo>(capacity));
        Charged tiny(std::make_unique<WTinyLfu>(capacity));
        const double ratios[] = {hit_percent(ours, trace), hit_percent(lru, trace), hit_percent(s3, trace),
                                 hit_percent(tiny, trace)};
        std::printf("| %-26s | %3.0f %% | %5.1f | %5.1f (%+5.1f) | %5.1f (%+5.1f) | %5.1f (%+5.1f) |\n",
                    trace.name.c_str(), 100 * share, ratios[0], ratios[1], ratios[0] - ratios[1], ratios[2],
                    ratios[0] - ratios[2], ratios[3], ratios[0] - ratios[3]);
        std::fflush(stdout);
    }
}

}  // namespace
}  // namespace steadytext::bench

int main(int count, char **words) {
    using namespace steadytext::bench;
    constexpr std::size_t kLength = 2'000'000;
    constexpr std::size_t kObjects = 200'000;
    const bool brief = count > 1;
    const std::uint64_t run = brief ? 10 * std::strtoull(words[1], nullptr, 10) : 0;
    std::printf("| trace | cache | hot cache | LRU | S3-FIFO | W-TinyLFU |\n|---|---|---|---|---|---|\n");
    for (const bool varied : {false, true}) {
        const std::string suffix = varied ? ", varied sizes" : ", 1 kB";
        measure({"Zipf 1.0" + suffix, zipf(kLength, kObjects, 1.0, run + 1), varied});
        if (!brief)
            measure({"Zipf 0.8" + suffix, zipf(kLength, kObjects, 0.8, 2), varied});
        measure({"Zipf + scans" + suffix, with_scans(zipf(kLength, kObjects, 0.9, run + 3), 20'000, 20'000), varied});
        measure({"loop" + suffix, loop(kLength, kObjects), varied});
        if (brief)
            continue;
        measure({"drifting" + suffix, drifting(kLength, kObjects, 0.9, 5'000, 4), varied});
        measure({"recent" + suffix, recent(kLength, kObjects, 0.9, 0.1, 5), varied});
    }
}
