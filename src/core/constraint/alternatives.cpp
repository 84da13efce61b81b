// Tells alternatives apart: see alternatives.hpp. Regime: pure.
#include "src/core/constraint/alternatives.hpp"

#include "src/core/constraint/value_set.hpp"

#include <algorithm>
#include <cstdint>

namespace steadytext::core::constraint {

namespace {

// Whether a schema lists its values.
bool is_listed(const Json &schema) {
    return schema.is_object() && (schema.contains("const") || (schema.contains("enum") && schema["enum"].is_array()));
}

template <class Visit>
void for_each_value(const Json &schema, Visit visit) {
    if (schema.contains("const"))
        return visit(Value(schema["const"]));
    for (const Json &value : schema["enum"])
        visit(Value(value));
}

// True if no two lists share a value.
bool lists_differ(const std::vector<const Json *> &schemas, Work &work) {
    ValueSet values;
    bool differ = true;
    for (std::size_t i = 0; i < schemas.size() && differ; i++)
        for_each_value(*schemas[i], [&](Value value) {
            if (differ && work.spend(8))
                differ = values.add(std::move(value), work, i) == ValueSet::kNobody;
        });
    return differ;
}

// The types of a schema, a bit for each; 0 if any type is allowed. Two schemas with bits but no common bit share no
// value.
std::uint32_t type_bits(const Json &schema) {
    constexpr std::string_view kTypes[] = {"object", "array", "string", "boolean", "null", "integer", "number"};
    std::uint32_t bits = 0;
    for (const std::string &type : types_of(schema)) {
        const auto at = std::find(std::begin(kTypes), std::end(kTypes), type) - std::begin(kTypes);
        bits |= 1U << at | (type == "number" ? 1U << 5 : 0);  // an integer is a number
    }
    return bits;
}

bool requires_member(const Json &schema, const std::string &name, Work &work) {
    const auto type = schema.find("type");
    const auto required = schema.find("required");
    if (type == schema.end() || *type != "object" || required == schema.end() || !required->is_array())
        return false;
    return work.spend(required->size()) && std::find(required->begin(), required->end(), name) != required->end();
}

// The schema of a member that every value must have; null if there is no such member.
const Json *required_member(const Json &schema, const std::string &name, Work &work) {
    const auto properties = schema.find("properties");
    if (properties == schema.end() || !properties->is_object() || !work.spend(properties->size()))
        return nullptr;
    const auto found = properties->find(name);
    return found != properties->end() && requires_member(schema, name, work) ? &*found : nullptr;
}

// Recurses as deep as the schemas nest.
bool are_disjoint(const Json &one, const Json &other, Work &work) {
    if (!work.spend(16))
        return false;
    if (!one.is_object() || !other.is_object())
        return one == false || other == false;
    if (is_listed(one) && is_listed(other))
        return lists_differ({&one, &other}, work);
    const std::uint32_t bits = type_bits(one);
    const std::uint32_t other_bits = type_bits(other);
    if (bits != 0 && other_bits != 0 && (bits & other_bits) == 0)
        return true;
    const auto properties = one.find("properties");
    if (properties == one.end() || !properties->is_object())
        return false;
    for (const auto &[name, schema] : properties->items()) {
        const Json *member = required_member(other, name, work);
        if (member != nullptr && requires_member(one, name, work) && are_disjoint(schema, *member, work))
            return true;
        if (work.has_ended())
            return false;
    }
    return false;
}

// True if all schemas require a member for which each has other constants.
bool have_discriminator(const std::vector<const Json *> &schemas, Work &work) {
    constexpr int kTried = 8;  // members; the distinguishing member comes early
    const auto properties = schemas.front()->find("properties");
    if (properties == schemas.front()->end() || !properties->is_object())
        return false;
    int tried = 0;
    for (const auto &[name, unused] : properties->items()) {
        std::vector<const Json *> members;
        for (const Json *schema : schemas) {
            const Json *member = required_member(*schema, name, work);
            if (member == nullptr || !is_listed(*member))
                break;
            members.push_back(member);
        }
        if (members.size() == schemas.size() && lists_differ(members, work))
            return true;
        if (++tried == kTried)
            break;
    }
    return false;
}

bool differ_by_pairs(const std::vector<const Json *> &schemas, Work &work) {
    for (std::size_t i = 0; i < schemas.size(); i++)
        for (std::size_t j = i + 1; j < schemas.size(); j++)
            if (!are_disjoint(*schemas[i], *schemas[j], work))
                return false;
    return true;
}

// The schemas whose type another schema may also have.
std::vector<const Json *> told_by_more_than_type(const std::vector<const Json *> &schemas) {
    constexpr std::size_t kBits = 7;
    std::size_t having[kBits] = {};
    std::size_t of_any = 0;
    std::vector<std::uint32_t> bits;
    for (const Json *schema : schemas) {
        bits.push_back(type_bits(*schema));
        of_any += bits.back() == 0;
        for (std::size_t bit = 0; bit < kBits; bit++)
            having[bit] += bits.back() >> bit & 1;
    }
    std::vector<const Json *> rest;
    for (std::size_t i = 0; i < schemas.size(); i++) {
        bool shared = of_any > 0;
        for (std::size_t bit = 0; bit < kBits; bit++)
            shared = shared || ((bits[i] >> bit & 1) != 0 && having[bit] > 1);
        if (shared)
            rest.push_back(schemas[i]);
    }
    return rest;
}

}  // namespace

bool are_exclusive(const std::vector<const Json *> &schemas, Work &work) {
    std::vector<const Json *> listed, all;
    for (const Json *schema : schemas) {
        if (*schema == false)
            continue;  // nothing satisfies it
        if (!schema->is_object())
            return schemas.size() == 1 || differ_by_pairs(schemas, work);
        all.push_back(schema);
        if (is_listed(*schema))
            listed.push_back(schema);
    }
    if (!lists_differ(listed, work))
        return false;
    if (listed.size() == all.size())
        return true;
    const std::vector<const Json *> rest = told_by_more_than_type(all);
    return rest.size() < 2 || have_discriminator(rest, work) || differ_by_pairs(rest, work);
}

}  // namespace steadytext::core::constraint
