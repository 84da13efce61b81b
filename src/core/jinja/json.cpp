// JSON as values of templates, and the filter tojson: see filters.hpp.
#include "src/core/jinja/filters.hpp"

#include "src/core/jinja/text.hpp"
#include "src/core/json_text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

namespace steadytext::core::jinja {

namespace {

// What PostgreSQL writes of a jsonb. Other texts fail.
class Reader {
public:
    Reader(std::string_view json, Machine &machine) : json_(json), machine_(machine) {}

    Value run() {
        const Value made = value();
        space();
        if (at_ != json_.size())
            bad();
        return made;
    }

private:
    [[noreturn]] static void bad() { fail("the variables are no JSON"); }
    void space() {
        while (at_ < json_.size() &&
               (json_[at_] == ' ' || json_[at_] == '\n' || json_[at_] == '\t' || json_[at_] == '\r'))
            at_++;
    }
    bool skip(char c) {
        space();
        if (at_ >= json_.size() || json_[at_] != c)
            return false;
        at_++;
        return true;
    }
    void need(char c) {
        if (!skip(c))
            bad();
    }

    Value value() {
        const Bounds::Level level(machine_.bounds);
        machine_.bounds.spend();
        if (skip('{'))
            return object();
        if (skip('['))
            return array();
        if (skip('"'))
            return string(text());
        for (const auto &[word, made] :
             {std::pair{std::string_view("true"), truth(true)}, {"false", truth(false)}, {"null", none()}})
            if (json_.substr(at_).starts_with(word)) {
                at_ += word.size();
                return made;
            }
        return number();
    }

    Value object() {
        Dict *dict = new_dict(machine_.arena);
        if (!skip('}')) {
            do {
                need('"');
                const std::string_view key = text();
                need(':');
                dict->set(machine_.arena, string(key), value());
            } while (skip(','));
            need('}');
        }
        return value_of(dict);
    }

    Value array() {
        List *list = new_list(machine_.arena);
        if (!skip(']')) {
            do
                list->add(machine_.arena, value());
            while (skip(','));
            need(']');
        }
        return value_of(Kind::List, list);
    }

    Value number() {
        const std::size_t begin = at_;
        while (at_ < json_.size() && std::string_view("+-0123456789.eE").find(json_[at_]) != std::string_view::npos)
            at_++;
        const std::string_view digits = json_.substr(begin, at_ - begin);
        if (digits.empty())
            bad();
        if (digits.find_first_of(".eE") != std::string_view::npos) {
            double value = 0;
            if (!read_real(digits, value))
                bad();
            return real(value);
        }
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        if (error == std::errc::result_out_of_range) {
            Value big = string(machine_.arena.copy(digits));
            big.kind = Kind::Big;
            return big;
        }
        if (error != std::errc{} || end != digits.data() + digits.size())
            bad();
        return whole(number);
    }

    std::uint32_t code_unit() {
        std::uint32_t code = 0;
        const std::size_t end = std::min(at_ + 4, json_.size());
        const auto [stopped, error] = std::from_chars(json_.data() + at_, json_.data() + end, code, 16);
        if (error != std::errc{} || stopped != json_.data() + end || end != at_ + 4)
            bad();
        at_ = end;
        return code;
    }

    std::string_view text() {
        const std::size_t end = json_.find_first_of("\"\\", at_);
        if (end == std::string_view::npos)
            bad();
        machine_.bounds.spend((end - at_) / 64);
        if (json_[end] == '"') {
            const std::string_view plain = machine_.arena.copy(json_.substr(at_, end - at_));
            at_ = end + 1;
            return plain;
        }
        std::string out;
        while (at_ < json_.size() && json_[at_] != '"') {
            machine_.bounds.spend();
            if (json_[at_] != '\\') {
                out += json_[at_++];
                continue;
            }
            const char c = at_ + 1 < json_.size() ? json_[at_ + 1] : '\0';
            at_ += 2;
            if (const std::size_t known = std::string_view("\"\\/bfnrt").find(c); known != std::string_view::npos) {
                out += "\"\\/\b\f\n\r\t"[known];
            } else if (c == 'u') {
                std::uint32_t code = code_unit();
                if (code >= 0xD800 && code <= 0xDBFF && json_.substr(std::min(at_, json_.size())).starts_with("\\u")) {
                    at_ += 2;
                    code = 0x10000 + ((code - 0xD800) << 10) + ((code_unit() - 0xDC00) & 0x3FF);
                }
                if (code == 0 || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF)
                    bad();
                append_code(out, code);
            } else {
                bad();
            }
        }
        at_++;
        if (at_ > json_.size())
            bad();
        return machine_.arena.copy(out);
    }

