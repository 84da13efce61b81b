// What a GGUF file says of its model, read without llama.cpp: what it is for, and what it takes.
//
// Called by model_directory.cpp for each file of a directory, among which may be broken and hostile ones: so everything
// is bounded, and nothing is believed that the file's size contradicts. Regime: pure.
#pragma once

#include <cstdint>
#include <string>

#include "src/core/problem.hpp"

namespace steadytext::daemon {

enum class Role { Generation, Embedding, Reranker };
inline constexpr const char *kRoleNames[] = {"generation", "embedding", "reranker"};

struct GgufHeader {
    Role role = Role::Generation;
    bool is_part = false;  // of a model in several files
    std::uint64_t file_bytes = 0;
    std::uint64_t layers = 0;
    std::uint64_t heads = 0;
    std::uint64_t width = 0;
    std::uint64_t window = 0;  // of one that does not generate: what the engine uses of it
    std::uint64_t vocabulary = 0;
    std::uint64_t cache_bytes = 0;  // a token's, of all layers; 0: it has no such cache
};

[[nodiscard]] bool read_gguf_header(const std::string &path, GgufHeader &header, core::Problem &problem);

// The memory that serving this model takes, about: its weights, its cache, and room to compute in.
[[nodiscard]] std::uint64_t memory_of(const GgufHeader &header, int slots, int context, int prefix_memory_mb);

}  // namespace steadytext::daemon
