// Reads a key from a file, with checks. Called by the gateway. Regime: pure.
//
// No symbolic link is followed; only a regular file is read; a file with a secret must be closed to group and others.
// Neither the key nor any other content of the file ever enters a message.
#pragma once

#include "src/core/problem.hpp"

#include <string>

namespace steadytext::core {

enum class KeyKind { Secret, Public };

// The file's single line of ASCII, without white space at either end; at most 8 kB.
[[nodiscard]] bool read_key_file(const char *path, KeyKind kind, std::string &key, Problem &problem);

// A text of any characters and lines; nobody else may be able to write the file.
[[nodiscard]] bool read_text_file(const char *path, std::size_t most, std::string &text, Problem &problem);

}  // namespace steadytext::core
