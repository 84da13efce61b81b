// Unicode normalization form C of prompts, so that two spellings of the same text have the same cache key.
//
// Called by src/session and src/functions/cache_key.cpp. Regime: pure (may throw std::bad_alloc). Library: utf8proc.
// Nearly all texts are normalised already, and most of them are recognised without tables: ASCII, code points below
// U+0300, ideographs, kana, Hangul syllables. For other texts the time is proportional to the length, for any marks in
// any order.
#pragma once

#include "src/core/work.hpp"

#include <string>
#include <string_view>

namespace steadytext::core {

// True if the text is certainly in NFC; false means "look closer". `text` is valid UTF-8.
[[nodiscard]] bool is_nfc_at_a_glance(std::string_view text) noexcept;

// The text in NFC: `text` itself if it is already in NFC, else `storage`, which then holds it. Meaningless once `work`
// has ended.
[[nodiscard]] std::string_view nfc(std::string_view text, std::string &storage, Work &work);
[[nodiscard]] std::string_view nfc(std::string_view text, std::string &storage);

}  // namespace steadytext::core
