// See machine.hpp: dicts, truth, order, arithmetic, iteration. What can be shown and reached is in access.cpp.
#include "src/core/jinja/machine.hpp"

#include "src/core/jinja/text.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

namespace steadytext::core::jinja {

// ---- dicts
// ----------------------------------------------------------------------------------------------------------------

namespace {

std::uint64_t hash_of(const Value &key) {
    if (key.is(Kind::String))
        return std::hash<std::string_view>()(key.text());
    if (key.is_whole())
        return std::hash<double>()(static_cast<double>(key.whole()));
    if (key.is(Kind::Float))
        return std::hash<double>()(key.real);
    return 0;
}

bool same_key(const Value &a, const Value &b) {
    if (a.is_number() && b.is_number())
        return a.is(Kind::Float) || b.is(Kind::Float) ? a.number() == b.number() : a.whole() == b.whole();
    return a.kind == b.kind && (a.is(Kind::None) || (a.is(Kind::String) && a.text() == b.text()));
}

// Steps that hashing or comparing it takes.
std::uint64_t cost_of(const Value &key) { return 1 + (key.is(Kind::String) ? key.size / 64 : 0); }

std::size_t place_of(Bounds &bounds, const Dict &dict, const Value &key) {
    if (dict.index_size == 0) {
        bounds.spend(dict.count / 4 + cost_of(key) * (1 + dict.count / 8));
        for (std::uint32_t i = 0; i < dict.count; i++)
            if (same_key(dict.keys[i], key))
                return i;
        return dict.count;
    }
    bounds.spend(cost_of(key));
    for (std::size_t at = hash_of(key) & (dict.index_size - 1);; at = (at + 1) & (dict.index_size - 1)) {
        bounds.spend(cost_of(key));
        if (dict.index[at] == 0)
            return dict.count;
        if (same_key(dict.keys[dict.index[at] - 1], key))
            return dict.index[at] - 1;
    }
}

void enter(Dict &dict, std::uint32_t place) {
    std::size_t at = hash_of(dict.keys[place]) & (dict.index_size - 1);
    while (dict.index[at] != 0)
        at = (at + 1) & (dict.index_size - 1);
    dict.index[at] = place + 1;
}

void make_index(Arena &arena, Dict &dict) {
    dict.index_size = 16;
    while (dict.index_size < dict.room * 2)
        dict.index_size *= 2;
    dict.index = arena.array<std::uint32_t>(dict.index_size);
    std::memset(dict.index, 0, dict.index_size * sizeof(std::uint32_t));
    for (std::uint32_t i = 0; i < dict.count; i++) {
        arena.bounds().spend(cost_of(dict.keys[i]));
        enter(dict, i);
    }
}

}  // namespace

const Value *Dict::find(Bounds &bounds, const Value &key) const {
    const std::size_t place = place_of(bounds, *this, key);
    return place < count ? &values[place] : nullptr;
}

void Dict::set(Arena &arena, const Value &key, const Value &value) {
    const std::size_t place = place_of(arena.bounds(), *this, key);
    if (place < count) {
        values[place] = value;
        return;
    }
    if (count == room) {
        const std::uint32_t more = room < 4 ? 4 : room * 2;
        Value *new_keys = arena.array<Value>(more), *new_values = arena.array<Value>(more);
        std::copy_n(keys, count, new_keys);
        std::copy_n(values, count, new_values);
        keys = new_keys;
        values = new_values;
        room = more;
        if (room > 8)
            make_index(arena, *this);
    }
    keys[count] = key;
    values[count] = value;
    count++;
    if (index_size > 0)
        enter(*this, count - 1);
}

bool Dict::remove(Arena &arena, const Value &key) {
    const std::size_t place = place_of(arena.bounds(), *this, key);
    if (place >= count)
        return false;
    arena.bounds().spend(count);
    std::copy(keys + place + 1, keys + count, keys + place);
    std::copy(values + place + 1, values + count, values + place);
    count--;
    if (index_size > 0)
        make_index(arena, *this);
    return true;
}

// ---- arguments
// --------------------------------------------------------------------------------------------------------------

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
        unsupported("an integer beyond 64 bits");
    if (!value.is_whole())
        fail("'" + std::string(type_name(value)) + "' object cannot be interpreted as an integer");
    return value.whole();
}

