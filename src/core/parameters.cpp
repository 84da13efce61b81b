// The arguments of each SQL function: see parameters.hpp. To add an argument is to add it where its function stands. Regime: pure.
#include "src/core/parameters.hpp"

#include "src/core/argument_rules.hpp"
#include "src/core/operator_rules.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

namespace steadytext::core {

namespace {

// The arguments of a function in their order: its own, or the first `count` of those of the function `same_as`.
struct Signature {
    struct Argument {
        const char *name;
        Rule rule;
    };
    std::string_view function;
    std::initializer_list<Argument> own;
    std::string_view same_as = {};
    std::size_t count = SIZE_MAX;
};

}  // namespace

namespace rules {

constexpr Parameter kGenerateOptions[] = {
    {"options", "max_tokens", kMaxTokens},
    {"options", "seed", kSeed},
    {"options", "temperature", kTemperature},
    {"options", "eos_string", kEosString},
    {"options", "model", kModel},
    {"options", "size", kSize},
    {"options", "use_cache", kFlag},
    {"options", "unsafe_mode", kFlag},
    {"options", "prefix", kPrompt},
    {nullptr, nullptr, {}},
};

namespace {

constexpr Signature kSignatures[] = {
    {"steadytext_generate",
     {{"prompt", kPrompt},
      {"max_tokens", kMaxTokens},
      {"use_cache", kFlag},
      {"seed", kSeed},
      {"eos_string", kEosString},
      {"model", kModel},
      {"model_repo", kModelFile},
      {"model_filename", kModelFile},
      {"size", kSize},
      {"unsafe_mode", kFlag}}},
    {"steadytext_generate_stream", {}, "steadytext_generate"},
    {"st_generate_stream", {}, "steadytext_generate"},
    {"_steadytext.generate_stream", {}, "steadytext_generate"},
    {"steadytext_generate_ex", {{"prompt", kPrompt}, {"options", kOptions}}},
    {"steadytext_generate_cached", {{"prompt", kPrompt}, {"max_tokens", kMaxTokens}, {"seed", kSeed}}},
    {"steadytext_generate_json",
     {{"prompt", kPrompt},
      {"schema", kSchema},
      {"max_tokens", kMaxTokens},
      {"use_cache", kFlag},
      {"seed", kAnySeed},
      {"unsafe_mode", kFlag},
      {"model", kModel}}},
    {"st_generate_json", {}, "steadytext_generate_json", 6},
    {"steadytext_generate_regex",
     {{"prompt", kPrompt},
      {"pattern", kPattern},
      {"max_tokens", kMaxTokens},
      {"use_cache", kFlag},
      {"seed", kAnySeed},
      {"unsafe_mode", kFlag},
      {"model", kModel}}},
    {"st_generate_regex", {}, "steadytext_generate_regex", 6},
    {"steadytext_generate_choice",
     {{"prompt", kPrompt},
      {"choices", kChoices},
      {"max_tokens", kMaxTokens},
      {"use_cache", kFlag},
      {"seed", kAnySeed},
      {"unsafe_mode", kFlag},
      {"model", kModel}}},
    {"st_generate_choice", {}, "steadytext_generate_choice", 6},
    {"steadytext_if", {{"condition", kCondition}, {"input", kJudgedText}, {"model", kModel}}},
    {"steadytext_classify", {{"input", kJudgedText}, {"labels", kLabels}, {"model", kModel}}},
    {"steadytext_classify_all", {}, "steadytext_classify"},
    {"steadytext_score", {{"question", kQuestion}, {"input", kJudgedText}, {"model", kModel}}},
    {"steadytext_count_tokens", {{"input", kCountedText}, {"model", kModel}}},

    // A refusal is a row of theirs.
    {"steadytext_try_generate",
     {{"prompt", kAny},
      {"max_tokens", kAny},
      {"use_cache", kAny},
      {"seed", kAny},
      {"eos_string", kAny},
      {"model", kAny},
      {"model_repo", kAny},
      {"model_filename", kAny},
      {"size", kAny},
      {"unsafe_mode", kAny}}},
    {"steadytext_try_embed",
     {{"text_input", kAny}, {"use_cache", kAny}, {"seed", kAny}, {"model", kAny}, {"unsafe_mode", kAny}}},
    {"steadytext_try_if", {{"condition", kAny}, {"input", kAny}, {"model", kAny}}},
    {"steadytext_try_classify", {{"input", kAny}, {"labels", kAny}, {"model", kAny}}},
    {"steadytext_try_extract",
     {{"input", kAny},
      {"row_type", example("NULL::public.steadytext_config")},
      {"max_tokens", kAny},
      {"use_cache", kAny},
      {"seed", kAny},
      {"unsafe_mode", kAny},
      {"model", kAny}}},

    // Extraction.
    {"steadytext_extract",
     {{"input", kInput},
      {"row_type", example("NULL::public.steadytext_config")},
      {"max_tokens", kMaxTokens},
      {"use_cache", kFlag},
      {"seed", kAnySeed},
      {"unsafe_mode", kFlag},
      {"model", kModel}}},
    {"_steadytext.extract_json",
     {{"input", kInput},
      {"row_type", kRowType},
      {"max_tokens", kMaxTokens},
      {"use_cache", kFlag},
      {"seed", kAnySeed},
      {"unsafe_mode", kFlag},
      {"model", kModel}}},
    {"_steadytext.extract_row", {{"row_type", example("NULL::public.steadytext_config")}, {"answer", kAny}}},

    // Batches, embeddings and rankings.
    {"steadytext_generate_batch", {{"prompts", kPrompts}, {"max_tokens", kMaxTokens}, {"use_cache", kFlag}}},
    {"steadytext_embed_batch", {{"texts", kTexts}, {"use_cache", kFlag}}},
    {"steadytext_embed",
     {{"text_input", kText}, {"use_cache", kFlag}, {"seed", kSeed}, {"model", kModel}, {"unsafe_mode", kFlag}}},
    {"steadytext_embed_cached", {{"text_input", kText}, {"seed", kSeed}, {"model", kModel}, {"unsafe_mode", kFlag}}},
    {"steadytext_rerank",
     {{"query", kQuery}, {"documents", kDocuments}, {"task", kTask}, {"return_scores", kFlag}, {"seed", kSeed}}},
    {"steadytext_rerank_docs_only", {{"query", kQuery}, {"documents", kDocuments}, {"task", kTask}, {"seed", kSeed}}},
    {"steadytext_rerank_top_k",
     {{"query", kQuery},
      {"documents", kDocuments},
      {"top_k", kTopK},
      {"task", kTask},
      {"return_scores", kFlag},
      {"seed", kSeed}}},
    {"st_rerank_top_k",
     {{"query", kQuery},
      {"documents", kDocuments},
      {"k", kTopK},
      {"task", kTask},
      {"return_scores", kFlag},
      {"seed", kSeed}}},
    {"steadytext_rerank_batch",
     {{"queries", kQueries},
      {"documents", kMaybeDocuments},
      {"task", kTask},
      {"return_scores", kFlag},
      {"seed", kSeed}}},

    // Facts and summaries.
    {"steadytext_extract_facts", {{"input_text", kFactsText}, {"max_facts", kMaxFacts}}},
    {"steadytext_deduplicate_facts", {{"facts_array", kAny}, {"similarity_threshold", kSimilarity}}},
    {"st_deduplicate_facts", {{"facts", kAny}, {"similarity_threshold", kSimilarity}}},
    {"steadytext_summarize_accumulate", {{"state", kAny}, {"value", kSummarizedText}, {"metadata", kAny}}},
    {"steadytext_summarize_combine", {{"state1", kAny}, {"state2", kAny}}},
    {"steadytext_summarize_combine_states", {{"state1", kAny}, {"partial_state", kAny}}},
    {"steadytext_summarize_finalize", {{"state", kAny}}},
    {"steadytext_summarize_text",
     {{"input_text", kSummarizedText}, {"metadata", kAny}, {"model", kModel}, {"unsafe_mode", kFlag}}},

    // The cache.
    {"steadytext_cache_key",
     {{"prompt", free_text(kLongestPrompt)},
      {"params", free_text(kLongestPrompt).shown_by("'{}'")},
      {"prefix", free_text(kLongestPrompt)}}},
    {"steadytext_cache_top", {{"n", kCount}}},
    {"steadytext_cache_invalidate", {{"cache_key", kKey}, {"prompt", kKey}, {"model", kModel}}},
    {"steadytext_cache_preview_eviction", {{"preview_count", kCount}}},
    {"steadytext_cache_migrate_keys", {{"batch_size", kBatch}}},
    {"steadytext_cache_evict_by_age",
     {{"target_entries", kEntries}, {"target_size_mb", kMegabytes}, {"batch_size", kBatch}, {"min_age_hours", kHours}}},
    {"steadytext_cache_evict_by_frecency",
     {{"target_entries", kEntries},
      {"target_size_mb", kMegabytes},
      {"batch_size", kBatch},
      {"min_access_count", kCount},
      {"min_age_hours", kHours}}},
    {"_steadytext.scope_role", {{"scope", example("'a/b'")}}},
    {"_steadytext.cache_evict_to",
     {{"by", kOrder},
      {"target_entries", kEntries},
      {"target_size_mb", kMegabytes},
      {"batch_size", kBatch},
      {"min_access_count", kCount},
      {"min_age_hours", kHours}}},
    {"_steadytext.cache_evict",
     {{"by", kOrder},
      {"target_entries", kBigCount.required()},
      {"target_bytes", kBigCount.required()},
      {"batch_size", kBatch.required()},
      {"below_count", kBigCount.required()},
      {"older_than", example("'2000-01-01'")},
      {"evicted", kBigCount.required()},
      {"freed", kBigCount.required()}}},
    {"_steadytext.cache_excess", {{"target_entries", kBigCount.required()}, {"target_bytes", kBigCount.required()}}},
    {"_steadytext.cache_limit",
     {{"config_key", kConfigKey}, {"seeded", real(0, 1'000'000'000)}, {"setting", line(255)}}},
    {"_steadytext.cache_quietly", {{"quietly", kFlag}}},
    {"_steadytext.cache_migrated_key", {{"entry", example("NULL")}}},
    {"_steadytext.cache_migrate", {{"most", kBatch}}},
    {"_steadytext.cache_ledger_holds", {{"entries", example("0")}, {"bytes", example("0")}}},

    // Daemons, limits, budgets and prices.
    {"steadytext_daemon_register", {{"endpoint", kEndpoint}, {"weight", kWeight}}},
    {"steadytext_daemon_set_weight", {{"endpoint", kEntry}, {"weight", kWeight}}},
    {"steadytext_daemon_unregister", {{"endpoint", kEntry}}},
    {"steadytext_daemon_drain", {{"endpoint", kEntry}}},
    {"steadytext_daemon_undrain", {{"endpoint", kEntry}}},
    {"steadytext_daemon_trip", {{"endpoint", kEntry}}},
    {"steadytext_daemon_reset", {{"endpoint", kEntry}}},
    {"steadytext_rate_limit_set",
     {{"role", kRole},
      {"operation", kOperation},
      {"requests", kCount},
      {"per", kWindow},
      {"tokens", kBigCount},
      {"concurrency", kCount}}},
    {"steadytext_rate_limit_get", {{"role", example("'*'")}}},
    {"steadytext_rate_limit_remove", {{"role", example("'*'")}, {"operation", example("'*'")}}},
    {"steadytext_rate_limit_reset", {{"role", example("'*'")}}},
    {"steadytext_budget_set",
     {{"role", kRole},
      {"period", kPeriod},
      {"tokens", kBigCount.required()},
      {"mode", word("warn enforce").required()}}},
    {"steadytext_budget_remove", {{"role", example("'*'")}, {"period", example("'7 days'")}}},
    {"steadytext_budget_get", {{"role", example("'*'")}}},
    {"steadytext_price_set",
     {{"model", line(127).required()}, {"per_million_prompt", kPrice}, {"per_million_completion", kPrice}}},
    {"steadytext_explain", {{"query", example("'SELECT 1'")}}},
    {"_steadytext.explain", {{"query", example("'SELECT 1'")}}},
    {"_steadytext.budget_used", {{"role", example("'*'")}, {"period", example("'7 days'")}}},

    // Configuration, administrators and the hub.
    {"steadytext_config_get", {{"config_key", kConfigKey}}},
    {"st_config_get", {{"key", kConfigKey}}},
    {"steadytext_config_set", {{"config_key", kConfigKey.required()}, {"config_value", kConfigValue.required()}}},
    {"st_config_set", {{"key", kConfigKey.required()}, {"value", kConfigValue.required()}}},
    {"steadytext_admin_grant", {{"role", example("'pg_monitor'")}}},
    {"_steadytext.admin_check", {{"role", example("'pg_monitor'")}}},
    {"steadytext_admin_revoke", {{"role", example("'pg_monitor'")}}},
    {"_steadytext.hub_take",
     {{"format", example("1")},
      {"node", example("1")},
      {"batch", example("1")},
      {"clears", example("0")},
      {"records", example("'{}'")},
      {"node_role", example("10")},
      {"roles", example("'{}'")}}},
    {"_steadytext.hub_put",
     {{"format", example("1")},
      {"node", example("1")},
      {"batch", example("2")},
      {"clears", example("0")},
      {"records", example("'{}'")}}},
    {"_steadytext.hub_number", {{"format", example("1")}}},
    {"_steadytext.hub_watch", {{"format", example("1")}}},
    {"_steadytext.hub_get",
     {{"format", example("1")}, {"scopes", example("'{}'")}, {"keys", example("'{}'")}, {"wishes", example("'{}'")}}},
    {"_steadytext.hub_lease",
     {{"role", example("10")}, {"key", example("decode(repeat('00', 32), 'hex')")}, {"wish", example("0")}}},
    {"_steadytext.hub_clear", {{"format", example("1")}}},
    {"_steadytext.hub_wish", {{"format", example("1")}, {"roles", example("'{}'")}}},
    {"_steadytext.hub_forget", {{"every", example("false")}, {"roles", example("'{}'")}}},
    {"_steadytext.hub_obey", {{"hub", example("'h'")}, {"clears", example("0")}}},
    {"_steadytext.hub_role", {{"role", example("'pg_monitor'")}}},
    {"_steadytext.vector_bytes", {{"vector", example("'[1]'")}}},
    {"steadytext_hub_allow", {{"node", kNode}, {"role", kNodesRole}, {"shares", kFlag}}},
    {"steadytext_hub_disallow", {{"node", kNode}, {"role", kNodesRole}}},
    {"steadytext_validate_endpoint", {{"host", example("'localhost'")}, {"port", example("5555")}}},
    {"steadytext_validate_table_name", {{"name", example("'t'")}}},

    // Incidents, and checks that other functions call.
    {"_steadytext.incident_note",
     {{"condition", line(63).required()},
      {"subject", free_text(1023).required()},
      {"severity", line(63).required()},
      {"opens", kFlag},
      {"at", example("'2000-01-01'")},
      {"value", example("1")},
      {"response", free_text(1023)}}},
    {"_steadytext.incidents_settle",
     {{"conditions", example("ARRAY['a']")}, {"subjects", example("ARRAY['a']")}, {"at", example("'2000-01-01'")}}},
    {"_steadytext.inspect", {{"parameter", example("'model'")}, {"name", example("'a'")}}},
    {"_steadytext.check",
     {{"function", example("'steadytext_cache_stats'")}, {"arguments", example("VARIADIC ARRAY[]::int[]")}}},
    {"_steadytext.follow_daemon_address", {{"config_key", example("'some_key'")}, {"config_value", example("'a'")}}},
    {"_steadytext.check_config", {{"config_key", kConfigKey}, {"config_value", kConfigValue}}},

    // Asynchronous calls. Other errors are reported when the call is carried out.
    {"_steadytext.queue_add",
     {{"request_type", kRequestType},
      {"prompt", kAnyText},
      {"prompts", kAnyTexts},
      {"params", kAny},
      {"priority", kPriority},
      {"max_retries", kRetries},
      {"callback", kAny},
      {"channel", word("steadytext_queue steadytext_async steadytext_queue_notify").required()}}},
    {"_steadytext.queue_wait", {{"request_ids", kRequests}, {"timeout_seconds", kTimeout}}},
    {"_steadytext.queue_check", {{"request_type", kRequestType}, {"params", kJobParams}}},
    {"steadytext_enqueue",
     {{"request_type", kRequestType},
      {"params", kJobParams},
      {"priority", kPriority},
      {"max_retries", kRetries},
      {"callback", kAny}}},
    {"steadytext_generate_async", {{"prompt", kJobPrompt}, {"max_tokens", kJobMaxTokens}}},
    {"steadytext_generate_batch_async", {{"prompts", kJobPrompts}, {"max_tokens", kJobMaxTokens}}},
    {"steadytext_generate_json_async",
     {{"prompt", kJobPrompt},
      {"schema", kJobSchema},
      {"max_tokens", kJobMaxTokens},
      {"use_cache", kFlag},
      {"seed", kAnySeed}}},
    {"steadytext_generate_regex_async",
     {{"prompt", kJobPrompt},
      {"pattern", kPattern},
      {"max_tokens", kJobMaxTokens},
      {"use_cache", kFlag},
      {"seed", kAnySeed}}},
    {"steadytext_generate_choice_async",
     {{"prompt", kJobPrompt}, {"choices", kJobChoices}, {"use_cache", kFlag}, {"seed", kAnySeed}}},
    {"steadytext_embed_async",
     {{"text_input", kJobText}, {"use_cache", kFlag}, {"seed", kSeed}, {"model", kModel}, {"unsafe_mode", kFlag}}},
    {"steadytext_embed_batch_async", {{"texts", kJobTexts}}},
    {"steadytext_rerank_async",
     {{"query", kAnyText}, {"documents", kAnyDocuments}, {"task", kTask}, {"return_scores", kFlag}, {"seed", kSeed}}},
    {"steadytext_rerank_batch_async",
     {{"queries", kQueries}, {"documents", kAnyDocuments}, {"task", kTask}, {"return_scores", kFlag}, {"seed", kSeed}}},
    {"steadytext_check_async", {{"request_id", kRequest}}},
    {"steadytext_check_async_batch", {{"request_ids", kRequests}}},
    {"steadytext_get_async_result", {{"request_id", kRequest}, {"timeout_seconds", kTimeout}}},
    {"steadytext_get_async_results", {{"request_ids", kRequests}, {"timeout_seconds", kTimeout}}},
    {"steadytext_cancel_async", {{"request_id", kRequest}}},
    {"steadytext_queue_requeue", {{"request_ids", kRequests}}},

    // Prompts.
    {"steadytext_prompt_create",
     {{"slug", kNewSlug}, {"template", kTemplate}, {"description", kDescription}, {"metadata", kAny}}},
    {"steadytext_prompt_update", {{"slug", kSlug}, {"template", kTemplate}, {"metadata", kAny}}},
    {"steadytext_prompt_get", {{"slug", kSlug}, {"version", kVersion}}},
    {"steadytext_prompt_render", {{"slug", kSlug}, {"variables", kAny}, {"version", kVersion}, {"strict", kFlag}}},
    {"steadytext_prompt_versions", {{"slug", kSlug}}},
    {"steadytext_prompt_delete", {{"slug", kSlug}}},
    {"steadytext_prompt_label_set", {{"slug", kSlug}, {"label", kLabel.required()}, {"version", kVersion}}},
    {"steadytext_prompt_labels", {{"slug", kSlug}}},
    {"steadytext_prompt_label_history", {{"slug", kSlug}, {"label", kLabel}}},
    {"steadytext_prompt_diff",
     {{"slug", kSlug}, {"from_version", kVersion.required()}, {"to_version", kVersion.required()}}},
    {"steadytext_prompt_rollback", {{"slug", kSlug}, {"label", kLabel.required()}}},
    {"steadytext_generate_prompt",
     {{"slug", kSlug},
      {"variables", kAny},
      {"version", kVersion},
      {"label", kLabel},
      {"max_tokens", kMaxTokens},
      {"use_cache", kFlag},
      {"seed", kSeed},
      {"eos_string", kEosString},
      {"model", kModel},
      {"model_repo", kModelFile},
      {"model_filename", kModelFile},
      {"size", kSize},
      {"unsafe_mode", kFlag}}},
    {"steadytext_generate_prompt_ex",
     {{"slug", kSlug}, {"variables", kAny}, {"options", kAny}, {"version", kVersion}, {"label", kLabel}}},
    {"_validate_jinja2_template", {{"template", kAny}}},
    {"_get_next_version", {{"p_prompt_id", kAny}}},
    {"_steadytext.jinja_check", {{"template", kAny}}},
    {"_steadytext.jinja_names", {{"template", kTemplate}}},
    {"_steadytext.jinja_render", {{"template", kTemplate}, {"variables", kAny}, {"strict", kFlag}}},
    {"_steadytext.prompt_to_change", {{"slug", kAny}}},
    {"_steadytext.prompt_next_move", {{"prompt", kAny}}},
    {"_steadytext.prompt_label_place", {{"prompt", kAny}, {"label", kAny}}},
    {"_steadytext.prompt_move_check", {{"move", kAny}}},
    {"_steadytext.prompt_label_move", {{"prompt", kAny}, {"label", kAny}, {"version", kAny}, {"undoes", kAny}}},
    {"_steadytext.prompt_version", {{"slug", kAny}, {"version", kAny}, {"label", kAny}}},
};

}  // namespace

}  // namespace rules

namespace {

constexpr std::span<const Signature::Argument> arguments_in(const Signature &signature) {
    if (signature.same_as.empty())
        return signature.own;
    const std::initializer_list<Signature::Argument> all =
        std::ranges::find(rules::kSignatures, signature.same_as, &Signature::function)->own;
    return std::span(all).first(std::min(signature.count, all.size()));
}

constexpr std::size_t count_arguments() {
    std::size_t count = 0;
    for (const Signature &signature : rules::kSignatures)
        count += arguments_in(signature).size();
    return count;
}

constexpr auto kArguments = [] {
    std::array<Parameter, count_arguments()> rows;
    Parameter *next = rows.data();
    for (const Signature &signature : rules::kSignatures)
        for (const Signature::Argument &argument : arguments_in(signature))
            *next++ = {signature.function.data(), argument.name, argument.rule};
    return rows;
}();

// The rows of each function, by its name: every call looks up several functions.
struct Owner {
    std::string_view name;
    const Parameter *first;
    std::size_t count;
};

constexpr auto kOwners = [] {
    std::array<Owner, std::size(rules::kSignatures)> owners;
    Owner *next = owners.data();
    const Parameter *first = kArguments.data();
    for (const Signature &signature : rules::kSignatures) {
        *next = {signature.function, first, arguments_in(signature).size()};
        first += next++->count;
    }
    std::ranges::sort(owners, {}, &Owner::name);
    return owners;
}();

std::span<const Parameter> rows_of(std::string_view function) noexcept {
    const auto owner = std::ranges::lower_bound(kOwners, function, {}, &Owner::name);
    return owner == kOwners.end() || owner->name != function ? std::span<const Parameter>()
                                                             : std::span(owner->first, owner->count);
}

}  // namespace

std::span<const Parameter> arguments() noexcept { return kArguments; }

std::span<const Parameter> arguments_of(std::string_view function) noexcept {
    const std::span<const Parameter> own = rows_of(function);
    constexpr std::string_view kShort = "st_", kInternal = "_steadytext.";
    if (!own.empty() || !(function.starts_with(kShort) || function.starts_with(kInternal)))
        return own;
    char full[64] = "steadytext_";
    const std::size_t prefix = std::strlen(full);
    function.remove_prefix(function.starts_with(kShort) ? kShort.size() : kInternal.size());
    if (prefix + function.size() >= sizeof full)
        return {};
    function.copy(full + prefix, function.size());
    return rows_of({full, prefix + function.size()});
}

const Parameter *find_option(const Parameter *options, std::string_view name) noexcept {
    for (; options->name != nullptr; options++)
        if (name == options->name)
            return options;
    return nullptr;
}

bool check_remote(const TextArgument &model, bool unsafe_mode, Problem &problem) noexcept {
    return model.is_null || unsafe_mode || model.text.find(':') == std::string_view::npos ||
           problem.set(sqlstate::kInvalidParameterValue, "Remote models (containing ':' ) require unsafe_mode=TRUE");
}

}  // namespace steadytext::core
