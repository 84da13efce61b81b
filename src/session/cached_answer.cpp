// A text follows its counts and its reason; a vector stands alone, but for a byte if it is the original's: see cached_answer.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/cached_answer.hpp"

#include <algorithm>

namespace steadytext::session {

namespace {

constexpr std::size_t kLongestReason = 64;

// The bytes before the finish reason and the text.
struct TextHeader {
    std::int32_t prompt_tokens;
    std::int32_t completion_tokens;
    std::uint32_t reason_bytes;
    std::uint32_t is_legacy;
};

std::string_view with_mark(std::string_view vector) {
    char *packed = static_cast<char *>(palloc(vector.size() + 1));
    vector.copy(packed, vector.size());
    packed[vector.size()] = '\0';
    return {packed, vector.size() + 1};
}

}  // namespace

std::string_view pack(const CachedAnswer &answer) {
    if (answer.kind == shmem::ValueKind::Embedding)
        return answer.is_legacy ? with_mark(answer.vector) : answer.vector;
    const std::string_view reason = answer.finish_reason.substr(0, kLongestReason);
    const TextHeader header{answer.prompt_tokens, answer.completion_tokens, static_cast<std::uint32_t>(reason.size()),
                            answer.is_legacy};
    const std::size_t size = sizeof header + reason.size() + answer.text.size();
    char *packed = static_cast<char *>(palloc_extended(size, MCXT_ALLOC_HUGE));
    memcpy(packed, &header, sizeof header);
    reason.copy(packed + sizeof header, reason.size());
    answer.text.copy(packed + sizeof header + reason.size(), answer.text.size());
    return {packed, size};
}

bool unpack(shmem::ValueKind kind, std::string_view bytes, CachedAnswer &answer) {
    answer.kind = kind;
    if (kind == shmem::ValueKind::Embedding) {
        answer.is_legacy = bytes.size() % sizeof(float) == 1;
        bytes.remove_suffix(answer.is_legacy ? 1 : 0);
        answer.vector = bytes;
        return bytes.size() % sizeof(float) == 0;
    }
    TextHeader header;
    if (bytes.size() < sizeof header)
        return false;
    memcpy(&header, bytes.data(), sizeof header);
    bytes.remove_prefix(sizeof header);
    if (header.reason_bytes > std::min(bytes.size(), kLongestReason))
        return false;
    answer.finish_reason = bytes.substr(0, header.reason_bytes);
    answer.text = bytes.substr(header.reason_bytes);
    answer.prompt_tokens = header.prompt_tokens;
    answer.completion_tokens = header.completion_tokens;
    answer.is_legacy = header.is_legacy != 0;
    return true;
}

}  // namespace steadytext::session
