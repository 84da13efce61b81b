// What the global functions of templates give: see globals.hpp.
#include "src/core/jinja/globals.hpp"

namespace steadytext::core::jinja {

namespace {

void fill(Machine &machine, Dict &dict, const Value &from) {
    if (from.is(Kind::Dict)) {
        for (std::uint32_t i = 0; i < from.dict->count; i++)
            dict.set(machine.arena, from.dict->keys[i], from.dict->values[i]);
        return;
    }
    Iterator iterator(machine, from);
    for (Value pair; iterator.next(pair);) {
        if (!pair.is_list_like() || pair.is(Kind::Generator))
            unsupported("dict() of anything but pairs");
        if (pair.list->count != 2)
            fail("dictionary update sequence element has a length other than 2");
        if (!is_hashable(pair.list->items[0]))
            fail("unhashable type: '" + std::string(type_name(pair.list->items[0])) + "'");
        dict.set(machine.arena, pair.list->items[0], pair.list->items[1]);
    }
}

Value range(Machine &machine, const Arguments &arguments) {
    if (!arguments.named.empty())
        fail("range() takes no keyword arguments");
    const std::size_t count = arguments.positional.size();
    if (count == 0 || count > 3)
        fail(count == 0 ? "range expected at least 1 argument, got 0"
                        : "range expected at most 3 arguments, got " + std::to_string(count));
    std::int64_t given[3];
    for (std::size_t i = 0; i < count; i++)
        given[i] = need_whole(arguments.positional[i]);
    Value made;
    made.kind = Kind::Range;
    made.range = machine.arena.make<Range>(count == 1 ? 0 : given[0], count == 1 ? given[0] : given[1],
                                           count == 3 ? given[2] : std::int64_t{1});
    if (made.range->step == 0)
        fail("range() arg 3 must not be zero");
    if (made.range->count() > static_cast<std::uint64_t>(INT64_MAX))
        unsupported("such a range");
    return made;
}

}  // namespace

Value call_global(Machine &machine, std::string_view name, const Arguments &arguments, Separators &separators) {
    if (name == "range")
        return range(machine, arguments);
    if (name == "joiner") {
        const Value between = Bound("joiner", arguments, {"sep"}).or_else(0, string(", "));
        Value made;
        made.kind = Kind::Joiner;
        made.used = machine.arena.make<bool>(false);
        separators[made.used] = between;
        return made;
    }
    if (name == "cycler") {
        if (!arguments.named.empty() || arguments.positional.empty())
            fail("at least one item has to be provided");
        Value made;
        made.kind = Kind::Cycler;
        made.cycler = machine.arena.make<Cycler>(new_list(machine.arena), 0U);
        for (const Value &value : arguments.positional)
            made.cycler->items->add(machine.arena, value);
        return made;
    }
    if (name == "lipsum")
        unsupported("lipsum");
    // dict and namespace
    Dict *dict = new_dict(machine.arena);
    dict->is_namespace = name == "namespace";
    if (arguments.positional.size() > 1)
        fail(std::string(name) + " expected at most 1 argument");
    if (!arguments.positional.empty())
        fill(machine, *dict, arguments.positional[0]);
    for (const Named &named : arguments.named)
        dict->set(machine.arena, string(named.name), named.value);
    return value_of(dict);
}

}  // namespace steadytext::core::jinja