// ---- truth, equality, order
// -----------------------------------------------------------------------------------------------------

std::string_view type_name(const Value &value) {
    switch (value.kind) {
    case Kind::Undefined:
        return "Undefined";
    case Kind::None:
        return "NoneType";
    case Kind::Bool:
        return "bool";
    case Kind::Int:
    case Kind::Big:
        return "int";
    case Kind::Float:
        return "float";
    case Kind::String:
        return value.is_markup ? "Markup" : "str";
    case Kind::List:
        return "list";
    case Kind::Tuple:
        return "tuple";
    case Kind::Group:
        return "_GroupTuple";
    case Kind::Generator:
        return "generator";
    case Kind::Dict:
        return "dict";
    case Kind::View:
        return value.view->of == View::Of::Keys     ? "dict_keys"
               : value.view->of == View::Of::Values ? "dict_values"
                                                    : "dict_items";
    case Kind::Range:
        return "range";
    case Kind::Loop:
        return "LoopContext";
    case Kind::Macro:
        return "Macro";
    case Kind::Method:
        return "builtin_function_or_method";
    case Kind::Global:
        return "type";
    case Kind::Namespace:
        return "Namespace";
    case Kind::Joiner:
        return "Joiner";
    case Kind::Cycler:
        return "Cycler";
    }
    return "object";
}

