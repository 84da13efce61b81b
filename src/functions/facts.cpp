// steadytext_extract_facts and steadytext_deduplicate_facts. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/core/json_text.hpp"
#include "src/core/near_duplicates.hpp"
#include "src/core/prose.hpp"
#include "src/pg/written.hpp"
#include "src/pg/interrupts.hpp"
#include "src/pg/jsonb.hpp"
#include "src/pg/text.hpp"
#include "shmem/segment.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"
#include "src/session/condensing.hpp"
#include "src/session/embedding.hpp"
#include "src/session/summaries.hpp"

#include <algorithm>

namespace {

using namespace steadytext;
using session::Replies;

using Texts = std::span<const std::string_view>;

// ---- extract --------------------------------------------------------------------------------------------------------

Datum facts_datum(Texts facts) {
    const std::string_view json =
        pg::written_json(core::Escape::Utf8, [&](core::JsonObject &object) { object.add("facts", facts); });
    return JsonbPGetDatum(session::parsed(json));
}

// The sentences, where no model is asked.
Texts first_sentences(std::string_view text, int most) {
    auto *facts = static_cast<std::string_view *>(palloc(static_cast<std::size_t>(most) * sizeof(std::string_view)));
    int count = 0;
    core::each_sentence(text, [&](std::string_view sentence) {
        facts[count++] = sentence;
        return count < most;
    });
    return {facts, static_cast<std::size_t>(count)};
}

// ---- deduplicate ----------------------------------------------------------------------------------------------------

// The elements of an array, and those among them that have a text.
struct Facts {
    Jsonb *array;
    std::size_t count = 0;  // of all elements
    std::string_view *texts = nullptr;
    std::size_t *places = nullptr;  // of the texts in the array
    std::size_t told = 0;
};

// A string, or the member "text" of an object.
bool text_of(JsonbValue &element, std::string_view &text) {
    JsonbValue *value = &element;
    if (element.type == jbvBinary && JsonContainerIsObject(element.val.binary.data))
        value = getKeyJsonValueFromContainer(element.val.binary.data, "text", 4, nullptr);
    if (value == nullptr || value->type != jbvString)
        return false;
    text = pg::jsonb_text(*value).text;
    return true;
}

template <class Take>
void each_element(Jsonb *array, Take take) {
    JsonbIterator *iterator = JsonbIteratorInit(&array->root);
    JsonbValue token;
    std::size_t place = 0;
    for (JsonbIteratorToken kind; (kind = JsonbIteratorNext(&iterator, &token, true)) != WJB_DONE;) {
        CHECK_FOR_INTERRUPTS();
        if (kind == WJB_ELEM)
            take(token, place++);
    }
}

Facts read_facts(Jsonb *array) {
    if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
        ereport(ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("facts must be a JSON array"),
                 JB_ROOT_IS_OBJECT(array)
                     ? errhint("Of what steadytext_extract_facts() gives, pass the member \"facts\": ... -> 'facts'.")
                     : 0));
    Facts facts{array};
    facts.count = JB_ROOT_COUNT(array);
    if (facts.count > static_cast<std::size_t>(core::kMaxDocuments))
        ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("facts array is too long"),
                        errdetail("It has %zu elements; the limit is %d.", facts.count, core::kMaxDocuments)));
    facts.texts = static_cast<std::string_view *>(palloc((facts.count + 1) * sizeof(std::string_view)));
    facts.places = static_cast<std::size_t *>(palloc((facts.count + 1) * sizeof(std::size_t)));
    each_element(array, [&](JsonbValue &element, std::size_t place) {
        if (text_of(element, facts.texts[facts.told]))
            facts.places[facts.told++] = place;
    });
    return facts;
}

// The texts that can be embedded, each once; `which` says for a text which of them it is.
struct Distinct {
    static constexpr std::size_t kNone = SIZE_MAX;  // a blank text
    std::string_view *texts;
    std::size_t count = 0;
    std::size_t *which;
};

Distinct distinct_texts(const Facts &facts) {
    Distinct distinct{static_cast<std::string_view *>(palloc((facts.told + 1) * sizeof(std::string_view))), 0,
                      static_cast<std::size_t *>(palloc((facts.told + 1) * sizeof(std::size_t)))};
    auto *order = static_cast<std::size_t *>(palloc((facts.told + 1) * sizeof(std::size_t)));
    for (std::size_t i = 0; i < facts.told; i++)
        order[i] = i;
    std::sort(order, order + facts.told, [&](std::size_t a, std::size_t b) {
        return facts.texts[a] != facts.texts[b] ? facts.texts[a] < facts.texts[b] : a < b;
    });
    for (std::size_t i = 0; i < facts.told; i++) {
        const std::string_view text = facts.texts[order[i]];
        if (core::is_blank(text)) {
            distinct.which[order[i]] = Distinct::kNone;
            continue;
        }
        if (distinct.count == 0 || distinct.texts[distinct.count - 1] != text)
            distinct.texts[distinct.count++] = text;
        distinct.which[order[i]] = distinct.count - 1;
    }
    return distinct;
}

