// Writing JSON: strings and numbers as Python's json.dumps writes them, and objects of known members.
//
// Used for cache keys, which must be byte-equal to Python's, and for requests. Regime: pure (may throw std::bad_alloc).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace steadytext::core {

// Ascii: everything beyond ASCII as \uXXXX, as json.dumps does. Utf8: unchanged, which is shorter.
enum class Escape { Ascii, Utf8 };

// `text` is valid UTF-8.
void append_json_string(std::string &out, std::string_view text, Escape escape);
// As Python's repr(float): the shortest digits that read back the same; forms like 1e+16 and 1e-05 outside [1e-4,
// 1e16).
void append_json_number(std::string &out, double value);
void append_json_number(std::string &out, std::int64_t value);

// An object whose members are given in order; a canonical object needs ascending order of keys. Keys are the program's
// own words and need no escapes.
class JsonObject {
public:
    JsonObject(std::string &out, Escape escape) : out_(out), escape_(escape) { out_ += '{'; }
    void close() { out_ += '}'; }

    void add(std::string_view key, std::string_view value) {
        name(key);
        append_json_string(out_, value, escape_);
    }
    void add(std::string_view key, std::int64_t value) {
        name(key);
        append_json_number(out_, value);
    }
    void add(std::string_view key, double value) {
        name(key);
        append_json_number(out_, value);
    }
    void add_bool(std::string_view key, bool value) {
        name(key);
        out_ += value ? "true" : "false";
    }
    // `value` is JSON already.
    void add_json(std::string_view key, std::string_view value) {
        name(key);
        out_ += value;
    }
    void add(std::string_view key, std::span<const std::string_view> texts) {
        name(key);
        out_ += '[';
        for (std::size_t i = 0; i < texts.size(); i++) {
            if (i > 0)
                out_ += ", ";
            append_json_string(out_, texts[i], escape_);
        }
        out_ += ']';
    }
    // Writes an empty text as null: in the wire protocol null means "not given".
    void add_or_null(std::string_view key, std::string_view value) {
        name(key);
        if (value.empty())
            out_ += "null";
        else
            append_json_string(out_, value, escape_);
    }

private:
    void name(std::string_view key) {
        if (!first_)
            out_ += ", ";
        first_ = false;
        out_ += '"';
        out_ += key;
        out_ += "\": ";
    }

    std::string &out_;
    Escape escape_;
    bool first_ = true;
};

}  // namespace steadytext::core
