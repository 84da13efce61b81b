// Searches words for secret values: see secrets.hpp. Regime: pure.
#include "src/core/secrets.hpp"

#include <algorithm>
#include <charconv>

namespace steadytext::core {

namespace {

constexpr std::size_t kShortest = 6;
constexpr std::size_t kShortestPart = 8;
constexpr std::string_view kMask = "***";

std::string unescaped(std::string_view value) {
    std::string text;
    for (std::size_t at = 0; at < value.size(); at++) {
        unsigned char byte = 0;
        const char *digits = value.data() + at + 1;
        if (value[at] == '%' && value.size() - at > 2 &&
            std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
            text += static_cast<char>(byte);
            at += 2;
        } else {
            text += value[at];
        }
    }
    return text;
}

}  // namespace

void Secrets::add(std::string_view value) {
    const auto put = [&](std::string_view part, std::size_t shortest) {
        if (part.size() >= shortest && std::find(values_.begin(), values_.end(), part) == values_.end())
            values_.emplace_back(part);
    };
    put(value, kShortest);
    for (std::string_view rest = value; !rest.empty();) {
        const std::size_t end = std::min(rest.find(' '), rest.size());
        put(rest.substr(0, end), kShortestPart);
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    std::sort(values_.begin(), values_.end(),
              [](const std::string &a, const std::string &b) { return a.size() > b.size(); });
}

void Secrets::add_query(std::string_view query) {
    while (!query.empty()) {
        const std::size_t end = std::min(query.find_first_of("&;"), query.size());
        const std::string_view member = query.substr(0, end);
        const std::size_t equals = member.find('=');
        const std::string_view value = equals == std::string_view::npos ? member : member.substr(equals + 1);
        add(value);
        add(unescaped(value));
        query.remove_prefix(std::min(end + 1, query.size()));
    }
}

std::string Secrets::masked(std::string words) const {
    for (const std::string &value : values_) {
        for (std::size_t at = words.find(value); at != std::string::npos; at = words.find(value, at + kMask.size()))
            words.replace(at, value.size(), kMask);
        for (std::size_t length = std::min(value.size() - 1, words.size()); length >= kShortest; length--) {
            if (!words.ends_with(std::string_view(value).substr(0, length)))
                continue;
            words.replace(words.size() - length, length, kMask);
            break;
        }
    }
    return words;
}

}  // namespace steadytext::core
