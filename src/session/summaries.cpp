// See summaries.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/session/summaries.hpp"
#include "src/core/json_text.hpp"
#include "src/core/prose.hpp"
#include "src/core/utf8.hpp"
#include "src/guc.hpp"
#include "src/pg/written.hpp"
#include "src/pg/context_memory.hpp"
#include "src/pg/jsonb.hpp"
#include "src/session/condensing.hpp"

#include <algorithm>
#include <new>

namespace steadytext::session {

using core::SummaryState;
using core::TextArgument;

namespace {

constexpr std::string_view kUnanswered = "Unable to generate summary";
constexpr std::string_view kNothing = "No data to summarize";

[[noreturn]] void refuse(const char *what, const char *must) {
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s of a summary's state must be %s", what, must)));
}

// ---- reading --------------------------------------------------------------------------------------------------------

JsonbValue *member(JsonbContainer *object, const char *name) {
    JsonbValue *value = getKeyJsonValueFromContainer(object, name, static_cast<int>(strlen(name)), nullptr);
    return value != nullptr && value->type == jbvNull ? nullptr : value;
}

JsonbContainer *object_of(const JsonbValue *value, const char *what) {
    if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
        refuse(what, "a JSON object");
    return value->val.binary.data;
}

void require_utf8(std::string_view text) {
    if (!core::utf8_is_valid(text))
        ereport(ERROR, (errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
                        errmsg("a text of a summary's state is not valid UTF-8")));
}

using Add = void (SummaryState::*)(std::string_view);

// The texts of an array. A fact may also be an object with its text, as steadytext_deduplicate_facts() takes it.
void add_texts(SummaryState &state, const JsonbValue *array, const char *name, Add add) {
    if (array == nullptr)
        return;
    if (!pg::is_jsonb_array(*array))
        refuse(name, "a JSON array");
    MemoryContext each = AllocSetContextCreate(CurrentMemoryContext, "steadytext state text", ALLOCSET_DEFAULT_SIZES);
    JsonbIterator *iterator = JsonbIteratorInit(array->val.binary.data);
    JsonbValue token;
    std::size_t number = 0;
    for (JsonbIteratorToken kind; (kind = JsonbIteratorNext(&iterator, &token, true)) != WJB_DONE;) {
        CHECK_FOR_INTERRUPTS();
        if (kind != WJB_ELEM)
            continue;
        number++;
        MemoryContext caller = MemoryContextSwitchTo(each);
        JsonbValue *text = &token;
        if (token.type == jbvBinary && JsonContainerIsObject(token.val.binary.data))
            text = member(token.val.binary.data, "text");
        if (text == nullptr || text->type != jbvString)
            refuse(psprintf("element %zu of \"%s\"", number, name), "a string");
        const std::string_view utf8 = pg::jsonb_text(*text).text;
        require_utf8(utf8);
        pg::guarded([&] { (state.*add)(utf8); });
        MemoryContextSwitchTo(caller);
        MemoryContextReset(each);
    }
    MemoryContextDelete(each);
}

std::int64_t count_of(JsonbContainer *stats, const char *name, std::int64_t otherwise) {
    const JsonbValue *value = member(stats, name);
    if (value == nullptr)
        return otherwise;
    std::int64_t count;
    if (value->type != jbvNumeric || !pg::to_integer(pg::jsonb_number(*value), count) || count < 0)
        refuse(psprintf("\"%s\"", name), "a whole number from 0 to 1000000000000000");
    return count;
}

void add_counts(SummaryState &state, const JsonbValue *told) {
    if (told == nullptr)
        return;
    JsonbContainer *stats = object_of(told, "\"stats\"");
    SummaryState::Counts counts;
    counts.rows = count_of(stats, "row_count", 0);
    counts.characters = count_of(stats, "total_chars", 0);
    counts.shortest = count_of(stats, "min_length", -1);
    counts.longest = count_of(stats, "max_length", 0);
    if (counts.rows == 0)
        counts.shortest = -1;
    state.add_counts(counts);
}

std::uint64_t cut_of(JsonbContainer *cuts, const char *name) {
    const JsonbValue *value = member(cuts, name);
    if (value == nullptr)
        return core::KeptTexts::kNoCut;
    constexpr int kDigits = 16;
    std::uint64_t cut = 0;
    bool is_good = value->type == jbvString && value->val.string.len == kDigits;
    for (int i = 0; is_good && i < kDigits; i++) {
        const char c = value->val.string.val[i];
        is_good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        cut = cut << 4 | static_cast<std::uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (!is_good)
        refuse(psprintf("\"%s\" in \"cut\"", name), "a string of 16 hexadecimal digits");
    return cut;
}

void add_cuts(SummaryState &state, const JsonbValue *told) {
    if (told == nullptr)
        return;
    JsonbContainer *cuts = object_of(told, "\"cut\"");
    const std::uint64_t samples = cut_of(cuts, "samples"), facts = cut_of(cuts, "facts");
    pg::guarded([&] {
        state.cut_samples(samples);
        state.cut_facts(facts);
    });
}

void add_members(SummaryState &state, JsonbContainer *object) {
    JsonbIterator *iterator = JsonbIteratorInit(object);
    JsonbValue token;
    std::string_view key;
    for (JsonbIteratorToken kind; (kind = JsonbIteratorNext(&iterator, &token, true)) != WJB_DONE;) {
        CHECK_FOR_INTERRUPTS();
        if (kind == WJB_KEY)
            key = pg::jsonb_text(token).text;
        if (kind != WJB_VALUE)
            continue;
        const std::string_view json = pg::json_text(JsonbValueToJsonb(&token));
        require_utf8(key);
        require_utf8(json);
        pg::guarded([&](core::Problem &problem) { return state.add_metadata(key, json, problem); });
    }
}

// ---- asking ---------------------------------------------------------------------------------------------------------

// What members of the metadata say about the call, and the others as they are told to the model.
struct Told {
    TextArgument model;
    bool unsafe_mode = false;
    std::string_view context;
};

// A string without its quotes, as the model's name; all else is no name.
TextArgument name_in(std::string_view json) {
    if (json == "null")
        return {};
    Jsonb *value = parsed(json);
    JsonbValue scalar;
    if (!JB_ROOT_IS_SCALAR(value) || !JsonbExtractScalar(&value->root, &scalar) || scalar.type != jbvString)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("\"model\" in the metadata of a summary must be a string")));
    return pg::jsonb_text(scalar);
}

bool flag_in(std::string_view json) {
    if (json != "true" && json != "false" && json != "null" && json != "\"true\"" && json != "\"false\"")
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("\"unsafe_mode\" in the metadata of a summary must be true or false")));
    return json == "true" || json == "\"true\"";
}