bool is_true(Machine &machine, const Value &value) {
    switch (value.kind) {
    case Kind::Undefined:
        if (!value.is_lax(machine.strict))
            fail_undefined(value.text());
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

// -1, 0, 1; 2 if one is no number. Exact: an integer beyond 2^53 is not rounded.
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

bool is_tuple(const Value &value) { return value.is(Kind::Tuple) || value.is(Kind::Group); }

}  // namespace

bool equal(Machine &machine, const Value &a, const Value &b) {
    machine.bounds.spend();
    if (a.is_undefined() || b.is_undefined()) {
        for (const Value *each : {&a, &b})
            if (each->is_undefined() && !each->is_lax(machine.strict))
                fail_undefined(each->text());
        return a.kind == b.kind;
    }
    if (a.is(Kind::Big) || b.is(Kind::Big))
        unsupported("an integer beyond 64 bits");
    if (a.is_number() && b.is_number())
        return compared(a, b) == 0;
    if (is_tuple(a) ? !is_tuple(b) : a.kind != b.kind)
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
        unsupported("an integer beyond 64 bits");
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
    if ((a.is(Kind::List) && b.is(Kind::List)) || (is_tuple(a) && is_tuple(b))) {
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
        if (wanted.is_undefined() && !wanted.is_lax(machine.strict))
            fail_undefined(wanted.text());
        if (!wanted.is(Kind::String))
            fail("'in <string>' requires string as left operand, not " + std::string(type_name(wanted)));
        return find_in(of.text(), wanted.text(), 0, machine.bounds) != std::string_view::npos;
    case Kind::Dict:
        if (wanted.is_undefined() && !wanted.is_lax(machine.strict))
            fail_undefined(wanted.text());
        if (wanted.is_undefined())
            return false;
        if (!is_hashable(wanted))
            fail("unhashable type: '" + std::string(type_name(wanted)) + "'");
        return of.dict->find(machine.bounds, wanted) != nullptr;
    case Kind::List:
    case Kind::Tuple:
    case Kind::Group:
    case Kind::View:
    case Kind::Range: {
        Iterator iterator(machine, of);
        for (Value each; iterator.next(each);)
            if (equal(machine, each, wanted))
                return true;
        return false;
    }
    case Kind::Undefined:
        if (!of.is_lax(machine.strict))
            fail_undefined(of.text());
        return false;
    case Kind::Generator: {  // as Python's, it is walked up to what is found
        Iterator iterator(machine, of);
        for (Value each; iterator.next(each);)
            if (equal(machine, each, wanted))
                return true;
        return false;
    }
    default:
        fail("argument of type '" + std::string(type_name(of)) + "' is not iterable");
    }
}

// ---- arithmetic
// -----------------------------------------------------------------------------------------------------------------

namespace {

[[noreturn]] void too_long() { unsupported("an integer beyond 64 bits"); }

[[noreturn]] void no_operator(std::string_view op, const Value &a, const Value &b) {
    if (op == "+" && a.is(Kind::String))
        fail("can only concatenate str (not \"" + std::string(type_name(b)) + "\") to str");
    fail("unsupported operand type(s) for " + std::string(op == "**" ? "** or pow()" : op) + ": '" +
         std::string(type_name(a)) + "' and '" + std::string(type_name(b)) + "'");
}

Value repeated(Machine &machine, const Value &of, std::int64_t times) {
    const std::uint64_t count = times < 0 ? 0 : static_cast<std::uint64_t>(times);
    if (of.is(Kind::String)) {
        if (of.is_markup)
            unsupported("arithmetic with an escaped text");
        if (of.size > 0 && count > Bounds::kMaxMemory / of.size)
            machine.bounds.take_memory(Bounds::kMaxMemory + 1);
        char *data = machine.arena.array<char>(count * of.size);
        for (std::uint64_t i = 0; i < count; i++)
            std::memcpy(data + i * of.size, of.data, of.size);
        machine.bounds.spend(count / 8);
        return string({data, count * of.size});
    }
    if (of.list->count > 0 && count > Bounds::kMaxMemory / of.list->count)
        machine.bounds.take_memory(Bounds::kMaxMemory + 1);
    List *list = new_list(machine.arena);
    for (std::uint64_t i = 0; i < count && of.list->count > 0; i++)
        for (std::uint32_t k = 0; k < of.list->count; k++) {
            machine.bounds.spend();
            list->add(machine.arena, of.list->items[k]);
        }
    return value_of(of.is(Kind::List) ? Kind::List : Kind::Tuple, list);
}

double modulo(double a, double b) {
    double left = std::fmod(a, b);
    if (left != 0) {
        if ((b < 0) != (left < 0))
            left += b;
    } else {
        left = std::copysign(0.0, b);
    }
    return left;
}

double floor_division(double a, double b) {
    const double left = std::fmod(a, b);
    double quotient = (a - left) / b;
    if (left != 0 && (b < 0) != (left < 0))
        quotient -= 1;
    if (quotient == 0)
        return std::copysign(0.0, a / b);
    const double floored = std::floor(quotient);
    return quotient - floored > 0.5 ? floored + 1 : floored;
}

Value power(const Value &a, const Value &b) {
    if (a.is(Kind::Float) || b.is(Kind::Float) || b.whole() < 0) {
        const double base = a.number(), exponent = b.number();
        if (base == 0 && exponent < 0)
            fail("0.0 cannot be raised to a negative power");
        if (base < 0 && std::isfinite(exponent) && std::floor(exponent) != exponent)
            unsupported("a complex number");
        const double result = std::pow(base, exponent);
        if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent))
            fail("(34, 'Numerical result out of range')");
        return real(result);
    }
    std::int64_t result = 1, base = a.whole();
    for (std::int64_t left = b.whole(); left > 0; left >>= 1) {
        if ((left & 1) != 0 && __builtin_mul_overflow(result, base, &result))
            too_long();
        if (left > 1 && __builtin_mul_overflow(base, base, &base))
            too_long();
    }
    return whole(result);
}

