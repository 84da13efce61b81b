// steadytext_if, _classify, _classify_all and _score: a question about a text that has few answers. Regime: pg.
//
// A question is an instruction and the text, in this order, so that the rows of a statement share their beginning. NULL
// for the text or the question is NULL without a call. Otherwise they do what steadytext_generate_choice() and _json()
// do, with the prompts below.
#include "src/pg/compat.hpp"
#include "src/core/json_text.hpp"
#include "src/core/operator_rules.hpp"
#include "src/functions/ahead_generation.hpp"
#include "src/functions/calls.hpp"
#include "src/pg/written.hpp"
#include "src/pg/jsonb.hpp"
#include "src/pg/text.hpp"
#include "src/pg/text_array.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"

#include <algorithm>
#include <array>

extern "C" {
#include "lib/stringinfo.h"
}

namespace {

using namespace steadytext;
using core::TextArgument;
using session::AnswerForm;
using session::GenerationRequest;
using session::ahead::Foreseen;

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

// The request of an instruction about a text. Without max_tokens if they are 0.
GenerationRequest request_of(StringInfo instruction, const TextArgument &input, const AnswerForm &form,
                             const TextArgument &model, std::int64_t max_tokens = 0) {
    check_text(core::rules::kJudgedText, input);
    append(instruction, "\n\nText:");
    GenerationRequest request;
    request.prefix_bytes = static_cast<std::size_t>(instruction->len);
    append(instruction, " ");
    append(instruction, input.text);
    request.prompt = {false, view_of(*instruction)};
    request.prompt_is_checked = true;
    request.form = form;
    request.model = model;
    request.has_max_tokens = max_tokens > 0;
    request.max_tokens = max_tokens;
    return request;
}

// The labels of an instruction, a line for each.
std::span<const TextArgument> append_labels(StringInfo instruction, ArrayType *array) {
    if (ARR_NDIM(array) > 1)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("Labels must be an array of one dimension")));
    const std::span<const TextArgument> labels = pg::texts_of(array);
    session::require(core::rules::kLabels, labels);
    append(instruction, "\n\nLabels:");
    for (const TextArgument &label : labels) {
        append(instruction, "\n- ");
        append(instruction, label.text);
    }
    return labels;
}

session::ahead::Answers yes_or_no(FunctionCallInfo) { return kYesOrNo; }
session::ahead::Answers marks(FunctionCallInfo) { return kMarks; }
session::ahead::Answers labels_of(FunctionCallInfo call) {
    if (call->args[1].isnull)
        return {};
    return pg::texts_of(DatumGetArrayTypeP(call->args[1].value));
}

// ---- steadytext_classify_all ---------------------------------------------------------------------------------------

// An object that says of each label, in their order, whether it applies; and the most tokens that it takes.
struct Verdicts {
    std::string_view schema;
    std::int64_t tokens;
};

Verdicts verdicts_on(std::span<const TextArgument> labels) {
    std::size_t bytes = 8;
    const std::string_view schema = pg::written([&](std::string &text) {
        std::string properties, required;
        for (const TextArgument &label : labels) {
            std::string name;
            core::append_json_string(name, label.text, core::Escape::Utf8);
            properties.append(properties.empty() ? "" : ", ").append(name).append(R"(: {"type": "boolean"})");
            required.append(required.empty() ? "" : ", ").append(name);
            bytes += name.size() + sizeof(": false, ");
        }
        text.assign(R"({"type": "object", "properties": {)")
            .append(properties)
            .append(R"(}, "required": [)")
            .append(required)
            .append(R"(], "additionalProperties": false})");
    });
    // A token is a byte at least.
    return {pg::copy_text(schema),
            std::min<std::int64_t>(static_cast<std::int64_t>(bytes), core::rules::kMaxTokens.most)};
}

// ---- requests and values by function -------------------------------------------------------------------------------

GenerationRequest if_request(FunctionCallInfo fcinfo) {
    const TextArgument condition = pg::text_argument(fcinfo, 0);
    check_text(core::rules::kCondition, condition);
    StringInfoData instruction;
    initStringInfo(&instruction);
    append(&instruction, "Say whether a statement is true of a text. Answer yes or no.\n\nStatement: ");
    append(&instruction, condition.text);
    return request_of(&instruction, pg::text_argument(fcinfo, 1),
                      {.kind = AnswerForm::Kind::Choice, .choices = kYesOrNo}, pg::text_argument(fcinfo, 2));
}

Datum if_value(FunctionCallInfo, std::string_view answer) { return BoolGetDatum(answer == kYesOrNo[0].text); }

GenerationRequest classify_request(FunctionCallInfo fcinfo) {
    StringInfoData instruction;
    initStringInfo(&instruction);
    append(&instruction, "Say which label fits a text best.");
    const AnswerForm form{.kind = AnswerForm::Kind::Choice,
                          .choices = append_labels(&instruction, PG_GETARG_ARRAYTYPE_P(1))};
    return request_of(&instruction, pg::text_argument(fcinfo, 0), form, pg::text_argument(fcinfo, 2));
}

