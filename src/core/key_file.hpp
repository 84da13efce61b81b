// Reading a key out of a file that must be what it seems. Called by the gateway and by daemons. Regime: pure.
//
// No symbolic link is followed, only a regular file is read; a secret must be closed to group and others. Neither the key
// nor what else the file holds ever enters a message.
#pragma once

#include "src/core/problem.hpp"

#include <string>

namespace steadytext::core {

enum class KeyKind { Secret, Public };

// The file's one line of ASCII, without white space at either end; at most 8 kB.
[[nodiscard]] bool read_key_file(const char *path, KeyKind kind, std::string &key, Problem &problem);

// A text of any characters and lines, as long as nobody else may write it.
[[nodiscard]] bool read_text_file(const char *path, std::size_t most, std::string &text, Problem &problem);

}  // namespace steadytext::core
