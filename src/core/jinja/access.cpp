// See machine.hpp: how values are shown, and how names, keys and slices reach into them.
#include "src/core/jinja/machine.hpp"

#include "src/core/jinja/text.hpp"

#include <algorithm>
#include <charconv>

namespace steadytext::core::jinja {

// ---- str() and repr() ----------------------------------------------------------------------------------------------

namespace {

void append_items(Machine &machine, std::string &out, const List &list) {
    for (std::uint32_t i = 0; i < list.count; i++) {
        if (i > 0)
            out += ", ";
        append_repr(machine, out, list.items[i]);
    }
}

void append_dict(Machine &machine, std::string &out, const Dict &dict) {
    out += '{';
    for (std::uint32_t i = 0; i < dict.count; i++) {
        if (i > 0)
            out += ", ";
        append_repr(machine, out, dict.keys[i]);
        out += ": ";
        append_repr(machine, out, dict.values[i]);
    }
    out += '}';
}

void append_view(Machine &machine, std::string &out, const Value &value) {
    (out += type_name(value)) += "([";
    bool first = true;
    Iterator iterator(machine, value);
    for (Value each; iterator.next(each); first = false) {
        if (!first)
            out += ", ";
        append_repr(machine, out, each);
    }
    out += "])";
}

}  // namespace

void append_repr(Machine &machine, std::string &out, const Value &value) {
    const Bounds::Level level(machine.bounds);
    const std::size_t before = out.size();
    if (before > Bounds::kMaxOutput)
        machine.bounds.take_output(before);
    switch (value.kind) {
    case Kind::String:
        if (value.is_markup)
            out += "Markup(";
        append_repr(out, value.text());
        if (value.is_markup)
            out += ')';
        break;
    case Kind::Undefined:
        out += "Undefined";
        break;
    case Kind::List:
        out += '[';
        append_items(machine, out, *value.list);
        out += ']';
        break;
    case Kind::Tuple:
    case Kind::Group:
        out += '(';
        append_items(machine, out, *value.list);
        out += value.list->count == 1 ? ",)" : ")";
        break;
    case Kind::Dict:
        append_dict(machine, out, *value.dict);
        break;
    case Kind::Namespace:
        out += "<Namespace ";
        append_dict(machine, out, *value.dict);
        out += '>';
        break;
    case Kind::View:
        append_view(machine, out, value);
        break;
    default:
        append_str(machine, out, value);
    }
    machine.bounds.spend(1 + (out.size() - before) / 16);
}

void append_str(Machine &machine, std::string &out, const Value &value) {
    machine.bounds.spend();
    switch (value.kind) {
    case Kind::Undefined:
        machine.need_defined(value);
        return;
    case Kind::None:
        out += "None";
        return;
    case Kind::Bool:
        out += value.truth ? "True" : "False";
        return;
    case Kind::Int: {
        char digits[24];
        const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value.integer);
        out.append(digits, end);
        return;
    }
    case Kind::Float:
        return append_real(out, value.real);
    case Kind::String:
    case Kind::Big:
        machine.bounds.spend(value.size / 64);
        out += value.text();
        return;
    case Kind::Range:
        out += "range(" + std::to_string(value.range->start) + ", " + std::to_string(value.range->stop) +
               (value.range->step == 1 ? "" : ", " + std::to_string(value.range->step)) + ")";
        return;
    case Kind::List:
    case Kind::Tuple:
    case Kind::Group:
    case Kind::Dict:
    case Kind::Namespace:
    case Kind::View:
        return append_repr(machine, out, value);
    default:
        unsupported("a " + std::string(type_name(value)) + " as text");
    }
}

Value to_text(Machine &machine, const Value &value) {
    if (value.is(Kind::String))
        return value;
    std::string out;
    append_str(machine, out, value);
    return machine.kept(out);
}

std::string_view plain_text(Machine &machine, const Value &value) {
    if (value.is(Kind::String) && value.is_markup)
        unsupported("a change of an escaped text");
    const Value made = to_text(machine, value);
    machine.bounds.spend(made.size / 32);
    return made.text();
}

