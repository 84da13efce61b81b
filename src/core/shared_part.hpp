// The part of a request that other requests share: of a prompt that names its prefix, that prefix.
//
// Called by the gateway, which sends requests with the same part to the same daemon. Regime: pure. It reads what sessions write
// (src/session/generation.cpp): an object whose first member is the prompt, and whose second may be prefix_bytes. Of any other text it gives
// all.
#pragma once

#include <charconv>
#include <cstddef>
#include <string_view>
#include <system_error>

namespace steadytext::core {

// Where the character, or the escape, that begins at `at` ends. Either is a byte of the text: sessions escape only what must be, which is
// ASCII.
[[nodiscard]] inline std::size_t end_of_byte(std::string_view json, std::size_t at) noexcept {
    constexpr std::size_t kShort = 2, kHex = 6;  // \n and \u001f
    if (json[at] != '\\')
        return at + 1;
    return at + (at + 1 < json.size() && json[at + 1] == 'u' ? kHex : kShort);
}

[[nodiscard]] inline std::string_view shared_part(std::string_view request) noexcept {
    constexpr std::string_view kBegin = "{\"prompt\": \"", kPrefix = "\", \"prefix_bytes\": ";
    if (!request.starts_with(kBegin))
        return request;
    std::size_t end = kBegin.size();  // of the prompt
    while (end < request.size() && request[end] != '"')
        end = end_of_byte(request, end);
    if (end >= request.size() || !request.substr(end).starts_with(kPrefix))
        return request;
    const std::string_view number = request.substr(end + kPrefix.size());
    std::size_t bytes = 0;
    if (std::from_chars(number.data(), number.data() + number.size(), bytes).ec != std::errc())
        return request;
    std::size_t at = kBegin.size();
    for (; at < end && bytes > 0; bytes--)
        at = end_of_byte(request, at);
    return request.substr(0, at);
}

}  // namespace steadytext::core
