// Signs that an argument may be an attack, whether or not it is refused.
//
// Called by src/session/audit.* before an argument is checked. Regime: pure, noexcept. A prompt may contain anything,
// so only control characters count; a name needs no quotes, comments or SQL. A false alarm only costs a line in a log.
#pragma once

#include <cstdint>
#include <string_view>

namespace steadytext::core {

enum class Suspicion : std::uint8_t { None, Injection, ControlCharacter, TooLong, BadEncoding, Endpoint };
inline constexpr std::size_t kSuspicions = 6;

// For tables ("control_character") and for people ("control characters").
[[nodiscard]] const char *name_of(Suspicion suspicion) noexcept;
[[nodiscard]] const char *describe(Suspicion suspicion) noexcept;

// Control characters other than tab, line feed and carriage return.
[[nodiscard]] bool has_control_character(std::string_view text) noexcept;

[[nodiscard]] Suspicion suspect_prompt(std::string_view text, std::size_t longest) noexcept;
[[nodiscard]] Suspicion suspect_name(std::string_view text, std::size_t longest) noexcept;

// Writes as much of the text as fits in ASCII without control characters, other bytes as \xNN, and ends with NUL.
void write_printable(std::string_view text, char *target, std::size_t room) noexcept;

}  // namespace steadytext::core
