// Filters of lists and dicts: see filters.hpp.
#include "src/core/jinja/filters.hpp"

#include "src/core/jinja/text.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace steadytext::core::jinja {

Value key_of(Machine &machine, const Value &value, bool case_sensitive) {
    if (case_sensitive || !value.is(Kind::String))
        return value;
    machine.bounds.spend(1 + value.size / 16);
    return machine.kept(lower(value.text()));
}

namespace {

bool flag(Machine &machine, const Bound &given, std::size_t i) { return given.has(i) && is_true(machine, given[i]); }

Value attribute_of(Machine &machine, const Value &of, const Value &path, const Value *otherwise = nullptr) {
    return path.is(Kind::None) ? of : attribute_path(machine, of, path, otherwise);
}

// A list with keys, put in order. A merge sort of its own: an order that is none, as Python's `<` may be, harms no
// memory here.
struct Keyed {
    std::vector<Value> keys;
    Value value;
};

bool before(Machine &machine, const Keyed &a, const Keyed &b) {
    for (std::size_t i = 0; i < a.keys.size(); i++)
        if (!equal(machine, a.keys[i], b.keys[i]))
            return less(machine, a.keys[i], b.keys[i]);
    return false;
}

void sort(Machine &machine, std::vector<Keyed> &items, bool reverse) {
    for (const Keyed &item : items)
        for (const Value &key : item.keys)
            if (key.is(Kind::Float) && std::isnan(key.real))
                unsupported("an order of numbers with nan");
    std::vector<Keyed> other(items.size());
    for (std::size_t width = 1; width < items.size(); width *= 2) {
        for (std::size_t begin = 0; begin < items.size(); begin += 2 * width) {
            std::size_t left = begin, middle = std::min(begin + width, items.size()), right = middle;
            const std::size_t end = std::min(begin + 2 * width, items.size());
            for (std::size_t to = begin; to < end; to++) {
                machine.bounds.spend();
                const bool take_right =
                    left == middle || (right < end && (reverse ? before(machine, items[left], items[right])
                                                               : before(machine, items[right], items[left])));
                other[to] = std::move(items[take_right ? right++ : left++]);
            }
        }
        std::swap(items, other);
    }
}

std::vector<Keyed> keyed(Machine &machine, const Value &of, const Value &attribute, bool case_sensitive, bool several,
                         const Value *otherwise = nullptr) {
    std::vector<Value> paths;
    if (several && attribute.is(Kind::String)) {
        std::string_view left = attribute.text();
        for (;;) {
            const std::string_view path = left.substr(0, left.find(','));
            paths.push_back(string(path));
            if (path.size() == left.size())
                break;
            left.remove_prefix(path.size() + 1);
        }
    } else {
        paths.push_back(attribute);
    }
    std::vector<Keyed> items;
    Iterator iterator(machine, of);
    for (Value each; iterator.next(each);) {
        machine.bounds.take_memory(sizeof(Keyed) * 2 + sizeof(Value) * paths.size());
        Keyed item{{}, each};
        for (const Value &path : paths)
            item.keys.push_back(key_of(machine, attribute_of(machine, each, path, otherwise), case_sensitive));
        items.push_back(std::move(item));
    }
    return items;
}

Value list_from(Machine &machine, const std::vector<Keyed> &items, Kind kind = Kind::List) {
    List *list = new_list(machine.arena);
    for (const Keyed &item : items)
        list->add(machine.arena, item.value);
    return value_of(kind, list);
}

Value sort_filter(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_sort", arguments, {"reverse", "case_sensitive", "attribute"});
    std::vector<Keyed> items = keyed(machine, of, given.or_else(2, none()), flag(machine, given, 1), true);
    sort(machine, items, flag(machine, given, 0));
    return list_from(machine, items);
}

Value dict_sort(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_dictsort", arguments, {"case_sensitive", "by", "reverse"});
    const Value by = given.or_else(1, string("key"));
    if (!by.is(Kind::String) || (by.text() != "key" && by.text() != "value"))
        fail("You can only sort by either \"key\" or \"value\"");
    if (of.is_undefined())
        fail_undefined(of.text());
    if (!of.is(Kind::Dict))
        fail("'" + std::string(type_name(of)) + "' object has no attribute 'items'");
    Value view;
    view.kind = Kind::View;
    view.view = machine.arena.make<View>(View::Of::Items, of.dict);
    std::vector<Keyed> items = keyed(machine, view, whole(by.text() == "value"), flag(machine, given, 0), false);
    sort(machine, items, flag(machine, given, 2));
    return list_from(machine, items);
}

Value group_by(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
    const bool case_sensitive = flag(machine, given, 2);
    const Value otherwise = given.or_else(1, none());
    std::vector<Keyed> items = keyed(machine, of, given[0], case_sensitive, false, &otherwise);
    sort(machine, items, false);
    List *groups = new_list(machine.arena);
    for (std::size_t i = 0; i < items.size();) {
        List *group = new_list(machine.arena);
        const std::size_t first = i;
        while (i < items.size() && equal(machine, items[i].keys[0], items[first].keys[0]))
            group->add(machine.arena, items[i++].value);
        if (i == first)
            unsupported("groups of what does not equal itself");
        List *pair = new_list(machine.arena);
        pair->add(machine.arena, attribute_of(machine, items[first].value, given[0], &otherwise));
        pair->add(machine.arena, value_of(Kind::List, group));
        groups->add(machine.arena, value_of(Kind::Group, pair));
    }
    return value_of(Kind::List, groups);
}

Value unique(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_unique", arguments, {"case_sensitive", "attribute"});
    Dict *seen = new_dict(machine.arena);
    List *kept = new_list(machine.arena);
    bool seen_undefined = false;
    for (const Keyed &item : keyed(machine, of, given.or_else(1, none()), flag(machine, given, 0), false)) {
        const Value &key = item.keys[0];
        if (key.is_undefined()) {
            machine.need_defined(key);
            if (!std::exchange(seen_undefined, true))
                kept->add(machine.arena, item.value);
            continue;
        }
        if (!is_hashable(key))
            fail("unhashable type: '" + std::string(type_name(key)) + "'");
        if (seen->find(machine.bounds, key) != nullptr)
            continue;
        seen->set(machine.arena, key, truth(true));
        kept->add(machine.arena, item.value);
    }
    return value_of(Kind::Generator, kept);
}

template <bool greatest>
Value extreme(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given(greatest ? "do_max" : "do_min", arguments, {"case_sensitive", "attribute"});
    std::vector<Keyed> items = keyed(machine, of, given.or_else(1, none()), flag(machine, given, 0), false);
    if (items.empty())
        return undefined("No aggregated item, sequence was empty.");
    std::size_t best = 0;
    for (std::size_t i = 1; i < items.size(); i++)
        if (greatest ? less(machine, items[i].keys[0], items[best].keys[0], ">")
                     : less(machine, items[i].keys[0], items[best].keys[0]))
            best = i;
    return items[best].value;
}

Value sum(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_sum", arguments, {"attribute", "start"});
    Value total = given.or_else(1, whole(0));
    if (total.is(Kind::String))
        fail("sum() can't sum strings [use ''.join(seq) instead]");
    Iterator iterator(machine, of);
    for (Value each; iterator.next(each);)
        total = binary(machine, "+", total, attribute_of(machine, each, given.or_else(0, none())));
    return total;
}

Value join(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_join", arguments, {"d", "attribute"});
    const Value between = to_text(machine, given.or_else(0, string("")));
    if (between.is_markup)
        unsupported("join by an escaped text");
    std::string out;
    bool first = true;
    Iterator iterator(machine, of);
    for (Value each; iterator.next(each); first = false) {
        if (!first)
            out += between.text();
        append_str(machine, out, attribute_of(machine, each, given.or_else(1, none())));
        if (out.size() > Bounds::kMaxOutput)
            machine.bounds.take_output(out.size());
        machine.bounds.spend(1 + between.size / 64);
    }
    return machine.kept(out);
}

Value first(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("do_first", arguments, {});
    Value found;
    Iterator iterator(machine, of);
    return iterator.next(found) ? found : undefined("No first item, sequence was empty.");
}

Value last(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("do_last", arguments, {});
    if (of.is_undefined())
        fail_undefined(of.text());
    if (of.is(Kind::Generator))
        fail("'generator' object is not reversible");
    if (of.is(Kind::Range))
        return of.range->count() > 0 ? whole(of.range->at(of.range->count() - 1))
                                     : undefined("No last item, sequence was empty.");
    const List *list = list_of(machine, of);
    return list->count > 0 ? list->items[list->count - 1] : undefined("No last item, sequence was empty.");
}

Value length(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("len", arguments, {});
    return whole(static_cast<std::int64_t>(size_of(machine, of)));
}

Value list(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("do_list", arguments, {});
    return value_of(Kind::List, list_of(machine, of));
}

Value reverse(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("do_reverse", arguments, {});
    if (of.is(Kind::String))
        return slice(machine, of, none(), none(), whole(-1));
    if (of.is_undefined())
        fail_undefined(of.text());
    List *items = list_of(machine, of);
    std::reverse(items->items, items->items + items->count);
    // Python gives an iterator if reversed() takes the value, else a list.
    return value_of(of.is(Kind::Generator) ? Kind::List : Kind::Generator, items);
}

Value items_of(Machine &machine, const Value &of, const Arguments &arguments) {
    (void)Bound("do_items", arguments, {});
    if (of.is_undefined())
        return value_of(Kind::Generator, new_list(machine.arena));
    if (!of.is(Kind::Dict))
        fail("Can only get item pairs from a mapping.");
    Value view;
    view.kind = Kind::View;
    view.view = machine.arena.make<View>(View::Of::Items, of.dict);
    return value_of(Kind::Generator, list_of(machine, view));
}

Value batch(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_batch", arguments, {"linecount", "fill_with"}, 1);
    const std::int64_t size = need_whole(given[0]);
    List *rows = new_list(machine.arena), *row = nullptr;
    Iterator iterator(machine, of);
    for (Value each; iterator.next(each);) {
        if (row == nullptr || row->count == size) {
            if (row != nullptr)
                rows->add(machine.arena, value_of(Kind::List, row));
            row = new_list(machine.arena);
        }
        row->add(machine.arena, each);
    }
    if (row != nullptr) {
        if (given.has(1) && !given[1].is(Kind::None))
            while (row->count < size)
                row->add(machine.arena, given[1]);
        rows->add(machine.arena, value_of(Kind::List, row));
    }
    return value_of(Kind::Generator, rows);
}

Value slices(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_slice", arguments, {"slices", "fill_with"}, 1);
    const std::int64_t count = need_whole(given[0]);
    const List *all = list_of(machine, of);
    if (count <= 0) {
        if (count == 0)
            fail("integer division or modulo by zero");
        return value_of(Kind::Generator, new_list(machine.arena));
    }
    List *rows = new_list(machine.arena);
    const std::int64_t each = all->count / count, extra = all->count % count;
    std::int64_t at = 0;
    for (std::int64_t i = 0; i < count; i++) {
        machine.bounds.spend();
        List *row = new_list(machine.arena);
        for (std::int64_t n = each + (i < extra ? 1 : 0); n > 0; n--)
            row->add(machine.arena, all->items[at++]);
        if (given.has(1) && !given[1].is(Kind::None) && i >= extra)
            row->add(machine.arena, given[1]);
        rows->add(machine.arena, value_of(Kind::List, row));
    }
    return value_of(Kind::Generator, rows);
}

// ---- filters that apply others -------------------------------------------------------------------------------------

Arguments behind(const Arguments &arguments, std::size_t first) {
    return {arguments.positional.subspan(std::min(first, arguments.positional.size())), arguments.named};
}

std::string_view name_in(const Arguments &arguments, std::size_t i, std::string_view what) {
    if (i >= arguments.positional.size())
        fail(std::string(what) + " requires an argument");
    if (!arguments.positional[i].is(Kind::String))
        fail("No filter or test named like this.");
    return arguments.positional[i].text();
}

Value map(Machine &machine, const Value &of, const Arguments &arguments) {
    List *made = new_list(machine.arena);
    if (is_true(machine, of)) {
        Iterator iterator(machine, of);
        if (arguments.positional.empty() && !arguments.named.empty()) {
            const Value *path = nullptr, *otherwise = nullptr;
            for (const Named &named : arguments.named)
                if (named.name == "attribute")
                    path = &named.value;
                else if (named.name == "default")
                    otherwise = &named.value;
                else
                    fail("Unexpected keyword argument " + repr(named.name));
            if (path == nullptr)
                fail("map requires a filter argument");
            for (Value each; iterator.next(each);)
                made->add(machine.arena, attribute_of(machine, each, *path, otherwise));
        } else {
            const FilterFunction filter = find_filter(name_in(arguments, 0, "map"));
            const Arguments rest = behind(arguments, 1);
            for (Value each; iterator.next(each);)
                made->add(machine.arena, filter(machine, each, rest));
        }
    }
    return value_of(Kind::Generator, made);
}

template <bool wanted, bool by_attribute>
Value chosen(Machine &machine, const Value &of, const Arguments &arguments) {
    List *made = new_list(machine.arena);
    if (is_true(machine, of)) {
        if (by_attribute && arguments.positional.empty())
            fail("missing parameter for attribute name");
        const std::size_t at = by_attribute ? 1 : 0;
        const bool by_test = arguments.positional.size() > at;
        const TestFunction test = by_test ? find_test(name_in(arguments, at, "select")) : nullptr;
        const Arguments rest = behind(arguments, at + 1);
        Iterator iterator(machine, of);
        for (Value each; iterator.next(each);) {
            const Value value = by_attribute ? attribute_path(machine, each, arguments.positional[0]) : each;
            if ((by_test ? test(machine, value, rest) : is_true(machine, value)) == wanted)
                made->add(machine.arena, each);
        }
    }
    return value_of(Kind::Generator, made);
}

Value default_filter(Machine &machine, const Value &of, const Arguments &arguments) {
    const Bound given("do_default", arguments, {"default_value", "boolean"});
    if (of.is_undefined() || (flag(machine, given, 1) && !is_true(machine, of)))
        return given.or_else(0, string(""));
    return of;
}

constexpr FilterEntry kFilters[] = {
    {"sort", sort_filter},
    {"dictsort", dict_sort},
    {"groupby", group_by},
    {"unique", unique},
    {"min", extreme<false>},
    {"max", extreme<true>},
    {"sum", sum},
    {"join", join},
    {"first", first},
    {"last", last},
    {"length", length},
    {"count", length},
    {"list", list},
    {"reverse", reverse},
    {"items", items_of},
    {"batch", batch},
    {"slice", slices},
    {"map", map},
    {"select", chosen<true, false>},
    {"reject", chosen<false, false>},
    {"selectattr", chosen<true, true>},
    {"rejectattr", chosen<false, true>},
    {"default", default_filter},
    {"d", default_filter},
};

}  // namespace

FilterFunction list_filter(std::string_view name) {
    const auto *found = std::ranges::find(kFilters, name, &FilterEntry::name);
    return found == std::end(kFilters) ? nullptr : found->run;
}

FilterFunction find_filter(std::string_view name) {
    if (const FilterFunction found = text_filter(name))
        return found;
    if (const FilterFunction found = list_filter(name))
        return found;
    for (const std::string_view other : {"attr", "pprint", "random", "striptags", "urlize", "xmlattr"})
        if (name == other)
            unsupported("the filter " + std::string(name));
    throw Failure{Failure::Kind::Syntax, "No filter named " + repr(name) + "."};
}

}  // namespace steadytext::core::jinja
