// The GGUF files of a directory: their names, what they are, and which of them cannot be served and why.
//
// Called by model_shelf.cpp, on a thread beside the server's. Nobody else makes a path: requests name models, and a name
// is only ever compared with those found here. Regime: pure (may throw std::bad_alloc).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/gguf_header.hpp"

namespace steadytext::daemon {

// While it stays the same, so does the file.
struct FileIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint64_t size = 0;
    std::int64_t changed_ns = 0;

    friend bool operator==(const FileIdentity &, const FileIdentity &) = default;
};

struct FoundModel {
    std::string name;  // the file's, without `.gguf`
    std::string path;
    FileIdentity identity;
    GgufHeader header;
    std::string why_not;  // it cannot be served; empty: nothing speaks against it
};

inline constexpr std::size_t kMostFoundModels = 1'024;

[[nodiscard]] bool is_directory(const std::string &path);

// In the order of their names. Left out are files whose name no request can have, and links that lead out of the
// directory. What is among `known` and did not change is not looked into again. False, with the problem,
// if the directory cannot be read.
[[nodiscard]] bool list_models(const std::string &directory, const std::vector<FoundModel> &known,
                               std::vector<FoundModel> &models, core::Problem &problem);

}  // namespace steadytext::daemon
