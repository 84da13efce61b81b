// A schema as read: references resolved, alternatives and conjunctions brought to a simpler form.
//
// Shared by schema_compiler.cpp and schema_check.cpp. Regime: pure (may throw std::bad_alloc).
#pragma once

#include "src/core/problem.hpp"

#include <nlohmann/json.hpp>

#include <deque>
#include <set>
#include <string>
#include <string_view>

namespace steadytext::core::constraint {

using Json = nlohmann::ordered_json;  // members keep their order, which is the order of the answer's

class SchemaDocument {
public:
    // False if `text` is not a JSON object or boolean.
    [[nodiscard]] bool read(std::string_view text, Problem &problem);

    [[nodiscard]] const Json &root() const { return root_; }

    // What a `$ref` names; null, with the problem, if nothing.
    [[nodiscard]] const Json *resolve(const std::string &reference, Problem &problem) const;
    // The definition contains, directly or by way of others, a reference to itself.
    [[nodiscard]] bool is_recursive(const Json &definition) const;

    // A schema that both of these satisfy; null, with the problem, if it cannot be told. Lives as long as this.
    [[nodiscard]] const Json *both(const Json &one, const Json &other, Problem &problem);

private:
    void collect_references(const Json &part, std::set<const Json *> &found) const;

    Json root_;
    std::deque<Json> made_;
};

// The first keyword that restricts a value in a way not supported here, or null.
[[nodiscard]] const char *unsupported_keyword(const Json &schema);
// It says nothing of what a value must be: title, description and the like.
[[nodiscard]] bool is_annotation(std::string_view keyword);
// The schema's members without annotations and `except`.
[[nodiscard]] Json assertions_but(const Json &schema, std::string_view except);
// The names in `type`; empty if there is none, or one that is unknown, which allows any value.
[[nodiscard]] std::vector<std::string> types_of(const Json &schema);
// No value satisfies both, as far as can be seen at a glance.
[[nodiscard]] bool are_disjoint(const Json &one, const Json &other);

[[nodiscard]] bool equal_values(const Json &a, const Json &b);
// `value` satisfies the schema; else `problem` says where and why.
[[nodiscard]] bool satisfies(const SchemaDocument &document, const Json &schema, const Json &value, Problem &problem);

}  // namespace steadytext::core::constraint
