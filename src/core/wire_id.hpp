// The id of one request on the wire: boot epoch, slot and generation.
//
// Written and read by the gateway. Regime: pure. A reply is delivered only if all three match a slot that is in flight;
// so a late, duplicate or foreign reply, or one to a request of an earlier boot, is recognised and dropped.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string_view>

namespace steadytext::core {

struct WireId {
    std::uint64_t boot_epoch = 0;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;

    static constexpr std::size_t kTextBytes = 16 + 1 + 8 + 1 + 8;  // hexadecimal, dashes between

    // Writes exactly kTextBytes characters, no NUL.
    void format(char *text) const noexcept {
        char buffer[kTextBytes + 1];
        std::snprintf(buffer, sizeof buffer, "%016llx-%08x-%08x", static_cast<unsigned long long>(boot_epoch), slot,
                      generation);
        for (std::size_t i = 0; i < kTextBytes; i++)
            text[i] = buffer[i];
    }

    [[nodiscard]] static bool parse(std::string_view text, WireId &id) noexcept {
        return text.size() == kTextBytes && text[16] == '-' && text[25] == '-' && hex(text.substr(0, 16), id.boot_epoch) &&
               hex(text.substr(17, 8), id.slot) && hex(text.substr(26, 8), id.generation);
    }

private:
    template <class Number>
    [[nodiscard]] static bool hex(std::string_view digits, Number &number) noexcept {
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
        return error == std::errc{} && end == digits.data() + digits.size();
    }
};

}  // namespace steadytext::core