// ---- names, keys, slices -------------------------------------------------------------------------------------------

namespace {

// The attributes of Python's types. Only those that methods.cpp calls can be had.
constexpr std::string_view kTextMethods = " capitalize casefold center count encode endswith expandtabs find format "
                                          "format_map index isalnum isalpha isascii isdecimal isdigit"
                                          " isidentifier islower isnumeric isprintable isspace istitle isupper join "
                                          "ljust lower lstrip maketrans partition removeprefix removesuffix"
                                          " replace rfind rindex rjust rpartition rsplit rstrip split splitlines "
                                          "startswith strip swapcase title translate upper zfill ";
constexpr std::string_view kListMethods = " append clear copy count extend index insert pop remove reverse sort ";
constexpr std::string_view kTupleMethods = " count index ";
constexpr std::string_view kDictMethods = " clear copy fromkeys get items keys pop popitem setdefault update values ";
constexpr std::string_view kNumberMethods = " as_integer_ratio bit_count bit_length conjugate denominator from_bytes "
                                            "fromhex hex imag is_integer numerator real to_bytes ";
constexpr std::string_view kGeneratorMethods = " close gi_code gi_frame gi_running gi_yieldfrom send throw ";
constexpr std::string_view kRangeMethods = " count index start step stop ";

bool has(std::string_view words, std::string_view name) {
    for (std::size_t at = 0; (at = words.find(name, at)) != std::string_view::npos; at++)
        if (words[at - (at > 0)] == ' ' && words[at + name.size()] == ' ')
            return true;
    return false;
}

std::string_view methods_of(const Value &value) {
    switch (value.kind) {
    case Kind::String:
        return kTextMethods;
    case Kind::List:
        return kListMethods;
    case Kind::Tuple:
    case Kind::Group:
        return kTupleMethods;
    case Kind::Dict:
        return kDictMethods;
    case Kind::Bool:
    case Kind::Int:
    case Kind::Float:
    case Kind::Big:
        return kNumberMethods;
    case Kind::Generator:
        return kGeneratorMethods;
    case Kind::Range:
        return kRangeMethods;
    case Kind::View:
        return " isdisjoint mapping ";
    default:
        return "";
    }
}

std::string object_name(const Value &of) {
    switch (of.kind) {
    case Kind::None:
        return "None";
    case Kind::Group:
        return "jinja2.filters._GroupTuple object";
    case Kind::Namespace:
        return "jinja2.utils.Namespace object";
    case Kind::Loop:
        return "jinja2.runtime.LoopContext object";
    case Kind::Macro:
        return "jinja2.runtime.Macro object";
    case Kind::Joiner:
        return "jinja2.utils.Joiner object";
    case Kind::Cycler:
        return "jinja2.utils.Cycler object";
    case Kind::String:
        return of.is_markup ? "markupsafe.Markup object" : "str object";
    default:
        return std::string(type_name(of)) + " object";
    }
}

Value missing(Machine &machine, const Value &of, const Value &key) {
    if (key.is(Kind::String))
        return undefined(machine.arena.copy(repr(object_name(of)) + " has no attribute " + repr(key.text())));
    std::string message = object_name(of) + " has no element ";
    append_repr(machine, message, key);
    return undefined(machine.arena.copy(message));
}

// getattr() alone: false if there is none.
bool find_attribute(Machine &machine, const Value &of, std::string_view name, Value &found) {
    if (name.starts_with("__"))
        unsupported("the attribute " + std::string(name));
    if (of.is_undefined())
        fail_undefined(of.text());
    if (has(methods_of(of), name)) {
        if (of.is_number() || of.is(Kind::Big) || of.is(Kind::Range) || of.is(Kind::Generator) || of.is(Kind::View))
            unsupported("the attribute " + std::string(name) + " of " + std::string(type_name(of)));
        found = method_of(machine.arena, of, name);
        return true;
    }
    switch (of.kind) {
    case Kind::Group:
        if (name != "grouper" && name != "list")
            return false;
        found = of.list->items[name == "list"];
        return true;
    case Kind::Namespace:
        if (const Value *value = of.dict->find(machine.bounds, string(name))) {
            found = *value;
            return true;
        }
        return false;
    case Kind::Loop:
        if (of.loop->walk == nullptr)
            unsupported("loop behind its end");
        found = of.loop->get(of.loop->walk, of, name);
        return true;
    case Kind::Cycler:
        if (name == "current") {
            found = of.cycler->items->items[of.cycler->at];
            return true;
        }
        if (name != "next" && name != "reset")
            unsupported("the attribute " + std::string(name) + " of cycler");
        found = method_of(machine.arena, of, name);
        return true;
    case Kind::Macro:
    case Kind::Method:
    case Kind::Global:
    case Kind::Joiner:
        unsupported("the attribute " + std::string(name) + " of " + std::string(type_name(of)));
    default:
        return false;
    }
}

// obj[key] alone: false where Python raises an error that Jinja2 takes for a missing element.
bool find_item(Machine &machine, const Value &of, const Value &key, Value &found) {
    if (of.is_undefined())
        fail_undefined(of.text());
    if (key.is_undefined() && !key.is_lax(machine.strict) && of.is(Kind::Dict))
        fail_undefined(key.text());
    if (of.is(Kind::Dict)) {
        if (key.is_undefined() || !is_hashable(key))
            return false;
        const Value *value = of.dict->find(machine.bounds, key);
        if (value != nullptr)
            found = *value;
        return value != nullptr;
    }
    if (!key.is_whole())
        return false;
    std::int64_t at = key.whole();
    if (of.is_list_like() && !of.is(Kind::Generator)) {
        at += at < 0 ? of.list->count : 0;
        if (at < 0 || at >= of.list->count)
            return false;
        found = of.list->items[at];
        return true;
    }
    if (of.is(Kind::String)) {
        const auto length = static_cast<std::int64_t>(length_of(of.text()));
        machine.bounds.spend(1 + of.size / 32);
        at += at < 0 ? length : 0;
        if (at < 0 || at >= length)
            return false;
        const std::size_t begin = byte_of(of.text(), static_cast<std::size_t>(at));
        found = of;
        found.data = of.data + begin;
        found.size = static_cast<std::uint32_t>(byte_of(of.text().substr(begin), 1));
        return true;
    }
    if (of.is(Kind::Range)) {
        const std::uint64_t count = of.range->count();
        at += at < 0 ? static_cast<std::int64_t>(count) : 0;
        if (at < 0 || static_cast<std::uint64_t>(at) >= count)
            return false;
        found = whole(of.range->at(static_cast<std::uint64_t>(at)));
        return true;
    }
    return false;
}

}  // namespace

