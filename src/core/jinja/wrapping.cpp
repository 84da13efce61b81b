// Texts cut into lines, and lines into rows of words as Python's textwrap does: see text.hpp.
#include "src/core/jinja/text.hpp"

#include <algorithm>

namespace steadytext::core::jinja {

std::vector<std::string_view> lines(std::string_view text, Bounds::Scratch &scratch) {
    std::vector<std::string_view> out;
    std::size_t begin = 0;
    for (std::size_t at = 0, length; at < text.size(); at += length) {
        const std::uint32_t code = code_at(text, at, length);
        if (!((code >= 10 && code <= 13) || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
              code == 0x2029))
            continue;
        scratch.add(out, text.substr(begin, at - begin));
        if (code == '\r' && at + 1 < text.size() && text[at + 1] == '\n')
            at++;
        begin = at + length;
    }
    if (begin < text.size())
        scratch.add(out, text.substr(begin));
    return out;
}

namespace {

// A line as code points with the byte of each, for textwrap's regular expressions.
class Codes {
public:
    Codes(std::string_view text, Bounds::Scratch &scratch) {
        scratch.take((text.size() + 1) * (sizeof codes_[0] + sizeof bytes_[0]));
        codes_.reserve(text.size());
        bytes_.reserve(text.size() + 1);
        for (std::size_t at = 0, length; at < text.size(); at += length) {
            bytes_.push_back(static_cast<std::uint32_t>(at));
            codes_.push_back(code_at(text, at, length));
        }
        bytes_.push_back(static_cast<std::uint32_t>(text.size()));
    }
    [[nodiscard]] std::size_t size() const { return codes_.size(); }
    [[nodiscard]] std::size_t byte(std::size_t i) const { return bytes_[i]; }
    [[nodiscard]] std::uint32_t at(std::size_t i) const { return i < codes_.size() ? codes_[i] : 0; }
    [[nodiscard]] bool is(std::size_t i, char what) const {
        return i < codes_.size() && codes_[i] == static_cast<unsigned char>(what);
    }
    [[nodiscard]] bool space(std::size_t i) const {
        return i < size() && (at(i) == ' ' || (at(i) >= 9 && at(i) <= 13));
    }
    [[nodiscard]] bool word(std::size_t i) const { return i < size() && is_word(at(i)); }
    [[nodiscard]] bool letter(std::size_t i) const { return word(i) && !is_digit(at(i)); }
    [[nodiscard]] bool part(std::size_t i) const {
        return i < size() && (word(i) || (at(i) < 0x80 && std::string_view("!\"'&.,?").find(static_cast<char>(at(i))) !=
                                                              std::string_view::npos));
    }
    // Where a row of two or more hyphens ends that has a word behind it; 0 if there is none here.
    [[nodiscard]] std::size_t dash(std::size_t i) const {
        std::size_t end = i;
        while (is(end, '-'))
            end++;
        return end >= i + 2 && word(end) ? end : 0;
    }

private:
    std::vector<std::uint32_t> codes_;
    std::vector<std::uint32_t> bytes_;  // of a text of at most Bounds::kMaxMemory
};

// One chunk of textwrap's wordsep_re (3.11) from `begin` on; returns its end.
std::size_t chunk_end(const Codes &codes, std::size_t begin, bool hyphens) {
    std::size_t end = begin;
    if (codes.space(begin)) {
        while (codes.space(end))
            end++;
        return end;
    }
    if (!hyphens) {
        while (end < codes.size() && !codes.space(end))
            end++;
        return end;
    }
    if (begin > 0 && codes.part(begin - 1))
        if (const std::size_t dash = codes.dash(begin))
            return dash;
    for (end = begin + 1; end < codes.size() && !codes.space(end); end++) {
        const bool breaks = codes.is(end, '-') &&
                            ((end >= 2 && codes.letter(end - 1) && codes.letter(end - 2)) ||
                             (end >= 3 && codes.letter(end - 3) && codes.is(end - 2, '-') && codes.part(end - 1)));
        if (breaks && codes.letter(end + 1) &&
            (codes.letter(end + 2) || (codes.is(end + 2, '-') && codes.letter(end + 3))))
            return end + 1;
        if (codes.part(end - 1) && codes.dash(end) != 0)
            return end;
    }
    return end;
}

}  // namespace

std::vector<std::string_view> wrapped(std::string_view line, std::size_t width, bool break_long_words,
                                      bool break_on_hyphens, Bounds &bounds, Bounds::Scratch &kept) {
    Bounds::Scratch scratch(bounds);
    const Codes codes(line, scratch);
    struct Chunk {
        std::uint32_t begin, end;
        [[nodiscard]] std::size_t size() const { return end - begin; }
    };
    std::vector<Chunk> chunks;
    for (std::size_t at = 0; at < codes.size();) {
        const std::size_t end = chunk_end(codes, at, break_on_hyphens);
        bounds.spend(end - at);
        scratch.add(chunks, {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(end)});
        at = end;
    }
    const auto blank = [&](const Chunk &chunk) {
        for (std::size_t i = chunk.begin; i < chunk.end; i++)
            if (!is_space(codes.at(i)))
                return false;
        return true;
    };
    // A long chunk is looked at once for each row that is cut off it: the place of its first character that is no space is kept.
    std::uint32_t solid = 0;
    const auto begins_blank = [&](const Chunk &chunk) {
        for (solid = std::max(solid, chunk.begin); solid < chunk.end && is_space(codes.at(solid));)
            solid++;
        return solid >= chunk.end;
    };
    std::vector<std::string_view> out;
    std::size_t next = 0;
    while (next < chunks.size()) {
        bounds.spend();
        std::size_t used = 0;
        std::vector<Chunk> row;
        if (!out.empty() && begins_blank(chunks[next]))
            next++;
        while (next < chunks.size() && used + chunks[next].size() <= width) {
            used += chunks[next].size();
            scratch.add(row, chunks[next++]);
        }
        if (next < chunks.size() && chunks[next].size() > width) {
            Chunk &chunk = chunks[next];
            if (break_long_words) {
                auto end = static_cast<std::uint32_t>(chunk.begin + (width - used));
                if (break_on_hyphens) {
                    std::uint32_t hyphen = end;
                    while (hyphen > chunk.begin && !codes.is(hyphen - 1, '-'))
                        hyphen--;
                    bool others = false;
                    for (std::size_t i = chunk.begin; hyphen > chunk.begin && i + 1 < hyphen; i++)
                        others = others || !codes.is(i, '-');
                    if (others)
                        end = hyphen;
                }
                scratch.add(row, {chunk.begin, end});
                chunk.begin = end;
            } else if (row.empty()) {
                scratch.add(row, chunks[next++]);
            }
        }
        if (!row.empty() && blank(row.back()))
            row.pop_back();
        if (!row.empty())
            kept.add(out, line.substr(codes.byte(row.front().begin),
                                      codes.byte(row.back().end) - codes.byte(row.front().begin)));
    }
    return out;
}

}  // namespace steadytext::core::jinja
