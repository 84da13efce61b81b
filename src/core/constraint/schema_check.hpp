// Checks values against a schema and its parts. Each part is prepared once for all values: its form, with compiled
// patterns, sorted lists and bounds.
//
// Used by check_document(), and by schema_compiler.cpp for listed values. Regime: pure (may throw std::bad_alloc).
// Everything is charged to the document's work: the steps for a form or a value are in proportion to the time, whatever
// they contain.
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

    // `schema` is a part of the document, or a schema that the document owns. False, with the problem saying where and
    // why, if the value does not satisfy it.
    [[nodiscard]] bool satisfies(const Json &schema, const Value &value, Problem &problem);

private:
    class Pattern;
    struct Bounds;
    struct Form;

    [[nodiscard]] const Form &form_of(const Json &schema);
    void read_values(const Json &schema, Form &form);
    void read_strings(const Json &schema, Form &form);
    void read_members(const Json &schema, Form &form);
    [[nodiscard]] const ValueSet *set_of(const Json &values, bool is_list);
    [[nodiscard]] Pattern *pattern_of(const std::string &pattern, bool of_schema);

    bool check(const Json &schema, const Value &value);
    bool check_form(const Form &form, const Value &value);
    bool fail(const char *why);
    bool holds(const Json &schema, const Value &value);
    bool check_combined(const Form &form, const Value &value);
    bool check_type(const Form &form, const Value &value);
    bool check_values(const Form &form, const Value &value);
    bool check_by_type(const Form &form, const Value &value);
    bool check_number(const Form &form, const Value &value);
    bool check_string(const Form &form, const std::string &text);
    bool check_pattern(Pattern &pattern, const std::string &text, const char *why);
    bool check_array(const Form &form, const Value &value);
    bool check_object(const Form &form, const Value &value);
    bool check_at(const std::string &name, const Json &schema, const Value &value);

    SchemaDocument &document_;
    Work &work_;
    Problem *problem_ = nullptr;  // null while the reason is not needed
    std::string path_;
    std::size_t level_ = 0;
    std::unordered_map<const Json *, std::unique_ptr<Form>> forms_;
    std::map<std::pair<std::string, bool>, std::unique_ptr<Pattern>> patterns_;
    std::unordered_map<const Json *, ValueSet> lists_;
};

}  // namespace steadytext::core::constraint
