// Quick check and normalisation: see nfc.hpp. Regime: pure.
#include "src/core/nfc.hpp"

#include "src/core/utf8.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utf8proc.h>
#include <vector>

namespace steadytext::core {

namespace {

// Ranges of characters that NFC does not decompose and that do not combine with the character before.
bool is_safe(std::uint32_t code) noexcept {
    return code < 0x300 || (code >= 0x3400 && code <= 0x9FFF) || (code >= 0xAC00 && code <= 0xD7A3) ||
           (code >= 0x3041 && code <= 0x3096) || (code >= 0x30A1 && code <= 0x30FA) ||
           (code >= 0x400 && code <= 0x482) || (code >= 0x48A && code <= 0x52F) || (code >= 0x370 && code <= 0x373) ||
           (code >= 0x391 && code <= 0x3FF) || (code >= 0x2010 && code <= 0x2026) ||
           (code >= 0x1F300 && code <= 0x1FAFF);
}

constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

using Decomposed = std::vector<utf8proc_int32_t>;

// False if the text is not UTF-8, or `work` has ended.
bool decompose(std::string_view text, Decomposed &out, Work &work) {
    constexpr utf8proc_ssize_t kMaxOfOne = 32;  // code points from a single code point: 18 at most
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        std::uint32_t code;
        const std::size_t length = utf8_decode(text, at, code);
        if (length == 0 || !work.spend())
            return false;
        at += length;
        utf8proc_int32_t parts[kMaxOfOne];
        int boundary = 0;
        const utf8proc_ssize_t count =
            utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), parts, kMaxOfOne, kOptions, &boundary);
        if (count < 0 || count > kMaxOfOne)
            return false;
        out.insert(out.end(), parts, parts + count);
    }
    return true;
}

int combining_class(utf8proc_int32_t code) noexcept { return utf8proc_get_property(code)->combining_class; }

// The Canonical Ordering Algorithm (Unicode 3.11, D109): sorts each run of marks by class; equal classes keep their
// order. It counts instead of comparing, so the cost of a run is its length.
bool put_marks_in_order(Decomposed &text, Work &work) {
    Decomposed sorted;
    for (std::size_t begin = 0; begin < text.size();) {
        if (combining_class(text[begin]) == 0) {
            begin++;
            continue;
        }
        std::uint32_t starts[257] = {};  // by class; class c ends where c + 1 starts
        std::size_t end = begin;
        bool in_order = true;
        for (int last = 0; end < text.size(); end++) {
            const int mark = combining_class(text[end]);
            if (mark == 0)
                break;
            in_order = in_order && mark >= last;
            last = mark;
            starts[mark + 1]++;
        }
        if (!work.spend(end - begin + 1))
            return false;
        if (!in_order) {
            std::partial_sum(std::begin(starts), std::end(starts), std::begin(starts));
            sorted.resize(end - begin);
            for (std::size_t i = begin; i < end; i++)
                sorted[starts[combining_class(text[i])]++] = text[i];
            std::copy(sorted.begin(), sorted.end(), text.begin() + static_cast<std::ptrdiff_t>(begin));
        }
        begin = end + 1;
    }
    return true;
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
    Work work;
    return nfc(text, storage, work);
}

std::string_view nfc(std::string_view text, std::string &storage, Work &work) {
    if (is_nfc_at_a_glance(text))
        return text;
    Decomposed decomposed;
    if (!decompose(text, decomposed, work) || !put_marks_in_order(decomposed, work))
        return text;            // not UTF-8: the validation reports it
    decomposed.emplace_back();  // room for the NUL that utf8proc writes behind the text
    const auto length =
        utf8proc_reencode(decomposed.data(), static_cast<utf8proc_ssize_t>(decomposed.size() - 1), kOptions);
    if (length < 0)
        return text;
    storage.assign(reinterpret_cast<const char *>(decomposed.data()), static_cast<std::size_t>(length));
    return storage;
}

}  // namespace steadytext::core