Value attribute(Machine &machine, const Value &of, std::string_view name) {
    machine.bounds.spend();
    Value found;
    if (find_attribute(machine, of, name, found) || find_item(machine, of, string(name), found))
        return found;
    return missing(machine, of, string(name));
}

Value item(Machine &machine, const Value &of, const Value &key) {
    machine.bounds.spend();
    Value found;
    if (find_item(machine, of, key, found))
        return found;
    if (key.is(Kind::String) && find_attribute(machine, of, key.text(), found))
        return found;
    return missing(machine, of, key);
}

Value slice(Machine &machine, const Value &of, const Value &start, const Value &stop, const Value &step) {
    if (of.is_undefined())
        fail_undefined(of.text());
    const auto count = static_cast<std::int64_t>(of.is(Kind::String)                            ? length_of(of.text())
                                                 : of.is(Kind::Range)                           ? of.range->count()
                                                 : of.is_list_like() && !of.is(Kind::Generator) ? of.list->count
                                                                                                : 0);
    if (of.is(Kind::Range))
        unsupported("a slice of a range");
    if (!of.is(Kind::String) && (!of.is_list_like() || of.is(Kind::Generator)))
        return missing(machine, of, string("slice"));
    for (const Value *bound : {&start, &stop, &step})
        if (!bound->is(Kind::None) && !bound->is_whole())
            fail("slice indices must be integers or None or have an __index__ method");
    const std::int64_t stride = step.is(Kind::None) ? 1 : step.whole();
    if (stride == 0)
        fail("slice step cannot be zero");
    const auto bounded = [&](const Value &bound, std::int64_t otherwise) {
        if (bound.is(Kind::None))
            return otherwise;
        std::int64_t at = bound.whole();
        if (at < 0)
            at = at < -count ? -1 : at + count;
        if (bound.whole() < 0 && at < 0)
            return stride < 0 ? std::int64_t{-1} : std::int64_t{0};
        return at >= count ? (stride < 0 ? count - 1 : count) : at;
    };
    const std::int64_t from = bounded(start, stride < 0 ? count - 1 : 0), to = bounded(stop, stride < 0 ? -1 : count);
    machine.bounds.spend(static_cast<std::uint64_t>(count) + 1);
    if (of.is(Kind::String) && stride == 1) {
        const std::size_t begin = byte_of(of.text(), static_cast<std::size_t>(from));
        const std::size_t length =
            to > from ? byte_of(of.text().substr(begin), static_cast<std::size_t>(to - from)) : 0;
        Value made = of;
        made.data = of.data + begin;
        made.size = static_cast<std::uint32_t>(length);
        return made;
    }
    // Every stride-th item; a stride beyond the count gives a single item.
    const std::int64_t hop = std::clamp(stride, -count - 1, count + 1);
    if (of.is(Kind::String)) {
        Bounds::Scratch scratch(machine.bounds);
        scratch.take(static_cast<std::size_t>(count) * sizeof(std::string_view));
        std::vector<std::string_view> codes;
        codes.reserve(static_cast<std::size_t>(count));
        for (std::size_t at = 0, length; at < of.size; at += length) {
            (void)code_at(of.text(), at, length);
            codes.push_back(of.text().substr(at, length));
        }
        std::string out;
        for (std::int64_t i = from; hop > 0 ? i < to : i > to; i += hop)
            out += codes[static_cast<std::size_t>(i)];
        Value made = machine.kept(out);
        made.is_markup = of.is_markup;
        return made;
    }
    List *list = new_list(machine.arena);
    for (std::int64_t i = from; hop > 0 ? i < to : i > to; i += hop)
        list->add(machine.arena, of.list->items[i]);
    return value_of(of.is(Kind::List) ? Kind::List : Kind::Tuple, list);
}

