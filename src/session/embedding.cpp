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
#include "src/session/models.hpp"
#include "src/session/scope.hpp"
#include "src/session/settings.hpp"

namespace steadytext::session {

using shmem::Counter;

namespace {

constexpr std::string_view kPrefix = "embed:";

void count(Counter counter) {
    shmem::segment().counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), counter);
}

void check(const EmbeddingRequest &request) {
    core::Problem problem;
    if (!core::check_prompt("Text", request.text, static_cast<std::size_t>(guc::max_prompt_bytes), problem) ||
        !core::check_seed(request.seed, problem) || !core::check_model(request.model, request.unsafe_mode, problem))
        pg::raise(problem);
}

core::Digest key_of(std::string_view text, const EmbeddingRequest &request, std::string_view fingerprint) {
    static std::string *params = new std::string;
    core::Digest key;
    const std::string_view scope = cache_scope();
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

// Asks a daemon for the vector in its own dimensions; false, with the problem, if there is none.
bool ask_daemon(std::string_view text, const EmbeddingRequest &request, std::vector<float> &vector,
                core::Problem &problem) {
    Answer answer;
    ask({shmem::Operation::Embed, wire_params(text, request), request.model.or_else("")}, answer);
    problem = answer.problem;
    if (!answer.answered)
        return false;
    return pg::try_guarded(problem, [&](core::Problem &p) {
        if (!core::read_embed_reply(answer.body, vector, p))
            return false;
        // A daemon without a model answers zeros, the original's defect: no direction is no embedding.
        return core::make_unit(vector) ||
               p.set(core::sqlstate::kPrerequisiteState, "the daemon has no embedding model");
    });
}

}  // namespace

std::span<const float> embed(const EmbeddingRequest &request) {
    static std::vector<float> *vector = new std::vector<float>;
    static std::string *normal = new std::string;
    (void)shmem::segment();  // first of all: is the library preloaded?
    check(request);
    count(Counter::Requests);
    std::string_view text = request.text.text;
    if (guc::normalize_prompts)
        pg::guarded([&](core::Problem &) {
            text = core::nfc(text, *normal);
            return true;
        });
    const shmem::Model *model = find_model(shmem::ModelRole::Embedding, request.model.or_else(""));
    const bool use_cache = request.use_cache && settings().cache_enabled;
    core::Digest key{};
    if (use_cache)
        key = key_of(text, request, model != nullptr ? model->fingerprint : "");

    if (use_cache && recall_vector(key, *vector)) {
        count(Counter::CacheHits);
    } else {
        if (use_cache)
            count(Counter::CacheMisses);
        core::Problem problem;
        if (!ask_daemon(text, request, *vector, problem)) {
            (void)degrade(problem);
            return {};
        }
        if (use_cache && model != nullptr)
            remember_vector(key, *vector);
    }
    const auto dimensions = static_cast<std::size_t>(guc::embedding_dimensions);
    auto *result = static_cast<float *>(palloc(dimensions * sizeof(float)));
    core::fit_unit(*vector, {result, dimensions});
    return {result, dimensions};
}

}  // namespace steadytext::session
