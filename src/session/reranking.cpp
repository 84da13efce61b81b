// Ranking, step by step: see reranking.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/session/reranking.hpp"
#include "src/session/prompt_tokens.hpp"
#include "src/core/json_text.hpp"
#include "src/core/lexical_score.hpp"
#include "src/core/reply.hpp"
#include "src/guc.hpp"
#include "src/pg/written.hpp"
#include "src/pg/interrupts.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"
#include "src/session/on_failure.hpp"
#include "src/session/models.hpp"
#include "src/session/observe.hpp"
#include "src/session/running_call.hpp"
#include "src/session/cache_scope.hpp"
#include "src/session/settings.hpp"

#include <algorithm>
#include <charconv>
#include <new>

namespace steadytext::session {

namespace {

constexpr std::string_view kPrefix = "rerank:";
constexpr std::string_view kDefaultTask = "Given a web search query, retrieve relevant passages that answer the query";

// The input of a call.
struct Work {
    std::string_view query;  // in NFC, if normalize_prompts is on
    std::string_view task;
    std::span<const std::string_view> documents;
    std::int64_t seed;
    std::string_view fingerprint;
};

// In the order in which the original complains.
std::span<const std::string_view> check(const RerankRequest &request) {
    inspect_prompt("query", request.query);
    inspect_prompt("task", request.task);
    for (const core::TextArgument &document : request.documents)
        inspect_prompt("documents", document);
    require(rules::kQuery, request.query);
    require(rules::kDocuments, request.documents_are_null ? core::Value() : core::Value(request.documents));
    require(rules::kTask, request.task);
    require(rules::kSeed, request.seed);
    auto *documents = static_cast<std::string_view *>(palloc(request.documents.size() * sizeof(std::string_view)));
    for (std::size_t i = 0; i < request.documents.size(); i++)
        documents[i] = request.documents[i].text;
    return {documents, request.documents.size()};
}

// As in src/session/generation.cpp.
std::string_view key_params(const Work &work) {
    return pg::written_json(core::Escape::Ascii, [&](core::JsonObject &json) {
        json.add("documents", work.documents);
        json.add("fingerprint", work.fingerprint);
        json.add("scope", cache_scope());
        json.add("seed", work.seed);
        json.add("task", work.task);
    });
}

core::Digest key_of(const Work &work) { return cache_key(kPrefix, work.query, key_params(work)); }

std::string_view wire_params(const Work &work) {
    return pg::written_json(core::Escape::Utf8, [&](core::JsonObject &json) {
        json.add("query", work.query);
        json.add("documents", work.documents);
        json.add("task", work.task);
        json.add_bool("return_scores", true);
        json.add("seed", std::max<std::int64_t>(work.seed, 0));
        json.add_bool("return_usage", true);
    });
}

// ---- the cache keeps the scores as a JSON array --------------------------------------------------------------------

std::string_view scores_text(std::span<const double> scores) {
    return pg::written([&](std::string &text) {
        for (const double score : scores) {
            text += text.empty() ? "[" : ", ";
            core::append_json_number(text, score);
        }
        text += text.empty() ? "[]" : "]";
    });
}

bool read_scores(std::string_view text, std::size_t count, std::vector<double> &scores) {
    bool good = false;
    pg::guarded([&] {
        scores.clear();
        const char *at = text.data();
        const char *end = at + text.size();
        while (at != end) {
            double score = 0;
            const auto [next, error] = std::from_chars(at + 1, end, score);
            if (error != std::errc())
                break;
            scores.push_back(score);
            at = next;
            while (at != end && *at != ',' && *at != ']')
                at++;
            if (at != end && *at == ',' && at + 1 != end && at[1] == ' ')
                at++;
        }
        good = scores.size() == count;
    });
    return good;
}

// ---- from question to order ----------------------------------------------------------------------------------------

class RerankingCall final : public ModelCall {
public:
    void keep_from_hub(const CachedAnswer &found) override { keep(found); }
    explicit RerankingCall(const RerankRequest &request);

    [[nodiscard]] bool accept_cached(const CachedAnswer &found) override { return take_scores(found.text); }
    [[nodiscard]] SlotRequest prepare() override {
        return {shmem::Operation::Rerank, pg::copy_text(wire_params(work_)), model_name()};
    }
    [[nodiscard]] CallResult accept(const Answer &answer, CachedAnswer &shared) override;
    void finish() override;
    // The scores as a JSON array, in the order of the documents.
    [[nodiscard]] bool bytes(std::string_view &answer) const override;
    [[nodiscard]] std::span<const RankedDocument> ordered() const;

private:
    [[nodiscard]] std::string_view model_name() const {
        return has_model_ ? std::string_view(model_.name) : std::string_view();
    }
    [[nodiscard]] bool take_scores(std::string_view text);
    void keep_scores(const std::vector<double> &scores);
    void keep(const CachedAnswer &answer) const;
    void fall_back();

