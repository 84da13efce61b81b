// Reading and simplifying schemas: see schema_document.hpp. Regime: pure.
#include "src/core/constraint/schema_document.hpp"

#include <algorithm>

namespace steadytext::core::constraint {

namespace {

bool is_schema(const Json &json) { return json.is_object() || json.is_boolean(); }

// Combines one keyword that both schemas have with different values; false if that cannot be done.
bool combine(const std::string &keyword, Json &value, const Json &other) {
    const auto wrapped = [](const Json &a, const Json &b) { return Json{{"allOf", Json::array({a, b})}}; };
    if (keyword == "required") {
        for (const Json &name : other)
            if (std::find(value.begin(), value.end(), name) == value.end())
                value.push_back(name);
    } else if (keyword == "properties") {
        for (const auto &[name, schema] : other.items())
            value[name] = value.contains(name) && value[name] != schema ? wrapped(value[name], schema) : schema;
    } else if (keyword == "items" || keyword == "additionalProperties") {
        if (!value.is_object() || !other.is_object())
            return false;
        value = wrapped(value, other);
    } else if (keyword == "minimum" || keyword == "exclusiveMinimum" || keyword == "minLength" || keyword == "minItems") {
        value = std::max(value, other);
    } else if (keyword == "maximum" || keyword == "exclusiveMaximum" || keyword == "maxLength" || keyword == "maxItems") {
        value = std::min(value, other);
    } else if (keyword == "allOf") {
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
        const auto has = [&](std::string_view name) { return std::find(allowed.begin(), allowed.end(), name) != allowed.end(); };
        if (has(type) || (type == "integer" && has("number")))
            common.push_back(type);
        else if (type == "number" && has("integer"))
            common.push_back("integer");
    }
    return common;
}

// What a closed schema declares must not be widened by the other's properties.
bool closed_to(const Json &closed, const Json &other) {
    if (!closed.contains("additionalProperties") || closed["additionalProperties"] != false || !other.contains("properties"))
        return false;
    for (const auto &[name, schema] : other["properties"].items())
        if (!closed.contains("properties") || !closed["properties"].contains(name))
            return true;
    return false;
}

}  // namespace

bool SchemaDocument::read(std::string_view text, Problem &problem) {
    root_ = Json::parse(text, nullptr, false);
    return is_schema(root_) || problem.set(sqlstate::kInvalidParameterValue, "a schema must be a JSON object");
}

const Json *SchemaDocument::resolve(const std::string &reference, Problem &problem) const {
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
        std::string name = pointer.substr(at + 1, end - at - 1);
        for (const auto &[escape, character] : {std::pair{"~1", "/"}, std::pair{"~0", "~"}})
            for (std::size_t i; (i = name.find(escape)) != std::string::npos;)
                name.replace(i, 2, character);
        const bool index = found->is_array() && !name.empty() && name.size() < 7 &&
                           name.find_first_not_of("0123456789") == std::string::npos && std::stoul(name) < found->size();
        if (!index && !(found->is_object() && found->contains(name)))
            return fail(sqlstate::kInvalidParameterValue, "There is no such definition.");
        found = index ? &(*found)[std::stoul(name)] : &(*found)[name];
        at = end;
    }
    return is_schema(*found) ? found : fail(sqlstate::kInvalidParameterValue, "It names no schema.");
}

void SchemaDocument::collect_references(const Json &part, std::set<const Json *> &found) const {
    if (part.is_object() && part.contains("$ref") && part["$ref"].is_string()) {
        Problem ignored;
        const Json *target = resolve(part["$ref"].get<std::string>(), ignored);
        if (target != nullptr && found.insert(target).second)
            collect_references(*target, found);
    }
    if (part.is_structured())
        for (const Json &member : part)
            collect_references(member, found);
}

bool SchemaDocument::is_recursive(const Json &definition) const {
    std::set<const Json *> reached;
    collect_references(definition, reached);
    return reached.contains(&definition);
}

const Json *SchemaDocument::both(const Json &one, const Json &other, Problem &problem) {
    if (one.is_boolean() || other.is_boolean()) {
        const bool never = one == false || other == false;
        return never ? &made_.emplace_back(false) : one.is_boolean() ? &other : &one;
    }
    Json result = one;
    const char *conflict = closed_to(one, other) || closed_to(other, one) ? "additionalProperties" : nullptr;
    for (const auto &[keyword, value] : other.items()) {
        if (is_annotation(keyword))
            continue;
        if (!result.contains(keyword))
            result[keyword] = value;
        else if (keyword == "type")
            result[keyword] = common_types(result, other);
        else if (result[keyword] != value && !combine(keyword, result[keyword], value))
            conflict = keyword.c_str();
    }
    if (conflict != nullptr) {
        problem.set(sqlstate::kFeatureNotSupported, "schema cannot be used");
        problem.with_detail("Two values of \"%.100s\" hold for the same value at once.", conflict);
        return nullptr;
    }
    if (result.contains("type") && result["type"].is_array() && result["type"].empty())
        return &made_.emplace_back(false);
    return &made_.emplace_back(std::move(result));
}

// ---- keywords ------------------------------------------------------------------------------------------------------

const char *unsupported_keyword(const Json &schema) {
    for (const char *keyword :
         {"not", "if", "then", "else", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas",
          "dependencies", "contains", "minContains", "maxContains", "multipleOf", "minProperties", "maxProperties",
          "unevaluatedProperties", "unevaluatedItems", "additionalItems", "$dynamicRef", "$recursiveRef"})
        if (schema.contains(keyword))
            return keyword;
    return schema.contains("uniqueItems") && schema["uniqueItems"] != false ? "uniqueItems" : nullptr;
}

bool is_annotation(std::string_view keyword) {
    constexpr std::string_view kAnnotations[] = {"title",    "description", "default", "examples",   "example", "deprecated",
                                                 "readOnly", "writeOnly",   "$schema", "$id",        "$comment", "$defs",
                                                 "definitions", "discriminator", "uniqueItems"};
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
    for (const Json &name : found->is_array() ? *found : Json::array({*found})) {
        if (!name.is_string() || std::find(std::begin(kTypes), std::end(kTypes), name.get<std::string>()) == std::end(kTypes))
            return {};
        types.push_back(name.get<std::string>());
    }
    return types;
}

bool are_disjoint(const Json &one, const Json &other) {
    if (!one.is_object() || !other.is_object())
        return one == false || other == false;
    const auto values = [](const Json &schema) {
        return schema.contains("const") ? Json::array({schema["const"]}) : schema.value("enum", Json());
    };
    const Json mine = values(one);
    const Json theirs = values(other);
    if (mine.is_array() && theirs.is_array())
        return std::none_of(mine.begin(), mine.end(), [&](const Json &a) {
            return std::any_of(theirs.begin(), theirs.end(), [&](const Json &b) { return equal_values(a, b); });
        });
    if (one.contains("type") && other.contains("type") && !types_of(one).empty() && !types_of(other).empty() &&
        common_types(one, other).empty())
        return true;
    const auto requires_member = [](const Json &schema, const std::string &name) {
        const Json required = schema.value("required", Json::array());
        return schema.value("type", "") == "object" && std::find(required.begin(), required.end(), name) != required.end();
    };
    if (one.contains("properties") && other.contains("properties"))
        for (const auto &[name, schema] : one["properties"].items())
            if (other["properties"].contains(name) && requires_member(one, name) && requires_member(other, name) &&
                are_disjoint(schema, other["properties"][name]))
                return true;
    return false;
}

}  // namespace steadytext::core::constraint
