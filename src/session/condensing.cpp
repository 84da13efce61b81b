// See condensing.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/session/condensing.hpp"
#include "src/core/prose.hpp"
#include "src/core/utf8.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/jsonb.hpp"
#include "src/session/generation.hpp"

#include <algorithm>
#include <new>

namespace steadytext::session {

namespace {

constexpr std::int64_t kSeed = 42;
constexpr std::int64_t kTokensOfPart = 128;

using Texts = std::span<const std::string_view>;

std::string_view *make_texts(std::size_t count) {
    return static_cast<std::string_view *>(palloc0(std::max<std::size_t>(count, 1) * sizeof(std::string_view)));
}

Texts parts_of(Texts texts, std::size_t room) {
    static std::vector<std::string> *parts = new std::vector<std::string>;
    pg::guarded([&] { *parts = core::packed({texts.begin(), texts.end()}, room, Condensing::kMaxParts); });
    std::string_view *copies = make_texts(parts->size());
    for (std::size_t i = 0; i < parts->size(); i++)
        copies[i] = pg::copy_text((*parts)[i]);
    const std::size_t count = parts->size();
    parts->clear();
    return {copies, count};
}

// The questions about the parts of a round.
struct Round {
    const Condensing &task;
    std::string_view instruction;
    Texts parts;
};

// Canonical: sorted by name. Small models list nothing if they may.
std::string_view schema_of_facts(int most) {
    return psprintf(
        R"({"additionalProperties": false, "properties": {"facts": {"items": {"minLength": 1, "type": "string"}, "maxItems": %d, "minItems": 1, "type": "array"}}, )"
        R"("required": ["facts"], "type": "object"})",
        most);
}

ModelCall *begin(const void *context, std::size_t index) {
    const auto &[task, instruction, parts] = *static_cast<const Round *>(context);
    constexpr std::string_view kBetween = "\n\n";
    const std::string_view part = parts[index];
    char *prompt = static_cast<char *>(palloc(instruction.size() + kBetween.size() + part.size() + 1));
    std::size_t size = 0;
    for (const std::string_view text : {instruction, kBetween, part})
        size += text.copy(prompt + size, text.size());
    GenerationRequest request;
    request.prompt = {false, {prompt, size}};
    request.prefix_bytes = instruction.size() + kBetween.size();
    request.prompt_is_checked = true;
    request.has_seed = true;
    request.seed = kSeed;
    request.model = task.model;
    request.unsafe_mode = task.unsafe_mode;
    if (task.most_facts > 0)
        request.form = {.kind = AnswerForm::Kind::Json,
                        .text = schema_of_facts(task.most_facts),
                        .order = AnswerForm::Order::AsItIs};
    else if (parts.size() > 1) {
        request.has_max_tokens = true;
        request.max_tokens = kTokensOfPart;
    }
    return begin_generation(request, *new (palloc(sizeof(Generation))) Generation);
}

// What the next round is about: of each answer a quarter of what a request has room for.
Texts texts_of(const Condensing &task, Texts answers, std::size_t room) {
    constexpr std::size_t kMark = 3;  // what stands between texts of a part
    const std::size_t most = room / 4 - kMark;
    std::size_t count = 0;
    if (task.most_facts == 0) {
        std::string_view *texts = make_texts(answers.size());
        for (const std::string_view answer : answers)
            if (const std::string_view text = core::stripped(core::utf8_prefix(core::stripped(answer), most));
                !text.empty())
                texts[count++] = text;
        return {texts, count};
    }
    std::string_view *facts = make_texts(answers.size() * static_cast<std::size_t>(task.most_facts));
    for (const std::string_view answer : answers) {
        std::size_t left = most;
        for (const std::string_view fact : listed_facts(answer)) {
            const std::string_view text =
                core::stripped(core::utf8_prefix(fact, std::max<std::size_t>(left, kMark) - kMark));
            if (text.empty() || text.size() < fact.size() / 2)
                break;
            facts[count++] = text;
            left -= text.size() + kMark;
        }
    }
    return {facts, count};
}

}  // namespace

std::span<const std::string_view> listed_facts(std::string_view answer) {
    const char *own = pg_any_to_server(answer.data(), static_cast<int>(answer.size()), PG_UTF8);
    const char *text = own == answer.data() ? pnstrdup(answer.data(), answer.size()) : own;
    Jsonb *json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
    JsonbValue *list =
        JB_ROOT_IS_OBJECT(json) ? getKeyJsonValueFromContainer(&json->root, "facts", 5, nullptr) : nullptr;
    if (list == nullptr || !pg::is_jsonb_array(*list))
        return {};
    const std::span<const core::TextArgument> told = pg::jsonb_texts(*list);
    std::string_view *facts = make_texts(told.size());
    std::size_t count = 0;
    for (const core::TextArgument &fact : told)
        if (const std::string_view bare = core::stripped(fact.text);
            !bare.empty() && std::find(facts, facts + count, bare) == facts + count)
            facts[count++] = bare;
    return {facts, count};
}

Replies condense(const Condensing &task, std::string_view &answer) {
    std::size_t room = Condensing::kRoom;
    Texts texts = task.texts;
    for (bool is_joining = false;;) {
        CHECK_FOR_INTERRUPTS();
        const Texts parts = parts_of(texts, room);
        if (parts.empty()) {
            answer = {};
            return Replies::All;
        }
        const bool is_last = parts.size() == 1;
        const Round round{task, is_joining ? task.join : is_last ? task.whole : task.part, parts};
        std::string_view *answers = make_texts(parts.size());
        core::Problem problem;
        const Replies replies = ask_all({parts.size(), begin, &round}, {answers, parts.size()}, problem);
        if (replies == Replies::BeyondWindow) {
            room /= 2;
            if (room < Condensing::kLeastRoom)
                return without_answer(problem);
            continue;
        }
        if (replies != Replies::All || is_last) {
            answer = answers[0];
            return replies;
        }
        texts = texts_of(task, {answers, parts.size()}, room);
        is_joining = true;
    }
}

}  // namespace steadytext::session
