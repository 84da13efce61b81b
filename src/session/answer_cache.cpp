// Values of the hot cache, packed and unpacked: see answer_cache.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/answer_cache.hpp"
#include "shmem/segment.hpp"
#include "src/pg/boundary.hpp"

#include <algorithm>

namespace steadytext::session {

namespace {

constexpr std::string_view kReasons[] = {"stop", "length", "eos"};

// What precedes a text in its cached value.
struct TextHeader {
    std::int32_t prompt_tokens;
    std::int32_t completion_tokens;
    std::uint32_t reason;
};

shmem::HotCache *hot_cache() { return shmem::segment().hot_cache; }

shmem::CacheKey key_of(const core::Digest &digest) {
    shmem::CacheKey key;
    memcpy(key.bytes, digest.bytes, sizeof key.bytes);
    return key;
}

// Takes a cached value into palloc'd memory; false if it is not there.
bool read_value(const core::Digest &digest, shmem::ValueKind kind, std::string_view &value) {
    if (hot_cache() == nullptr)
        return false;
    // The reader copies while it holds the entry, and must not raise then: the room is made first, and again if the
    // entry was replaced by a larger one in between.
    std::size_t size = 0;
    char *buffer = nullptr;
    std::size_t room = 0;
    for (;;) {
        const auto result = hot_cache()->read(key_of(digest), kind, buffer, room, size);
        if (result == shmem::ReadResult::Hit) {
            value = {buffer, size};
            return true;
        }
        if (result == shmem::ReadResult::Miss)
            return false;
        room = size;
        buffer = static_cast<char *>(palloc_extended(room, MCXT_ALLOC_HUGE));
    }
}

void write_value(const core::Digest &digest, shmem::ValueKind kind, std::string_view value) {
    if (hot_cache() != nullptr)
        (void)hot_cache()->insert(key_of(digest), kind, value);
}

}  // namespace

bool recall_text(const core::Digest &key, CachedText &found) {
    std::string_view value;
    TextHeader header;
    if (!read_value(key, shmem::ValueKind::Text, value) || value.size() < sizeof header)
        return false;
    memcpy(&header, value.data(), sizeof header);
    found.text = value.substr(sizeof header);
    found.prompt_tokens = header.prompt_tokens;
    found.completion_tokens = header.completion_tokens;
    found.finish_reason = kReasons[header.reason % std::size(kReasons)];
    return true;
}

void remember_text(const core::Digest &key, const CachedText &value) {
    const auto reason = std::find(std::begin(kReasons), std::end(kReasons), value.finish_reason) - std::begin(kReasons);
    const TextHeader header{value.prompt_tokens, value.completion_tokens,
                            static_cast<std::uint32_t>(reason) % static_cast<std::uint32_t>(std::size(kReasons))};
    char *packed = static_cast<char *>(palloc_extended(sizeof header + value.text.size(), MCXT_ALLOC_HUGE));
    memcpy(packed, &header, sizeof header);
    memcpy(packed + sizeof header, value.text.data(), value.text.size());
    write_value(key, shmem::ValueKind::Text, {packed, sizeof header + value.text.size()});
    pfree(packed);
}

bool recall_vector(const core::Digest &key, std::vector<float> &vector) {
    std::string_view value;
    if (!read_value(key, shmem::ValueKind::Embedding, value) || value.size() % sizeof(float) != 0)
        return false;
    pg::guarded([&](core::Problem &) {
        vector.resize(value.size() / sizeof(float));
        memcpy(vector.data(), value.data(), value.size());
        return true;
    });
    return true;
}

void remember_vector(const core::Digest &key, const std::vector<float> &vector) {
    write_value(key, shmem::ValueKind::Embedding,
                {reinterpret_cast<const char *>(vector.data()), vector.size() * sizeof(float)});
}

}  // namespace steadytext::session
