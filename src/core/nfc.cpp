// Quick check and normalisation: see nfc.hpp. Regime: pure.
#include "src/core/nfc.hpp"

#include "src/core/utf8.hpp"

#include <cstdlib>
#include <memory>
#include <new>
#include <utf8proc.h>

namespace steadytext::core {

namespace {

// Ranges in which no character is decomposed by NFC or combines with the one before it.
bool is_safe(std::uint32_t code) noexcept {
    return code < 0x300 || (code >= 0x3400 && code <= 0x9FFF) || (code >= 0xAC00 && code <= 0xD7A3) ||
           (code >= 0x3041 && code <= 0x3096) || (code >= 0x30A1 && code <= 0x30FA) || (code >= 0x400 && code <= 0x482) ||
           (code >= 0x48A && code <= 0x52F) || (code >= 0x370 && code <= 0x373) || (code >= 0x391 && code <= 0x3FF) ||
           (code >= 0x2010 && code <= 0x2026) || (code >= 0x1F300 && code <= 0x1FAFF);
}

}  // namespace

bool is_nfc_at_a_glance(std::string_view text) noexcept {
    for (std::size_t at = ascii_prefix(text); at < text.size();) {
        std::uint32_t code;
        const std::size_t length = utf8_decode(text, at, code);
        if (length == 0 || !is_safe(code))
            return false;
        at += length;
        at += ascii_prefix(text.substr(at));
    }
    return true;
}

std::string_view nfc(std::string_view text, std::string &storage) {
    if (is_nfc_at_a_glance(text))
        return text;
    utf8proc_uint8_t *normal = nullptr;
    const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t *>(text.data()),
                                     static_cast<utf8proc_ssize_t>(text.size()), &normal,
                                     static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owned(normal, std::free);
    if (length == UTF8PROC_ERROR_NOMEM)
        throw std::bad_alloc();
    if (length < 0)
        return text;  // not UTF-8: whoever validates says so
    storage.assign(reinterpret_cast<const char *>(normal), static_cast<std::size_t>(length));
    return storage;
}

}  // namespace steadytext::core