// `obeys`: "model" and "unsafe_mode" are parameters.
Told told_by(const SummaryState &state, bool obeys) {
    const std::string_view context = pg::written([&](std::string &text) {
        for (const auto &[key, json] : state.metadata()) {
            if (obeys && (key == "model" || key == "unsafe_mode"))
                continue;
            text.append(text.empty() ? "{" : ", ");
            core::append_json_string(text, key, core::Escape::Utf8);
            text.append(": ").append(json);
        }
        if (!text.empty())
            text.append("}");
    });
    Told told;
    told.context = pg::copy_text(core::utf8_prefix(context, Condensing::kRoom / 4));
    if (!obeys)
        return told;
    const auto find = [&](std::string_view name) {
        const auto found = state.metadata().find(name);
        return found == state.metadata().end() ? std::string_view("null") : std::string_view(found->second);
    };
    told.model = name_in(find("model"));
    told.unsafe_mode = flag_in(find("unsafe_mode"));
    return told;
}

std::span<const std::string_view> texts_of(const SummaryState &state) {
    static std::vector<std::string_view> *texts = new std::vector<std::string_view>;
    pg::guarded([&] { *texts = state.texts(); });
    auto *copies =
        static_cast<std::string_view *>(palloc(std::max<std::size_t>(texts->size(), 1) * sizeof(std::string_view)));
    std::copy(texts->begin(), texts->end(), copies);
    const std::size_t count = texts->size();
    texts->clear();
    return {copies, count};
}

TextArgument outcome(Replies replies, std::string_view answer, std::string_view fallback) {
    switch (replies) {
    case Replies::All:
        return {false, answer};
    case Replies::Fallback:
        return {false, fallback};
    case Replies::None:
    case Replies::BeyondWindow:
        break;
    }
    return {};
}

TextArgument ask_for_summary(std::span<const std::string_view> texts, const Told &told, const char *what,
                             const char *counts) {
    const char *context = told.context.empty()
                              ? ""
                              : psprintf(" Context: %.*s.", static_cast<int>(told.context.size()), told.context.data());
    Condensing task{.texts = texts};
    task.whole =
        psprintf("Write a short summary of %s.%s%s Say what matters most, in one paragraph.", what, counts, context);
    task.part = "Summarize the following in two sentences.";
    task.join = psprintf("These are summaries of parts of %s.%s%s Write one short summary of all of it: what matters "
                         "most, in one paragraph.",
                         what, counts, context);
    task.model = told.model;
    task.unsafe_mode = told.unsafe_mode;
    std::string_view answer;
    const Replies replies = condense(task, answer);
    return outcome(replies, answer, kUnanswered);
}

}  // namespace

