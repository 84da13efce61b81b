// Sets of characters, from ASCII and from Unicode's categories: see alphabet.hpp. Regime: pure.
//
// Library: utf8proc, for the categories.
#include "src/core/constraint/alphabet.hpp"

#include <map>
#include <utf8proc.h>
#include <vector>

namespace steadytext::core::constraint {

namespace {

const CodePoints &scalars() {
    static const auto *set = new CodePoints{{1, 0xD7FF}, {0xE000, CodePoints::kLast}};
    return *set;
}

// No control characters, which cause trouble in jsonb and terminals, no line ends, and no code points that are not
// characters.
const CodePoints &printable() {
    static const auto *set =
        new CodePoints{{0x20, 0x7E}, {0xA0, 0x2027}, {0x202A, 0xD7FF}, {0xE000, 0xFFFD}, {0x10000, 0x10FFFD}};
    return *set;
}

// The letters, digits and punctuation marks beyond ASCII that some locale accepts.
struct Wide {
    CodePoints letters;
    CodePoints digits;
    CodePoints marks;
};

const Wide &wide() {
    static const Wide *sets = [] {
        std::vector<CodePoints::Range> letters, digits, marks;  // circled letters are letters to glibc
        const auto extend = [](std::vector<CodePoints::Range> &ranges, std::uint32_t code) {
            if (!ranges.empty() && ranges.back().second + 1 == code)
                ranges.back().second = code;
            else
                ranges.emplace_back(code, code);
        };
        constexpr std::uint32_t kEndOfScripts = 0x40000;  // after this there are only variant selectors and private use
        for (std::uint32_t code = 0x80; code < kEndOfScripts; code++) {
            const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
            if (category >= UTF8PROC_CATEGORY_LU &&
                category <= UTF8PROC_CATEGORY_NO)  // letters, marks that combine, numbers
                extend(letters, code);
            if (category == UTF8PROC_CATEGORY_ND)
                extend(digits, code);
            if (category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_SO)  // punctuation and symbols
                extend(marks, code);
        }
        letters.emplace_back(0x24B6, 0x24E9);  // circled letters, which are letters to glibc
        letters.emplace_back(0xE0100, 0xE01EF);
        return new Wide{CodePoints(std::move(letters)), CodePoints(std::move(digits)), CodePoints(std::move(marks))};
    }();
    return *sets;
}

// White space of ECMA-262, of Unicode and of glibc.
const CodePoints &wide_space() {
    static const auto *set =
        new CodePoints{{'\t', '\r'},     {0x1C, 0x1F},     {' ', ' '},       {0x85, 0x85},     {0xA0, 0xA0},
                       {0x1680, 0x1680}, {0x180E, 0x180E}, {0x2000, 0x200B}, {0x2028, 0x2029}, {0x202F, 0x202F},
                       {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    return *set;
}
const CodePoints &ecma_space() {
    static const auto *set =
        new CodePoints{{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                       {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    return *set;
}

CharacterClass widened(const CodePoints &ascii, std::initializer_list<const CodePoints *> others) {
    CharacterClass cls{ascii, ascii};
    for (const CodePoints *other : others)
        cls.most.add(*other);
    return cls;
}

using Classes = std::map<std::string_view, CharacterClass>;

const Classes &named_classes() {
    static const auto *classes = [] {
        const CodePoints *letters = &wide().letters;
        return new Classes{{"alnum", widened({{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, {letters})},
                           {"alpha", widened({{'A', 'Z'}, {'a', 'z'}}, {letters})},
                           {"digit", widened({{'0', '9'}}, {&wide().digits})},
                           {"lower", widened({{'a', 'z'}}, {letters})},
                           {"punct", widened({{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}, {&wide().marks})},
                           {"space", widened({{'\t', '\r'}, {' ', ' '}}, {&wide_space()})},
                           {"upper", widened({{'A', 'Z'}}, {letters})},
                           {"xdigit", widened({{'0', '9'}, {'A', 'F'}, {'a', 'f'}}, {})}};
    }();
    return *classes;
}

// The class of \d \w \s; `letter` is in lower case.
const CharacterClass *shorthand_class(std::uint32_t letter, Alphabet alphabet) {
    static const CodePoints word{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const auto *ecma_word = new CharacterClass(widened(word, {}));
    static const auto *ecma_digit = new CharacterClass(widened({{'0', '9'}}, {}));
    static const auto *ecma_spaces = new CharacterClass(widened(ecma_space(), {}));
    const bool ecma = alphabet == Alphabet::JsonSchema;
    if (letter == 'd')
        return ecma ? ecma_digit : &named_classes().at("digit");
    if (letter == 's')
        return ecma ? ecma_spaces : &named_classes().at("space");
    if (letter != 'w')
        return nullptr;
    if (ecma)
        return ecma_word;
    static const auto *wide_word = new CharacterClass(widened(word, {&wide().letters}));
    return wide_word;
}

}  // namespace

const CodePoints &any_character(Alphabet alphabet) {
    static const auto *within_a_line =
        new CodePoints(CodePoints{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}.complement(scalars()));
    return alphabet == Alphabet::Generated ? printable() : alphabet == Alphabet::Postgres ? scalars() : *within_a_line;
}

CodePoints members(const CharacterClass &cls, bool negated, Alphabet alphabet) {
    if (!negated)
        return alphabet == Alphabet::Generated ? cls.least : cls.most;
    return alphabet == Alphabet::Generated ? cls.most.complement(printable()) : cls.least.complement(scalars());
}

std::optional<CharacterClass> shorthand(std::uint32_t letter, Alphabet alphabet) {
    const CharacterClass *cls = shorthand_class(letter | 0x20, alphabet);
    if (cls == nullptr || letter >= 0x80)
        return std::nullopt;
    if ((letter & 0x20) != 0)
        return *cls;
    // Control characters are generated only if the pattern names them.
    const CodePoints &universe = alphabet == Alphabet::Generated ? printable() : scalars();
    return CharacterClass{cls->most.complement(universe), cls->least.complement(scalars())};
}

const CharacterClass *named_class(std::string_view name) {
    const auto found = named_classes().find(name);
    return found == named_classes().end() ? nullptr : &found->second;
}

}  // namespace steadytext::core::constraint
