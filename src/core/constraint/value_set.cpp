// Makes keys of values: see value_set.hpp. Regime: pure. Recurses as deep as the values, which were limited when
// they were read.
#include "src/core/constraint/value_set.hpp"

#include <algorithm>

namespace steadytext::core::constraint {

namespace {

constexpr std::size_t kWhole = SIZE_MAX / 2;

// Equal values have the same kind; numbers are kept as int64 or as bytes (json_value.hpp).
std::uint32_t kind_of(const Value &value) { return 1U << static_cast<unsigned>(value.type()); }

// A step for each character and each value. The key is cut short if it has more than `most` bytes, or if the work
// has ended.
void append_key(const Value &value, std::size_t most, std::string &key, Work &work) {
    const std::size_t before = key.size();
    if (value.is_binary()) {
        const auto &digits = value.get_binary();  // the canonical text of this number
        key.append("n")
            .append(digits.begin(), digits.begin() + static_cast<std::ptrdiff_t>(std::min(most, digits.size())))
            .append(";");
    } else if (value.is_number()) {
        key.append("n").append(to_json(number_of(value))).append(";");
    } else if (value.is_string()) {
        const auto &string = value.get_ref<const std::string &>();
        key.append("s").append(std::to_string(string.size())).append(":").append(string, 0, most);
    } else if (value.is_object()) {
        key += '{';
        for (auto member = value.begin();
             member != value.end() && key.size() <= most && work.spend(std::min(most, member.key().size())); ++member) {
            key.append(std::to_string(member.key().size())).append(":").append(member.key(), 0, most);
            append_key(*member, most, key, work);
        }
        key += '}';
    } else if (value.is_array()) {
        key += '[';
        for (auto element = value.begin(); element != value.end() && key.size() <= most && !work.has_ended(); ++element)
            append_key(*element, most, key, work);
        key += ']';
    } else {
        key += value.is_null() ? '0' : value == true ? 't' : 'f';
    }
    (void)work.spend(value.is_structured() ? 8 : 8 + key.size() - before);
}

// If the whole key has more than `most` bytes, returns any beginning of it with more than `most` bytes.
std::string key_of(const Value &value, std::size_t most, Work &work) {
    std::string key;
    append_key(value, most, key, work);
    return key;
}

}  // namespace

std::size_t ValueSet::add(Value value, Work &work, std::size_t owner) {
    std::string key = key_of(value, kWhole, work);
    kinds_ |= kind_of(value);
    longest_ = std::max(longest_, key.size());
    std::vector<Owned> &alike = values_[std::move(key)];
    std::size_t other = kNobody;
    for (const auto &[known, known_owner] : alike)
        if (known == value && known_owner != owner)
            other = known_owner;
        else if (known == value)
            return other;
    alike.emplace_back(std::move(value), owner);
    return other;
}

bool ValueSet::contains(const Value &value, Work &work) const {
    if ((kinds_ & kind_of(value)) == 0)
        return false;
    const auto found = values_.find(key_of(value, longest_, work));
    return !work.has_ended() && found != values_.end() &&
           std::any_of(found->second.begin(), found->second.end(),
                       [&](const Owned &known) { return known.first == value; });
}

}  // namespace steadytext::core::constraint
