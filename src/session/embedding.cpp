// Embedding, step by step: see embedding.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/session/embedding.hpp"
#include "src/core/embed_texts.hpp"
#include "src/core/json_text.hpp"
#include "src/core/reply.hpp"
#include "src/core/unit_vector.hpp"
#include "src/guc.hpp"
#include "src/core/cache_key.hpp"
#include "src/pg/written.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"
#include "src/session/on_failure.hpp"
#include "src/session/equal_answers.hpp"
#include "src/session/models.hpp"
#include "src/session/observe.hpp"
#include "src/session/prompt_tokens.hpp"
#include "src/session/running_call.hpp"
#include "src/session/cache_scope.hpp"
#include "src/session/settings.hpp"

#include <algorithm>
#include <new>

namespace steadytext::session {

namespace {

constexpr std::string_view kPrefix = "embed:";

void check(const EmbeddingRequest &request) {
    inspect_prompt("text_input", request.text);
    inspect_name("model", request.model, rules::kModel.most);
    require(rules::kText, request.text);
    require(rules::kSeed, request.seed);
    check_model(shmem::ModelRole::Embedding, request.model, request.unsafe_mode);
}

// As in src/session/generation.cpp.
std::string_view key_params(const EmbeddingRequest &request, std::string_view scope, std::string_view fingerprint) {
    return pg::written_json(core::Escape::Ascii, [&](core::JsonObject &json) {
        json.add("fingerprint", fingerprint);
        json.add("model", request.model.or_else(""));
        json.add("scope", scope);
        json.add("seed", request.seed);
    });
}

core::Digest key_of(std::string_view text, const EmbeddingRequest &request, std::string_view scope,
                    std::string_view fingerprint) {
    return cache_key(kPrefix, text, key_params(request, scope, fingerprint));
}

std::string_view wire_params(std::string_view text, const EmbeddingRequest &request, std::string_view asked) {
    return pg::written([&](std::string &params) { core::write_embed_params(text, request.seed, asked, params); });
}

// The original kept zeros for embeddings that had failed.
bool has_direction(const void *, CachedAnswer &answer) {
    const auto *numbers = reinterpret_cast<const float *>(answer.vector.data());
    return std::any_of(numbers, numbers + answer.vector.size() / sizeof(float),
                       [](float number) { return number != 0; });
}

// The original's key: no seed, and the text as it came.
bool recall_original(std::string_view normal_text, const EmbeddingRequest &request, const CacheQuery &query,
                     CachedAnswer &found) {
    if (!guc::legacy_cache_keys)
        return false;
    const std::string_view model = request.model.or_else("");
    core::Digest original;
    pg::guarded([&](core::Problem &problem) {
        return core::original_embedding_key(request.text.text, model, original, problem);
    });
    char hex[core::kHexBytes];
    core::to_hex(original, hex);
    return recall_legacy(query,
                         {{hex, sizeof hex},
                          key_of(normal_text, request, "", kLegacyFingerprint),
                          {model, request.seed, -1},
                          has_direction},
                         found);
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
    if (is_for_hub())
        row.key_params = key_params(request, row.scope, model.fingerprint);
    remember(query, row, answer);
}

// The vector in the model's own dimensions lasts until the next vector: only `fitted` stays.
std::vector<float> &own_dimensions() {
    static std::vector<float> *vector = new std::vector<float>;
    return *vector;
}

class EmbeddingCall final : public ModelCall {
public:
    explicit EmbeddingCall(const EmbeddingRequest &request);

    [[nodiscard]] bool recall_original(CachedAnswer &found) override {
        return session::recall_original(text_, request_, query, found);
    }
    [[nodiscard]] bool accept_cached(const CachedAnswer &found) override;
    void keep_from_hub(const CachedAnswer &found) override {
        if (chosen_.is_known)
            keep(text_, query, request_, chosen_.model, found);
    }
    [[nodiscard]] SlotRequest prepare() override {
        replace_if_gone(shmem::ModelRole::Embedding, chosen_, request_.model.or_else(""));
        return {shmem::Operation::Embed, pg::copy_text(wire_params(text_, request_, name_on_wire())), routed_to()};
    }
    [[nodiscard]] bool choose_again() override;
    [[nodiscard]] CallResult accept(const Answer &answer, CachedAnswer &shared) override;
    void finish() override;
    [[nodiscard]] bool bytes(std::string_view &answer) const override {
        answer = {reinterpret_cast<const char *>(fitted_.data()), fitted_.size_bytes()};
        return !fitted_.empty();
    }
    [[nodiscard]] std::span<const float> vector() const { return fitted_; }

private:
    void choose();
    [[nodiscard]] bool fit(std::span<const float> vector);
    // Vectors of two models have nothing in common: a call that names no model gets the default model, and no
    // other.
    [[nodiscard]] std::string_view routed_to() const {
        const bool is_default = chosen_.asked.empty() && chosen_.is_known && chosen_.model.served;
        return is_default ? std::string_view(chosen_.model.name) : chosen_.asked;
    }
    // The default model need not be the default of every daemon that has it. One that takes any name knows no other.
    [[nodiscard]] std::string_view name_on_wire() const {
        return chosen_.model.takes_any ? chosen_.asked : routed_to();
    }

