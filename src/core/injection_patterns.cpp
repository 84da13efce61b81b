// Searches arguments for signs of an attack: see injection_patterns.hpp. Regime: pure, noexcept.
#include "src/core/injection_patterns.hpp"

#include "src/core/utf8.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace steadytext::core {

namespace {

struct Words {
    const char *name;
    const char *description;
};
constexpr Words kWords[kSuspicions] = {{"none", "nothing"},
                                       {"injection_pattern", "a pattern of SQL injection"},
                                       {"control_character", "control characters"},
                                       {"too_long", "more bytes than allowed"},
                                       {"bad_encoding", "invalid UTF-8"},
                                       {"refused_endpoint", "an endpoint that is refused"}};

constexpr std::string_view kMarks = "'\"`;\\$|<>";
constexpr std::string_view kPairs[] = {"/*", "*/", "&&", "..", "%00"};
constexpr std::string_view kVerbs[] = {"select", "union", "insert", "update", "delete",  "drop",   "alter",   "create",
                                       "grant",  "copy",  "or",     "and",    "execute", "having", "truncate"};

bool is_control(unsigned char byte) noexcept {
    return (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F;
}

bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// Not 0 if a byte of the eight is below 0x20 or is 0x7F. Rarely it also marks an innocent neighbour, so then each byte
// is checked.
std::uint64_t marks_of_control(std::uint64_t eight) noexcept {
    constexpr std::uint64_t kOnes = 0x0101'0101'0101'0101U;
    constexpr std::uint64_t kHighs = 0x8080'8080'8080'8080U;
    const std::uint64_t not_del = eight ^ kOnes * 0x7F;
    return (((eight - kOnes * 0x20) & ~eight) | ((not_del - kOnes) & ~not_del)) & kHighs;
}

// A comment to the end of the line; "models--org--name" has none.
bool has_line_comment(std::string_view text) noexcept {
    for (std::size_t at = text.find("--"); at != std::string_view::npos; at = text.find("--", at + 1))
        if (at + 2 == text.size() || is_space(text[at + 2]) || (at > 0 && is_space(text[at - 1])))
            return true;
    return false;
}

// A word of SQL among other words.
bool has_verb(std::string_view text) noexcept {
    if (std::none_of(text.begin(), text.end(), is_space))
        return false;
    for (std::size_t at = 0; at < text.size();) {
        const auto ends = [](char c) { return is_space(c) || c == '(' || c == ')' || c == ','; };
        const auto end = static_cast<std::size_t>(
            std::find_if(text.begin() + static_cast<std::ptrdiff_t>(at), text.end(), ends) - text.begin());
        const std::string_view word = text.substr(at, end - at);
        const auto same = [&](std::string_view verb) {
            return std::equal(word.begin(), word.end(), verb.begin(), verb.end(),
                              [](char a, char b) { return lower(a) == b; });
        };
        if (std::any_of(std::begin(kVerbs), std::end(kVerbs), same))
            return true;
        at = end + 1;
    }
    return false;
}

bool has_injection(std::string_view text) noexcept {
    return text.find_first_of(kMarks) != std::string_view::npos || has_line_comment(text) || has_verb(text) ||
           std::any_of(std::begin(kPairs), std::end(kPairs),
                       [&](std::string_view pair) { return text.find(pair) != std::string_view::npos; });
}

}  // namespace

const char *name_of(Suspicion suspicion) noexcept { return kWords[static_cast<std::size_t>(suspicion)].name; }
const char *describe(Suspicion suspicion) noexcept { return kWords[static_cast<std::size_t>(suspicion)].description; }

bool has_control_character(std::string_view text) noexcept {
    const auto any = [](std::string_view part) {
        return std::any_of(part.begin(), part.end(), [](char c) { return is_control(static_cast<unsigned char>(c)); });
    };
    // Checks a cache line at a time, without a branch inside.
    std::size_t at = 0;
    for (std::uint64_t words[8]; at + sizeof words <= text.size(); at += sizeof words) {
        std::memcpy(words, text.data() + at, sizeof words);
        std::uint64_t found = 0;
        for (const std::uint64_t word : words)
            found |= marks_of_control(word);
        if (found != 0 && any(text.substr(at, sizeof words)))
            return true;
    }
    return any(text.substr(at));
}

Suspicion suspect_prompt(std::string_view text, std::size_t longest) noexcept {
    if (text.size() > longest)
        return Suspicion::TooLong;
    return has_control_character(text) ? Suspicion::ControlCharacter : Suspicion::None;
}

Suspicion suspect_name(std::string_view text, std::size_t longest) noexcept {
    if (text.size() > longest)
        return Suspicion::TooLong;
    if (!utf8_is_valid(text))
        return Suspicion::BadEncoding;
    if (has_control_character(text))
        return Suspicion::ControlCharacter;
    return has_injection(text) ? Suspicion::Injection : Suspicion::None;
}

void write_printable(std::string_view text, char *target, std::size_t room) noexcept {
    std::size_t used = 0;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = byte >= 0x20 && byte < 0x7F && c != '\\';
        if (used + (plain ? 1 : 4) >= room)
            break;
        if (plain)
            target[used++] = c;
        else
            used += static_cast<std::size_t>(std::snprintf(target + used, room - used, "\\x%02x", byte));
    }
    target[used] = '\0';
}

}  // namespace steadytext::core
