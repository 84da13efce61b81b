// What + - * / // % ** do to values of templates: see machine.hpp.
#include "src/core/jinja/machine.hpp"

#include <cmath>
#include <cstring>

namespace steadytext::core::jinja {

namespace {

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
            refuse_long();
        if (left > 1 && __builtin_mul_overflow(base, base, &base))
            refuse_long();
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
        return __builtin_add_overflow(x, y, &result) ? (refuse_long(), Value()) : whole(result);
    case '-':
        if (floats)
            return real(a.number() - b.number());
        return __builtin_sub_overflow(x, y, &result) ? (refuse_long(), Value()) : whole(result);
    case '*':
        if (twice)
            return power(a, b);
        if (floats)
            return real(a.number() * b.number());
        return __builtin_mul_overflow(x, y, &result) ? (refuse_long(), Value()) : whole(result);
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
        refuse_long();
    if (!value.is_whole())
        fail("bad operand type for unary " + std::string(minus ? "-" : "+") + ": '" + std::string(type_name(value)) +
             "'");
    if (minus && value.whole() == INT64_MIN)
        refuse_long();
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
        refuse_long();
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
        if ((a.is(Kind::List) && b.is(Kind::List)) || (a.is_tuple() && b.is_tuple()))
            return joined(machine, a, b);
    } else if (op == "*") {
        if (b.is_whole() && (a.is(Kind::String) || a.is(Kind::List) || a.is_tuple()))
            return repeated(machine, a, b.whole());
        if (a.is_whole() && (b.is(Kind::String) || b.is(Kind::List) || b.is_tuple()))
            return repeated(machine, b, a.whole());
    }
    if (a.is(Kind::View) || b.is(Kind::View))
        unsupported("arithmetic with " + std::string(type_name(a.is(Kind::View) ? a : b)));
    no_operator(op, a, b);
}

}  // namespace steadytext::core::jinja