std::uint64_t size_of(Machine &machine, const Value &value) {
    switch (value.kind) {
    case Kind::String:
        machine.bounds.spend(1 + value.size / 64);
        return length_of(value.text());
    case Kind::List:
    case Kind::Tuple:
    case Kind::Group:
        return value.list->count;
    case Kind::Dict:
        return value.dict->count;
    case Kind::View:
        return value.view->dict->count;
    case Kind::Range:
        return value.range->count();
    case Kind::Undefined:
        machine.need_defined(value);
        return 0;
    case Kind::Loop:
        unsupported("the length of loop");
    default:
        fail("object of type '" + std::string(type_name(value)) + "' has no len()");
    }
}

Value attribute_path(Machine &machine, const Value &of, const Value &path, const Value *otherwise) {
    const auto reached = [&](const Value &from, const Value &key) {
        const Value found = item(machine, from, key);
        return found.is_undefined() && otherwise != nullptr && !otherwise->is(Kind::None) ? *otherwise : found;
    };
    if (!path.is(Kind::String))
        return reached(of, path);
    Value found = of;
    std::string_view left = path.text();
    for (;;) {
        const std::string_view part = left.substr(0, left.find('.'));
        std::int64_t number = 0;
        const bool is_number = !part.empty() &&
                               std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; }) &&
                               read_whole(part, number);
        found = reached(found, is_number ? whole(number) : string(part));
        if (part.size() == left.size())
            return found;
        left.remove_prefix(part.size() + 1);
    }
}

}  // namespace steadytext::core::jinja
