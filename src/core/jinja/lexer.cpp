// See lexer.hpp.
#include "src/core/jinja/lexer.hpp"

#include "src/core/jinja/text.hpp"

#include <algorithm>

namespace steadytext::core::jinja {

void fail_syntax(std::string message, int line) { throw Failure{Failure::Kind::Syntax, std::move(message), line}; }

std::string_view Token::described() const {
    switch (type) {
    case Type::Data:
        return "template data / text";
    case Type::VariableBegin:
        return "begin of print statement";
    case Type::VariableEnd:
        return "end of print statement";
    case Type::BlockBegin:
        return "begin of statement block";
    case Type::BlockEnd:
        return "end of statement block";
    case Type::String:
        return "string";
    case Type::Integer:
        return "integer";
    case Type::Float:
        return "float";
    case Type::End:
        return "end of template";
    default:
        return text;
    }
}

namespace {

using Type = Token::Type;

class Lexer {
public:
    Lexer(std::string_view source, Bounds &bounds) : source_(source), bounds_(bounds) {}

    std::vector<Token> run() {
        while (at_ < source_.size())
            data();
        add(Type::End, {});
        return std::move(tokens_);
    }

private:
    void add(Type type, std::string_view text) {
        bounds_.spend();
        tokens_.push_back({type, text, line_});
    }
    void move_to(std::size_t to) {
        bounds_.spend(1 + (to - at_) / 16);
        line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                             source_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
        at_ = to;
    }
    [[nodiscard]] std::string_view rest() const { return source_.substr(at_); }
    [[nodiscard]] std::size_t behind_space(std::size_t at) const {
        return source_.size() - stripped_left(source_.substr(at)).size();
    }
    [[nodiscard]] bool has(std::size_t at, std::string_view text) const {
        return source_.substr(std::min(at, source_.size())).starts_with(text);
    }

    // The end of the mark that closes a tag or comment at `at`: "-%}" takes the white space behind it; 0: no such mark.
    [[nodiscard]] std::size_t closed(std::size_t at, std::string_view closing, bool plus) const {
        if (has(at, "-") && has(at + 1, closing))
            return behind_space(at + 1 + closing.size());
        if (plus && has(at, "+") && has(at + 1, closing))
            return at + 1 + closing.size();
        return has(at, closing) ? at + closing.size() : 0;
    }

    // "{%", a sign, a word; the end of the word, or 0.
    [[nodiscard]] std::size_t tag_word(std::size_t at, std::string_view word) const {
        at += 2;
        if (has(at, "-") || has(at, "+"))
            at++;
        at = behind_space(at);
        return has(at, word) ? behind_space(at + word.size()) : 0;
    }

    void text_before(std::size_t begin) {
        std::string_view text = source_.substr(at_, begin - at_);
        if (has(begin + 2, "-"))
            text = stripped_right(text);
        if (!text.empty())
            add(Type::Data, text);
        move_to(begin);
    }

    void data() {
        std::size_t begin = at_;
        while ((begin = source_.find('{', begin)) != std::string_view::npos) {
            if (begin + 1 < source_.size() &&
                (source_[begin + 1] == '{' || source_[begin + 1] == '%' || source_[begin + 1] == '#'))
                break;
            begin++;
        }
        if (begin == std::string_view::npos) {
            add(Type::Data, rest());
            move_to(source_.size());
            return;
        }
        text_before(begin);
        const std::size_t inside = begin + 2 + (has(begin + 2, "-") || has(begin + 2, "+") ? 1 : 0);
        switch (source_[begin + 1]) {
        case '#':
            return comment(inside);
        case '%':
            if (const std::size_t word = tag_word(begin, "raw"); word != 0)
                if (const std::size_t end = closed(word, "%}", false); end != 0)
                    return raw(end);
            add(Type::BlockBegin, {});
            move_to(inside);
            return tag("%}", Type::BlockEnd);
        default:
            add(Type::VariableBegin, {});
            move_to(inside);
            return tag("}}", Type::VariableEnd);
        }
    }

    void comment(std::size_t at) {
        for (; at < source_.size(); at++)
            if (const std::size_t end = closed(at, "#}", true); end != 0)
                return move_to(end);
        fail_syntax("Missing end of comment tag", line_);
    }

    void raw(std::size_t begin) {
        for (std::size_t at = begin; (at = source_.find("{%", at)) != std::string_view::npos; at++) {
            bounds_.spend();
            const std::size_t word = tag_word(at, "endraw");
            const std::size_t end = word != 0 ? closed(word, "%}", true) : 0;
            if (end == 0)
                continue;
            std::string_view text = source_.substr(begin, at - begin);
            if (has(at + 2, "-"))
                text = stripped_right(text);
            if (!text.empty())
                add(Type::Data, text);
            return move_to(end);
        }
        fail_syntax("Missing end of raw directive", line_);
    }

