// Jinja2's tests (`x is odd`): see filters.hpp.
#include "src/core/jinja/filters.hpp"

#include "src/core/jinja/text.hpp"
#include "src/core/utf8.hpp"

#include <algorithm>

namespace steadytext::core::jinja {

namespace {

void no_arguments(const Arguments &arguments) { (void)Bound("test", arguments, {}); }

bool remainder_is(Machine &machine, const Value &of, const Value &by, std::int64_t wanted) {
    return equal(machine, binary(machine, "%", of, by), whole(wanted));
}

template <Kind kind>
bool is_of(Machine &, const Value &of, const Arguments &arguments) {
    no_arguments(arguments);
    return of.is(kind);
}

template <bool wanted>
bool is_exactly(Machine &, const Value &of, const Arguments &arguments) {
    no_arguments(arguments);
    return of.is(Kind::Bool) && of.truth == wanted;
}

// str.islower() and str.isupper(), where letters are plain.
template <bool lower_case>
bool has_case(Machine &machine, const Value &of, const Arguments &arguments) {
    no_arguments(arguments);
    const Value text = to_text(machine, of);
    if (ascii_prefix(text.text()) != text.size)
        unsupported("a test of the case of letters beyond ASCII");
    machine.bounds.spend(1 + text.size / 8);
    bool any = false;
    for (const char c : text.text()) {
        if (lower_case ? c >= 'A' && c <= 'Z' : c >= 'a' && c <= 'z')
            return false;
        any = any || (lower_case ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z');
    }
    return any;
}

enum class Op { Equal, Unequal, Less, AtMost, Greater, AtLeast };

template <Op op>
bool compares(Machine &machine, const Value &of, const Arguments &arguments) {
    const Value other = Bound("test", arguments, {"other"}, 1)[0];
    switch (op) {
    case Op::Equal:
        return equal(machine, of, other);
    case Op::Unequal:
        return !equal(machine, of, other);
    case Op::Less:
        return less(machine, of, other, "<");
    case Op::AtMost:
        return less(machine, of, other, "<=");
    case Op::Greater:
        return less(machine, of, other, ">");
    default:
        return less(machine, of, other, ">=");
    }
}

constexpr TestEntry kTests[] = {
    {"defined", [](Machine &, const Value &of,
                   const Arguments &arguments) { return no_arguments(arguments), !of.is_undefined(); }},
    {"undefined", is_of<Kind::Undefined>},
    {"none", is_of<Kind::None>},
    {"boolean", is_of<Kind::Bool>},
    {"true", is_exactly<true>},
    {"false", is_exactly<false>},
    {"integer",
     [](Machine &, const Value &of, const Arguments &arguments) {
         return no_arguments(arguments), of.is(Kind::Int) || of.is(Kind::Big);
     }},
    {"float", is_of<Kind::Float>},
    {"number", [](Machine &, const Value &of,
                  const Arguments &arguments) { return no_arguments(arguments), of.is_number() || of.is(Kind::Big); }},
    {"string", is_of<Kind::String>},
    {"mapping", is_of<Kind::Dict>},
    {"sequence",
     [](Machine &machine, const Value &of, const Arguments &arguments) {
         no_arguments(arguments);
         if (of.is(Kind::Loop))
             unsupported("loop is sequence");
         return of.is(Kind::String) || of.is(Kind::Dict) || of.is(Kind::Range) ||
                (of.is_undefined() && of.is_lax(machine.strict)) || (of.is_list_like() && !of.is(Kind::Generator));
     }},
    {"iterable",
     [](Machine &machine, const Value &of, const Arguments &arguments) {
         no_arguments(arguments);
         machine.need_defined(of);
         return of.is(Kind::String) || of.is(Kind::Dict) || of.is(Kind::Range) || of.is(Kind::View) ||
                of.is_undefined() || of.is_list_like() || of.is(Kind::Loop);
     }},
    {"callable",
     [](Machine &, const Value &of, const Arguments &arguments) {
         no_arguments(arguments);
         return of.is(Kind::Macro) || of.is(Kind::Method) || of.is(Kind::Global) || of.is(Kind::Joiner) ||
                of.is(Kind::Loop) || of.is_undefined();
     }},
    {"escaped",
     [](Machine &, const Value &of, const Arguments &arguments) {
         return no_arguments(arguments), of.is(Kind::String) && of.is_markup;
     }},
    {"odd", [](Machine &machine, const Value &of,
               const Arguments &arguments) { return no_arguments(arguments), remainder_is(machine, of, whole(2), 1); }},
    {"even",
     [](Machine &machine, const Value &of, const Arguments &arguments) {
         return no_arguments(arguments), remainder_is(machine, of, whole(2), 0);
     }},
    {"divisibleby",
     [](Machine &machine, const Value &of, const Arguments &arguments) {
         return remainder_is(machine, of, Bound("test", arguments, {"num"}, 1)[0], 0);
     }},
    {"lower", has_case<true>},
    {"upper", has_case<false>},
    {"in", [](Machine &machine, const Value &of,
              const Arguments &arguments) { return contains(machine, Bound("test", arguments, {"seq"}, 1)[0], of); }},
    {"sameas",
     [](Machine &, const Value &of, const Arguments &arguments) {
         const Value other = Bound("test", arguments, {"other"}, 1)[0];
         if (of.kind != other.kind)
             return false;
         if (!of.is(Kind::None) && !of.is(Kind::Bool) && !of.is(Kind::List) && !of.is(Kind::Dict))
             unsupported("sameas of " + std::string(type_name(of)));
         return of.is(Kind::None) || (of.is(Kind::Bool) ? of.truth == other.truth : of.data == other.data);
     }},
    {"filter",
     [](Machine &, const Value &of, const Arguments &arguments) {
         no_arguments(arguments);
         return of.is(Kind::String) && (text_filter(of.text()) != nullptr || list_filter(of.text()) != nullptr);
     }},
    {"eq", compares<Op::Equal>},
    {"equalto", compares<Op::Equal>},
    {"==", compares<Op::Equal>},
    {"ne", compares<Op::Unequal>},
    {"!=", compares<Op::Unequal>},
    {"lt", compares<Op::Less>},
    {"lessthan", compares<Op::Less>},
    {"<", compares<Op::Less>},
    {"le", compares<Op::AtMost>},
    {"<=", compares<Op::AtMost>},
    {"gt", compares<Op::Greater>},
    {"greaterthan", compares<Op::Greater>},
    {">", compares<Op::Greater>},
    {"ge", compares<Op::AtLeast>},
    {">=", compares<Op::AtLeast>},
};

}  // namespace

TestFunction find_test(std::string_view name) {
    const auto *found = std::ranges::find(kTests, name, &TestEntry::name);
    if (found != std::end(kTests))
        return found->run;
    if (name == "test")
        unsupported("the test test");
    throw Failure{Failure::Kind::Syntax, "No test named " + repr(name) + "."};
}

}  // namespace steadytext::core::jinja
