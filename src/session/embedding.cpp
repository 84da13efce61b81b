// Embedding, step by step: see embedding.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/session/embedding.hpp"
#include "src/core/cache_key.hpp"
#include "src/core/json_text.hpp"
#include "src/core/nfc.hpp"
#include "src/core/reply.hpp"
#include "src/core/unit_vector.hpp"
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
#include "src/session/single_call.hpp"
#include "src/session/settings.hpp"

namespace steadytext::session {

namespace {

constexpr std::string_view kPrefix = "embed:";

void check(const EmbeddingRequest &request) {
    core::Problem problem;
    if (!core::check_prompt("Text", request.text, static_cast<std::size_t>(guc::max_prompt_bytes), problem) ||
        !core::check_seed(request.seed, problem) || !core::check_model(request.model, request.unsafe_mode, problem))
        pg::raise(problem);
    check_provider(shmem::ModelRole::Embedding, request.model.or_else(""));
}

core::Digest key_of(std::string_view text, const EmbeddingRequest &request, std::string_view scope,
                    std::string_view fingerprint) {
    static std::string *params = new std::string;
    core::Digest key;
    pg::guarded([&](core::Problem &problem) {
        params->clear();
        core::JsonObject json(*params, core::Escape::Ascii);
        json.add("fingerprint", fingerprint);
        json.add("model", request.model.or_else(""));
        json.add("scope", scope);
        json.add("seed", request.seed);
        json.close();
        return core::cache_key(kPrefix, text, *params, key, problem);
    });
    return key;
}

std::string_view wire_params(std::string_view text, const EmbeddingRequest &request) {
    static std::string *params = new std::string;
    pg::guarded([&](core::Problem &) {
        params->clear();
        core::JsonObject json(*params, core::Escape::Utf8);
        json.add("text_input", text);
        json.add("seed", request.seed);
        json.add_or_null("model", request.model.or_else(""));
        json.close();
        return true;
    });
    return *params;
}

// Asks a daemon for the vector in its own dimensions.
Asked ask_daemon(std::string_view text, const EmbeddingRequest &request, std::vector<float> &vector, core::Problem &problem) {
    Answer answer;
    ask({shmem::Operation::Embed, wire_params(text, request), request.model.or_else("")}, answer);
    problem = answer.problem;
    const auto read = [&](core::Problem &p) {
        if (!core::read_embed_reply(answer.body, vector, p))
            return false;
        // A daemon without a model answers zeros, the original's defect: no direction is no embedding.
        return core::make_unit(vector) ||
               p.set(core::sqlstate::kPrerequisiteState, "the daemon has no embedding model");
    };
    const bool good = answer.answered && note_reading(answer, pg::try_guarded(problem, read), problem);
    return good ? Asked::Answered : answer.timed_out ? Asked::TimedOut : Asked::Failed;
}

// The original's key: no seed, and the text as it came.
bool recall_original(std::string_view normal_text, const EmbeddingRequest &request, const CacheQuery &query,
                     CachedAnswer &found) {
    if (!guc::legacy_cache_keys)
        return false;
    const std::string_view model = request.model.or_else("");
    core::Digest original;
    pg::guarded([&](core::Problem &problem) { return core::original_embedding_key(request.text.text, model, original, problem); });
    char hex[core::kHexBytes];
    core::to_hex(original, hex);
    return recall_legacy(query, {{hex, sizeof hex}, key_of(normal_text, request, "", kLegacyFingerprint),
                                 {model, request.seed, -1}}, found);
}

// False if these are only the zeros that the original kept of failures.
bool take_cached(const CachedAnswer &found, std::vector<float> &vector) {
    bool good = false;
    pg::guarded([&](core::Problem &) {
        vector.resize(found.vector.size() / sizeof(float));
        memcpy(vector.data(), found.vector.data(), vector.size() * sizeof(float));
        good = core::make_unit(vector);
        return true;
    });
    return good;
}

// Takes the cached vector into `vector`, if there is one.
bool recall(std::string_view normal_text, const EmbeddingRequest &request, const CacheQuery &query,
            std::vector<float> &vector) {
    CachedAnswer found;
    const bool hit = (session::recall(query, found) || recall_original(normal_text, request, query, found)) &&
                     take_cached(found, vector);
    note_lookup(hit);
    return hit;
}

void keep(std::string_view text, const CacheQuery &query, const EmbeddingRequest &request, const shmem::Model &model,
          const CachedAnswer &answer) {
    core::CacheRecord row;
    row.operation = "embed";
    row.scope = cache_scope();
    row.prompt = text;
    row.model = model.name;
    row.fingerprint = model.fingerprint;
    row.numbers.seed = static_cast<std::int32_t>(request.seed);
    remember(query, row, answer);
}

// What one call works on.
struct Work {
    std::string_view text;  // in NFC, if normalize_prompts is on
    const EmbeddingRequest &request;
    const CacheQuery &query;
    const shmem::Model *model;
    std::vector<float> &vector;
};

// One of the sessions that want this vector now asks a daemon for all; false, with the problem, if there is none.
bool ask_for_all(Work work, core::Problem &problem) {
    const auto ask = [](void *passed, CachedAnswer &answer, core::Problem &failure) {
        const Work &of = *static_cast<Work *>(passed);
        const Asked asked = ask_daemon(of.text, of.request, of.vector, failure);
        if (asked != Asked::Answered)
            return asked;
        answer.kind = shmem::ValueKind::Embedding;
        answer.vector = {reinterpret_cast<const char *>(of.vector.data()), of.vector.size() * sizeof(float)};
        if (of.model == nullptr)
            return Asked::Private;
        keep(of.text, of.query, of.request, *of.model, answer);
        return asked;
    };
    CachedAnswer answer;
    const Served served = ask_once(work.query, {ask, &work}, answer, problem);
    return served == Served::Asked || (served == Served::Joined && take_cached(answer, work.vector));
}

// From the cache, else from a daemon; false if there is none, or a limit stands against it.
bool answer(const Work &work, bool use_cache) {
    Quota quota;
    const Spending spending{shmem::CallKind::Embed, work.model != nullptr ? work.model->name : work.request.model.or_else(""), 1,
                            estimated_tokens(work.text)};
    if (!admit_lookup(spending, quota))
        return false;
    if (use_cache && recall(work.text, work.request, work.query, work.vector)) {
        settle(quota, kUnknownTokens);
        return true;
    }
    if (!admit_miss(spending, quota))
        return false;
    core::Problem problem;
    const bool answered = use_cache ? ask_for_all(work, problem)
                                    : ask_daemon(work.text, work.request, work.vector, problem) == Asked::Answered;
    settle(quota, answered ? kUnknownTokens : 0);
    if (!answered)
        (void)degrade(problem);
    return answered;
}

}  // namespace

std::span<const float> embed(const EmbeddingRequest &request) {
    static std::vector<float> *vector = new std::vector<float>;
    static std::string *normal = new std::string;
    (void)shmem::segment();  // first of all: is the library preloaded?
    check(request);
    observe::begin(shmem::CallKind::Embed);
    std::string_view text = request.text.text;
    if (guc::normalize_prompts)
        pg::guarded([&](core::Problem &) {
            text = core::nfc(text, *normal);
            return true;
        });
    const shmem::Model *model = find_model(shmem::ModelRole::Embedding, request.model.or_else(""));
    observe::model(model != nullptr ? model->name : request.model.or_else(""));
    const bool use_cache = request.use_cache && settings().cache_enabled;
    CacheQuery query{{}, shmem::ValueKind::Embedding, cache_epoch()};
    if (use_cache)
        query.key = key_of(text, request, cache_scope(), model != nullptr ? model->fingerprint : "");

    const bool good = answer({text, request, query, model, *vector}, use_cache);
    (void)observe::end();
    if (!good)
        return {};
    const auto dimensions = static_cast<std::size_t>(guc::embedding_dimensions);
    auto *result = static_cast<float *>(palloc(dimensions * sizeof(float)));
    core::fit_unit(*vector, {result, dimensions});
    return {result, dimensions};
}

}  // namespace steadytext::session
