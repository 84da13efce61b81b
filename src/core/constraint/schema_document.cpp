// Reads and simplifies schemas: see schema_document.hpp. Regime: pure.
#include "src/core/constraint/schema_document.hpp"

#include "src/core/json_shape.hpp"

#include <algorithm>
#include <cstdint>
#include <set>

namespace steadytext::core::constraint {

namespace {

bool is_schema(const Json &json) { return json.is_object() || json.is_boolean(); }

// {"allOf": [...]} and no other keyword.
bool is_conjunction(const Json &schema) {
    return schema.is_object() && schema.size() == 1 && schema.contains("allOf") && schema["allOf"].is_array();
}

// Combines both schemas without adding a level for each.
void conjoin(Json &schema, const Json &other) {
    if (is_conjunction(schema)) {
        Json &parts = schema["allOf"];
        parts.insert(parts.begin(), other);
    } else {
        Json parts = Json::array();
        parts.push_back(std::move(schema));
        parts.push_back(other);
        schema = Json::object();
        schema["allOf"] = std::move(parts);
    }
}

// Adds the names that are not there yet.
void unite(Json &names, const Json &others) {
    std::set<std::string> known;
    for (const Json &name : names)
        if (name.is_string())
            known.insert(name.get<std::string>());
    for (const Json &name : others)
        if (name.is_string() ? known.insert(name.get<std::string>()).second
                             : std::find(names.begin(), names.end(), name) == names.end())
            names.push_back(name);
}

// Combines a keyword for which the schemas have different values; false if this is impossible.
bool combine(const std::string &keyword, Json &value, const Json &other) {
    if (keyword == "required") {
        if (!value.is_array() || !other.is_array())
            return false;
        unite(value, other);
    } else if (keyword == "properties") {
        if (!value.is_object() || !other.is_object())
            return false;
        for (const auto &[name, schema] : other.items()) {
            const auto found = value.find(name);
            if (found == value.end())
                value[name] = schema;
            else if (*found != schema)
                conjoin(*found, schema);
        }
    } else if (keyword == "items" || keyword == "additionalProperties") {
        if (!value.is_object() || !other.is_object())
            return false;
        conjoin(value, other);
    } else if (keyword == "minimum" || keyword == "exclusiveMinimum" || keyword == "minLength" ||
               keyword == "minItems") {
        if (!is_number(value) || !is_number(other))
            return false;
        if (compare(number_of(value), number_of(other)) < 0)
            value = other;
    } else if (keyword == "maximum" || keyword == "exclusiveMaximum" || keyword == "maxLength" ||
               keyword == "maxItems") {
        if (!is_number(value) || !is_number(other))
            return false;
        if (compare(number_of(value), number_of(other)) > 0)
            value = other;
    } else if (keyword == "allOf") {
        if (!value.is_array() || !other.is_array())
            return false;
        value.insert(value.end(), other.begin(), other.end());
    } else {
        return false;
    }
    return true;
}

Json common_types(const Json &one, const Json &other) {
    const std::vector<std::string> allowed = types_of(other);
    Json common = Json::array();
    for (const std::string &type : types_of(one)) {
        const auto has = [&](std::string_view name) {
            return std::find(allowed.begin(), allowed.end(), name) != allowed.end();
        };
        if (has(type) || (type == "integer" && has("number")))
            common.push_back(type);
        else if (type == "number" && has("integer"))
            common.push_back("integer");
    }
    return common;
}

// True if the other schema's properties would widen a closed schema.
bool closed_to(const Json &closed, const Json &other) {
    if (!closed.contains("additionalProperties") || closed["additionalProperties"] != false ||
        !other.contains("properties"))
        return false;
    std::set<std::string> declared;
    if (closed.contains("properties"))
        for (const auto &[name, schema] : closed["properties"].items())
            declared.insert(name);
    for (const auto &[name, schema] : other["properties"].items())
        if (!declared.contains(name))
            return true;
    return false;
}

}  // namespace

bool SchemaDocument::read(std::string_view text, Problem &problem) {
    if (text.size() > kMaxSchemaBytes) {
        problem.set(sqlstate::kProgramLimitExceeded, "schema cannot be used");
        problem.with_detail("It has %zu bytes; the limit is %zu.", text.size(), kMaxSchemaBytes);
        return false;
    }
    if (const JsonShape shape = shape_of(text, {kMaxSchemaDepth}); shape != JsonShape::Good) {
        problem.set(sqlstate::kProgramLimitExceeded, "schema cannot be used");
        if (shape == JsonShape::TooDeep)
            problem.with_detail("It nests deeper than %zu levels.", kMaxSchemaDepth);
        else
            problem.with_detail("It has too many members.");
        return false;
    }
    (void)work_.spend(text.size());
    return (read_json(text, root_) && is_schema(root_)) ||
           problem.set(sqlstate::kInvalidParameterValue, "a schema must be a JSON object");
}

bool SchemaDocument::afford(const Json &schema) const {
    std::vector<const Json *> open{&schema};
    while (!open.empty()) {
        const Json &part = *open.back();
        open.pop_back();
        if (!work_.spend(4 + (part.is_string() ? part.get_ref<const std::string &>().size() / 16 : 0)))
            return false;
        if (part.is_structured())
            for (const Json &member : part)
                open.push_back(&member);
    }
    return true;
}

// ---- references ----------------------------------------------------------------------------------------------------

namespace {

// The name that a part of a JSON pointer stands for: ~1 is a slash, ~0 a tilde.
std::string unescaped(std::string_view part) {
    std::string name;
    for (std::size_t i = 0; i < part.size(); i++) {
        const bool escape = part[i] == '~' && i + 1 < part.size() && (part[i + 1] == '0' || part[i + 1] == '1');
        name += !escape ? part[i] : part[i + 1] == '1' ? '/' : '~';
        i += escape;
    }
    return name;
}

}  // namespace

const Json *SchemaDocument::resolve(const std::string &reference, Problem &problem) {
    if (const auto known = resolved_.find(reference); known != resolved_.end())
        return known->second;
    const Json *found = find(reference, problem);
    if (found != nullptr)
        resolved_.emplace(reference, found);
    return found;
}

const Json *SchemaDocument::member(const Json &object, const std::string &name) {
    constexpr std::size_t kFew = 8;
    if (object.size() <= kFew) {
        const auto found = object.find(name);
        return found == object.end() ? nullptr : &*found;
    }
    const auto [index, is_new] = members_.try_emplace(&object);
    if (is_new) {
        (void)work_.spend(8 * object.size());
        for (const auto &[key, value] : object.items())
            index->second.emplace(key, &value);
    }
    const auto found = index->second.find(name);
    return found == index->second.end() ? nullptr : found->second;
}

const Json *SchemaDocument::find(const std::string &reference, Problem &problem) {
    const auto fail = [&](const char *state, const char *why) {
        problem.set(state, "schema reference \"%.100s\" cannot be followed", reference.c_str());
        problem.with_detail("%s", why);
        return nullptr;
    };
    if (!reference.starts_with('#'))
        return fail(sqlstate::kFeatureNotSupported, "References are to the schema itself: \"#\" and \"#/...\".");
    const std::string pointer = reference.substr(1);
    if (!pointer.empty() && pointer[0] != '/')
        return fail(sqlstate::kFeatureNotSupported, "There are no anchors.");
    const Json *found = &root_;
    for (std::size_t at = 0; at < pointer.size();) {
        const std::size_t end = std::min(pointer.find('/', at + 1), pointer.size());
        const std::string name = unescaped(std::string_view(pointer).substr(at + 1, end - at - 1));
        const bool index = found->is_array() && !name.empty() && name.size() < 7 &&
                           name.find_first_not_of("0123456789") == std::string::npos &&
                           std::stoul(name) < found->size();
        (void)work_.spend(8);
        found = index ? &(*found)[std::stoul(name)] : found->is_object() ? member(*found, name) : nullptr;
        if (found == nullptr)
            return fail(sqlstate::kInvalidParameterValue, "There is no such definition.");
        at = end;
    }
    return is_schema(*found) ? found : fail(sqlstate::kInvalidParameterValue, "It names no schema.");
}

bool SchemaDocument::is_recursive(const Json &definition) {
    if (!knows_recursive_)
        find_recursive();
    return recursive_.contains(&definition);
}

// A definition is recursive if it leads to a reference to itself: if the two are on a ring of members and references.
// Tarjan's algorithm (1972) finds the rings, with its own stack.
void SchemaDocument::find_recursive() {
    struct Part {
        const Json *json;
        const Json *target = nullptr;  // of its reference
        std::vector<std::uint32_t> leads_to{};
        std::uint32_t number = 0;  // in the order of discovery, from 1
        std::uint32_t lowest = 0;  // the lowest number that it leads back to
        std::uint32_t ring = 0;    // from 1
    };
    knows_recursive_ = true;
    std::vector<Part> parts{{&root_}};
    std::unordered_map<const Json *, std::uint32_t> places{{&root_, 0}};
    for (std::size_t i = 0; i < parts.size() && work_.spend(8); i++) {
        const Json &json = *parts[i].json;
        if (!json.is_structured())
            continue;
        for (const Json &member : json) {
            const auto place = static_cast<std::uint32_t>(parts.size());
            places.emplace(&member, place);
            parts[i].leads_to.push_back(place);
            parts.push_back({&member});
        }
    }
    if (work_.has_ended())
        return;
    for (Part &part : parts) {
        const auto reference = part.json->is_object() ? part.json->find("$ref") : part.json->end();
        Problem ignored;
        if (reference != part.json->end() && reference->is_string())
            part.target = resolve(reference->get<std::string>(), ignored);
        if (part.target != nullptr)
            part.leads_to.push_back(places.at(part.target));
    }
    struct Visit {
        std::uint32_t part;
        std::size_t next = 0;  // of leads_to
    };
    std::vector<Visit> visits;
    std::vector<std::uint32_t> open;
    std::uint32_t numbers = 0, rings = 0;
    const auto enter = [&](std::uint32_t part) {
        parts[part].number = parts[part].lowest = ++numbers;
        open.push_back(part);
        visits.push_back({part});
    };
    enter(0);  // all parts can be reached from the root
    while (!visits.empty() && work_.spend(8)) {
        Part &part = parts[visits.back().part];
        if (visits.back().next < part.leads_to.size()) {
            const std::uint32_t next = part.leads_to[visits.back().next++];
            if (parts[next].number == 0)
                enter(next);
            else if (parts[next].ring == 0)
                part.lowest = std::min(part.lowest, parts[next].number);
            continue;
        }
        const std::uint32_t here = visits.back().part;
        visits.pop_back();
        if (!visits.empty())
            parts[visits.back().part].lowest = std::min(parts[visits.back().part].lowest, part.lowest);
        if (part.lowest != part.number)
            continue;
        rings++;
        for (std::uint32_t member = UINT32_MAX; member != here; open.pop_back())
            parts[member = open.back()].ring = rings;
    }
    for (const Part &part : parts)
        if (part.target != nullptr && part.ring == parts[places.at(part.target)].ring)
            recursive_.insert(part.target);
}

// ---- conjunctions --------------------------------------------------------------------------------------------------

bool SchemaDocument::merge(Json &one, const Json &other, Problem &problem) {
    if (!afford(other))
        return work_.tell(problem, "the schema");
    if (one.is_boolean() || other.is_boolean()) {
        if (one == false || other == false)
            one = false;
        else if (one.is_boolean())
            one = other;
        return true;
    }
    const char *conflict = closed_to(one, other) || closed_to(other, one) ? "additionalProperties" : nullptr;
    for (const auto &[keyword, value] : other.items()) {
        if (is_annotation(keyword))
            continue;
        if (!work_.spend(one.size()))
            return work_.tell(problem, "the schema");
        const auto found = one.find(keyword);
        if (found == one.end())
            one[keyword] = value;
        else if (keyword == "type")
            *found = common_types(one, other);
        else if (!afford(*found) || !work_.spend(found->size() * value.size() / 4))
            return work_.tell(problem, "the schema");
        else if (*found != value && !combine(keyword, *found, value))
            conflict = keyword.c_str();
    }
    if (conflict != nullptr) {
        problem.set(sqlstate::kFeatureNotSupported, "schema cannot be used");
        problem.with_detail("Two values of \"%.100s\" hold for the same value at once.", conflict);
        return false;
    }
    const auto types = one.find("type");
    if (types != one.end() && types->is_array() && types->empty())
        one = false;
    return true;
}

const Json *SchemaDocument::both(const Json &one, const Json &other, Problem &problem) {
    if (one == true)
        return &other;
    if (!afford(one)) {
        (void)work_.tell(problem, "the schema");
        return nullptr;
    }
    Json &merged = own(one);
    return merge(merged, other, problem) ? &merged : nullptr;
}

// ---- keywords ------------------------------------------------------------------------------------------------------

const char *unsupported_keyword(const Json &schema) {
    for (const char *keyword : {"not",
                                "if",
                                "then",
                                "else",
                                "patternProperties",
                                "propertyNames",
                                "dependentRequired",
                                "dependentSchemas",
                                "dependencies",
                                "contains",
                                "minContains",
                                "maxContains",
                                "multipleOf",
                                "minProperties",
                                "maxProperties",
                                "unevaluatedProperties",
                                "unevaluatedItems",
                                "additionalItems",
                                "$dynamicRef",
                                "$recursiveRef"})
        if (schema.contains(keyword))
            return keyword;
    return schema.contains("uniqueItems") && schema["uniqueItems"] != false ? "uniqueItems" : nullptr;
}

bool is_annotation(std::string_view keyword) {
    constexpr std::string_view kAnnotations[] = {
        "title",   "description", "default",  "examples", "example",     "deprecated",    "readOnly",   "writeOnly",
        "$schema", "$id",         "$comment", "$defs",    "definitions", "discriminator", "uniqueItems"};
    return std::find(std::begin(kAnnotations), std::end(kAnnotations), keyword) != std::end(kAnnotations);
}

Json assertions_but(const Json &schema, std::string_view except) {
    Json rest = Json::object();
    for (const auto &[keyword, value] : schema.items())
        if (!is_annotation(keyword) && keyword != except)
            rest[keyword] = value;
    return rest;
}

std::vector<std::string> types_of(const Json &schema) {
    constexpr std::string_view kTypes[] = {"object", "array", "string", "number", "integer", "boolean", "null"};
    std::vector<std::string> types;
    const auto found = schema.find("type");
    if (found == schema.end())
        return types;
    const auto add = [&](const Json &name) {
        if (!name.is_string() ||
            std::find(std::begin(kTypes), std::end(kTypes), name.get_ref<const std::string &>()) == std::end(kTypes))
            return false;
        if (std::find(types.begin(), types.end(), name.get_ref<const std::string &>()) == types.end())
            types.push_back(name.get<std::string>());
        return true;
    };
    const bool is_known = found->is_array() ? std::all_of(found->begin(), found->end(), add) : add(*found);
    return is_known ? types : std::vector<std::string>();
}

}  // namespace steadytext::core::constraint
