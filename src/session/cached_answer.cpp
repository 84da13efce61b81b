// A text follows its counts, a vector stands alone: see cached_answer.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/cached_answer.hpp"

#include <algorithm>
#include <iterator>

namespace steadytext::session {

namespace {

constexpr std::string_view kReasons[] = {"stop", "length", "eos"};

// What precedes a text.
struct TextHeader {
    std::int32_t prompt_tokens;
    std::int32_t completion_tokens;
    std::uint32_t reason;
};

}  // namespace

std::string_view pack(const CachedAnswer &answer) {
    if (answer.kind == shmem::ValueKind::Embedding)
        return answer.vector;
    const auto reason = std::find(std::begin(kReasons), std::end(kReasons), answer.finish_reason) - std::begin(kReasons);
    const TextHeader header{answer.prompt_tokens, answer.completion_tokens,
                            static_cast<std::uint32_t>(reason) % static_cast<std::uint32_t>(std::size(kReasons))};
    char *packed = static_cast<char *>(palloc_extended(sizeof header + answer.text.size(), MCXT_ALLOC_HUGE));
    memcpy(packed, &header, sizeof header);
    memcpy(packed + sizeof header, answer.text.data(), answer.text.size());
    return {packed, sizeof header + answer.text.size()};
}

bool unpack(shmem::ValueKind kind, std::string_view bytes, CachedAnswer &answer) {
    answer.kind = kind;
    if (kind == shmem::ValueKind::Embedding) {
        answer.vector = bytes;
        return bytes.size() % sizeof(float) == 0;
    }
    TextHeader header;
    if (bytes.size() < sizeof header)
        return false;
    memcpy(&header, bytes.data(), sizeof header);
    answer.text = bytes.substr(sizeof header);
    answer.prompt_tokens = header.prompt_tokens;
    answer.completion_tokens = header.completion_tokens;
    answer.finish_reason = kReasons[header.reason % std::size(kReasons)];
    return true;
}

}  // namespace steadytext::session
