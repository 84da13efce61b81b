// A parsed schema: references resolved, alternatives and conjunctions simplified.
//
// Used by schema_compiler.cpp, schema_check.cpp and alternatives.cpp. Regime: pure (may throw std::bad_alloc). Recurses
// as deep as the text nests, which is limited before it is parsed; references are followed without recursion. Copies
// are charged to the work.
#pragma once

#include "src/core/constraint/json_value.hpp"
#include "src/core/constraint/limits.hpp"
#include "src/core/problem.hpp"
#include "src/core/work.hpp"

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace steadytext::core::constraint {

class SchemaDocument {
public:
    // `work` must outlive this.
    explicit SchemaDocument(Work &work) : work_(work) {}

    // False if `text` is not a JSON object or boolean, or exceeds the limits of limits.hpp.
    [[nodiscard]] bool read(std::string_view text, Problem &problem);

    [[nodiscard]] const Json &root() const { return root_; }
    [[nodiscard]] Work &work() const { return work_; }

    // The schema that a `$ref` names; null, with the problem, if there is none.
    [[nodiscard]] const Json *resolve(const std::string &reference, Problem &problem);
    // Whether the definition, which resolve() returned, contains a reference to itself, directly or indirectly.
    [[nodiscard]] bool is_recursive(const Json &definition);

    // A schema that requires both; null, with the problem, if it cannot be made. Lives as long as this document.
    [[nodiscard]] const Json *both(const Json &one, const Json &other, Problem &problem);
    // As both(), and changes the first schema.
    [[nodiscard]] bool merge(Json &one, const Json &other, Problem &problem);

    // A member of an object that no longer changes, in a time that does not grow with the number of members: an ordered
    // object searches its members one by one. Null if there is no such member.
    [[nodiscard]] const Json *member(const Json &object, const std::string &name);

    // Keeps a schema as long as this document lives.
    [[nodiscard]] Json &own(Json schema) { return made_.emplace_back(std::move(schema)); }
    // Charges the cost of a copy; false if the work has ended.
    [[nodiscard]] bool afford(const Json &schema) const;

private:
    [[nodiscard]] const Json *find(const std::string &reference, Problem &problem);
    void find_recursive();

    Json root_;
    std::deque<Json> made_;
    std::map<std::string, const Json *> resolved_;
    std::unordered_map<const Json *, std::map<std::string, const Json *>> members_;  // of large objects
    std::unordered_set<const Json *> recursive_;
    bool knows_recursive_ = false;
    Work &work_;
};

// The first keyword that restricts a value in an unsupported way, or null.
[[nodiscard]] const char *unsupported_keyword(const Json &schema);
// True for a keyword that restricts no value: title, description and similar.
[[nodiscard]] bool is_annotation(std::string_view keyword);
// The schema's members without annotations and `except`.
[[nodiscard]] Json assertions_but(const Json &schema, std::string_view except);
// The names in `type`, each once; empty if there is no `type`, or if it has an unknown name, which allows any value.
[[nodiscard]] std::vector<std::string> types_of(const Json &schema);

}  // namespace steadytext::core::constraint
