// The id of a request on the wire: boot epoch, slot and generation.
//
// Written and read by the gateway. Regime: pure. A reply is delivered only if all three match a slot that is in flight.
// So a reply that is late, duplicate or foreign, or belongs to an earlier boot, is recognised and dropped.
#pragma once

#include <charconv>
#include <cstdint>
#include <string_view>

namespace steadytext::core {

struct WireId {
    std::uint64_t boot_epoch = 0;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;

    static constexpr std::size_t kTextBytes = 16 + 1 + 8 + 1 + 8;  // hexadecimal, dashes between

    struct Text {
        char characters[kTextBytes];
        operator std::string_view() const noexcept { return {characters, kTextBytes}; }
    };

    // Writes exactly kTextBytes characters, no NUL.
    void format(char *text) const noexcept {
        put_hex(boot_epoch, 16, text);
        text[16] = '-';
        put_hex(slot, 8, text + 17);
        text[25] = '-';
        put_hex(generation, 8, text + 26);
    }
    [[nodiscard]] Text text() const noexcept {
        Text text;
        format(text.characters);
        return text;
    }

    [[nodiscard]] static bool parse(std::string_view text, WireId &id) noexcept {
        return text.size() == kTextBytes && text[16] == '-' && text[25] == '-' &&
               hex(text.substr(0, 16), id.boot_epoch) && hex(text.substr(17, 8), id.slot) &&
               hex(text.substr(26, 8), id.generation);
    }

private:
    static void put_hex(std::uint64_t number, int digits, char *text) noexcept {
        for (int i = digits; i-- > 0; number >>= 4)
            text[i] = "0123456789abcdef"[number & 15];
    }
    template <class Number>
    [[nodiscard]] static bool hex(std::string_view digits, Number &number) noexcept {
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
        return error == std::errc{} && end == digits.data() + digits.size();
    }
};

}  // namespace steadytext::core
