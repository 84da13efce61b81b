// A schema as read: references resolved, alternatives and conjunctions brought to a simpler form.
//
// Shared by schema_compiler.cpp, schema_check.cpp and alternatives.cpp. Regime: pure (may throw std::bad_alloc). Recursion goes as deep as
// the text nests, which is bounded before it is parsed; references are followed without any. What is copied is charged to the work.
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
    // `work` outlives this.
    explicit SchemaDocument(Work &work) : work_(work) {}

    // False if `text` is not a JSON object or boolean, or beyond the bounds above.
    [[nodiscard]] bool read(std::string_view text, Problem &problem);

    [[nodiscard]] const Json &root() const { return root_; }
    [[nodiscard]] Work &work() const { return work_; }

    // What a `$ref` names; null, with the problem, if nothing.
    [[nodiscard]] const Json *resolve(const std::string &reference, Problem &problem);
    // The definition, which resolve() gave, contains, directly or by way of others, a reference to itself.
    [[nodiscard]] bool is_recursive(const Json &definition);

    // A schema that both of these satisfy; null, with the problem, if it cannot be told. Lives as long as this.
    [[nodiscard]] const Json *both(const Json &one, const Json &other, Problem &problem);
    // The same of a schema that is changed into it.
    [[nodiscard]] bool merge(Json &one, const Json &other, Problem &problem);

    // A member of an object that does not change any more, in a time that does not grow with their number: an ordered object looks at
    // one after the other. Null if there is none of that name.
    [[nodiscard]] const Json *member(const Json &object, const std::string &name);

    // Keeps a schema as long as this lives.
    [[nodiscard]] Json &own(Json schema) { return made_.emplace_back(std::move(schema)); }
    // Charges what a copy of it costs; false if there is to be no more work.
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

// The first keyword that restricts a value in a way not supported here, or null.
[[nodiscard]] const char *unsupported_keyword(const Json &schema);
// It says nothing of what a value must be: title, description and the like.
[[nodiscard]] bool is_annotation(std::string_view keyword);
// The schema's members without annotations and `except`.
[[nodiscard]] Json assertions_but(const Json &schema, std::string_view except);
// The names in `type`, each once; empty if there is none, or one that is unknown, which allows any value.
[[nodiscard]] std::vector<std::string> types_of(const Json &schema);

}  // namespace steadytext::core::constraint
