// steadytext_if, _classify, _classify_all and _score: a question about a text that has few answers. Regime: pg.
//
// A question is an instruction and the text, in this order, so that the rows of a statement share their beginning. NULL
// for the text or the question is NULL without a call. Otherwise they do what steadytext_generate_choice() and _json()
// do, with the prompts below.
#include "src/pg/compat.hpp"
#include "src/core/json_text.hpp"
#include "src/core/operator_rules.hpp"
#include "src/functions/calls.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/jsonb.hpp"
#include "src/pg/text.hpp"
#include "src/pg/text_array.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"
#include "src/session/generation.hpp"

#include <algorithm>
#include <array>

extern "C" {
#include "lib/stringinfo.h"
}

namespace {

using namespace steadytext;
using core::TextArgument;
using session::AnswerForm;

constexpr TextArgument choice(std::string_view text) { return {false, text}; }

constexpr std::array kYesOrNo{choice("yes"), choice("no")};
constexpr std::array kMarks{choice("0"), choice("1"), choice("2"), choice("3"), choice("4"), choice("5"),
                            choice("6"), choice("7"), choice("8"), choice("9"), choice("10")};

void append(StringInfo prompt, std::string_view text) {
    appendBinaryStringInfo(prompt, text.data(), static_cast<int>(text.size()));
}

std::string_view view_of(const StringInfoData &text) { return {text.data, static_cast<std::size_t>(text.len)}; }

void check_text(const core::Rule &rule, const TextArgument &text) {
    session::inspect_prompt(rule.name, text);
    session::require(rule, text);
}

// Asks `instruction` and `input` for an answer of the form; false: NULL.
bool ask(StringInfo instruction, const TextArgument &input, const AnswerForm &form, const TextArgument &model,
         std::int64_t max_tokens, std::string_view &answer) {
    check_text(core::rules::kJudgedText, input);
    append(instruction, "\n\nText: ");
    append(instruction, input.text);
    session::GenerationRequest request;
    request.prompt = {false, view_of(*instruction)};
    request.prompt_is_checked = true;
    request.form = form;
    request.model = model;
    request.has_max_tokens = max_tokens > 0;
    request.max_tokens = max_tokens;
    session::Generation generation;
    session::generate(request, generation);
    answer = generation.text;
    return !generation.is_null;
}

// The labels of an instruction, a line for each.
std::span<const TextArgument> append_labels(StringInfo instruction, ArrayType *array) {
    const std::span<const TextArgument> labels = pg::texts_of(array);
    session::require(core::rules::kLabels, labels);
    append(instruction, "\n\nLabels:");
    for (const TextArgument &label : labels) {
        append(instruction, "\n- ");
        append(instruction, label.text);
    }
    return labels;
}

// ---- steadytext_classify_all ---------------------------------------------------------------------------------------

// An object that says of each label, in their order, whether it applies; and the most tokens that it takes.
struct Verdicts {
    std::string_view schema;
    std::int64_t tokens;
};

Verdicts verdicts_on(std::span<const TextArgument> labels) {
    static std::string *schema = new std::string;
    std::size_t bytes = 8;
    pg::guarded([&](core::Problem &) {
        std::string properties, required;
        for (const TextArgument &label : labels) {
            std::string name;
            core::append_json_string(name, label.text, core::Escape::Utf8);
            properties.append(properties.empty() ? "" : ", ").append(name).append(R"(: {"type": "boolean"})");
            required.append(required.empty() ? "" : ", ").append(name);
            bytes += name.size() + sizeof(": false, ");
        }
        schema->assign(R"({"type": "object", "properties": {)")
            .append(properties)
            .append(R"(}, "required": [)")
            .append(required)
            .append(R"(], "additionalProperties": false})");
        return true;
    });
    // A token is a byte at least.
    return {pg::copy_text(*schema),
            std::min<std::int64_t>(static_cast<std::int64_t>(bytes), core::rules::kMaxTokens.most)};
}

Datum applying(ArrayType *array, std::string_view answer) {
    const Datum object =
        DirectFunctionCall1(jsonb_in, CStringGetDatum(text_to_cstring(DatumGetTextPP(pg::text_datum(answer)))));
    Datum *labels;
    bool *nulls;
    int count;
    deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &labels, &nulls, &count);
    int kept = 0;
    for (int i = 0; i < count; i++) {
        const text *label = DatumGetTextPP(labels[i]);
        const JsonbValue *verdict = getKeyJsonValueFromContainer(&DatumGetJsonbP(object)->root, VARDATA_ANY(label),
                                                                 VARSIZE_ANY_EXHDR(label), nullptr);
        if (verdict != nullptr && verdict->type == jbvBool && verdict->val.boolean)
            labels[kept++] = labels[i];
    }
    return PointerGetDatum(construct_array(labels, kept, TEXTOID, -1, false, TYPALIGN_INT));
}