    EmbeddingRequest request_;
    std::string_view text_;  // in NFC, if normalize_prompts is on
    ChosenModel chosen_;
    std::span<const float> fitted_;
    int cut_tokens_ = 0;
};

EmbeddingCall::EmbeddingCall(const EmbeddingRequest &request) : request_(request) {
    check(request_);
    observe::begin(shmem::CallKind::Embed);
    text_ = normalized(request_.text.text, "the text");
    observe::prompt(text_);
    use_cache = request_.use_cache && settings().cache_enabled;
    run = EqualAnswers::run_at_hand();
    query = new_query(shmem::ValueKind::Embedding);
    choose();
}

// The model, and what depends on it.
void EmbeddingCall::choose() {
    const std::string_view name = request_.model.or_else("");
    chosen_ = choose_model(shmem::ModelRole::Embedding, name);
    const std::string_view model = chosen_.is_known ? std::string_view(chosen_.model.name) : name;
    spending = {shmem::CallKind::Embed, model, 1, prompt_tokens(shmem::CallKind::Embed, model, text_)};
    observe::model(chosen_.model.name);
    if (use_cache || request_.wants_key || run != 0)
        query.key = key_of(text_, request_, cache_scope(), chosen_.model.fingerprint);
}

bool EmbeddingCall::choose_again() {
    const std::string_view before = pg::copy_text(routed_to());
    choose();
    replace_if_gone(shmem::ModelRole::Embedding, chosen_, request_.model.or_else(""));
    return routed_to() != before;
}

// False if no direction is left in the wanted dimensions.
bool EmbeddingCall::fit(std::span<const float> vector) {
    const auto dimensions = static_cast<std::size_t>(guc::embedding_dimensions);
    auto *fitted = static_cast<float *>(palloc(dimensions * sizeof(float)));
    if (!core::fit_unit(vector, {fitted, dimensions}))
        return false;
    fitted_ = {fitted, dimensions};
    return true;
}

CallResult EmbeddingCall::accept(const Answer &answer, CachedAnswer &shared) {
    std::vector<float> &vector = own_dimensions();
    core::ReplyUsage usage;
    const auto read = [&](core::Problem &p) {
        if (!core::read_embed_reply(answer.body, vector, usage, p))
            return false;
        // A daemon without a model answers zeros, the original's defect: no direction is no embedding.
        return core::make_unit(vector) ||
               p.set(core::sqlstate::kPrerequisiteState, "the daemon has no embedding model");
    };
    if (!note_reading(answer, pg::try_guarded(problem, read), problem))
        return CallResult::Failed;
    if (!fit(vector)) {
        problem.set(core::sqlstate::kProtocolViolation, "the first %d dimensions of the daemon's vector are zero",
                    guc::embedding_dimensions);
        return CallResult::Failed;
    }
    const int prompt_tokens = believed_prompt_tokens(usage.prompt_tokens, text_.size());
    observe::engine(usage.engine_ms, prompt_tokens, 0);
    note_prompt_tokens(spending.kind, spending.model, text_, prompt_tokens);
    cut_tokens_ = usage.cut_tokens;
    shared.kind = shmem::ValueKind::Embedding;
    shared.vector = {reinterpret_cast<const char *>(vector.data()), vector.size() * sizeof(float)};
    if (!chosen_.is_known || (!usage.fingerprint.empty() && usage.fingerprint != chosen_.model.fingerprint))
        return CallResult::Unshared;
    if (use_cache)
        keep(text_, query, request_, chosen_.model, shared);
    return CallResult::Answered;
}

bool EmbeddingCall::accept_cached(const CachedAnswer &found) {
    std::vector<float> &vector = own_dimensions();
    bool has_direction = false;
    pg::guarded([&] {
        vector.resize(found.vector.size() / sizeof(float));
        memcpy(vector.data(), found.vector.data(), vector.size() * sizeof(float));
        has_direction = core::make_unit(vector);
    });
    return has_direction && fit(vector);
}

// Cutting is asked for (steadytext.embedding_overflow), but not seen otherwise.
void warn_of_cut(int tokens) {
    constexpr const char *kTruncation = "01004";
    core::Problem problem;
    problem.set(kTruncation, "a text is beyond the embedding model's window and was cut");
    problem.with_detail("%d of its tokens are left out.", tokens);
    problem.with_hint("With steadytext.embedding_overflow = mean the vector is the average of all its parts.");
    warn_once(problem);
}

void EmbeddingCall::finish() {
    if (cut_tokens_ > 0)
        warn_of_cut(cut_tokens_);
    if (has_failed(result))
        (void)apply_on_failure(problem);
    took_us = observe::end();
}

}  // namespace

std::span<const float> embed(const EmbeddingRequest &request) {
    (void)shmem::segment();  // first of all: is the library preloaded?
    EmbeddingCall call(request);
    run(call);
    call.finish();
    return call.vector();
}

ModelCall *begin_embedding(const EmbeddingRequest &request) {
    (void)shmem::segment();
    return new (palloc(sizeof(EmbeddingCall))) EmbeddingCall(request);
}

}  // namespace steadytext::session
