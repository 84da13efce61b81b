// The facts that a daemon reports about itself: the answer to `info`, read with distrust.
//
// Called by the gateway (bgworker/daemon_control.cpp) on each answer to a request of its own. Regime: pure (may throw
// std::bad_alloc, nothing else, whatever the daemon sent). Library: simdjson's DOM. A member is used only if it has its
// type and lies within its bounds; otherwise it counts as not reported. So if a daemon sends nonsense, little is known
// about it, but nothing ends and other daemons are not affected.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace steadytext::core {

inline constexpr std::size_t kMaxInfoBytes = 2 << 20;
inline constexpr std::size_t kMaxToldModels = 2048;  // of a single daemon: more would take the room of other daemons
inline constexpr std::uint32_t kMaxToldSlots = 1 << 24;
inline constexpr std::uint64_t kMaxToldMemory = std::uint64_t{1} << 50;

enum class ToldRole : std::uint8_t { Generation, Embedding, Reranker };

struct ToldModel {
    ToldRole role = ToldRole::Generation;
    std::int32_t dimensions = 0;   // 0: not reported
    std::string_view name;         // "" is a name too
    std::string_view fingerprint;  // empty: not reported, or not yet
};

// Texts are valid until the next answer is read. Names and fingerprints have no control characters.
struct DaemonInfo {
    std::string_view name;
    std::string_view version;
    std::uint32_t slots = 0;           // 0: not reported
    std::uint64_t resident_bytes = 0;  // 0: not reported
    bool embeds_batches = false;
    bool counts_tokens = false;
    bool knows_priority = false;  // it puts requests in the background behind the others
    bool is_loading = false;      // it says that it loads models
    std::vector<ToldModel> models;
    bool has_more_models = false;  // there are more models than the daemon reports, or than are kept
};

// The longest names that are kept. A model with a longer name or fingerprint is left out: cut short it might be
// mistaken for another model.
struct InfoLimits {
    std::size_t model_name;
    std::size_t fingerprint;
};

// False if the body is no JSON object with an object as its result, or is larger than an answer to `info` can be.
[[nodiscard]] bool read_daemon_info(std::string_view body, const InfoLimits &limits, DaemonInfo &info);

// The memory in an answer to `info`; false if the body is no such answer. 0: not reported.
[[nodiscard]] bool read_resident_bytes(std::string_view body, std::uint64_t &bytes);

}  // namespace steadytext::core
