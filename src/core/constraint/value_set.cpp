// See value_set.hpp. Regime: pure. Recursion goes as deep as the values, which were bounded when they were read.
#include "src/core/constraint/value_set.hpp"

#include <algorithm>

namespace steadytext::core::constraint {

namespace {

void append_key(const Value &value, std::string &key) {
    if (is_number(value)) {
        key.append("n").append(to_json(number_of(value))).append(";");
    } else if (value.is_string()) {
        const auto &string = value.get_ref<const std::string &>();
        key.append("s").append(std::to_string(string.size())).append(":").append(string);
    } else if (value.is_object()) {
        key += '{';
        for (const auto &[name, member] : value.items()) {
            key.append(std::to_string(name.size())).append(":").append(name);
            append_key(member, key);
        }
        key += '}';
    } else if (value.is_array()) {
        key += '[';
        for (const Value &element : value)
            append_key(element, key);
        key += ']';
    } else {
        key += value.is_null() ? '0' : value == true ? 't' : 'f';
    }
}

std::string key_of(const Value &value) {
    std::string key;
    append_key(value, key);
    return key;
}

}  // namespace

std::size_t ValueSet::add(Value value, std::size_t owner) {
    std::vector<Owned> &alike = values_[key_of(value)];
    std::size_t other = kNobody;
    for (const auto &[known, known_owner] : alike)
        if (known == value && known_owner != owner)
            other = known_owner;
        else if (known == value)
            return other;
    alike.emplace_back(std::move(value), owner);
    return other;
}

bool ValueSet::contains(const Value &value) const {
    const auto found = values_.find(key_of(value));
    return found != values_.end() && std::any_of(found->second.begin(), found->second.end(),
                                                 [&](const Owned &known) { return known.first == value; });
}

}  // namespace steadytext::core::constraint
