// Numbers, then each text after its length: see cache_record.hpp. Regime: pure.
#include "src/core/cache_record.hpp"

#include <cstring>
#include <type_traits>

namespace steadytext::core {

namespace {

// Every text member, in the order in which they are written.
constexpr std::string_view CacheRecord::*kTexts[] = {
    &CacheRecord::legacy_key, &CacheRecord::operation, &CacheRecord::scope,  &CacheRecord::prompt,
    &CacheRecord::text,       &CacheRecord::vector,    &CacheRecord::model,  &CacheRecord::fingerprint,
    &CacheRecord::size,       &CacheRecord::eos,       &CacheRecord::params, &CacheRecord::finish_reason,
    &CacheRecord::key_params};

static_assert(std::is_trivially_copyable_v<CacheRecord::Numbers>);

}  // namespace

void encode(const CacheRecord &record, std::string &bytes) {
    bytes.assign(reinterpret_cast<const char *>(&record.numbers), sizeof record.numbers);
    for (const auto member : kTexts) {
        const std::string_view text = record.*member;
        const auto size = static_cast<std::uint32_t>(text.size());
        bytes.append(reinterpret_cast<const char *>(&size), sizeof size);
        bytes.append(text);
    }
}

bool decode(std::string_view bytes, CacheRecord &record) noexcept {
    if (bytes.size() < sizeof record.numbers)
        return false;
    std::memcpy(&record.numbers, bytes.data(), sizeof record.numbers);
    bytes.remove_prefix(sizeof record.numbers);
    for (const auto member : kTexts) {
        std::uint32_t size = 0;
        if (bytes.size() < sizeof size)
            return false;
        std::memcpy(&size, bytes.data(), sizeof size);
        bytes.remove_prefix(sizeof size);
        if (bytes.size() < size)
            return false;
        record.*member = bytes.substr(0, size);
        bytes.remove_prefix(size);
    }
    return bytes.empty();
}

}  // namespace steadytext::core