    Work work_{};
    bool has_model_ = false;
    shmem::Model model_;  // that scores: a reranker, or an embedder where there is none
    std::span<const double> scores_;
};

std::vector<double> &scores_at_hand() {
    static std::vector<double> *scores = new std::vector<double>;
    return *scores;
}

// The model that would score now: a remembered reranker that no daemon serves any more gives way to an embedder that a
// daemon serves.
bool find_scoring_model(shmem::Model &model) {
    shmem::Model embedder;
    const bool has_reranker = find_default_model(shmem::ModelRole::Reranker, model);
    const bool has_embedder = find_ranking_embedder(embedder);
    if (has_embedder && (!has_reranker || (!model.served && embedder.served)))
        model = embedder;
    return has_reranker || has_embedder;
}

RerankingCall::RerankingCall(const RerankRequest &request) {
    work_.documents = check(request);
    observe::begin(shmem::CallKind::Rerank);
    work_.query = normalized(request.query.text, "the query");
    observe::prompt(work_.query);
    work_.task = request.task.or_else(kDefaultTask);
    work_.seed = request.seed;
    has_model_ = find_scoring_model(model_);
    observe::model(model_name());
    work_.fingerprint = model_.fingerprint;
    std::int64_t tokens = 0;
    for (const std::string_view document : work_.documents)
        tokens += estimated_tokens(work_.query) + estimated_tokens(document);
    spending = {shmem::CallKind::Rerank, model_name(), 1, tokens};
    use_cache = settings().cache_enabled;
    query = new_query(shmem::ValueKind::Text);
    if (use_cache)
        query.key = key_of(work_);
}

void RerankingCall::keep_scores(const std::vector<double> &scores) {
    auto *kept = static_cast<double *>(palloc(scores.size() * sizeof(double)));
    std::copy(scores.begin(), scores.end(), kept);
    scores_ = {kept, scores.size()};
}

bool RerankingCall::take_scores(std::string_view text) {
    if (!read_scores(text, work_.documents.size(), scores_at_hand()))
        return false;
    keep_scores(scores_at_hand());
    return true;
}

void RerankingCall::keep(const CachedAnswer &answer) const {
    core::CacheRecord row;
    row.operation = "rerank";
    row.scope = cache_scope();
    row.prompt = work_.query;
    row.model = model_.name;
    row.fingerprint = model_.fingerprint;
    row.numbers.seed = static_cast<std::int32_t>(work_.seed);
    if (is_for_hub())
        row.key_params = key_params(work_);
    remember(query, row, answer);
}

CallResult RerankingCall::accept(const Answer &answer, CachedAnswer &shared) {
    core::ReplyUsage usage;
    const auto read = [&](core::Problem &p) {
        return core::read_rerank_reply(answer.body, work_.documents, scores_at_hand(), usage, p);
    };
    if (!note_reading(answer, pg::try_guarded(problem, read), problem))
        return CallResult::Failed;
    std::size_t bytes = 0;  // the query stands before each document
    for (const std::string_view document : work_.documents)
        bytes += document.size() + work_.query.size() + work_.task.size();
    observe::engine(usage.engine_ms, believed_prompt_tokens(usage.prompt_tokens, bytes), 0);
    keep_scores(scores_at_hand());
    if (!has_model_)
        return CallResult::Unshared;
    if (use_cache) {
        shared.text = scores_text(scores_);
        keep(shared);
    }
    return CallResult::Answered;
}

void RerankingCall::fall_back() {
    if (apply_on_failure(problem) == Degraded::Null)
        return;
    core::Work work = pg::interruptible();
    pg::worked(work, "ranking by words", [&](core::Problem &) {
        core::LexicalScorer scorer(work_.query, work_.task, work);
        scores_at_hand().clear();
        for (std::size_t i = 0; i < work_.documents.size(); i++)
            scores_at_hand().push_back(scorer.score(work_.documents[i], i + 1, work));
        return true;
    });
    keep_scores(scores_at_hand());
}

void RerankingCall::finish() {
    if (has_failed(result))
        fall_back();
    took_us = observe::end();
}

bool RerankingCall::bytes(std::string_view &answer) const {
    answer = scores_text(scores_);
    return !scores_.empty();
}

std::span<const RankedDocument> RerankingCall::ordered() const {
    const std::size_t count = work_.documents.size();
    const bool has_scores = !scores_.empty();
    auto *ranked = static_cast<RankedDocument *>(palloc(count * sizeof(RankedDocument)));
    for (std::size_t i = 0; i < count; i++)
        ranked[i] = {static_cast<std::uint32_t>(i), has_scores ? scores_[i] : 0, has_scores};
    std::sort(ranked, ranked + count, [](const RankedDocument &a, const RankedDocument &b) {
        return a.score > b.score || (a.score == b.score && a.index < b.index);
    });
    return {ranked, count};
}

}  // namespace

std::span<const RankedDocument> rerank(const RerankRequest &request) {
    (void)shmem::segment();  // first of all: is the library preloaded?
    RerankingCall call(request);
    run(call);
    call.finish();
    return call.ordered();
}

ModelCall *begin_reranking(const RerankRequest &request) {
    (void)shmem::segment();
    return new (palloc(sizeof(RerankingCall))) RerankingCall(request);
}

}  // namespace steadytext::session
