// Checks names: see identifier.hpp. Regime: pure.
#include "src/core/identifier.hpp"

#include <algorithm>

namespace steadytext::core {

namespace {

bool is_letter(char c) noexcept { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; }

bool begins_with(std::string_view name, std::string_view prefix) noexcept {
    const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b; };
    return name.size() >= prefix.size() &&
           std::equal(prefix.begin(), prefix.end(), name.begin(), [&](char b, char a) { return same(a, b); });
}

bool is_part(std::string_view part) noexcept {
    return is_identifier(part) && !begins_with(part, "pg_") && !begins_with(part, "information_schema");
}

}  // namespace

bool is_identifier(std::string_view name) noexcept {
    return !name.empty() && name.size() <= kMaxIdentifier && is_letter(name.front()) &&
           std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

bool is_table_name(std::string_view name) noexcept {
    const std::size_t dot = name.find('.');
    if (dot == std::string_view::npos)
        return is_part(name);
    return is_part(name.substr(0, dot)) && is_part(name.substr(dot + 1));
}

}  // namespace steadytext::core
