// Walks the members of a JSON object's text without building a tree: each value comes as the text it was
// written in.
//
// Used by the echo daemon's fast path, which gives a prompt back as it came, escapes and all. Regime: pure.
// It finds where values begin and end and does not validate them; whoever needs that parses the text again.
#pragma once

#include <cstring>
#include <string_view>

namespace steadytext::echo {

class JsonMembers {
public:
    explicit JsonMembers(std::string_view object) noexcept : at_(object.data()), end_(object.data() + object.size()) {
        skip_blanks();
        well_formed_ = take('{');
        skip_blanks();
        if (well_formed_ && take('}'))
            finish();
    }

    // Gives the next member: the key without its quotes, the value as raw text. False at the end or at a
    // fault.
    [[nodiscard]] bool next(std::string_view &key, std::string_view &value) noexcept {
        if (!well_formed_ || finished_)
            return false;
        const char *key_start = at_;
        well_formed_ = skip_string();
        if (!well_formed_)
            return false;
        key = {key_start + 1, static_cast<std::size_t>(at_ - key_start - 2)};
        skip_blanks();
        well_formed_ = take(':');
        skip_blanks();
        const char *value_start = at_;
        well_formed_ = well_formed_ && skip_value() && at_ != value_start;
        value = {value_start, static_cast<std::size_t>(at_ - value_start)};
        skip_blanks();
        if (take('}'))
            finish();
        else if (take(','))
            skip_blanks();
        else
            well_formed_ = false;
        return well_formed_;
    }

    // True once the whole object was walked and nothing followed it.
    [[nodiscard]] bool complete() const noexcept { return well_formed_ && finished_; }

private:
    [[nodiscard]] bool take(char wanted) noexcept {
        if (at_ == end_ || *at_ != wanted)
            return false;
        at_++;
        return true;
    }

    void skip_blanks() noexcept {
        while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r'))
            at_++;
    }

    void finish() noexcept {
        skip_blanks();
        finished_ = true;
        well_formed_ = at_ == end_;
    }

    // memchr rather than a loop over bytes, as a prompt may have a megabyte.
    [[nodiscard]] bool skip_string() noexcept {
        if (!take('"'))
            return false;
        for (const char *start = at_; at_ != end_;) {
            const auto *quote = static_cast<const char *>(std::memchr(at_, '"', static_cast<std::size_t>(end_ - at_)));
            if (quote == nullptr)
                return false;
            const char *before = quote;
            while (before != start && before[-1] == '\\')
                before--;
            at_ = quote + 1;
            if ((quote - before) % 2 == 0)
                return true;
        }
        return false;
    }

    [[nodiscard]] bool skip_value() noexcept {
        int depth = 0;
        while (at_ != end_) {
            const char c = *at_;
            if (c == '"') {
                if (!skip_string())
                    return false;
            } else if (depth == 0 && (c == ',' || c == '}' || c == ']' || c == ' ' || c == '\n')) {
                return true;
            } else {
                depth += (c == '{' || c == '[') - (c == '}' || c == ']');
                at_++;
                if (depth > 0 || (c != '}' && c != ']'))
                    continue;
            }
            if (depth == 0)
                return true;
        }
        return false;
    }

    const char *at_;
    const char *end_;
    bool well_formed_ = false;
    bool finished_ = false;
};

}  // namespace steadytext::echo
