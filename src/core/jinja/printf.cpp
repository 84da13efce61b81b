// "%s and %d" % values, and the filter format, as Python's.
//
// Called by binary() in machine.cpp and by the filters. Regime: pure (throws, see value.hpp).
#include "src/core/jinja/machine.hpp"
#include "src/core/jinja/text.hpp"

#include <cmath>
#include <cstdio>

namespace steadytext::core::jinja {

Value formatted(Machine &machine, std::string_view form, const Value &value);

namespace {

constexpr int kWidest = 10'000;

struct Spec {
    bool left = false, plus = false, space = false, zero = false;
    int width = 0, precision = -1;
    char type = 0;
};

int read_number(std::string_view form, std::size_t &at) {
    int number = 0;
    for (; at < form.size() && form[at] >= '0' && form[at] <= '9'; at++)
        if ((number = number * 10 + (form[at] - '0')) > kWidest)
            unsupported("a width or precision beyond " + std::to_string(kWidest));
    if (at < form.size() && form[at] == '*')
        unsupported("* in a format");
    return number;
}

Spec read_spec(std::string_view form, std::size_t &at) {
    Spec spec;
    for (; at < form.size(); at++) {
        if (form[at] == '-')
            spec.left = true;
        else if (form[at] == '+')
            spec.plus = true;
        else if (form[at] == ' ')
            spec.space = true;
        else if (form[at] == '0')
            spec.zero = true;
        else if (form[at] == '#')
            unsupported("# in a format");
        else
            break;
    }
    spec.width = read_number(form, at);
    if (at < form.size() && form[at] == '.') {
        at++;
        spec.precision = read_number(form, at);
    }
    while (at < form.size() && (form[at] == 'h' || form[at] == 'l' || form[at] == 'L'))
        at++;
    if (at >= form.size())
        fail("incomplete format");
    spec.type = form[at++];
    return spec;
}

std::string digits_of(const Spec &spec, const Value &value) {
    if (!value.is_number()) {
        if (value.is(Kind::Big))
            refuse_long();
        fail("%" + std::string(1, spec.type) +
             " format: " + (spec.type == 'd' || spec.type == 'i' || spec.type == 'u' ? "a real number" : "an integer") +
             " is required, not " + std::string(type_name(value)));
    }
    std::int64_t number = 0;
    if (value.is(Kind::Float)) {
        if (spec.type != 'd' && spec.type != 'i' && spec.type != 'u')
            fail("%" + std::string(1, spec.type) + " format: an integer is required, not float");
        if (!std::isfinite(value.real))
            fail(std::isnan(value.real) ? "cannot convert float NaN to integer"
                                        : "cannot convert float infinity to integer");
        if (!(std::fabs(value.real) < 9e18))
            refuse_long();
        number = static_cast<std::int64_t>(value.real);
    } else {
        number = value.whole();
    }
    const auto size = number < 0 ? 0 - static_cast<std::uint64_t>(number) : static_cast<std::uint64_t>(number);
    char text[32];
    std::snprintf(text, sizeof text,
                  spec.type == 'x'   ? "%lx"
                  : spec.type == 'X' ? "%lX"
                  : spec.type == 'o' ? "%lo"
                                     : "%lu",
                  static_cast<unsigned long>(size));
    std::string out = text;
    if (spec.precision > static_cast<int>(out.size()))
        out.insert(0, static_cast<std::size_t>(spec.precision) - out.size(), '0');
    return (number < 0 ? "-" : spec.plus ? "+" : spec.space ? " " : "") + out;
}

std::string real_of(const Spec &spec, const Value &value) {
    if (!value.is_number())
        fail("must be real number, not " + std::string(type_name(value)));
    const double number = value.number();
    const char form[] = {'%', '.', '*', spec.type, '\0'};
    char text[kWidest + 400];
    std::snprintf(text, sizeof text, form, spec.precision < 0 ? 6 : spec.precision, number);
    std::string out = text;
    if (std::isnan(number) && out[0] == '-')
        out.erase(0, 1);
    return (out[0] == '-' ? "" : spec.plus ? "+" : spec.space ? " " : "") + out;
}

std::string text_of(Machine &machine, const Spec &spec, const Value &value) {
    std::string out;
    if (spec.type == 'c') {
        if (value.is(Kind::String) && length_of(value.text()) == 1)
            return std::string(value.text());
        if (value.is(Kind::String))
            fail("%c requires int or char");
        const std::int64_t code = need_whole(value);
        if (code <= 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
            fail("%c arg not in range(0x110000)");
        append_code(out, static_cast<std::uint32_t>(code));
        return out;
    }
    spec.type == 's' ? append_str(machine, out, value) : append_repr(machine, out, value);
    if (spec.precision >= 0)
        out.resize(byte_of(out, static_cast<std::size_t>(spec.precision)));
    return out;
}

std::string field(Machine &machine, const Spec &spec, const Value &value) {
    bool is_number = true;
    std::string out;
    switch (spec.type) {
    case 's':
    case 'r':
    case 'c':
        is_number = false;
        out = text_of(machine, spec, value);
        break;
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        out = digits_of(spec, value);
        break;
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
        out = real_of(spec, value);
        break;
    default:
        fail("unsupported format character '" + std::string(1, spec.type) + "'");
    }
    const std::size_t length = length_of(out);
    if (static_cast<std::size_t>(spec.width) <= length)
        return out;
    const std::size_t padding = static_cast<std::size_t>(spec.width) - length;
    if (spec.left)
        return out.append(padding, ' ');
    if (spec.zero && is_number)
        return out.insert(out[0] == '-' || out[0] == '+' || out[0] == ' ' ? 1 : 0, padding, '0');
    return out.insert(0, padding, ' ');
}

}  // namespace

Value formatted(Machine &machine, std::string_view form, const Value &value) {
    const bool is_tuple = value.is(Kind::Tuple) || value.is(Kind::Group);
    const bool is_mapping =
        value.is(Kind::Dict) || value.is(Kind::List) || value.is_undefined() || value.is(Kind::Range);
    std::string out;
    std::uint32_t used = 0;
    const auto argument = [&]() -> Value {
        if (is_tuple ? used >= value.list->count : used > 0)
            fail("not enough arguments for format string");
        used++;
        return is_tuple ? value.list->items[used - 1] : value;
    };
    for (std::size_t at = 0; at < form.size();) {
        machine.bounds.spend();
        if (form[at] != '%') {
            out += form[at++];
            continue;
        }
        at++;
        bool named = false;
        Value given;
        if (at < form.size() && form[at] == '(') {
            const std::size_t end = form.find(')', at);
            if (end == std::string_view::npos)
                fail("incomplete format key");
            if (!value.is(Kind::Dict))
                fail("format requires a mapping");
            const std::string_view key = form.substr(at + 1, end - at - 1);
            if (key.find('(') != std::string_view::npos)
                unsupported("a parenthesis in a format's key");
            const Value *found = value.dict->find(machine.bounds, string(key));
            if (found == nullptr)
                fail(repr(key));
            given = *found;
            named = true;
            at = end + 1;
        }
        const Spec spec = read_spec(form, at);
        if (spec.type == '%') {
            out += '%';
            continue;
        }
        const std::string more = field(machine, spec, named ? given : argument());
        machine.bounds.spend(1 + more.size() / 64);
        out += more;
        if (out.size() > Bounds::kMaxOutput)
            machine.bounds.take_output(out.size());
    }
    if (!is_mapping && used < (is_tuple ? value.list->count : 1))
        fail("not all arguments converted during string formatting");
    return machine.kept(out);
}

}  // namespace steadytext::core::jinja