bool any_is_null(FunctionCallInfo fcinfo) { return PG_ARGISNULL(0) || PG_ARGISNULL(1); }

}  // namespace

STEADYTEXT_FUNCTION(steadytext_if) {
    if (any_is_null(fcinfo))
        PG_RETURN_NULL();
    const TextArgument condition = pg::text_argument(fcinfo, 0);
    check_text(core::rules::kCondition, condition);
    StringInfoData instruction;
    initStringInfo(&instruction);
    append(&instruction, "Say whether a statement is true of a text. Answer yes or no.\n\nStatement: ");
    append(&instruction, condition.text);
    std::string_view answer;
    if (!ask(&instruction, pg::text_argument(fcinfo, 1), {.kind = AnswerForm::Kind::Choice, .choices = kYesOrNo},
             pg::text_argument(fcinfo, 2), 0, answer))
        PG_RETURN_NULL();
    PG_RETURN_BOOL(answer == kYesOrNo[0].text);
}

STEADYTEXT_FUNCTION(steadytext_classify) {
    if (any_is_null(fcinfo))
        PG_RETURN_NULL();
    StringInfoData instruction;
    initStringInfo(&instruction);
    append(&instruction, "Say which label fits a text best.");
    const AnswerForm form{.kind = AnswerForm::Kind::Choice,
                          .choices = append_labels(&instruction, PG_GETARG_ARRAYTYPE_P(1))};
    std::string_view answer;
    if (!ask(&instruction, pg::text_argument(fcinfo, 0), form, pg::text_argument(fcinfo, 2), 0, answer))
        PG_RETURN_NULL();
    return pg::text_datum(answer);
}

STEADYTEXT_FUNCTION(steadytext_classify_all) {
    if (any_is_null(fcinfo))
        PG_RETURN_NULL();
    ArrayType *labels = PG_GETARG_ARRAYTYPE_P(1);
    StringInfoData instruction;
    initStringInfo(&instruction);
    append(&instruction, "Say of each label, true or false, whether it applies to a text. Several may, or none.");
    const Verdicts verdicts = verdicts_on(append_labels(&instruction, labels));
    const AnswerForm form{.kind = AnswerForm::Kind::Json, .text = verdicts.schema, .order = AnswerForm::Order::Written};
    std::string_view answer;
    if (!ask(&instruction, pg::text_argument(fcinfo, 0), form, pg::text_argument(fcinfo, 2), verdicts.tokens, answer))
        PG_RETURN_NULL();
    return applying(labels, answer);
}

STEADYTEXT_FUNCTION(steadytext_score) {
    if (any_is_null(fcinfo))
        PG_RETURN_NULL();
    const TextArgument question = pg::text_argument(fcinfo, 0);
    check_text(core::rules::kQuestion, question);
    StringInfoData instruction;
    initStringInfo(&instruction);
    append(&instruction, "Give a text a mark from 0, not at all, to 10, entirely.\n\nQuestion: ");
    append(&instruction, question.text);
    std::string_view answer;
    if (!ask(&instruction, pg::text_argument(fcinfo, 1), {.kind = AnswerForm::Kind::Choice, .choices = kMarks},
             pg::text_argument(fcinfo, 2), 0, answer))
        PG_RETURN_NULL();
    const auto mark = std::ranges::find(kMarks, answer, &TextArgument::text) - kMarks.begin();
    PG_RETURN_FLOAT8(static_cast<double>(mark) / (kMarks.size() - 1));
}
