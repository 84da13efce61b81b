// The form of an answer (JSON of a schema, a match of a regex, a choice from a list): checks the argument, writes it
// into keys and requests, and checks the answer that came back.
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
    std::string_view text{};  // the schema as JSON, or the pattern
    // The order of the answer's members: as the schema's "required" has them, as the schema's text has them, or as a
    // text that is canonical already.
    enum class Order : std::uint8_t { Required, Written, AsItIs };
    Order order = Order::Required;
    std::span<const core::TextArgument> choices{};
};

// An argument that has been checked; texts live in CurrentMemoryContext.
struct CheckedForm {
    AnswerForm::Kind kind = AnswerForm::Kind::Free;
    std::string_view text;       // the schema in canonical form but for its properties' order, or the pattern
    std::string_view canonical;  // the schema in the form that the original's keys are made of
    std::span<const std::string_view> choices;  // in the caller's order

    [[nodiscard]] bool is_free() const { return kind == AnswerForm::Kind::Free; }
    [[nodiscard]] const char *operation() const;  // as the table cache names it
    [[nodiscard]] shmem::CallKind call_kind() const;
    // Adds the member that states the form in the request and the key. Adds nothing if the kind is not `of`.
    void add_to(core::JsonObject &json, AnswerForm::Kind of) const;
};

// Raises if the argument is invalid. Whether the schema or pattern can be used is checked later, because a cached
// answer proves it.
[[nodiscard]] CheckedForm check_form(const AnswerForm &form);
// Raises if no answer could have this form.
void require_usable(const CheckedForm &form);

// Tokens that an answer may take, by the estimate that prompts have: those of the longest answer of the form, where there is one that is
// found with little work, and no more than max_tokens. What a model thinks before it answers is not in it.
[[nodiscard]] std::int64_t most_tokens(const CheckedForm &form, std::int64_t max_tokens);

// Brings the answer to its bare form. False, with the problem, if the answer does not have the form.
[[nodiscard]] bool take_formed(const CheckedForm &form, std::string_view &answer, core::Problem &problem);

// The key under which the original kept such answers, into `key`.
void original_key(const CheckedForm &form, std::string_view prompt, std::int64_t seed, std::string &key);

}  // namespace steadytext::session
