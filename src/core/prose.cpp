// See prose.hpp. Regime: pure.
#include "src/core/prose.hpp"

#include "src/core/rules.hpp"
#include "src/core/sha256.hpp"
#include "src/core/utf8.hpp"

#include <algorithm>
#include <numeric>

namespace steadytext::core {

namespace {

constexpr std::string_view kMark = "- ";

[[nodiscard]] bool continues(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

[[nodiscard]] std::size_t character_at(std::string_view text, std::size_t at) noexcept {
    std::size_t end = at + 1;
    while (end < text.size() && continues(text[end]))
        end++;
    return end - at;
}

// Where to cut a text that is longer than `most`: behind the last of these characters in the second half.
[[nodiscard]] std::size_t cut_behind(std::string_view text, std::string_view marks) noexcept {
    const std::size_t at = text.find_last_of(marks);
    return at == std::string_view::npos || at < text.size() / 2 ? 0 : at + 1;
}

[[nodiscard]] std::size_t cut_of(std::string_view text, std::size_t most) noexcept {
    const std::string_view head = utf8_prefix(text, most);
    for (const std::string_view marks : {"\n", ".!?", " \t"})
        if (const std::size_t cut = cut_behind(head, marks); cut > 0)
            return cut;
    return head.size();
}

// Keeps so many pieces, chosen by hash, as take `most` bytes.
void thin(std::vector<std::string_view> &pieces, std::size_t most) {
    std::vector<std::uint64_t> hashes(pieces.size());
    std::transform(pieces.begin(), pieces.end(), hashes.begin(), hash_of);
    std::vector<std::size_t> order(pieces.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return hashes[a] < hashes[b]; });
    std::vector<bool> is_kept(pieces.size());
    std::size_t bytes = 0;
    for (const std::size_t i : order) {
        bytes += pieces[i].size() + kMark.size() + 1;
        if (bytes > most)
            break;
        is_kept[i] = true;
    }
    std::vector<std::string_view> kept;
    for (std::size_t i = 0; i < pieces.size(); i++)
        if (is_kept[i])
            kept.push_back(pieces[i]);
    pieces = std::move(kept);
}

[[nodiscard]] std::vector<std::string> joined(const std::vector<std::string_view> &pieces, std::size_t most) {
    std::vector<std::string> parts;
    std::size_t count = 0;  // of the texts in the last part
    for (const std::string_view piece : pieces) {
        const std::size_t more = (count == 1 ? 2 : 1) * kMark.size() + piece.size() + 1;
        if (count == 0 || parts.back().size() + more > most) {
            parts.emplace_back(piece);
            count = 1;
            continue;
        }
        if (count++ == 1)
            parts.back().insert(0, kMark);
        parts.back().append("\n").append(kMark).append(piece);
    }
    return parts;
}

}  // namespace

std::string_view stripped(std::string_view text) noexcept {
    while (!text.empty()) {
        const std::size_t length = character_at(text, 0);
        if (!is_blank(text.substr(0, length)))
            break;
        text.remove_prefix(length);
    }
    while (!text.empty()) {
        std::size_t last = text.size() - 1;
        while (last > 0 && continues(text[last]))
            last--;
        if (!is_blank(text.substr(last)))
            break;
        text = text.substr(0, last);
    }
    return text;
}

std::size_t count_characters(std::string_view text) noexcept {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char byte) { return !continues(byte); }));
}

std::string_view first_characters(std::string_view text, std::size_t most) noexcept {
    std::size_t at = 0;
    while (most-- > 0 && at < text.size())
        at += character_at(text, at);
    return text.substr(0, at);
}

std::vector<std::string_view> pieces_of(std::string_view text, std::size_t most) {
    std::vector<std::string_view> pieces;
    for (text = stripped(text); !text.empty(); text = stripped(text)) {
        const std::size_t cut = text.size() <= most ? text.size() : cut_of(text, most);
        pieces.push_back(stripped(text.substr(0, cut)));
        text.remove_prefix(cut);
    }
    return pieces;
}

std::vector<std::string> packed(const std::vector<std::string_view> &texts, std::size_t most, std::size_t most_parts) {
    std::vector<std::string_view> pieces;
    for (const std::string_view text : texts)
        for (const std::string_view piece : pieces_of(text, most))
            pieces.push_back(piece);
    std::vector<std::string> parts = joined(pieces, most);
    // A part is more than half full unless what follows it is longer than the other half.
    for (std::size_t room = most * most_parts; parts.size() > most_parts; room = room / 4 * 3) {
        thin(pieces, room);
        parts = joined(pieces, most);
    }
    return parts;
}

std::uint64_t hash_of(std::string_view text) noexcept {
    Sha256 &sha256 = *Sha256::instance();
    sha256.begin();
    sha256.add(text);
    const Digest digest = sha256.finish();
    std::uint64_t hash = 0;
    for (std::size_t i = 0; i < sizeof hash; i++)
        hash = hash << 8 | digest.bytes[i];
    return hash;
}

bool tells_of_window(std::string_view words) noexcept {
    const auto says = [&](std::string_view phrase) {
        const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b; };
        return std::search(words.begin(), words.end(), phrase.begin(), phrase.end(), same) != words.end();
    };
    return says("is too long") || says("context length") || says("context size") || says("context window") ||
           says("model's window");
}

}  // namespace steadytext::core
