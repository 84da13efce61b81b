// A single pass over strings and brackets: see json_member.hpp. Regime: pure.
#include "src/core/json_member.hpp"

#include <algorithm>

namespace steadytext::core {

namespace {

class Cursor {
public:
    explicit Cursor(std::string_view text) : text_(text) {}

    [[nodiscard]] bool take(char expected) {
        skip_blanks();
        const bool found = at_ < text_.size() && text_[at_] == expected;
        at_ += found ? 1 : 0;
        return found;
    }
    // With its quotes; empty if there is no string here.
    [[nodiscard]] std::string_view take_string() {
        skip_blanks();
        const std::size_t begin = at_;
        if (at_ < text_.size() && text_[at_] == '"')
            skip_string();
        return text_.substr(begin, at_ - begin);
    }
    [[nodiscard]] std::string_view take_value() {
        skip_blanks();
        const std::size_t begin = at_;
        std::size_t depth = 0;
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (c == '"') {
                skip_string();
            } else if (c == '{' || c == '[') {
                depth++;
                at_++;
            } else if (c == '}' || c == ']') {
                if (depth == 0)
                    break;  // this bracket closes the object that the member belongs to
                depth--;
                at_++;
            } else if (depth == 0 && c == ',') {
                break;
            } else {
                at_ = std::min(text_.find_first_of("\"{}[],", at_ + 1), text_.size());
                continue;
            }
            if (depth == 0)
                break;
        }
        const std::string_view value = text_.substr(begin, at_ - begin);
        return value.substr(0, value.find_last_not_of(kBlanks) + 1);
    }

private:
    static constexpr std::string_view kBlanks = " \t\r\n";

    void skip_blanks() { at_ = std::min(text_.find_first_not_of(kBlanks, at_), text_.size()); }
    void skip_string() {
        std::size_t from = at_ + 1;  // the text before it was looked at
        while ((at_ = text_.find('"', from)) != std::string_view::npos) {
            const std::size_t plain = text_.substr(from, at_ - from).find_last_not_of('\\');
            const std::size_t backslashes = plain == std::string_view::npos ? at_ - from : at_ - from - plain - 1;
            from = ++at_;
            if (backslashes % 2 == 0)
                return;
        }
        at_ = text_.size();
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace

namespace {

// Calls `found` with each member's name and value, until it says that this is enough.
template <class Found>
void each_member(std::string_view object, const Found &found) {
    Cursor cursor(object);
    for (bool more = cursor.take('{'); more; more = cursor.take(',')) {
        const std::string_view name = cursor.take_string();
        if (name.size() < 2 || !cursor.take(':'))
            return;
        const std::string_view value = cursor.take_value();
        if (found(name.substr(1, name.size() - 2), value))
            return;
    }
}

}  // namespace

std::string_view json_member(std::string_view object, std::string_view key) noexcept {
    std::string_view wanted;
    each_member(object, [&](std::string_view name, std::string_view value) {
        if (name != key)
            return false;
        wanted = value;
        return true;
    });
    return wanted;
}

void json_members(std::string_view object,
                  std::span<const std::pair<std::string_view, std::string_view *>> wanted) noexcept {
    each_member(object, [&](std::string_view name, std::string_view value) {
        for (const auto &[key, taken] : wanted)
            if (name == key && taken->empty())
                *taken = value;
        return false;
    });
}

bool json_strings(std::string_view array, std::vector<std::string_view> &items) {
    Cursor cursor(array);
    if (!cursor.take('['))
        return false;
    do {
        const std::string_view item = cursor.take_string();
        if (item.size() < 2)
            return false;
        items.push_back(item);
    } while (cursor.take(','));
    return cursor.take(']');
}

}  // namespace steadytext::core
