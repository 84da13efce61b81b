// One schema, and values held against it and its parts. What many values need is made once: patterns compiled, lists sorted.
//
// Used by check_document() and by schema_compiler.cpp for listed values. Regime: pure (may throw std::bad_alloc). All is charged to the
// document's work.
#pragma once

#include "src/core/constraint/schema_document.hpp"
#include "src/core/constraint/value_set.hpp"

#include <map>
#include <memory>
#include <string>
#include <unordered_map>

namespace steadytext::core::constraint {

class Checker {
public:
    explicit Checker(SchemaDocument &document);
    Checker(const Checker &) = delete;
    Checker &operator=(const Checker &) = delete;
    ~Checker();

    // `schema` is a part of the document, or one that it owns. False, with the problem saying where and why, if the value does not
    // satisfy it.
    [[nodiscard]] bool satisfies(const Json &schema, const Value &value, Problem &problem);

private:
    class Pattern;

    bool check(const Json &schema, const Value &value);
    bool fail(const char *why);
    bool holds(const Json &schema, const Value &value);
    bool check_combined(const Json &schema, const Value &value);
    static bool allows_any_value(const Json &schema);
    bool check_by_type(const Json &schema, const Value &value);
    bool check_type(const Json &schema, const Value &value);
    bool check_values(const Json &schema, const Value &value);
    const ValueSet &list(const Json &values);
    bool check_number(const Json &schema, const Value &value);
    [[nodiscard]] static bool size_in_bounds(const Json &schema, std::size_t size, const char *least, const char *most);
    bool check_string(const Json &schema, const std::string &text);
    bool check_format(const std::string &name, const std::string &text);
    bool check_pattern(const std::string &pattern, bool of_schema, const std::string &text, const char *why);
    bool check_array(const Json &schema, const Value &value);
    bool check_object(const Json &schema, const Value &value);
    bool check_at(const std::string &name, const Json &schema, const Value &value);

    SchemaDocument &document_;
    Work &work_;
    Problem *problem_ = nullptr;
    std::string path_;
    std::size_t level_ = 0;
    std::map<std::pair<std::string, bool>, std::unique_ptr<Pattern>> patterns_;
    std::unordered_map<const Json *, ValueSet> lists_;
};

}  // namespace steadytext::core::constraint