SummaryState *make_summary(MemoryContext context) {
    auto *memory = new (MemoryContextAlloc(context, sizeof(pg::ContextMemory))) pg::ContextMemory(context);
    void *place = MemoryContextAlloc(context, sizeof(SummaryState));
    SummaryState *state = nullptr;
    pg::guarded([&] { state = new (place) SummaryState(memory); });
    return state;
}

void add_state(SummaryState &state, Jsonb *told, bool is_own) {
    if (!JB_ROOT_IS_OBJECT(told))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("state of a summary must be a JSON object")));
    JsonbContainer *root = &told->root;
    add_cuts(state, member(root, "cut"));
    add_texts(state, member(root, "samples"), "samples", &SummaryState::add_sample);
    add_texts(state, member(root, "facts"), "facts", &SummaryState::add_fact);
    add_counts(state, member(root, "stats"));
    if (const JsonbValue *metadata = member(root, "metadata"); metadata != nullptr)
        add_members(state, object_of(metadata, "\"metadata\""));
    JsonbValue *prompt = is_own ? member(root, "prompt") : nullptr;
    if (prompt == nullptr)
        return;
    const std::string_view text = pg::jsonb_text(*prompt).text;
    pg::guarded([&](core::Problem &problem) { return state.set_prompt(text, problem); });
}

void add_row(SummaryState &state, const TextArgument &value, Jsonb *metadata) {
    if (metadata != nullptr && !JB_ROOT_IS_OBJECT(metadata))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("metadata must be a JSON object")));
    if (value.is_null || value.text.empty())
        return;
    pg::guarded([&] { state.add_value(value.text); });
    if (metadata != nullptr && JB_ROOT_COUNT(metadata) > 0)
        add_members(state, &metadata->root);
}

void merge(SummaryState &state, const SummaryState &other) {
    pg::guarded([&](core::Problem &problem) { return state.merge(other, problem); });
}

std::string_view state_text(const SummaryState &state) {
    return pg::written([&](std::string &text) { state.write(text); });
}

Jsonb *parsed(std::string_view json) {
    const char *own = pg_any_to_server(json.data(), static_cast<int>(json.size()), PG_UTF8);
    const char *text = own == json.data() ? pnstrdup(json.data(), json.size()) : own;
    return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

Jsonb *state_jsonb(const SummaryState &state) { return parsed(state_text(state)); }

TextArgument summarized(const SummaryState &state) {
    const std::span<const std::string_view> texts = texts_of(state);
    const SummaryState::Counts &counts = state.counts();
    if (counts.rows == 0 || texts.empty())
        return {false, kNothing};
    const char *sampled = state.is_whole() ? "" : psprintf(" They are a sample of %zu.", texts.size());
    const char *numbers =
        psprintf(" There are %lld texts, of %lld to %lld characters.%s", static_cast<long long>(counts.rows),
                 static_cast<long long>(std::max<std::int64_t>(counts.shortest, 0)),
                 static_cast<long long>(counts.longest), sampled);
    return ask_for_summary(texts, told_by(state, true), "the following texts", numbers);
}

TextArgument answered(const SummaryState &state) {
    const std::span<const std::string_view> texts = texts_of(state);
    if (texts.empty())
        return {};
    const std::string_view prompt = state.prompt();
    const auto with = [&](const char *more) {
        return std::string_view(psprintf("%.*s\n\n%s", static_cast<int>(prompt.size()), prompt.data(), more));
    };
    Condensing task{.texts = texts};
    task.whole = prompt;
    task.part = with("What follows is one part of the input; answer for this part alone.");
    task.join = with(
        "The input was too long for one request. What follows are the answers for its parts; make one answer of them.");
    std::string_view answer;
    const Replies replies = condense(task, answer);
    return outcome(replies, answer, pg::fitted_to_encoding(guc::fallback_text));
}

TextArgument summarized(std::string_view text, Jsonb *metadata, const TextArgument &model, bool unsafe_mode) {
    if (core::is_blank(text))
        return {false, "No text to summarize"};
    SummaryState *state = make_summary(CurrentMemoryContext);
    if (metadata != nullptr)
        add_members(*state, &metadata->root);
    Told told = told_by(*state, false);
    told.model = model;
    told.unsafe_mode = unsafe_mode;
    return ask_for_summary({&text, 1}, told, "the following text", "");
}

}  // namespace steadytext::session
