// See methods.hpp.
#include "src/core/jinja/methods.hpp"

#include "src/core/jinja/text.hpp"

#include <algorithm>

namespace steadytext::core::jinja {

namespace {

std::string_view need_text(const Value &value, std::string_view method) {
    if (value.is_undefined())
        fail_undefined(value.text());
    if (!value.is(Kind::String))
        fail(std::string(method) + "() argument must be str, not " + std::string(type_name(value)));
    if (value.is_markup)
        unsupported("a change of an escaped text");
    return value.text();
}

Value split(Machine &machine, std::string_view text, const Value &by, std::int64_t most, bool from_right) {
    List *parts = new_list(machine.arena);
    const auto add = [&](std::string_view part) {
        machine.bounds.spend();
        parts->add(machine.arena, string(part));
    };
    if (!by.is(Kind::None)) {
        const std::string_view between = need_text(by, "split");
        if (between.empty())
            fail("empty separator");
        for (std::size_t found; most != 0; most--) {
            found =
                from_right ? find_last_in(text, between, machine.bounds) : find_in(text, between, 0, machine.bounds);
            if (found == std::string_view::npos)
                break;
            add(from_right ? text.substr(found + between.size()) : text.substr(0, found));
            text = from_right ? text.substr(0, found) : text.substr(found + between.size());
        }
        add(text);
    } else {
        if (from_right && most >= 0)
            unsupported("rsplit() of white space with a bound");
        for (text = stripped_left(text); !text.empty(); text = stripped_left(text)) {
            if (most-- == 0) {
                add(text);
                break;
            }
            std::size_t end = 0;
            for (std::size_t length; end < text.size() && !is_space(code_at(text, end, length)); end += length) {
            }
            add(text.substr(0, end));
            text.remove_prefix(end);
        }
    }
    if (from_right && !by.is(Kind::None))
        std::reverse(parts->items, parts->items + parts->count);
    return value_of(Kind::List, parts);
}

// Of a text, or of each text of a tuple.
bool begins_or_ends(std::string_view text, const Value &with, bool begins, Bounds &bounds) {
    if (with.is(Kind::Tuple)) {
        for (std::uint32_t i = 0; i < with.list->count; i++)
            if (begins_or_ends(text, with.list->items[i], begins, bounds))
                return true;
        return false;
    }
    bounds.spend(1 + (with.is(Kind::String) ? std::min<std::size_t>(with.size, text.size()) / 64 : 0));
    return begins ? text.starts_with(need_text(with, "startswith")) : text.ends_with(need_text(with, "endswith"));
}

std::int64_t count_of(Machine &machine, std::string_view text, std::string_view part) {
    if (part.empty())
        return static_cast<std::int64_t>(length_of(text)) + 1;
    std::int64_t count = 0;
    for (std::size_t at = 0; (at = find_in(text, part, at, machine.bounds)) != std::string_view::npos;
         at += part.size())
        count++;
    return count;
}

std::string joined(Machine &machine, std::string_view between, const Value &of) {
    std::string out;
    Iterator iterator(machine, of);
    bool first = true;
    for (Value each; iterator.next(each); first = false) {
        if (!each.is(Kind::String))
            fail("sequence item: expected str instance, " + std::string(type_name(each)) + " found");
        machine.bounds.take_output(each.size + between.size());
        out += first ? "" : between;
        out += need_text(each, "join");
    }
    machine.bounds.give_back_output(out.size());
    return out;
}

// ljust, rjust and center with a fill; no wider than output may be.
std::string padded(Machine &machine, std::string_view text, std::int64_t width, std::string_view fill, double share) {
    if (length_of(fill) != 1)
        fail("The fill character must be exactly one character long");
    const auto length = static_cast<std::int64_t>(length_of(text));
    if (width <= length)
        return std::string(text);
    const auto padding = static_cast<std::size_t>(width - length);
    machine.bounds.take_output(padding * fill.size());
    machine.bounds.give_back_output(padding * fill.size());
    const std::size_t left = share == 0.5 ? padding / 2 + (padding & static_cast<std::size_t>(width) & 1)
                             : share > 0  ? padding
                                          : 0;
    std::string out;
    for (std::size_t i = 0; i < left; i++)
        out += fill;
    out += text;
    for (std::size_t i = left; i < padding; i++)
        out += fill;
    return out;
}

Value of_text(Machine &machine, const Method &method, const Arguments &arguments) {
    const std::string_view name = method.name, text = need_text(method.of, name);
    machine.bounds.spend(1 + text.size() / 8);
    if (name == "upper" || name == "lower" || name == "capitalize") {
        (void)Bound(name, arguments, {});
        return machine.kept(name == "upper" ? upper(text) : name == "lower" ? lower(text) : capitalized(text));
    }
    if (name == "strip" || name == "lstrip" || name == "rstrip") {
        const Bound given(name, arguments, {"chars"});
        const bool left = name != "rstrip", right = name != "lstrip";
        if (given.has(0) && !given[0].is(Kind::None))
            return string(stripped(text, need_text(given[0], name), left, right, machine.bounds));
        return string(left && right ? stripped(text) : left ? stripped_left(text) : stripped_right(text));
    }
    if (name == "split" || name == "rsplit") {
        const Bound given(name, arguments, {"sep", "maxsplit"});
        return split(machine, text, given.or_else(0, none()), need_whole(given.or_else(1, whole(-1))),
                     name == "rsplit");
    }
    if (name == "splitlines") {
        (void)Bound(name, arguments, {});
        List *parts = new_list(machine.arena);
        Bounds::Scratch scratch(machine.bounds);
        for (const std::string_view line : lines(text, scratch))
            parts->add(machine.arena, string(line));
        return value_of(Kind::List, parts);
    }
    if (name == "replace") {
        const Bound given(name, arguments, {"old", "new", "count"}, 2);
        return machine.kept(replaced(text, need_text(given[0], name), need_text(given[1], name),
                                     need_whole(given.or_else(2, whole(-1))), machine.bounds));
    }
    if (name == "startswith" || name == "endswith") {
        const Bound given(name, arguments, {"prefix"}, 1);
        return truth(begins_or_ends(text, given[0], name == "startswith", machine.bounds));
    }
    if (name == "removeprefix" || name == "removesuffix") {
        const std::string_view part = need_text(Bound(name, arguments, {"part"}, 1)[0], name);
        if (name == "removeprefix" ? text.starts_with(part) : text.ends_with(part))
            return string(name == "removeprefix" ? text.substr(part.size())
                                                 : text.substr(0, text.size() - part.size()));
        return method.of;
    }
    if (name == "find" || name == "rfind" || name == "index") {
        const std::string_view part = need_text(Bound(name, arguments, {"sub"}, 1)[0], name);
        const std::size_t found =
            name == "rfind" ? find_last_in(text, part, machine.bounds) : find_in(text, part, 0, machine.bounds);
        if (found == std::string_view::npos && name == "index")
            fail("substring not found");
        return whole(found == std::string_view::npos ? -1
                                                     : static_cast<std::int64_t>(length_of(text.substr(0, found))));
    }
    if (name == "count")
        return whole(count_of(machine, text, need_text(Bound(name, arguments, {"sub"}, 1)[0], name)));
    if (name == "join")
        return machine.kept(joined(machine, text, Bound(name, arguments, {"iterable"}, 1)[0]));
    if (name == "ljust" || name == "rjust" || name == "center") {
        const Bound given(name, arguments, {"width", "fillchar"}, 1);
        return machine.kept(padded(machine, text, need_whole(given[0]), need_text(given.or_else(1, string(" ")), name),
                                   name == "center"  ? 0.5
                                   : name == "rjust" ? 1
                                                     : 0));
    }
    if (name == "zfill") {
        const std::int64_t width = need_whole(Bound(name, arguments, {"width"}, 1)[0]);
        const bool is_signed = text.starts_with('-') || text.starts_with('+');
        const std::string_view digits = text.substr(is_signed ? 1 : 0);
        return machine.kept(std::string(text.substr(0, is_signed ? 1 : 0)) +
                            padded(machine, digits, is_signed && width > INT64_MIN ? width - 1 : width, "0", 1));
    }
    unsupported("the method " + std::string(name) + " of str");
}

Value of_list(Machine &machine, const Method &method, const Arguments &arguments) {
    const std::string_view name = method.name;
    List &list = *method.of.list;
    if (name == "count" || name == "index") {
        const Value wanted = Bound(name, arguments, {"value"}, 1)[0];
        std::int64_t count = 0;
        for (std::uint32_t i = 0; i < list.count; i++)
            if (equal(machine, list.items[i], wanted)) {
                if (name == "index")
                    return whole(i);
                count++;
            }
        if (name == "index")
            fail("value is not in list");
        return whole(count);
    }
    if (name == "append") {
        list.add(machine.arena, Bound(name, arguments, {"object"}, 1)[0]);
        return none();
    }
    if (name == "extend") {
        const List *more = list_of(machine, Bound(name, arguments, {"iterable"}, 1)[0]);
        for (std::uint32_t i = 0; i < more->count; i++)
            list.add(machine.arena, more->items[i]);
        return none();
    }
    if (name == "insert") {
        const Bound given(name, arguments, {"index", "object"}, 2);
        std::int64_t at = need_whole(given[0]);
        at = std::clamp<std::int64_t>(at < 0 ? at + list.count : at, 0, list.count);
        machine.bounds.spend(list.count);
        list.add(machine.arena, given[1]);
        std::rotate(list.items + at, list.items + list.count - 1, list.items + list.count);
        return none();
    }
    if (name == "pop") {
        std::int64_t at = need_whole(Bound(name, arguments, {"index"}).or_else(0, whole(-1)));
        if (list.count == 0)
            fail("pop from empty list");
        at += at < 0 ? list.count : 0;
        if (at < 0 || at >= list.count)
            fail("pop index out of range");
        machine.bounds.spend(list.count);
        const Value taken = list.items[at];
        std::copy(list.items + at + 1, list.items + list.count, list.items + at);
        list.count--;
        return taken;
    }
    if (name == "copy") {
        (void)Bound(name, arguments, {});
        return value_of(Kind::List, list_of(machine, method.of));
    }
    unsupported("the method " + std::string(name) + " of list");
}

Value of_dict(Machine &machine, const Method &method, const Arguments &arguments) {
    const std::string_view name = method.name;
    Dict &dict = *method.of.dict;
    if (name == "keys" || name == "values" || name == "items") {
        (void)Bound(name, arguments, {});
        Value made;
        made.kind = Kind::View;
        made.view = machine.arena.make<View>(name == "keys"     ? View::Of::Keys
                                             : name == "values" ? View::Of::Values
                                                                : View::Of::Items,
                                             &dict);
        return made;
    }
    if (name == "get" || name == "pop" || name == "setdefault") {
        const Bound given(name, arguments, {"key", "default"}, 1);
        if (given[0].is_undefined())
            unsupported("a key that is undefined");
        if (!is_hashable(given[0]))
            fail("unhashable type: '" + std::string(type_name(given[0])) + "'");
        const Value *found = dict.find(machine.bounds, given[0]);
        if (found != nullptr) {
            const Value value = *found;
            if (name == "pop")
                (void)dict.remove(machine.arena, given[0]);
            return value;
        }
        if (name == "pop" && !given.has(1)) {
            std::string key;
            append_repr(machine, key, given[0]);
            fail(key);
        }
        const Value otherwise = given.or_else(1, none());
        if (name == "setdefault")
            dict.set(machine.arena, given[0], otherwise);
        return otherwise;
    }
    if (name == "update") {
        if (arguments.positional.size() > 1)
            fail("update expected at most 1 argument");
        if (!arguments.positional.empty()) {
            const Value &more = arguments.positional[0];
            if (!more.is(Kind::Dict))
                unsupported("update() with anything but a dict");
            for (std::uint32_t i = 0; i < more.dict->count; i++)
                dict.set(machine.arena, more.dict->keys[i], more.dict->values[i]);
        }
        for (const Named &named : arguments.named)
            dict.set(machine.arena, string(named.name), named.value);
        return none();
    }
    if (name == "copy") {
        (void)Bound(name, arguments, {});
        Dict *copy = new_dict(machine.arena);
        for (std::uint32_t i = 0; i < dict.count; i++)
            copy->set(machine.arena, dict.keys[i], dict.values[i]);
        return value_of(copy);
    }
    unsupported("the method " + std::string(name) + " of dict");
}

Value of_cycler(const Method &method, const Arguments &arguments) {
    Cycler &cycler = *method.of.cycler;
    (void)Bound(method.name, arguments, {});
    const Value now = cycler.items->items[cycler.at];
    cycler.at = method.name == "reset" ? 0 : (cycler.at + 1) % cycler.items->count;
    return method.name == "reset" ? none() : now;
}

}  // namespace

Value call_method(Machine &machine, const Method &method, const Arguments &arguments) {
    machine.bounds.spend();
    switch (method.of.kind) {
    case Kind::String:
        return of_text(machine, method, arguments);
    case Kind::List:
    case Kind::Tuple:
    case Kind::Group:
        return of_list(machine, method, arguments);
    case Kind::Dict:
        return of_dict(machine, method, arguments);
    case Kind::Cycler:
        return of_cycler(method, arguments);
    default:
        unsupported("the method " + std::string(method.name));
    }
}

}  // namespace steadytext::core::jinja
