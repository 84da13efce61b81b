// Text at the edges: UTF-8, NFC, JSON strings and numbers, keys, wire ids.
#include "src/core/cache_key.hpp"
#include "src/core/json_text.hpp"
#include "src/core/nfc.hpp"
#include "src/core/utf8.hpp"
#include "src/core/wire_id.hpp"

#include <gtest/gtest.h>
#include <limits>
#include <utf8proc.h>

namespace {

using namespace steadytext::core;

std::string json_of(std::string_view text, Escape escape = Escape::Ascii) {
    std::string out;
    append_json_string(out, text, escape);
    return out;
}

std::string json_of(double number) {
    std::string out;
    append_json_number(out, number);
    return out;
}

std::string encoded(std::uint32_t code) {
    utf8proc_uint8_t bytes[4];
    return {reinterpret_cast<char *>(bytes),
            static_cast<std::size_t>(utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes))};
}

TEST(Utf8, AcceptsEveryCodePointAndNoSurrogate) {
    for (std::uint32_t code = 0; code <= 0x10FFFF; code++) {
        if (code < 0xD800 || code > 0xDFFF) {
            ASSERT_TRUE(utf8_is_valid(encoded(code))) << std::hex << code;
        }
    }
    EXPECT_FALSE(utf8_is_valid("\xED\xA0\x80")) << "U+D800";
    EXPECT_FALSE(utf8_is_valid("\xF4\x90\x80\x80")) << "U+110000";
}

TEST(Utf8, RefusesOverlongAndCutForms) {
    for (const std::string_view bad :
         {"\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xF0\x80\x80\x80", "\x80", "abc\xC3", "\xE2\x82", "\xFF"})
        EXPECT_FALSE(utf8_is_valid(bad));
    EXPECT_TRUE(utf8_is_valid("plain ASCII of more than eight bytes, then \xE2\x82\xAC"));
    EXPECT_FALSE(utf8_is_valid("plain ASCII of more than eight bytes, then \x82\xAC"));
}

TEST(Nfc, NeverCallsAGlanceSafeWhatNormalisationWouldChange) {
    for (std::uint32_t code = 1; code <= 0x10FFFF; code++) {
        if (code >= 0xD800 && code <= 0xDFFF)
            continue;
        // Alone, and before a combining accent, with which it might compose.
        for (const std::string &text : {encoded(code), "e" + encoded(code)}) {
            if (!is_nfc_at_a_glance(text))
                continue;
            utf8proc_uint8_t *normal = utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t *>(text.c_str()));
            ASSERT_STREQ(reinterpret_cast<char *>(normal), text.c_str()) << std::hex << code;
            std::free(normal);
        }
    }
}

TEST(Nfc, ComposesAndLeavesAlone) {
    std::string storage;
    EXPECT_EQ(nfc("e\u0301", storage), "\u00E9");
    EXPECT_EQ(nfc("\u212B", storage), "\u00C5") << "the Angstrom sign is a letter";
    EXPECT_EQ(nfc("\u1112\u1161\u11AB", storage), "\uD55C") << "jamo become a syllable";
    const std::string plain = "nothing to do";
    EXPECT_EQ(nfc(plain, storage).data(), plain.data()) << "without a copy";
}

// The expected texts were written by hand from the rules of Python's json module.
TEST(JsonText, EscapesAsPythonDoes) {
    EXPECT_EQ(json_of("a\"b\\c\n\r\t\b\f"), R"("a\"b\\c\n\r\t\b\f")");
    EXPECT_EQ(json_of(std::string_view("\0\x1F\x7F", 3)), "\"\\u0000\\u001f\\u007f\"");
    EXPECT_EQ(json_of("\u00E9\u4E2D\U0001F600"), R"("\u00e9\u4e2d\ud83d\ude00")");
    EXPECT_EQ(json_of("\u00E9", Escape::Utf8), "\"\u00E9\"");
}

TEST(JsonText, WritesFloatsAsPythonDoes) {
    EXPECT_EQ(json_of(0.0), "0.0");
    EXPECT_EQ(json_of(-0.0), "-0.0");
    EXPECT_EQ(json_of(0.1), "0.1");
    EXPECT_EQ(json_of(1e15), "1000000000000000.0");
    EXPECT_EQ(json_of(1e16), "1e+16");
    EXPECT_EQ(json_of(1e-4), "0.0001");
    EXPECT_EQ(json_of(1e-5), "1e-05");
    EXPECT_EQ(json_of(1.5e300), "1.5e+300");
    EXPECT_EQ(json_of(std::numeric_limits<double>::infinity()), "Infinity");
}

TEST(CacheKey, IsSha256OfItsParts) {
    Digest key;
    Problem problem;
    ASSERT_TRUE(cache_key("generate:", "hello", "{}", key, problem));
    char hex[kHexBytes];
    to_hex(key, hex);
    Digest whole;
    ASSERT_TRUE(cache_key("", "generate:hello", "{}", whole, problem));
    EXPECT_EQ(0, std::memcmp(&key, &whole, sizeof key)) << "the prefix is part of the text";
    Digest other;
    ASSERT_TRUE(cache_key("generate:", "hello", "{\"seed\": 1}", other, problem));
    EXPECT_NE(0, std::memcmp(&key, &other, sizeof key));
}

TEST(WireId, SurvivesTheWireAndNothingElseDoes) {
    const WireId id{0x0123456789ABCDEF, 255, 0xFFFFFFFF};
    char text[WireId::kTextBytes];
    id.format(text);
    WireId back;
    ASSERT_TRUE(WireId::parse({text, sizeof text}, back));
    EXPECT_EQ(back.boot_epoch, id.boot_epoch);
    EXPECT_EQ(back.slot, id.slot);
    EXPECT_EQ(back.generation, id.generation);
    for (const std::string_view bad :
         {"", "x", "0123456789abcdef-000000ff-fffffff", "0123456789abcdef-000000ff-ffffffff0",
          "0123456789abcdeg-000000ff-ffffffff", "0123456789abcdef_000000ff-ffffffff"})
        EXPECT_FALSE(WireId::parse(bad, back)) << bad;
}

}  // namespace
