// Makes the words of an engine or a daemon fit for a message, a log or a view: a single line, without anything that
// controls a terminal.
//
// Called wherever words of another program reach a user. Regime: pure (may throw std::bad_alloc).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace steadytext::core {

// At most `most` bytes. White space and control characters, also characters that turn the direction of writing, become
// a blank; several of them become a single blank. Bytes that are not UTF-8 become "?". In a web page, tags, scripts and
// styles are left out.
[[nodiscard]] std::string plain_words(std::string_view text, std::size_t most);

}  // namespace steadytext::core
