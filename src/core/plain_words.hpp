// What an engine or a daemon wrote, as it may stand in a message, a log or a view: one line, and nothing in it that rules a terminal.
//
// Called wherever words of another program reach a user. Regime: pure (may throw std::bad_alloc).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace steadytext::core {

// At most so many bytes. White space and control characters, those that turn the direction of writing among them, become a blank, several of them one; bytes
// that are no UTF-8 become "?". Of a web page its tags, scripts and styles are left out.
[[nodiscard]] std::string plain_words(std::string_view text, std::size_t most);

}  // namespace steadytext::core
