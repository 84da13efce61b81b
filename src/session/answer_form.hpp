// What an answer must be (JSON of a schema, a match of a regex, one of some choices): the argument checked, as it is keyed and
// sent, and the check of what came back.
//
// Called by src/session/generation.cpp. Regime: pg, with C++ only inside guarded().
#pragma once

#include "shmem/call_stats.hpp"
#include "src/core/json_text.hpp"
#include "src/core/problem.hpp"
#include "src/core/rules.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace steadytext::session {

struct AnswerForm {
    enum class Kind : std::uint8_t { Free, Json, Regex, Choice };
    Kind kind = Kind::Free;
    bool is_null = false;
    std::string_view text{};                     // the schema as JSON, or the pattern
    // How the answer's members come: as the schema's "required" has them, as its text has, or as a text that is canonical already.
    enum class Order : std::uint8_t { Required, Written, AsItIs };
    Order order = Order::Required;
    std::span<const core::TextArgument> choices{};
};

// An argument that has been checked; texts live in CurrentMemoryContext.
struct CheckedForm {
    AnswerForm::Kind kind = AnswerForm::Kind::Free;
    std::string_view text;                      // the schema in canonical form but for its properties' order, or the pattern
    std::string_view canonical;                 // the schema in the form that the original's keys are made of
    std::span<const std::string_view> choices;  // in the caller's order

    [[nodiscard]] bool is_free() const { return kind == AnswerForm::Kind::Free; }
    [[nodiscard]] const char *operation() const;  // as the table cache names it
    [[nodiscard]] shmem::CallKind call_kind() const;
    // The member by which the request and the key say it; nothing for another kind than `of`.
    void add_to(core::JsonObject &json, AnswerForm::Kind of) const;
};

// Raises on arguments that are none. Whether the schema or pattern is of use is asked later: a cached answer proves it.
[[nodiscard]] CheckedForm check_form(const AnswerForm &form);
// Raises if no answer could have this form.
void require_usable(const CheckedForm &form);

// Brings the answer to its bare form; false, with the problem, if it has not that form.
[[nodiscard]] bool take_formed(const CheckedForm &form, std::string_view &answer, core::Problem &problem);

// The key under which the original kept such answers, into `key`.
void original_key(const CheckedForm &form, std::string_view prompt, std::int64_t seed, std::string &key);

}  // namespace steadytext::session
