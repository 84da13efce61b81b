// See machine.hpp: dicts, truth, order, arithmetic, iteration. What can be shown and reached is in access.cpp.
#include "src/core/jinja/machine.hpp"

#include "src/core/jinja/text.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

namespace steadytext::core::jinja {

// ---- arguments -----------------------------------------------------------------------------------------------------

Bound::Bound(std::string_view function, const Arguments &arguments, std::initializer_list<std::string_view> names,
             std::size_t needed) {
    const std::string shown = std::string(function) + "()";
    if (arguments.positional.size() > names.size())
        fail(shown + " takes at most " + std::to_string(names.size()) + " arguments");
    for (std::size_t i = 0; i < arguments.positional.size(); i++) {
        values_[i] = arguments.positional[i];
        given_[i] = true;
    }
    for (const Named &named : arguments.named) {
        const auto found = std::ranges::find(names, named.name);
        if (found == names.end())
            fail(shown + " got an unexpected keyword argument " + repr(named.name));
        const auto place = static_cast<std::size_t>(found - names.begin());
        if (given_[place])
            fail(shown + " got multiple values for argument " + repr(named.name));
        values_[place] = named.value;
        given_[place] = true;
    }
    for (std::size_t i = 0; i < needed; i++)
        if (!given_[i])
            fail(shown + " missing required argument " + repr(names.begin()[i]));
}

std::int64_t need_whole(const Value &value) {
    if (value.is_undefined())
        fail_undefined(value.text());
    if (value.is(Kind::Big))
        refuse_long();
    if (!value.is_whole())
        fail("'" + std::string(type_name(value)) + "' object cannot be interpreted as an integer");
    return value.whole();
}

// ---- truth, equality, order ----------------------------------------------------------------------------------------

std::string_view type_name(const Value &value) {
    if (value.is_markup && value.is(Kind::String))
        return "Markup";
    if (value.is(Kind::View))
        return value.view->of == View::Of::Keys     ? "dict_keys"
               : value.view->of == View::Of::Values ? "dict_values"
                                                    : "dict_items";
    // In the order of Kind.
    constexpr std::string_view kNames[] = {"Undefined",
                                           "NoneType",
                                           "bool",
                                           "int",
                                           "int",
                                           "float",
                                           "str",
                                           "list",
                                           "tuple",
                                           "_GroupTuple",
                                           "generator",
                                           "dict",
                                           "dict_view",
                                           "range",
                                           "LoopContext",
                                           "Macro",
                                           "builtin_function_or_method",
                                           "type",
                                           "Namespace",
                                           "Joiner",
                                           "Cycler"};
    static_assert(std::size(kNames) == static_cast<std::size_t>(Kind::Cycler) + 1);
    return kNames[static_cast<std::size_t>(value.kind)];
}

bool is_true(Machine &machine, const Value &value) {
    switch (value.kind) {
    case Kind::Undefined:
        machine.need_defined(value);
        return false;
    case Kind::None:
        return false;
    case Kind::Bool:
        return value.truth;
    case Kind::Int:
        return value.integer != 0;
    case Kind::Float:
        return value.real != 0;
    case Kind::String:
        return value.size > 0;
    case Kind::List:
    case Kind::Tuple:
    case Kind::Group:
        return value.list->count > 0;
    case Kind::Dict:
        return value.dict->count > 0;
    case Kind::View:
        return value.view->dict->count > 0;
    case Kind::Range:
        return value.range->count() > 0;
    default:
        return true;
    }
}

namespace {

// -1, 0, 1; 2 if either is not a number. Exact: an integer beyond 2^53 is not rounded.
int compared(const Value &a, const Value &b) {
    if (!a.is(Kind::Float) && !b.is(Kind::Float))
        return a.whole() < b.whole() ? -1 : a.whole() > b.whole();
    if (a.is(Kind::Float) && b.is(Kind::Float))
        return a.real < b.real ? -1 : a.real > b.real ? 1 : a.real == b.real ? 0 : 2;
    if (a.is(Kind::Float)) {
        const int turned = compared(b, a);
        return turned == 2 ? 2 : -turned;
    }
    if (std::isnan(b.real))
        return 2;
    if (b.real >= 9223372036854775808.0)
        return -1;
    if (b.real < -9223372036854775808.0)
        return 1;
    const double floor = std::floor(b.real);
    const auto below = static_cast<std::int64_t>(floor);
    if (a.whole() != below)
        return a.whole() < below ? -1 : 1;
    return floor < b.real ? -1 : 0;
}

}  // namespace

bool equal(Machine &machine, const Value &a, const Value &b) {
    machine.bounds.spend();
    if (a.is_undefined() || b.is_undefined()) {
        machine.need_defined(a);
        machine.need_defined(b);
        return a.kind == b.kind;
    }
    if (a.is(Kind::Big) || b.is(Kind::Big))
        refuse_long();
    if (a.is_number() && b.is_number())
        return compared(a, b) == 0;
    if (a.is_tuple() ? !b.is_tuple() : a.kind != b.kind)
        return false;
    const Bounds::Level level(machine.bounds);
    switch (a.kind) {
    case Kind::None:
        return true;
    case Kind::String:
        machine.bounds.spend(a.size / 64);
        return a.text() == b.text();
    case Kind::List:
    case Kind::Tuple:
    case Kind::Group:
        if (a.list->count != b.list->count)
            return false;
        for (std::uint32_t i = 0; i < a.list->count; i++)
            if (!equal(machine, a.list->items[i], b.list->items[i]))
                return false;
        return true;
    case Kind::Dict:
        if (a.dict->count != b.dict->count)
            return false;
        for (std::uint32_t i = 0; i < a.dict->count; i++) {
            const Value *other = b.dict->find(machine.bounds, a.dict->keys[i]);
            if (other == nullptr || !equal(machine, a.dict->values[i], *other))
                return false;
        }
        return true;
    case Kind::Range: {
        const std::uint64_t count = a.range->count();
        return count == b.range->count() &&
               (count == 0 || (a.range->start == b.range->start && (count == 1 || a.range->step == b.range->step)));
    }
    case Kind::View:
        unsupported("a comparison of " + std::string(type_name(a)));
    case Kind::Method:
        unsupported("a comparison of methods");
    default:
        return a.data == b.data;
    }
}

bool less(Machine &machine, const Value &a, const Value &b, std::string_view op) {
    machine.bounds.spend();
    if (a.is_undefined() || b.is_undefined())
        fail_undefined(a.is_undefined() ? a.text() : b.text());
    if (a.is(Kind::Big) || b.is(Kind::Big))
        refuse_long();
    const auto decide = [&](int order) {
        return op == "<"    ? order == -1
               : op == ">"  ? order == 1
               : op == "<=" ? order == -1 || order == 0
                            : order == 0 || order == 1;
    };
    if (a.is_number() && b.is_number())
        return decide(compared(a, b));
    if (a.is(Kind::String) && b.is(Kind::String)) {
        machine.bounds.spend(std::min(a.size, b.size) / 64);
        const int order = a.text().compare(b.text());
        return decide(order < 0 ? -1 : order > 0);
    }
    if ((a.is(Kind::List) && b.is(Kind::List)) || (a.is_tuple() && b.is_tuple())) {
        const Bounds::Level level(machine.bounds);
        for (std::uint32_t i = 0; i < std::min(a.list->count, b.list->count); i++)
            if (!equal(machine, a.list->items[i], b.list->items[i]))
                return less(machine, a.list->items[i], b.list->items[i], op);
        return decide(a.list->count < b.list->count ? -1 : a.list->count > b.list->count);
    }
    if (a.is(Kind::View) && b.is(Kind::View))
        unsupported("a comparison of " + std::string(type_name(a)));
    fail("'" + std::string(op) + "' not supported between instances of '" + std::string(type_name(a)) + "' and '" +
         std::string(type_name(b)) + "'");
}

bool is_hashable(const Value &value) {
    switch (value.kind) {
    case Kind::None:
    case Kind::Bool:
    case Kind::Int:
    case Kind::Float:
    case Kind::String:
        return true;
    case Kind::List:
    case Kind::Dict:
        return false;
    default:
        unsupported("a key of type " + std::string(type_name(value)));
    }
}

bool contains(Machine &machine, const Value &of, const Value &wanted) {
    switch (of.kind) {
    case Kind::String:
        machine.need_defined(wanted);
        if (!wanted.is(Kind::String))
            fail("'in <string>' requires string as left operand, not " + std::string(type_name(wanted)));
        return find_in(of.text(), wanted.text(), 0, machine.bounds) != std::string_view::npos;
    case Kind::Dict:
        machine.need_defined(wanted);
        if (wanted.is_undefined())
            return false;
        if (!is_hashable(wanted))
            fail("unhashable type: '" + std::string(type_name(wanted)) + "'");
        return of.dict->find(machine.bounds, wanted) != nullptr;
    case Kind::List:
    case Kind::Tuple:
    case Kind::Group:
    case Kind::View:
    case Kind::Range:
    case Kind::Generator: {  // as Python's, it is walked up to the item that is found
        Iterator iterator(machine, of);
        for (Value each; iterator.next(each);)
            if (equal(machine, each, wanted))
                return true;
        return false;
    }
    case Kind::Undefined:
        machine.need_defined(of);
        return false;
    default:
        fail("argument of type '" + std::string(type_name(of)) + "' is not iterable");
    }
}

// ---- iteration -----------------------------------------------------------------------------------------------------

Iterator::Iterator(Machine &machine, const Value &of) : machine_(machine), of_(of) {
    switch (of.kind) {
    case Kind::List:
    case Kind::Tuple:
    case Kind::Group:
        count_ = of.list->count;
        return;
    case Kind::Dict:
        count_ = of.dict->count;
        return;
    case Kind::View:
        count_ = of.view->dict->count;
        return;
    case Kind::Generator:
    case Kind::Range:
    case Kind::String:
        return;
    case Kind::Undefined:
        machine.need_defined(of);
        return;
    case Kind::Loop:
        unsupported("a walk through loop");
    default:
        fail("'" + std::string(type_name(of)) + "' object is not iterable");
    }
}

bool Iterator::next(Value &value) {
    machine_.bounds.spend();
    switch (of_.kind) {
    case Kind::Generator:
        if (of_.list->next >= of_.list->count)
            return false;
        value = of_.list->items[of_.list->next++];
        return true;
    case Kind::List:
    case Kind::Tuple:
    case Kind::Group:
        if (of_.list->count != count_)
            unsupported("a change of a list that is being walked");
        if (at_ >= count_)
            return false;
        value = of_.list->items[at_++];
        return true;
    case Kind::Range:
        if (at_ >= of_.range->count())
            return false;
        value = whole(of_.range->at(at_++));
        return true;
    case Kind::String: {
        if (at_ >= of_.size)
            return false;
        std::size_t length;
        (void)code_at(of_.text(), at_, length);
        value = string(of_.text().substr(at_, length));
        value.is_markup = of_.is_markup;
        at_ += length;
        return true;
    }
    case Kind::Dict:
    case Kind::View: {
        const Dict *dict = of_.is(Kind::Dict) ? of_.dict : of_.view->dict;
        if (dict->count != count_)
            fail("dictionary changed size during iteration");
        if (at_ >= count_)
            return false;
        const std::uint64_t i = at_++;
        if (of_.is(Kind::Dict) || of_.view->of == View::Of::Keys) {
            value = dict->keys[i];
        } else if (of_.view->of == View::Of::Values) {
            value = dict->values[i];
        } else {
            List *pair = new_list(machine_.arena);
            pair->add(machine_.arena, dict->keys[i]);
            pair->add(machine_.arena, dict->values[i]);
            value = value_of(Kind::Tuple, pair);
        }
        return true;
    }
    default:
        return false;
    }
}

List *list_of(Machine &machine, const Value &value) {
    List *list = new_list(machine.arena);
    Iterator iterator(machine, value);
    for (Value each; iterator.next(each);)
        list->add(machine.arena, each);
    return list;
}

}  // namespace steadytext::core::jinja
