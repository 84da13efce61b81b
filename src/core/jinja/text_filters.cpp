// Filters of texts and numbers: see filters.hpp.
#include "src/core/jinja/filters.hpp"

#include "src/core/jinja/text.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace steadytext::core::jinja {

Value formatted(Machine &machine, std::string_view form, const Value &value);

namespace {

// Text filters that leave the mark of an escaped text, because they cannot unescape it.
template <std::string (*change)(std::string_view)>
Value changed(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("filter", arguments, {});
    const Value text = to_text(machine, of);
    machine.bounds.spend(1 + text.size / 8);
    Value made = machine.kept(change(text.text()));
    made.is_markup = text.is_markup;
    return made;
}

Value trim(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_trim", arguments, {"chars"});
    const Value text = to_text(machine, of);
    if (given.has(0) && !given[0].is(Kind::None)) {
        if (!given[0].is(Kind::String))
            fail("strip arg must be None or str");
        Value made = text;
        const std::string_view left = stripped(text.text(), given[0].text(), true, true, machine.bounds);
        made.data = left.data();
        made.size = static_cast<std::uint32_t>(left.size());
        return made;
    }
    machine.bounds.spend(1 + text.size / 16);
    Value made = string(stripped(text.text()));
    made.is_markup = text.is_markup;
    return made;
}

Value truncate(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_truncate", arguments, {"length", "killwords", "end", "leeway"});
    machine.need_defined(of);
    if (!of.is(Kind::String))
        unsupported("truncate of " + std::string(type_name(of)));
    const std::string_view text = plain_text(machine, of);
    const std::int64_t length = need_whole(given.or_else(0, whole(255)));
    const std::int64_t leeway = given.has(3) && !given[3].is(Kind::None) ? need_whole(given[3]) : 5;
    const Value end = given.or_else(2, string("..."));
    if (!end.is(Kind::String))
        fail("end must be str");
    const auto end_length = static_cast<std::int64_t>(length_of(end.text()));
    if (length < end_length)
        fail("expected length >= " + std::to_string(end_length) + ", got " + std::to_string(length));
    if (leeway < 0)
        fail("expected leeway >= 0, got " + std::to_string(leeway));
    if (static_cast<std::int64_t>(length_of(text)) <= length + leeway)
        return of;
    std::string_view left = text.substr(0, byte_of(text, static_cast<std::size_t>(length - end_length)));
    if (!is_true(machine, given.or_else(1, truth(false))))
        left = left.substr(0, std::min(left.rfind(' '), left.size()));
    return machine.kept(std::string(left) + std::string(end.text()));
}

Value wordwrap(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_wordwrap", arguments, {"width", "break_long_words", "wrapstring", "break_on_hyphens"});
    if (!of.is(Kind::String))
        unsupported("wordwrap of " + std::string(type_name(of)));
    const std::string_view text = plain_text(machine, of);
    const std::int64_t width = need_whole(given.or_else(0, whole(79)));
    if (width <= 0)
        fail("invalid width " + std::to_string(width) + " (must be > 0)");
    const Value between = given.or_else(2, none());
    const std::string_view wrap = between.is(Kind::None) ? std::string_view("\n") : plain_text(machine, between);
    const bool long_words = is_true(machine, given.or_else(1, truth(true))),
               hyphens = is_true(machine, given.or_else(3, truth(true)));
    std::string out;
    bool first = true;
    machine.bounds.spend(1 + text.size());
    Bounds::Scratch all(machine.bounds);
    for (const std::string_view line : lines(text, all)) {
        Bounds::Scratch scratch(machine.bounds);
        out += first ? "" : wrap;
        first = false;
        bool first_row = true;
        for (const std::string_view row :
             wrapped(line, static_cast<std::size_t>(width), long_words, hyphens, machine.bounds, scratch)) {
            out += first_row ? "" : wrap;
            first_row = false;
            out += row;
        }
        if (out.size() > Bounds::kMaxOutput)
            machine.bounds.take_output(out.size());
    }
    return machine.kept(out);
}

Value indent(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_indent", arguments, {"width", "first", "blank"});
    if (!of.is(Kind::String))
        unsupported("indent of " + std::string(type_name(of)));
    const std::string text = std::string(plain_text(machine, of)) + "\n";
    const Value width = given.or_else(0, whole(4));
    const std::string indention =
        width.is(Kind::String)
            ? std::string(width.text())
            : std::string(static_cast<std::size_t>(std::clamp<std::int64_t>(need_whole(width), 0, 10'000)), ' ');
    if (width.is_whole() && width.whole() > 10'000)
        unsupported("an indent of more than 10000");
    const bool blank = is_true(machine, given.or_else(2, truth(false)));
    std::string out = is_true(machine, given.or_else(1, truth(false))) ? indention : "";
    bool first = true;
    Bounds::Scratch scratch(machine.bounds);
    for (const std::string_view line : lines(text, scratch)) {
        machine.bounds.spend(1 + line.size() / 64);
        if (!first) {
            out += '\n';
            if (blank || !line.empty())
                out += indention;
        }
        first = false;
        out += line;
        if (out.size() > Bounds::kMaxOutput)
            machine.bounds.take_output(out.size());
    }
    return machine.kept(out);
}

Value replace(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_replace", arguments, {"old", "new", "count"}, 2);
    const std::string_view text = plain_text(machine, of);
    const std::string_view old = plain_text(machine, given[0]), by = plain_text(machine, given[1]);
    const Value most = given.or_else(2, none());
    return machine.kept(replaced(text, old, by, most.is(Kind::None) ? -1 : need_whole(most), machine.bounds));
}

Value center(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_center", arguments, {"width"});
    const std::int64_t width = need_whole(given.or_else(0, whole(80)));
    const std::string_view text = plain_text(machine, of);
    const auto length = static_cast<std::int64_t>(length_of(text));
    if (width <= length)
        return string(text);
    const auto padding = static_cast<std::size_t>(width - length);
    machine.bounds.take_output(padding);
    machine.bounds.give_back_output(padding);
    const std::size_t left = padding / 2 + (padding & static_cast<std::size_t>(width) & 1);
    return machine.kept(std::string(left, ' ') + std::string(text) + std::string(padding - left, ' '));
}

Value escape(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("escape", arguments, {});
    if (of.is(Kind::String) && of.is_markup)
        return of;
    return markup(machine.kept(escaped(to_text(machine, of).text())).text());
}

Value force_escape(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("forceescape", arguments, {});
    return markup(machine.kept(escaped(to_text(machine, of).text())).text());
}

Value safe(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("safe", arguments, {});
    return markup(to_text(machine, of).text());
}

Value text(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("string", arguments, {});
    return to_text(machine, of);
}

Value format(Machine &machine, const Value &of, const Arguments &arguments) {
    if (!arguments.named.empty() && !arguments.positional.empty())
        fail("can't handle positional and keyword arguments at the same time");
    const std::string_view form = plain_text(machine, of);
    if (!arguments.named.empty()) {
        Dict *dict = new_dict(machine.arena);
        for (const Named &named : arguments.named)
            dict->set(machine.arena, string(named.name), named.value);
        return formatted(machine, form, value_of(dict));
    }
    List *list = new_list(machine.arena);
    for (const Value &value : arguments.positional)
        list->add(machine.arena, value);
    return formatted(machine, form, value_of(Kind::Tuple, list));
}

Value word_count(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("do_wordcount", arguments, {});
    const std::string_view words = plain_text(machine, of);
    machine.bounds.spend(words.size());
    std::int64_t count = 0;
    bool inside = false;
    for (std::size_t at = 0, length; at < words.size(); at += length) {
        const bool word = is_word(code_at(words, at, length));
        count += word && !inside;
        inside = word;
    }
    return whole(count);
}

std::string quoted(std::string_view text, bool in_query, Bounds &bounds) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    bounds.spend(1 + text.size() / 4);
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           std::string_view(in_query ? "_.-~" : "_.-~/").find(c) != std::string_view::npos;
        if (plain)
            out += c;
        else if (in_query && c == ' ')
            out += '+';
        else
            (((out += '%') += kDigits[static_cast<unsigned char>(c) >> 4])) += kDigits[c & 15];
    }
    return out;
}

Value url_encode(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("do_urlencode", arguments, {});
    if (!of.is(Kind::Dict) && !of.is(Kind::List) && !of.is(Kind::Tuple))
        return machine.kept(quoted(plain_text(machine, of), false, machine.bounds));
    std::string out;
    const auto add = [&](const Value &key, const Value &value) {
        if (!out.empty())
            out += '&';
        out += quoted(plain_text(machine, key), true, machine.bounds) + "=" +
               quoted(plain_text(machine, value), true, machine.bounds);
        if (out.size() > Bounds::kMaxOutput)
            machine.bounds.take_output(out.size());
    };
    for (std::uint32_t i = 0; of.is(Kind::Dict) && i < of.dict->count; i++)
        add(of.dict->keys[i], of.dict->values[i]);
    for (std::uint32_t i = 0; !of.is(Kind::Dict) && i < of.list->count; i++) {
        const Value &pair = of.list->items[i];
        if (!pair.is_list_like() || pair.list->count != 2)
            fail("not enough values to unpack (expected 2)");
        add(pair.list->items[0], pair.list->items[1]);
    }
    return machine.kept(out);
}

// ---- numbers -------------------------------------------------------------------------------------------------------

Value absolute(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("abs", arguments, {});
    if (of.is_undefined())
        fail_undefined(of.text());
    if (of.is(Kind::Float))
        return real(std::fabs(of.real));
    if (of.is(Kind::Big))
        refuse_long();
    if (!of.is_whole())
        fail("bad operand type for abs(): '" + std::string(type_name(of)) + "'");
    return of.whole() < 0 ? negative(of, true) : whole(of.whole());
}

Value from_real(double value) {
    if (!(std::fabs(value) < 9.2e18))
        refuse_long();
    return whole(static_cast<std::int64_t>(value));
}

Value to_int(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_int", arguments, {"default", "base"});
    const Value otherwise = given.or_else(0, whole(0));
    if (need_whole(given.or_else(1, whole(10))) != 10)
        unsupported("a base other than 10");
    if (of.is_undefined())
        fail_undefined(of.text());
    if (of.is_whole())
        return whole(of.whole());
    if (of.is(Kind::Big))
        return of;
    if (of.is(Kind::Float))
        return std::isfinite(of.real) ? from_real(of.real) : std::isnan(of.real) ? otherwise : otherwise;
    if (!of.is(Kind::String))
        return otherwise;
    machine.bounds.spend(1 + of.size / 16);
    std::int64_t number;
    double real_number;
    if (read_whole(of.text(), number))
        return whole(number);
    if (read_real(of.text(), real_number) && std::isfinite(real_number))
        return from_real(real_number);
    return otherwise;
}

Value to_float(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_float", arguments, {"default"});
    if (of.is_undefined())
        fail_undefined(of.text());
    double number;
    if (of.is_number())
        return real(of.number());
    if (of.is(Kind::Big))
        refuse_long();
    machine.bounds.spend(1 + of.size / 16);
    return of.is(Kind::String) && read_real(of.text(), number) ? real(number) : given.or_else(0, real(0));
}

// Python's round(): the nearest decimal, ties of the exact binary value to even.
double rounded(double value, std::int64_t digits) {
    if (!std::isfinite(value) || digits > 300)
        return value;
    char text[800];
    std::snprintf(text, sizeof text, "%.*f", static_cast<int>(digits), value);
    return std::strtod(text, nullptr);
}

Value round_filter(Machine &, const Value &of, const Arguments &arguments) {
    const Bound given("do_round", arguments, {"precision", "method"});
    const std::int64_t digits = need_whole(given.or_else(0, whole(0)));
    const Value method = given.or_else(1, string("common"));
    if (!method.is(Kind::String) || (method.text() != "common" && method.text() != "ceil" && method.text() != "floor"))
        fail("method must be common, ceil or floor");
    if (of.is_undefined())
        fail_undefined(of.text());
    if (of.is(Kind::Big))
        refuse_long();
    if (!of.is_number())
        fail("type " + std::string(type_name(of)) + " doesn't define __round__ method");
    if (digits < 0)
        unsupported("round to a negative precision");
    if (method.text() == "common") {
        if (!of.is(Kind::Float))
            return whole(of.whole());
        return real(rounded(of.real, digits));
    }
    if (digits > 15)
        unsupported("round up or down to more than 15 places");
    std::int64_t scale = 1;
    for (std::int64_t i = 0; i < digits; i++)
        scale *= 10;
    const double scaled =
        of.is(Kind::Float) ? of.real * static_cast<double>(scale) : of.number() * static_cast<double>(scale);
    if (!(std::fabs(scaled) < 9e15))
        unsupported("round up or down beyond 2 ** 53");
    return real((method.text() == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / static_cast<double>(scale) + 0.0);
}

Value file_size(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_filesizeformat", arguments, {"binary"});
    const bool binary_units = is_true(machine, given.or_else(0, truth(false)));
    double bytes = 0;
    if (of.is_number())
        bytes = of.number();
    else if (!of.is(Kind::String) || !read_real(of.text(), bytes))
        fail("could not convert string to float");
    const double base = binary_units ? 1024 : 1000;
    char text[400];
    if (bytes == 1)
        return string("1 Byte");
    if (!std::isfinite(bytes) || bytes < -1e15)
        unsupported("such a size");
    if (bytes < base) {
        std::snprintf(text, sizeof text, "%lld Bytes", static_cast<long long>(bytes));
        return machine.kept(text);
    }
    constexpr const char *kUnits[2][8] = {{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
                                          {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}};
    int i = 0;
    double unit = base * base;
    while (i < 7 && bytes >= unit) {
        unit *= base;
        i++;
    }
    std::snprintf(text, sizeof text, "%.1f %s", base * bytes / unit, kUnits[binary_units][i]);
    return machine.kept(text);
}

constexpr FilterEntry kFilters[] = {
    {"upper", changed<upper>},
    {"lower", changed<lower>},
    {"capitalize", changed<capitalized>},
    {"title", changed<title>},
    {"trim", trim},
    {"truncate", truncate},
    {"wordwrap", wordwrap},
    {"indent", indent},
    {"replace", replace},
    {"center", center},
    {"escape", escape},
    {"e", escape},
    {"forceescape", force_escape},
    {"safe", safe},
    {"string", text},
    {"format", format},
    {"wordcount", word_count},
    {"urlencode", url_encode},
    {"abs", absolute},
    {"int", to_int},
    {"float", to_float},
    {"round", round_filter},
    {"filesizeformat", file_size},
    {"tojson", to_json},
};

}  // namespace

FilterFunction text_filter(std::string_view name) {
    const auto *found = std::ranges::find(kFilters, name, &FilterEntry::name);
    return found == std::end(kFilters) ? nullptr : found->run;
}

}  // namespace steadytext::core::jinja
