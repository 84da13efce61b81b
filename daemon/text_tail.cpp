// Finding stop strings and safe bytes: see text_tail.hpp. Regime: pure.
#include "daemon/text_tail.hpp"

#include <algorithm>

namespace steadytext::daemon {

namespace {

// Number of bytes at the end of `text` that begin a UTF-8 character and lack its rest.
std::size_t unfinished_utf8(std::string_view text) {
    for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); back++) {
        const auto byte = static_cast<unsigned char>(text[text.size() - back]);
        if ((byte & 0xC0) == 0x80)
            continue;
        const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
        return length > back ? back : 0;
    }
    return 0;
}

}  // namespace

int TextTail::append(std::string_view piece) {
    const std::size_t before = text_.size();
    text_ += piece;
    std::size_t earliest = std::string::npos;
    int found = kNoStop;
    for (std::size_t i = 0; i < stops_.size(); i++) {
        const std::size_t from = before - std::min(before, stops_[i].size() - 1);
        const std::size_t at = text_.find(stops_[i], from);
        if (at < earliest) {
            earliest = at;
            found = static_cast<int>(i);
        }
    }
    if (found != kNoStop)
        text_.resize(earliest);
    return found;
}

std::size_t TextTail::held_back() const {
    std::size_t longest = unfinished_utf8(text_);
    for (const std::string &stop : stops_)
        for (std::size_t length = std::min(stop.size() - 1, text_.size()); length > longest; length--)
            if (text_.ends_with(std::string_view(stop).substr(0, length)))
                longest = length;
    return longest;
}

std::string TextTail::take_safe(bool ended) {
    const std::size_t safe = ended ? text_.size() : text_.size() - held_back();
    if (safe <= sent_)
        return {};
    std::string piece = text_.substr(sent_, safe - sent_);
    sent_ = safe;
    return piece;
}

std::string_view strip(std::string_view text) {
    constexpr std::string_view kSpaces = " \t\n\v\f\r\x1c\x1d\x1e\x1f";
    const std::size_t first = text.find_first_not_of(kSpaces);
    if (first == std::string_view::npos)
        return {};
    return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

}  // namespace steadytext::daemon
