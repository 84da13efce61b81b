// Sorts members: see member_order.hpp. Regime: pure.
#include "src/core/constraint/member_order.hpp"

#include "src/core/constraint/json_value.hpp"
#include "src/core/constraint/limits.hpp"
#include "src/core/json_shape.hpp"

#include <algorithm>
#include <map>
#include <vector>

namespace steadytext::core::constraint {

namespace {

using Places = std::map<std::string, std::size_t>;

// The places of an object's members, or of the names in an array.
Places places_in(const Json &order) {
    Places places;
    if (order.is_object())
        for (const auto &[name, unused] : order.items())
            places.emplace(name, places.size());
    else if (order.is_array())
        for (const Json &name : order)
            if (name.is_string())
                places.emplace(name.get<std::string>(), places.size());
    return places;
}

// True if the order changed. Names without a place come last, in their old order.
bool sort_members(Json &object, const Places &places) {
    const auto place_of = [&](const std::string &name) {
        const auto found = places.find(name);
        return found == places.end() ? places.size() : found->second;
    };
    std::vector<std::pair<std::size_t, std::string>> names;
    for (const auto &[name, unused] : object.items())
        names.emplace_back(place_of(name), name);
    const auto comes_before = [](const auto &a, const auto &b) { return a.first < b.first; };
    if (std::is_sorted(names.begin(), names.end(), comes_before))
        return false;
    std::stable_sort(names.begin(), names.end(), comes_before);
    Json sorted = Json::object();
    for (const auto &[place, name] : names)
        sorted[name] = std::move(object[name]);
    object = std::move(sorted);
    return true;
}

bool sort_properties(Json &schema, const Json *written) {
    const auto properties = schema.find("properties");
    const auto required = schema.find("required");
    if (properties == schema.end() || !properties->is_object() || (written == nullptr && required == schema.end()))
        return false;
    return sort_members(*properties, places_in(written != nullptr ? written->at("properties") : *required));
}

bool has_values(const std::string &keyword) {
    return keyword == "const" || keyword == "enum" || keyword == "default" || keyword == "examples";
}
bool has_named_schemas(const std::string &keyword) {
    return keyword == "properties" || keyword == "$defs" || keyword == "definitions";
}

// `written`: the same value in the other text, if there is any. `named`: the members are schemas with free names, not
// keywords.
bool sort_all(Json &schema, const Json *written, bool named) {
    bool changed = schema.is_object() && !named && sort_properties(schema, written);
    if (schema.is_array())
        for (std::size_t i = 0; i < schema.size(); i++)
            changed |= sort_all(schema[i], written != nullptr ? &written->at(i) : nullptr, false);
    if (schema.is_object())
        for (const auto &[name, value] : schema.items())
            if (named || !has_values(name))
                changed |= sort_all(value, written != nullptr ? &written->at(name) : nullptr,
                                    !named && has_named_schemas(name));
    return changed;
}

}  // namespace

std::string with_member_order(std::string_view canonical, std::string_view written) {
    Json schema, other;
    const JsonLimits limits{kMaxSchemaDepth};
    const bool ordered = canonical.size() <= kMaxSchemaBytes &&
                         (!written.empty() || canonical.find("\"required\"") != std::string_view::npos) &&
                         shape_of(canonical, limits) == JsonShape::Good &&
                         shape_of(written, limits) == JsonShape::Good && read_json(canonical, schema) &&
                         (written.empty() || read_json(written, other)) &&
                         sort_all(schema, written.empty() ? nullptr : &other, false);
    return ordered ? write_json(schema) : std::string(canonical);
}

}  // namespace steadytext::core::constraint
