// Checks before and after, and keys: see answer_form.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/answer_form.hpp"
#include "src/core/canonical_json.hpp"
#include "src/core/constraint/longest.hpp"
#include "src/core/constraint/matcher.hpp"
#include "src/core/constraint/member_order.hpp"
#include "src/core/constraint/regex.hpp"
#include "src/core/constraint/schema.hpp"
#include "src/core/utf8.hpp"
#include "src/pg/written.hpp"
#include "src/pg/interrupts.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"
#include "src/session/limits.hpp"

extern "C" {
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
}

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace steadytext::session {

using Kind = AnswerForm::Kind;

namespace {

// A schema that is no JSON is said to be the schema: a call may have other arguments that are JSON.
bool canonical_schema(const core::PaddedText &schema, std::string &text, core::Problem &problem) {
    if (core::canonical_json(schema, text, problem))
        return true;
    const core::Problem why = problem;
    if (std::string_view(why.sqlstate) == core::sqlstate::kInvalidTextRepresentation) {
        problem.set(core::sqlstate::kInvalidTextRepresentation, "the schema is not valid JSON");
        problem.with_detail("%s", why.message);
    }
    return false;
}

std::string_view canonical(std::string_view schema) {
    char *padded = static_cast<char *>(palloc0(schema.size() + core::PaddedText::kPadding));
    schema.copy(padded, schema.size());
    static std::string *text = new std::string;
    pg::guarded([&](core::Problem &problem) { return canonical_schema({{padded, schema.size()}}, *text, problem); });
    return pg::copy_text(*text);
}

std::string_view ordered(std::string_view canonical, std::string_view written) {
    return pg::copy_text(
        pg::written([&](std::string &text) { text = core::constraint::with_member_order(canonical, written); }));
}

std::span<const std::string_view> check_choices(std::span<const core::TextArgument> choices) {
    // An empty array has a message of its own, unlike too few choices.
    if (choices.empty()) {
        core::Problem problem;
        problem.set(core::sqlstate::kInvalidParameterValue, "Choices array cannot be empty");
        pg::raise(problem);
    }
    require(rules::kChoices, choices);
    auto *texts = static_cast<std::string_view *>(palloc(choices.size() * sizeof(std::string_view)));
    for (std::size_t i = 0; i < choices.size(); i++)
        texts[i] = choices[i].text;
    return {texts, choices.size()};
}

// The text between the original's marks, if the answer has them, without white space around it.
std::string_view bare_json(std::string_view answer) {
    constexpr std::string_view kBegin = "<json-output>";
    constexpr std::string_view kEnd = "</json-output>";
    if (const std::size_t begin = answer.find(kBegin); begin != std::string_view::npos) {
        answer.remove_prefix(begin + kBegin.size());
        answer = answer.substr(0, answer.rfind(kEnd));
    }
    constexpr std::string_view kSpace = " \t\r\n";
    const std::size_t first = std::min(answer.find_first_not_of(kSpace), answer.size());
    return answer.substr(first, answer.find_last_not_of(kSpace) + 1 - first);
}

bool check_json(const CheckedForm &form, std::string_view &answer, core::Work &work, core::Problem &problem) {
    answer = bare_json(answer);
    if (answer.find("\\u0000") != std::string_view::npos)
        return problem.set(core::sqlstate::kProtocolViolation,
                           "the answer is JSON that PostgreSQL has no room for: \\u0000");
    return core::constraint::check_document(form.text, answer, problem, &work);
}

bool check_match(const CheckedForm &form, std::string_view answer, core::Work &work, core::Problem &problem) {
    core::constraint::Network network;
    if (!core::constraint::compile_regex(form.text, network, problem, &work, core::constraint::Alphabet::Postgres))
        return false;
    return core::constraint::Matcher(network, &work).matches(answer) ||
           problem.set(core::sqlstate::kProtocolViolation, "the answer does not match the regular expression");
}

bool check_choice(const CheckedForm &form, std::string_view answer, core::Problem &problem) {
    return std::find(form.choices.begin(), form.choices.end(), answer) != form.choices.end() ||
           problem.set(core::sqlstate::kProtocolViolation, "the answer is none of the choices");
}

// ---- the longest answer ---------------------------------------------------------------------------------------------

// kNever: there is none, or to find it would take more than some milliseconds. A form that cannot be used has none.
std::uint32_t find_longest(Kind kind, std::string_view text) {
    constexpr std::uint64_t kMaxSteps = 200'000;
    core::Work work(kMaxSteps);
    core::Problem ignored;
    core::constraint::Network network;
    const bool is_compiled = kind == Kind::Json ? core::constraint::compile_schema(text, network, ignored, &work)
                                                : core::constraint::compile_regex(text, network, ignored, &work);
    return is_compiled ? core::constraint::longest_text(network, work) : core::constraint::kNever;
}

// Of the schemas and patterns of this session, by kind and text; all are forgotten when they are many.
std::uint32_t longest_of(const CheckedForm &form) {
    constexpr std::size_t kMostBytes = 1 << 20;
    static auto *remembered = new std::unordered_map<std::string, std::uint32_t>;
    static std::size_t remembered_bytes = 0;
    std::uint32_t longest = core::constraint::kNever;
    pg::guarded([&] {
        std::string key(1, static_cast<char>(form.kind));
        key += form.text;
        if (const auto found = remembered->find(key); found != remembered->end()) {
            longest = found->second;
            return;
        }
        if (remembered_bytes > kMostBytes) {
            remembered->clear();
            remembered_bytes = 0;
        }
        longest = find_longest(form.kind, form.text);
        remembered_bytes += key.size() + sizeof(std::string);
        remembered->emplace(std::move(key), longest);
    });
    return longest;
}

std::size_t longest_choice(const CheckedForm &form) {
    std::size_t longest = 0;
    for (const std::string_view choice : form.choices)
        longest = std::max(longest, choice.size());
    return longest;
}

}  // namespace

std::int64_t most_tokens(const CheckedForm &form, std::int64_t max_tokens) {
    if (form.is_free())
        return max_tokens;
    const std::size_t bytes = form.kind == Kind::Choice ? longest_choice(form) : longest_of(form);
    return bytes == core::constraint::kNever ? max_tokens
                                             : std::min(max_tokens, tokens_of_bytes(bytes) + 1);  // its end is one
}

const char *CheckedForm::operation() const {
    constexpr const char *kOperations[] = {"generate", "generate_json", "generate_regex", "generate_choice"};
    return kOperations[static_cast<int>(kind)];
}

shmem::CallKind CheckedForm::call_kind() const {
    using shmem::CallKind;
    constexpr CallKind kKinds[] = {CallKind::Generate, CallKind::Json, CallKind::Regex, CallKind::Choice};
    return kKinds[static_cast<int>(kind)];
}

void CheckedForm::add_to(core::JsonObject &json, Kind of) const {
    if (kind != of)
        return;
    if (kind == Kind::Json)
        json.add_json("schema", text);
    else if (kind == Kind::Regex)
        json.add("regex", text);
    else if (kind == Kind::Choice)
        json.add("choices", choices);
}

CheckedForm check_form(const AnswerForm &form) {
    CheckedForm checked{.kind = form.kind, .text = form.text, .canonical = {}, .choices = {}};
    switch (form.kind) {
    case Kind::Free:
        break;
    case Kind::Json:
        require(rules::kSchema, form.is_null ? core::Value() : core::Value(form.text));
        checked.canonical = form.text;
        if (form.order != AnswerForm::Order::AsItIs) {
            checked.canonical = canonical(form.text);
            checked.text =
                ordered(checked.canonical, form.order == AnswerForm::Order::Written ? form.text : std::string_view());
        }
        break;
    case Kind::Regex:
        require(rules::kPattern, form.is_null ? core::Value() : core::Value(form.text));
        break;
    case Kind::Choice:
        if (form.is_null)
            require(rules::kChoices, core::Value());
        checked.choices = check_choices(form.choices);
        break;
    }
    return checked;
}

void require_usable(const CheckedForm &form) {
    core::Work work = pg::interruptible(core::constraint::kMaxCompilingSteps);
    pg::worked(work, "the form of the answer", [&](core::Problem &problem) {
        core::constraint::Network network;
        switch (form.kind) {
        case Kind::Free:
            return true;
        case Kind::Json:
            return core::constraint::compile_schema(form.text, network, problem, &work);
        case Kind::Regex:
            return core::constraint::compile_regex(form.text, network, problem, &work);
        case Kind::Choice:
            return core::constraint::compile_choices({form.choices.begin(), form.choices.end()}, network, problem,
                                                     &work);
        }
        return false;
    });
}

bool take_formed(const CheckedForm &form, std::string_view &answer, core::Problem &problem) {
    core::Work work = pg::interruptible(core::constraint::kMaxCheckingSteps);
    return pg::try_worked(problem, work, "checking the form of the answer", [&](core::Problem &p) {
        switch (form.kind) {
        case Kind::Free:
            return true;
        case Kind::Json:
            return check_json(form, answer, work, p);
        case Kind::Regex:
            return check_match(form, answer, work, p);
        case Kind::Choice:
            return check_choice(form, answer, p);
        }
        return false;
    });
}

void original_key(const CheckedForm &form, std::string_view prompt, std::int64_t seed, std::string &key) {
    static std::string *keyed = new std::string;
    pg::guarded([&] {
        constexpr const char *kPrefixes[] = {"", "json:", "regex:", "choice:"};
        keyed->assign(kPrefixes[static_cast<int>(form.kind)])
            .append(prompt)
            .append(":")
            .append(form.kind == Kind::Json ? form.canonical : form.text);
        std::vector<std::string_view> sorted(form.choices.begin(), form.choices.end());
        std::sort(sorted.begin(), sorted.end());
        for (std::size_t i = 0; i < sorted.size(); i++)
            keyed->append(i == 0 ? "" : "|").append(sorted[i]);
        keyed->append(":").append(std::to_string(seed));
    });
    const Datum text = PointerGetDatum(cstring_to_text_with_len(keyed->data(), static_cast<int>(keyed->size())));
    const std::string_view digest = pg::utf8_text(DirectFunctionCall1(md5_text, text));
    pg::guarded([&] { key.assign(digest); });
}

}  // namespace steadytext::session