    std::string_view json_;
    Machine &machine_;
    std::size_t at_ = 0;
};

// json.dumps(value, sort_keys=True, indent=...)
class Writer {
public:
    Writer(Machine &machine, std::int64_t indent) : machine_(machine), indent_(indent) {}

    std::string out;

    void write(const Value &value, std::int64_t depth = 0) {
        const Bounds::Level level(machine_.bounds);
        machine_.bounds.spend();
        if (out.size() > Bounds::kMaxOutput)
            machine_.bounds.take_output(out.size());
        switch (value.kind) {
        case Kind::None:
            out += "null";
            return;
        case Kind::Bool:
            out += value.truth ? "true" : "false";
            return;
        case Kind::Int:
        case Kind::Big:
            return append_str(machine_, out, value);
        case Kind::Float:
            return real_number(value.real);
        case Kind::String:
            machine_.bounds.spend(value.size / 16);
            return append_json_string(out, value.text(), Escape::Ascii);
        case Kind::List:
        case Kind::Tuple:
        case Kind::Group:
            out += '[';
            for (std::uint32_t i = 0; i < value.list->count; i++) {
                begin(i, depth + 1);
                write(value.list->items[i], depth + 1);
            }
            return end(value.list->count, depth, ']');
        case Kind::Dict:
            return object(*value.dict, depth);
        default:
            fail("Object of type " + std::string(type_name(value)) + " is not JSON serializable");
        }
    }

private:
    void real_number(double value) {
        out += std::isnan(value)   ? "NaN"
               : std::isinf(value) ? (value < 0 ? "-Infinity" : "Infinity")
                                   : (scratch_.clear(), append_real(scratch_, value), scratch_);
    }
    void line(std::int64_t depth) {
        out += '\n';
        out.append(static_cast<std::size_t>(indent_ * depth), ' ');
        machine_.bounds.spend(1 + static_cast<std::uint64_t>(indent_ * depth) / 16);
    }
    void begin(std::uint32_t i, std::int64_t depth) {
        if (i > 0)
            out += indent_ >= 0 ? "," : ", ";
        if (indent_ >= 0)
            line(depth);
    }
    void end(std::uint32_t count, std::int64_t depth, char closing) {
        if (indent_ >= 0 && count > 0)
            line(depth);
        out += closing;
    }

    void object(const Dict &dict, std::int64_t depth) {
        std::vector<std::uint32_t> order(dict.count);
        for (std::uint32_t i = 0; i < dict.count; i++) {
            order[i] = i;
            if (dict.count > 1 && !dict.keys[i].is(Kind::String))
                unsupported("tojson of several keys that are no texts");
        }
        machine_.bounds.spend(dict.count * 8U);
        std::ranges::sort(order, {}, [&](std::uint32_t i) {
            return dict.keys[i].is(Kind::String) ? dict.keys[i].text() : std::string_view();
        });
        out += '{';
        for (std::uint32_t i = 0; i < dict.count; i++) {
            begin(i, depth + 1);
            const Value &key = dict.keys[order[i]];
            if (key.is(Kind::String)) {
                append_json_string(out, key.text(), Escape::Ascii);
            } else {
                out += '"';
                write(key, depth + 1);
                out += '"';
            }
            out += ": ";
            write(dict.values[order[i]], depth + 1);
        }
        end(dict.count, depth, '}');
    }

    Machine &machine_;
    std::int64_t indent_;
    std::string scratch_;
};

}  // namespace

Value from_json(std::string_view json, Machine &machine) { return Reader(json, machine).run(); }

Value to_json(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_tojson", arguments, {"indent"});
    const std::int64_t indent = given.has(0) && !given[0].is(Kind::None) ? need_whole(given[0]) : -1;
    if (indent > 100 || indent < -1)
        unsupported("an indent beyond 0 to 100");
    Writer writer(machine, indent);
    writer.write(of);
    std::string html;  // as htmlsafe_json_dumps()
    for (const char c : writer.out)
        switch (c) {
        case '<':
            html += "\\u003c";
            break;
        case '>':
            html += "\\u003e";
            break;
        case '&':
            html += "\\u0026";
            break;
        case '\'':
            html += "\\u0027";
            break;
        default:
            html += c;
        }
    return markup(machine.kept(html).text());
}

}  // namespace steadytext::core::jinja