GenerationRequest classify_all_request(FunctionCallInfo fcinfo) {
    StringInfoData instruction;
    initStringInfo(&instruction);
    append(&instruction, "Say of each label, true or false, whether it applies to a text. Several may, or none.");
    const Verdicts verdicts = verdicts_on(append_labels(&instruction, PG_GETARG_ARRAYTYPE_P(1)));
    const AnswerForm form{.kind = AnswerForm::Kind::Json, .text = verdicts.schema, .order = AnswerForm::Order::Written};
    return request_of(&instruction, pg::text_argument(fcinfo, 0), form, pg::text_argument(fcinfo, 2), verdicts.tokens);
}

Datum classify_all_value(FunctionCallInfo fcinfo, std::string_view answer) {
    const Datum json = pg::text_datum(answer);
    const Datum object = DirectFunctionCall1(jsonb_in, CStringGetDatum(TextDatumGetCString(json)));
    Datum *labels;
    bool *nulls;
    int count;
    deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &labels, &nulls, &count);
    int kept = 0;
    for (int i = 0; i < count; i++) {
        const struct varlena *label = DatumGetTextPP(labels[i]);
        const JsonbValue *verdict = getKeyJsonValueFromContainer(&DatumGetJsonbP(object)->root, VARDATA_ANY(label),
                                                                 VARSIZE_ANY_EXHDR(label), nullptr);
        if (verdict != nullptr && verdict->type == jbvBool && verdict->val.boolean)
            labels[kept++] = labels[i];
    }
    return PointerGetDatum(construct_array(labels, kept, TEXTOID, -1, false, TYPALIGN_INT));
}

GenerationRequest score_request(FunctionCallInfo fcinfo) {
    const TextArgument question = pg::text_argument(fcinfo, 0);
    check_text(core::rules::kQuestion, question);
    StringInfoData instruction;
    initStringInfo(&instruction);
    append(&instruction, "Give a text a mark from 0, not at all, to 10, entirely.\n\nQuestion: ");
    append(&instruction, question.text);
    return request_of(&instruction, pg::text_argument(fcinfo, 1), {.kind = AnswerForm::Kind::Choice, .choices = kMarks},
                      pg::text_argument(fcinfo, 2));
}

Datum score_value(FunctionCallInfo, std::string_view answer) {
    const auto mark = std::ranges::find(kMarks, answer, &TextArgument::text) - kMarks.begin();
    return Float8GetDatum(static_cast<double>(mark) / static_cast<double>(kMarks.size() - 1));
}

// ---- the call, ahead of its turn and in it -------------------------------------------------------------------------

bool gives_null(FunctionCallInfo call) { return call->args[0].isnull || call->args[1].isnull; }

template <int kInput>
Foreseen foresee(FunctionCallInfo call) {
    return gives_null(call) ? Foreseen::AsksNothing
                            : functions::foreseen(core::rules::kJudgedText, pg::text_argument(call, kInput));
}

template <functions::RequestOf kRequest>
Datum judgement(FunctionCallInfo fcinfo, const session::ahead::Function &function) {
    if (gives_null(fcinfo))
        PG_RETURN_NULL();
    return functions::answer<kRequest>(fcinfo, function);
}

}  // namespace

namespace steadytext::functions {

using shmem::CallKind;

const session::ahead::Function kIfAhead = {
    "steadytext_if", "vvv", 1, CallKind::Choice, foresee<1>, begin_ahead<if_request>, if_value, true, yes_or_no,
};
const session::ahead::Function kClassifyAhead = {
    "steadytext_classify",         "vvv",   0,    CallKind::Choice, foresee<0>,
    begin_ahead<classify_request>, text_of, true, labels_of,
};
const session::ahead::Function kClassifyAllAhead = {
    "steadytext_classify_all", "vvv", 0, CallKind::Json, foresee<0>, begin_ahead<classify_all_request>,
    classify_all_value,        false,
};
const session::ahead::Function kScoreAhead = {
    "steadytext_score", "vvv", 1, CallKind::Choice, foresee<1>, begin_ahead<score_request>, score_value, true, marks,
};

}  // namespace steadytext::functions

STEADYTEXT_FUNCTION(steadytext_if) { return judgement<if_request>(fcinfo, functions::kIfAhead); }
STEADYTEXT_FUNCTION(steadytext_classify) { return judgement<classify_request>(fcinfo, functions::kClassifyAhead); }
STEADYTEXT_FUNCTION(steadytext_classify_all) {
    return judgement<classify_all_request>(fcinfo, functions::kClassifyAllAhead);
}
STEADYTEXT_FUNCTION(steadytext_score) { return judgement<score_request>(fcinfo, functions::kScoreAhead); }