session::ModelCall *begin_embedding(const void *texts, std::size_t index) {
    session::EmbeddingRequest request;
    request.text = {false, static_cast<const std::string_view *>(texts)[index]};
    return session::begin_embedding(request);
}

// Whether each text says something new; false if the value is to be NULL.
bool find_new(const Facts &facts, double threshold, bool *is_new) {
    const Distinct distinct = distinct_texts(facts);
    auto *vectors = static_cast<std::string_view *>(palloc0((distinct.count + 1) * sizeof(std::string_view)));
    core::Problem problem;
    Replies replies =
        session::ask_all({distinct.count, begin_embedding, distinct.texts, true}, {vectors, distinct.count}, problem);
    if (replies == Replies::BeyondWindow)
        replies = session::without_answer(problem);
    if (replies == Replies::None)
        return false;
    core::Work work = pg::interruptible();
    pg::worked(work, "comparing facts", [&](core::Problem &) {
        std::vector<bool> stays;
        if (replies == Replies::Fallback) {
            stays = core::that_differ(Texts(facts.texts, facts.told));
        } else {
            std::vector<std::span<const float>> of_texts(facts.told);
            for (std::size_t i = 0; i < facts.told; i++)
                if (const std::size_t which = distinct.which[i]; which != Distinct::kNone)
                    of_texts[i] = {reinterpret_cast<const float *>(vectors[which].data()),
                                   vectors[which].size() / sizeof(float)};
            stays = core::that_differ(of_texts, threshold, work);
        }
        std::copy(stays.begin(), stays.end(), is_new);
        return true;
    });
    return true;
}

Datum those_that_stay(const Facts &facts, const bool *is_new) {
    JsonbParseState *state = nullptr;
    pushJsonbValue(&state, WJB_BEGIN_ARRAY, nullptr);
    std::size_t next = 0;
    each_element(facts.array, [&](JsonbValue &element, std::size_t place) {
        const bool has_text = next < facts.told && facts.places[next] == place;
        if (!has_text || is_new[next])
            pushJsonbValue(&state, WJB_ELEM, &element);
        next += has_text ? 1 : 0;
    });
    return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, nullptr)));
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_extract_facts) {
    (void)shmem::segment();  // first of all: is the library preloaded?
    const core::TextArgument input = pg::text_argument(fcinfo, 0);
    session::inspect_prompt("input_text", input);
    if (input.is_null || core::is_blank(input.text))
        return facts_datum({});
    session::require(core::rules::kFactsText, input);
    session::require(core::rules::kMaxFacts, PG_ARGISNULL(1) ? core::Value() : core::Value(PG_GETARG_INT32(1)));
    const int most = PG_GETARG_INT32(1);
    session::Condensing task{.texts = {&input.text, 1}};
    task.whole = psprintf("List the facts that the following text states, the most important first, at most %d. Each "
                          "is a short sentence of its own.",
                          most);
    task.part = task.whole;
    task.join = psprintf(
        "The following are facts of one text. Keep the most important, at most %d, and leave out what repeats another.",
        most);
    task.most_facts = most;
    std::string_view answer;
    switch (session::condense(task, answer)) {
    case Replies::All: {
        const Texts facts = answer.empty() ? Texts() : session::listed_facts(answer);
        return facts_datum(facts.first(std::min(facts.size(), static_cast<std::size_t>(most))));
    }
    case Replies::Fallback:
        return facts_datum(first_sentences(input.text, most));
    case Replies::None:
    case Replies::BeyondWindow:
        break;
    }
    PG_RETURN_NULL();
}

STEADYTEXT_FUNCTION(steadytext_deduplicate_facts) {
    (void)shmem::segment();
    session::require(core::rules::kSimilarity, PG_ARGISNULL(1) ? core::Value() : core::Value(PG_GETARG_FLOAT8(1)));
    if (PG_ARGISNULL(0)) {
        ereport(WARNING, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("facts array is null")));
        return JsonbPGetDatum(session::parsed("[]"));
    }
    const Facts facts = read_facts(PG_GETARG_JSONB_P(0));
    if (facts.told <= 1)
        return JsonbPGetDatum(facts.array);
    auto *is_new = static_cast<bool *>(palloc0(facts.told));
    if (!find_new(facts, PG_GETARG_FLOAT8(1), is_new))
        PG_RETURN_NULL();
    return those_that_stay(facts, is_new);
}
