// What a daemon says of itself: the answer to `info`, read with distrust.
//
// Called by the gateway (bgworker/daemon_control.cpp) on each answer to a question of its own. Regime: pure (may throw
// std::bad_alloc, nothing else, whatever the daemon sent). Library: simdjson's DOM; each member is taken only if it has its type
// and lies within its bounds, and is as good as untold otherwise. So a daemon that sends nonsense is a daemon of which little is
// known; it ends nothing and costs no other daemon anything.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace steadytext::core {

inline constexpr std::size_t kMostInfoBytes = 2 << 20;
inline constexpr std::size_t kMostToldModels = 2048;  // of one daemon: what it tells beyond them would take others' room
inline constexpr std::uint32_t kMostToldSlots = 1 << 24;
inline constexpr std::uint64_t kMostToldMemory = std::uint64_t{1} << 50;

enum class ToldRole : std::uint8_t { Generation, Embedding, Reranker };

struct ToldModel {
    ToldRole role = ToldRole::Generation;
    std::int32_t dimensions = 0;  // 0: not told
    std::string_view name;        // "" is a name too
    std::string_view fingerprint;  // empty: not told, or not yet
};

// Texts are valid until the next one is read. Names and fingerprints have no control characters.
struct DaemonInfo {
    std::string_view name;
    std::string_view version;
    std::uint32_t slots = 0;           // 0: not told
    std::uint64_t resident_bytes = 0;  // 0: not told
    bool embeds_batches = false;
    std::vector<ToldModel> models;
    bool has_more_models = false;  // than are told, or than are taken
};

// The longest names that are kept whole; a model with a longer one, or a longer fingerprint, is left out: cut short it might be
// taken for another.
struct InfoLimits {
    std::size_t model_name;
    std::size_t fingerprint;
};

// False if it is no JSON object with an object as its result, or is larger than an answer to `info` can be.
[[nodiscard]] bool read_daemon_info(std::string_view body, const InfoLimits &limits, DaemonInfo &info);

// The memory told by an answer to `info`; false if the answer is none. 0: not told.
[[nodiscard]] bool read_resident_bytes(std::string_view body, std::uint64_t &bytes);

}  // namespace steadytext::core