Value of_numbers(char op, bool twice, const Value &a, const Value &b) {
    const bool floats = a.is(Kind::Float) || b.is(Kind::Float);
    const std::int64_t x = floats ? 0 : a.whole(), y = floats ? 0 : b.whole();
    std::int64_t result = 0;
    switch (op) {
    case '+':
        if (floats)
            return real(a.number() + b.number());
        return __builtin_add_overflow(x, y, &result) ? (too_long(), Value()) : whole(result);
    case '-':
        if (floats)
            return real(a.number() - b.number());
        return __builtin_sub_overflow(x, y, &result) ? (too_long(), Value()) : whole(result);
    case '*':
        if (twice)
            return power(a, b);
        if (floats)
            return real(a.number() * b.number());
        return __builtin_mul_overflow(x, y, &result) ? (too_long(), Value()) : whole(result);
    default:
        break;
    }
    if (b.number() == 0)
        fail(floats                ? op == '%' ? "float modulo by zero"
                                     : twice   ? "float floor division by zero"
                                               : "float division by zero"
             : op == '/' && !twice ? "division by zero"
                                   : "integer division or modulo by zero");
    if (op == '/' && !twice) {
        constexpr std::int64_t kExact = std::int64_t{1} << 53;
        if (!floats && (x > kExact || x < -kExact || y > kExact || y < -kExact))
            unsupported("a division of integers beyond 2 ** 53");
        return real(a.number() / b.number());
    }
    if (floats)
        return real(op == '%' ? modulo(a.number(), b.number()) : floor_division(a.number(), b.number()));
    if (y == -1)
        return op == '%' ? whole(0) : negative(whole(x), true);
    const std::int64_t left = x % y;
    const bool turned = left != 0 && (left < 0) != (y < 0);
    return whole(op == '%' ? left + (turned ? y : 0) : x / y - (turned ? 1 : 0));
}

Value joined(Machine &machine, const Value &a, const Value &b) {
    List *list = new_list(machine.arena);
    for (const List *each : {a.list, b.list})
        for (std::uint32_t i = 0; i < each->count; i++) {
            machine.bounds.spend();
            list->add(machine.arena, each->items[i]);
        }
    return value_of(a.is(Kind::List) ? Kind::List : Kind::Tuple, list);
}

}  // namespace

Value negative(const Value &value, bool minus) {
    if (value.is_undefined())
        fail_undefined(value.text());
    if (value.is(Kind::Float))
        return real(minus ? -value.real : value.real);
    if (value.is(Kind::Big))
        too_long();
    if (!value.is_whole())
        fail("bad operand type for unary " + std::string(minus ? "-" : "+") + ": '" + std::string(type_name(value)) +
             "'");
    if (minus && value.whole() == INT64_MIN)
        too_long();
    return whole(minus ? -value.whole() : value.whole());
}

// src/core/jinja/printf.cpp
Value formatted(Machine &machine, std::string_view form, const Value &value);

Value binary(Machine &machine, std::string_view op, const Value &a, const Value &b) {
    machine.bounds.spend();
    if (a.is(Kind::String) && op == "%")
        return formatted(machine, plain_text(machine, a), b);
    if (a.is_undefined() || b.is_undefined())
        fail_undefined(a.is_undefined() ? a.text() : b.text());
    if (a.is(Kind::Big) || b.is(Kind::Big))
        too_long();
    if (a.is_number() && b.is_number())
        return of_numbers(op[0], op.size() > 1, a, b);
    if ((a.is(Kind::String) && a.is_markup) || (b.is(Kind::String) && b.is_markup))
        unsupported("arithmetic with an escaped text");
    if (op == "+") {
        if (a.is(Kind::String) && b.is(Kind::String)) {
            char *data = machine.arena.array<char>(std::size_t{a.size} + b.size);
            std::memcpy(data, a.data, a.size);
            std::memcpy(data + a.size, b.data, b.size);
            return string({data, std::size_t{a.size} + b.size});
        }
        if ((a.is(Kind::List) && b.is(Kind::List)) || (is_tuple(a) && is_tuple(b)))
            return joined(machine, a, b);
    } else if (op == "*") {
        if (b.is_whole() && (a.is(Kind::String) || a.is(Kind::List) || is_tuple(a)))
            return repeated(machine, a, b.whole());
        if (a.is_whole() && (b.is(Kind::String) || b.is(Kind::List) || is_tuple(b)))
            return repeated(machine, b, a.whole());
    }
    if (a.is(Kind::View) || b.is(Kind::View))
        unsupported("arithmetic with " + std::string(type_name(a.is(Kind::View) ? a : b)));
    no_operator(op, a, b);
}

// ---- iteration
// ----------------------------------------------------------------------------------------------------------------------

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
        if (!of.is_lax(machine.strict))
            fail_undefined(of.text());
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