    void tag(std::string_view closing, Type end_type) {
        std::string open;  // the brackets that are to close
        while (at_ < source_.size()) {
            if (open.empty())
                if (const std::size_t end = closed(at_, closing, end_type == Type::BlockEnd); end != 0) {
                    add(end_type, {});
                    return move_to(end);
                }
            std::size_t length;
            if (is_space(code_at(source_, at_, length))) {
                move_to(behind_space(at_));
                continue;
            }
            if (!number() && !name() && !quoted())
                symbol(open);
        }
    }

    // (\d+_)*\d+ from `at` on; its end.
    [[nodiscard]] std::size_t digits(std::size_t at) const {
        const auto digit = [&](std::size_t i) { return i < source_.size() && source_[i] >= '0' && source_[i] <= '9'; };
        if (!digit(at))
            return at;
        while (digit(at) || (has(at, "_") && digit(at + 1)))
            at++;
        return at;
    }

    bool number() {
        const std::size_t whole = digits(at_);
        if (whole == at_)
            return false;
        const bool behind_dot = at_ > 0 && source_[at_ - 1] == '.';
        if (!behind_dot) {
            std::size_t end = whole;
            if (has(end, ".") && digits(end + 1) > end + 1)
                end = digits(end + 1);
            if (has(end, "e") || has(end, "E")) {
                const std::size_t sign = end + 1 + (has(end + 1, "+") || has(end + 1, "-") ? 1 : 0);
                if (digits(sign) > sign)
                    end = digits(sign);
            }
            if (end > whole) {
                add(Type::Float, source_.substr(at_, end - at_));
                move_to(end);
                return true;
            }
        }
        if (source_[at_] == '0' && at_ + 1 < source_.size() &&
            std::string_view("xXoObB").find(source_[at_ + 1]) != std::string_view::npos)
            unsupported("an integer that is not decimal");
        // A zero goes with zeros only, as in Python: "01" is two tokens there.
        std::size_t end = whole;
        if (source_[at_] == '0')
            for (end = at_ + 1; end < whole && (source_[end] == '0' || (source_[end] == '_' && has(end + 1, "0")));)
                end++;
        add(Type::Integer, source_.substr(at_, end - at_));
        move_to(end);
        return true;
    }

    bool name() {
        std::size_t end = at_;
        for (std::size_t length; end < source_.size() && is_word(code_at(source_, end, length)); end += length)
            if (static_cast<unsigned char>(source_[end]) >= 0x80)
                unsupported("a name with letters beyond ASCII");
        if (end == at_)
            return false;
        add(Type::Name, source_.substr(at_, end - at_));
        move_to(end);
        return true;
    }

    bool quoted() {
        const char quote = source_[at_];
        if (quote != '"' && quote != '\'')
            return false;
        for (std::size_t end = at_ + 1; end < source_.size(); end++) {
            if (source_[end] == '\\')
                end++;
            else if (source_[end] == quote) {
                add(Type::String, source_.substr(at_ + 1, end - at_ - 1));
                move_to(end + 1);
                return true;
            }
        }
        return false;
    }

    void symbol(std::string &open) {
        std::string_view found;
        for (const std::string_view two : {"//", "**", "==", "!=", ">=", "<="})
            if (has(at_, two))
                found = source_.substr(at_, 2);
        if (found.empty() && std::string_view("+-/*%~[](){}><=.:|,;").find(source_[at_]) != std::string_view::npos)
            found = source_.substr(at_, 1);
        if (found.empty()) {
            std::size_t length;
            (void)code_at(source_, at_, length);
            fail_syntax("unexpected char " + repr(source_.substr(at_, length)) + " at " +
                            std::to_string(length_of(source_.substr(0, at_))),
                        line_);
        }
        const auto opens = std::string_view("([{").find(found[0]), closes = std::string_view(")]}").find(found[0]);
        if (opens != std::string_view::npos) {
            open += ")]}"[opens];
        } else if (closes != std::string_view::npos) {
            if (open.empty())
                fail_syntax("unexpected '" + std::string(found) + "'", line_);
            if (open.back() != found[0])
                fail_syntax("unexpected '" + std::string(found) + "', expected '" + open.back() + "'", line_);
            open.pop_back();
        }
        add(Type::Operator, found);
        move_to(at_ + found.size());
    }

    std::string_view source_;
    Bounds &bounds_;
    std::vector<Token> tokens_;
    std::size_t at_ = 0;
    int line_ = 1;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view source, Bounds &bounds) { return Lexer(source, bounds).run(); }

}  // namespace steadytext::core::jinja
