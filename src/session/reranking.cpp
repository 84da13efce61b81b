// Ranking, step by step: see reranking.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/session/reranking.hpp"
#include "src/core/cache_key.hpp"
#include "src/core/json_text.hpp"
#include "src/core/lexical_score.hpp"
#include "src/core/nfc.hpp"
#include "src/core/reply.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/answer_cache.hpp"
#include "src/session/call.hpp"
#include "src/session/degrade.hpp"
#include "src/session/limits.hpp"
#include "src/session/models.hpp"
#include "src/session/observe.hpp"
#include "src/session/scope.hpp"
#include "src/session/settings.hpp"
#include "src/session/single_call.hpp"

#include <algorithm>
#include <charconv>

namespace steadytext::session {

namespace {

constexpr std::string_view kPrefix = "rerank:";
constexpr std::string_view kDefaultTask = "Given a web search query, retrieve relevant passages that answer the query";

// What one call works on.
struct Work {
    std::string_view query;  // in NFC, if normalize_prompts is on
    std::string_view task;
    std::span<const std::string_view> documents;
    std::int64_t seed;
    const shmem::Model *model;  // that scores: a reranker, or an embedder where there is none
    const CacheQuery *cache;
    std::vector<double> *scores;  // in the order of the documents
};

[[noreturn]] void reject(const char *sqlstate, const char *message) {
    core::Problem problem;
    problem.set(sqlstate, "%s", message);
    pg::raise(problem);
}

// In the order in which the original complains.
std::span<const std::string_view> check(const RerankRequest &request) {
    const auto longest = static_cast<std::size_t>(guc::max_prompt_bytes);
    core::Problem problem;
    if (!core::check_prompt("Query", request.query, longest, problem))
        pg::raise(problem);
    if (request.documents_are_null)
        reject(core::sqlstate::kNullValueNotAllowed, "Documents cannot be null");
    if (request.documents.empty())
        reject(core::sqlstate::kInvalidParameterValue, "Documents array cannot be empty");
    auto *documents = static_cast<std::string_view *>(palloc(request.documents.size() * sizeof(std::string_view)));
    for (std::size_t i = 0; i < request.documents.size(); i++) {
        if (request.documents[i].is_null)
            reject(core::sqlstate::kNullValueNotAllowed, "Documents cannot contain null elements");
        documents[i] = request.documents[i].text;
        if (documents[i].size() > longest)
            reject(core::sqlstate::kProgramLimitExceeded, "Document is too long");
    }
    return {documents, request.documents.size()};
}

core::Digest key_of(const Work &work) {
    static std::string *params = new std::string;
    core::Digest key;
    pg::guarded([&](core::Problem &problem) {
        params->clear();
        core::JsonObject json(*params, core::Escape::Ascii);
        json.add("documents", work.documents);
        json.add("fingerprint", work.model != nullptr ? work.model->fingerprint : "");
        json.add("scope", cache_scope());
        json.add("seed", work.seed);
        json.add("task", work.task);
        json.close();
        return core::cache_key(kPrefix, work.query, *params, key, problem);
    });
    return key;
}

std::string_view wire_params(const Work &work) {
    static std::string *params = new std::string;
    pg::guarded([&](core::Problem &) {
        params->clear();
        core::JsonObject json(*params, core::Escape::Utf8);
        json.add("query", work.query);
        json.add("documents", work.documents);
        json.add("task", work.task);
        json.add_bool("return_scores", true);
        json.add("seed", std::max<std::int64_t>(work.seed, 0));
        json.close();
        return true;
    });
    return *params;
}

Asked ask_daemon(const Work &work, core::Problem &problem) {
    Answer answer;
    ask({shmem::Operation::Rerank, wire_params(work), work.model != nullptr ? std::string_view(work.model->name) : ""}, answer);
    problem = answer.problem;
    const bool good = answer.answered && pg::try_guarded(problem, [&](core::Problem &p) {
        return core::read_rerank_reply(answer.body, work.documents, *work.scores, p);
    });
    return good ? Asked::Answered : answer.timed_out ? Asked::TimedOut : Asked::Failed;
}

// ---- the cache keeps the scores as a JSON array --------------------------------------------------------------------

std::string_view scores_text(const std::vector<double> &scores) {
    static std::string *text = new std::string;
    pg::guarded([&](core::Problem &) {
        text->assign("[");
        for (std::size_t i = 0; i < scores.size(); i++) {
            if (i > 0)
                text->append(", ");
            core::append_json_number(*text, scores[i]);
        }
        text->append("]");
        return true;
    });
    return *text;
}

bool read_scores(std::string_view text, const Work &work) {
    bool good = false;
    pg::guarded([&](core::Problem &) {
        work.scores->clear();
        const char *at = text.data();
        const char *end = at + text.size();
        while (at != end) {
            double score = 0;
            const auto [next, error] = std::from_chars(at + 1, end, score);
            if (error != std::errc())
                break;
            work.scores->push_back(score);
            at = next;
            while (at != end && *at != ',' && *at != ']')
                at++;
            if (at != end && *at == ',' && at + 1 != end && at[1] == ' ')
                at++;
        }
        good = work.scores->size() == work.documents.size();
        return true;
    });
    return good;
}

bool recall(const Work &work) {
    CachedAnswer found;
    const bool hit = session::recall(*work.cache, found) && read_scores(found.text, work);
    note_lookup(hit);
    return hit;
}

void keep(const Work &work, const CachedAnswer &answer) {
    core::CacheRecord row;
    row.operation = "rerank";
    row.scope = cache_scope();
    row.prompt = work.query;
    row.model = work.model->name;
    row.fingerprint = work.model->fingerprint;
    row.numbers.seed = static_cast<std::int32_t>(work.seed);
    remember(*work.cache, row, answer);
}

// One of the sessions that want this ranking now asks a daemon for all.
bool ask_for_all(Work work, core::Problem &problem) {
    const auto ask = [](void *passed, CachedAnswer &answer, core::Problem &failure) {
        const Work &of = *static_cast<Work *>(passed);
        const Asked asked = ask_daemon(of, failure);
        if (asked != Asked::Answered)
            return asked;
        answer.text = pg::copy_text(scores_text(*of.scores));
        if (of.model == nullptr)
            return Asked::Private;
        keep(of, answer);
        return asked;
    };
    CachedAnswer answer;
    const Served served = ask_once(*work.cache, {ask, &work}, answer, problem);
    return served == Served::Asked || (served == Served::Joined && read_scores(answer.text, work));
}

// ---- from question to order ----------------------------------------------------------------------------------------

enum class Scored { Yes, No };

Scored fall_back(const Work &work, const core::Problem &problem) {
    if (degrade(problem) == Degraded::Null)
        return Scored::No;
    pg::guarded([&](core::Problem &) {
        work.scores->clear();
        for (std::size_t i = 0; i < work.documents.size(); i++)
            work.scores->push_back(core::lexical_score(work.query, work.documents[i], work.task, i + 1));
        return true;
    });
    return Scored::Yes;
}

// From the cache, else from a daemon, else by words.
Scored score(const Work &work, bool use_cache) {
    std::int64_t tokens = 0;
    for (const std::string_view document : work.documents)
        tokens += estimated_tokens(work.query) + estimated_tokens(document);
    Quota quota;
    const Spending spending{shmem::CallKind::Rerank, work.model != nullptr ? std::string_view(work.model->name) : "", 1, tokens};
    if (!admit_lookup(spending, quota))
        return Scored::No;
    if (use_cache && recall(work)) {
        settle(quota, kUnknownTokens);
        return Scored::Yes;
    }
    if (!admit_miss(spending, quota))
        return Scored::No;
    core::Problem problem;
    const bool answered = use_cache ? ask_for_all(work, problem) : ask_daemon(work, problem) == Asked::Answered;
    settle(quota, answered ? kUnknownTokens : 0);
    return answered ? Scored::Yes : fall_back(work, problem);
}

std::span<const RankedDocument> ordered(const Work &work, bool has_scores) {
    const std::size_t count = work.documents.size();
    auto *ranked = static_cast<RankedDocument *>(palloc(count * sizeof(RankedDocument)));
    for (std::size_t i = 0; i < count; i++)
        ranked[i] = {static_cast<std::uint32_t>(i), has_scores ? (*work.scores)[i] : 0, has_scores};
    std::sort(ranked, ranked + count, [](const RankedDocument &a, const RankedDocument &b) {
        return a.score > b.score || (a.score == b.score && a.index < b.index);
    });
    return {ranked, count};
}

std::string_view normal(std::string_view query) {
    static std::string *text = new std::string;
    if (guc::normalize_prompts)
        pg::guarded([&](core::Problem &) {
            query = core::nfc(query, *text);
            return true;
        });
    return query;
}

}  // namespace

std::span<const RankedDocument> rerank(const RerankRequest &request) {
    static std::vector<double> *scores = new std::vector<double>;
    (void)shmem::segment();  // first of all: is the library preloaded?
    Work work{};
    work.documents = check(request);
    observe::begin(shmem::CallKind::Rerank);
    work.query = normal(request.query.text);
    work.task = request.task.or_else(kDefaultTask);
    work.seed = request.seed;
    work.scores = scores;
    work.model = find_model(shmem::ModelRole::Reranker, {});
    if (work.model == nullptr)
        work.model = find_model(shmem::ModelRole::Embedding, {});
    observe::model(work.model != nullptr ? work.model->name : "");
    const bool use_cache = settings().cache_enabled;
    CacheQuery query{{}, shmem::ValueKind::Text, cache_epoch()};
    work.cache = &query;
    if (use_cache)
        query.key = key_of(work);
    const Scored scored = score(work, use_cache);
    (void)observe::end();
    return ordered(work, scored == Scored::Yes);
}

}  // namespace steadytext::session
