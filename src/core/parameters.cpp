// The table: see parameters.hpp. To add an argument is to add a row where the function stands. Regime: pure.
#include "src/core/parameters.hpp"

#include "src/core/daemon_list_words.hpp"
#include "src/core/endpoint.hpp"
#include "src/core/identifier.hpp"
#include "src/core/job_types.hpp"
#include "src/core/listen_address.hpp"
#include "src/core/operator_rules.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>

namespace steadytext::core {

namespace rules {

bool is_endpoint(std::string_view text, Problem &problem) {
    Endpoint endpoint;
    return parse_endpoint(trimmed(text), endpoint, problem);
}

bool is_listen_address(std::string_view text, Problem &problem) {
    ListenAddress address;
    return parse_listen_address(text, address, problem);
}

namespace {

constexpr std::int64_t kMaxInt = INT32_MAX;
constexpr std::int64_t kDayUs = 86'400'000'000;
constexpr std::int64_t kCenturyHours = 100 * 366 * 24;

bool is_operation(std::string_view text, Problem &problem) {
    constexpr std::string_view kModel = "model:", kDaemon = "daemon:";
    if (text.starts_with(kDaemon)) {
        Endpoint endpoint;
        text.remove_prefix(kDaemon.size());
        if (const std::size_t last = text.find_last_not_of("0123456789");
            last != std::string_view::npos && text[last] == '#')
            text = text.substr(0, last);  // "#2": one of several daemons with the same name
        return text == kEmbeddedEndpoint || parse_endpoint(text, endpoint, problem);
    }
    if (has_word("* generate embed rerank json regex choice stream", text) ||
        (text.starts_with(kModel) && text.size() > kModel.size()))
        return true;
    problem.set(sqlstate::kInvalidParameterValue, "unknown operation");
    problem.with_hint(
        "Operations are *, generate, embed, rerank, json, regex, choice, stream, model:NAME and daemon:ENDPOINT.");
    return false;
}

bool is_host(std::string_view text, Problem &problem) { return check_host(text, problem); }

bool is_model_path(std::string_view path, Problem &) {
    if (path.starts_with('/') || path.find_first_of(";|") != std::string_view::npos)
        return false;
    while (!path.empty()) {
        const std::size_t slash = path.find('/');
        if (path.substr(0, slash) == "..")
            return false;
        path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    }
    return true;
}

bool is_command(std::string_view text, Problem &) {
    return text.find_first_of(";&| \t\n\v\f\r") == std::string_view::npos;
}

// Lower case letters, numbers, and single hyphens between them.
bool is_hyphenated(std::string_view text) {
    char before = '-';
    for (const char c : text) {
        if (c == '-' ? before == '-' : !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
        before = c;
    }
    return before != '-';
}

bool is_slug(std::string_view text, Problem &) { return text.size() >= 3 && is_hyphenated(text); }
bool is_label(std::string_view text, Problem &) { return is_hyphenated(text); }

// As PostgreSQL's length() counts.
bool is_description(std::string_view text, Problem &) {
    return std::ranges::count_if(text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }) <=
           500;
}

bool is_one_name(std::string_view text, Problem &) { return is_identifier(text); }

constexpr Rule parsed(std::int64_t most, bool (*parse)(std::string_view, Problem &), Refusal malformed,
                      const char *sample, const char *bad_sample) {
    return {.kind = Kind::Text,
            .least = 0,
            .most = most,
            .parse = parse,
            .malformed = malformed,
            .sample = sample,
            .bad_sample = bad_sample};
}

constexpr Rule kKey = free_text(kLongestPrompt);
constexpr Rule kRole = {
    .kind = Kind::Text, .form = Form::Line, .needed = true, .least = 1, .most = 63, .sample = "'*'"};
constexpr Rule kNode = {
    .kind = Kind::Text, .form = Form::Line, .needed = true, .least = 1, .most = 63, .sample = "'pg_monitor'"};
constexpr Rule kNodesRole = {.kind = Kind::Text, .form = Form::Line, .least = 1, .most = 63, .sample = "'pg_monitor'"};
constexpr Rule kOperation = needed(parsed(262, is_operation, {}, "'generate'", "'sing'"));
constexpr Rule kWindow = {.kind = Kind::Interval,
                          .needed = true,
                          .least = 10'000,
                          .most = 366 * kDayUs,
                          .below = {"per must be at least 10 milliseconds"},
                          .above = {"per must be at most 366 days"}};
constexpr Rule kPeriod = {
    .kind = Kind::Interval,
    .needed = true,
    .least = kDayUs,
    .most = 366 * kDayUs,
    .below = {"period must be at least 1 day", nullptr, "steadytext_rate_limit_set() limits tokens in shorter times."},
    .above = {"period must be at most 366 days"}};
constexpr Rule kConfigKey = {
    .kind = Kind::Text, .name = "config_key", .form = Form::Line, .least = 1, .most = 255, .sample = "'some_key'"};
constexpr Rule kConfigValue = {.kind = Kind::Text, .name = "config_value", .least = 0, .most = 65'536};
constexpr Rule kKeyToSet = {.kind = Kind::Text,
                            .name = "config_key",
                            .form = Form::Line,
                            .needed = true,
                            .least = 1,
                            .most = 255,
                            .sample = "'some_key'"};
constexpr Rule kValueToSet = {.kind = Kind::Text, .name = "config_value", .needed = true, .least = 0, .most = 65'536};
constexpr Rule kBatch = integer(1, 1'000'000);
constexpr Rule kEntries = integer(0, kMaxInt);
constexpr Rule kMegabytes = real(0, 1'000'000'000);
constexpr Rule kHours = integer(0, kCenturyHours);
constexpr Rule kCount = integer(0, kMaxInt);
constexpr Rule kBigCount = integer(0, INT64_MAX);
constexpr Rule kOrder = needed(word("age frecency share"));

// Rules of prompts, with the words of the original.
constexpr Refusal kBadSlug = {"Invalid slug format. Use lowercase letters, numbers, and hyphens only (3-100 chars)",
                              "22P02"};
constexpr Rule kNewSlug = {.kind = Kind::Text,
                           .name = "slug",
                           .needed = true,
                           .least = 0,
                           .most = 100,
                           .parse = is_slug,
                           .above = kBadSlug,
                           .malformed = kBadSlug,
                           .sample = "'a-slug'",
                           .bad_sample = "'No'"};
constexpr Rule kSlug = {
    .kind = Kind::Text, .name = "slug", .needed = true, .least = 0, .most = 1000, .sample = "'no-such-prompt'"};
constexpr Rule kTemplate = {.kind = Kind::Text, .name = "template", .needed = true, .least = 1, .most = kLongestPrompt};
constexpr Rule kDescription =
    parsed(2000, is_description, {"description cannot be longer than 500 characters"}, "'a'", "repeat('a', 501)");
constexpr Refusal kBadLabel = {"Invalid label format. Use lowercase letters, numbers, and hyphens only (1-63 chars)",
                               "22P02"};
constexpr Rule kLabel = {.kind = Kind::Text,
                         .name = "label",
                         .least = 0,
                         .most = 63,
                         .parse = is_label,
                         .above = kBadLabel,
                         .malformed = kBadLabel,
                         .sample = "'production'",
                         .bad_sample = "'No'"};
constexpr Rule kVersion = {.kind = Kind::Integer, .name = "version", .least = INT32_MIN, .most = INT32_MAX};

constexpr Rule kPrice = real(0, 1'000'000'000'000);

// Rules of asynchronous calls, with the words of the original.
constexpr Refusal kNoPrompt = {"Prompt cannot be empty", sqlstate::kInvalidParameterValue};
constexpr Refusal kNoText = {"Text cannot be empty", sqlstate::kInvalidParameterValue};
constexpr Refusal kNoBatch = {"Batch cannot be empty", sqlstate::kInvalidParameterValue};
constexpr Refusal kNoTexts = {"texts array cannot be null or empty", sqlstate::kInvalidParameterValue};
constexpr Refusal kNoChoice = {"Must provide at least 2 choices", sqlstate::kInvalidParameterValue};
constexpr Refusal kBadMaxTokens = {"max_tokens must be between 1 and 4096"};
constexpr Rule kRequestType = {.kind = Kind::Text,
                               .needed = true,
                               .least = 0,
                               .most = 63,
                               .words = kJobTypeNames,
                               .malformed = {"Unknown request type"}};
constexpr Rule kJobParams = {.needed = true,
                             .malformed = {"params must be a JSON object"},
                             .sample = R"('{"prompt": "a"}')",
                             .bad_sample = "'[]'"};
constexpr Rule kPriority = integer(1, 10);
constexpr Rule kRetries = integer(0, 1000);
constexpr Rule kTimeout = {
    .kind = Kind::Integer, .name = "Timeout", .least = 0, .most = kMaxInt, .below = {"Timeout cannot be negative"}};
constexpr Rule kRequest = {.sample = "gen_random_uuid()"};
constexpr Rule kRequests = {.sample = "ARRAY[gen_random_uuid()]"};
constexpr Rule kAnyText = free_text(kLongestPrompt);
constexpr Rule kAnyTexts = {.kind = Kind::Texts, .least = 0, .most = kMaxInt, .element = &kAnyText};
constexpr Rule kAnyDocuments = {.kind = Kind::Texts, .least = 0, .most = kMaxDocuments, .element = &kAnyText};
constexpr Rule kJobPrompt = {.kind = Kind::Text,
                             .name = "Prompt",
                             .form = Form::Prose,
                             .needed = true,
                             .least = 1,
                             .most = kLongestPrompt,
                             .null = kNoPrompt};
constexpr Rule kJobText = {.kind = Kind::Text,
                           .name = "Text",
                           .form = Form::Prose,
                           .needed = true,
                           .least = 1,
                           .most = kLongestPrompt,
                           .null = kNoText};
constexpr Rule kJobMaxTokens = {
    .kind = Kind::Integer, .least = 1, .most = 4096, .below = kBadMaxTokens, .above = kBadMaxTokens};
constexpr Rule kJobPrompts = {.kind = Kind::Texts,
                              .needed = true,
                              .least = 1,
                              .most = 100,
                              .element = &kPrompt,
                              .null = kNoBatch,
                              .below = kNoBatch,
                              .above = {"Batch size exceeds maximum limit", sqlstate::kInvalidParameterValue}};
constexpr Rule kJobTexts = {.kind = Kind::Texts,
                            .needed = true,
                            .least = 1,
                            .most = kMaxInt,
                            .element = &kAnyText,
                            .null = kNoTexts,
                            .below = kNoTexts};
constexpr Rule kJobSchema = {.kind = Kind::Text,
                             .name = "Schema",
                             .needed = true,
                             .least = 0,
                             .most = constraint::kMaxSchemaBytes,
                             .sample = "'{}'"};
constexpr Rule kJobChoices = {.kind = Kind::Texts,
                              .name = "Choices array",
                              .needed = true,
                              .least = 2,
                              .most = 1000,
                              .distinct = true,
                              .element = &kChoice,
                              .null = kNoChoice,
                              .below = kNoChoice,
                              .malformed = {"Choices array cannot contain duplicates"},
                              .sample = "ARRAY['a', 'b']",
                              .bad_sample = "ARRAY['a', 'b', 'a']"};

}  // namespace

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

// The arguments of a function in their order.
constexpr Parameter kArguments[] = {
    {"steadytext_generate", "prompt", kPrompt},
    {"steadytext_generate", "max_tokens", kMaxTokens},
    {"steadytext_generate", "use_cache", kFlag},
    {"steadytext_generate", "seed", kSeed},
    {"steadytext_generate", "eos_string", kEosString},
    {"steadytext_generate", "model", kModel},
    {"steadytext_generate", "model_repo", kModelFile},
    {"steadytext_generate", "model_filename", kModelFile},
    {"steadytext_generate", "size", kSize},
    {"steadytext_generate", "unsafe_mode", kFlag},

    {"steadytext_generate_stream", "prompt", kPrompt},
    {"steadytext_generate_stream", "max_tokens", kMaxTokens},
    {"steadytext_generate_stream", "use_cache", kFlag},
    {"steadytext_generate_stream", "seed", kSeed},
    {"steadytext_generate_stream", "eos_string", kEosString},
    {"steadytext_generate_stream", "model", kModel},
    {"steadytext_generate_stream", "model_repo", kModelFile},
    {"steadytext_generate_stream", "model_filename", kModelFile},
    {"steadytext_generate_stream", "size", kSize},
    {"steadytext_generate_stream", "unsafe_mode", kFlag},

    {"st_generate_stream", "prompt", kPrompt},
    {"st_generate_stream", "max_tokens", kMaxTokens},
    {"st_generate_stream", "use_cache", kFlag},
    {"st_generate_stream", "seed", kSeed},
    {"st_generate_stream", "eos_string", kEosString},
    {"st_generate_stream", "model", kModel},
    {"st_generate_stream", "model_repo", kModelFile},
    {"st_generate_stream", "model_filename", kModelFile},
    {"st_generate_stream", "size", kSize},
    {"st_generate_stream", "unsafe_mode", kFlag},

    {"_steadytext.generate_stream", "prompt", kPrompt},
    {"_steadytext.generate_stream", "max_tokens", kMaxTokens},
    {"_steadytext.generate_stream", "use_cache", kFlag},
    {"_steadytext.generate_stream", "seed", kSeed},
    {"_steadytext.generate_stream", "eos_string", kEosString},
    {"_steadytext.generate_stream", "model", kModel},
    {"_steadytext.generate_stream", "model_repo", kModelFile},
    {"_steadytext.generate_stream", "model_filename", kModelFile},
    {"_steadytext.generate_stream", "size", kSize},
    {"_steadytext.generate_stream", "unsafe_mode", kFlag},

    {"steadytext_generate_ex", "prompt", kPrompt},
    {"steadytext_generate_ex", "options", kOptions},

    {"steadytext_generate_cached", "prompt", kPrompt},
    {"steadytext_generate_cached", "max_tokens", kMaxTokens},
    {"steadytext_generate_cached", "seed", kSeed},

    {"steadytext_generate_json", "prompt", kPrompt},
    {"steadytext_generate_json", "schema", kSchema},
    {"steadytext_generate_json", "max_tokens", kMaxTokens},
    {"steadytext_generate_json", "use_cache", kFlag},
    {"steadytext_generate_json", "seed", kAnySeed},
    {"steadytext_generate_json", "unsafe_mode", kFlag},
    {"steadytext_generate_json", "model", kModel},

    {"st_generate_json", "prompt", kPrompt},
    {"st_generate_json", "schema", kSchema},
    {"st_generate_json", "max_tokens", kMaxTokens},
    {"st_generate_json", "use_cache", kFlag},
    {"st_generate_json", "seed", kAnySeed},
    {"st_generate_json", "unsafe_mode", kFlag},

    {"steadytext_generate_regex", "prompt", kPrompt},
    {"steadytext_generate_regex", "pattern", kPattern},
    {"steadytext_generate_regex", "max_tokens", kMaxTokens},
    {"steadytext_generate_regex", "use_cache", kFlag},
    {"steadytext_generate_regex", "seed", kAnySeed},
    {"steadytext_generate_regex", "unsafe_mode", kFlag},
    {"steadytext_generate_regex", "model", kModel},

    {"st_generate_regex", "prompt", kPrompt},
    {"st_generate_regex", "pattern", kPattern},
    {"st_generate_regex", "max_tokens", kMaxTokens},
    {"st_generate_regex", "use_cache", kFlag},
    {"st_generate_regex", "seed", kAnySeed},
    {"st_generate_regex", "unsafe_mode", kFlag},

    {"steadytext_generate_choice", "prompt", kPrompt},
    {"steadytext_generate_choice", "choices", kChoices},
    {"steadytext_generate_choice", "max_tokens", kMaxTokens},
    {"steadytext_generate_choice", "use_cache", kFlag},
    {"steadytext_generate_choice", "seed", kAnySeed},
    {"steadytext_generate_choice", "unsafe_mode", kFlag},
    {"steadytext_generate_choice", "model", kModel},

    {"st_generate_choice", "prompt", kPrompt},
    {"st_generate_choice", "choices", kChoices},
    {"st_generate_choice", "max_tokens", kMaxTokens},
    {"st_generate_choice", "use_cache", kFlag},
    {"st_generate_choice", "seed", kAnySeed},
    {"st_generate_choice", "unsafe_mode", kFlag},

    {"steadytext_if", "condition", kCondition},
    {"steadytext_if", "input", kJudgedText},
    {"steadytext_if", "model", kModel},

    {"steadytext_classify", "input", kJudgedText},
    {"steadytext_classify", "labels", kLabels},
    {"steadytext_classify", "model", kModel},

    {"steadytext_classify_all", "input", kJudgedText},
    {"steadytext_classify_all", "labels", kLabels},
    {"steadytext_classify_all", "model", kModel},

    {"steadytext_score", "question", kQuestion},
    {"steadytext_score", "input", kJudgedText},
    {"steadytext_score", "model", kModel},

    {"steadytext_count_tokens", "input", kCountedText},
    {"steadytext_count_tokens", "model", kModel},

    // A refusal is a row of theirs.
    {"steadytext_try_generate", "prompt", kAny},
    {"steadytext_try_generate", "max_tokens", kAny},
    {"steadytext_try_generate", "use_cache", kAny},
    {"steadytext_try_generate", "seed", kAny},
    {"steadytext_try_generate", "eos_string", kAny},
    {"steadytext_try_generate", "model", kAny},
    {"steadytext_try_generate", "model_repo", kAny},
    {"steadytext_try_generate", "model_filename", kAny},
    {"steadytext_try_generate", "size", kAny},
    {"steadytext_try_generate", "unsafe_mode", kAny},

    {"steadytext_try_embed", "text_input", kAny},
    {"steadytext_try_embed", "use_cache", kAny},
    {"steadytext_try_embed", "seed", kAny},
    {"steadytext_try_embed", "model", kAny},
    {"steadytext_try_embed", "unsafe_mode", kAny},

    {"steadytext_try_if", "condition", kAny},
    {"steadytext_try_if", "input", kAny},
    {"steadytext_try_if", "model", kAny},

    {"steadytext_try_classify", "input", kAny},
    {"steadytext_try_classify", "labels", kAny},
    {"steadytext_try_classify", "model", kAny},

    {"steadytext_try_extract", "input", kAny},
    {"steadytext_try_extract", "row_type", {.sample = "NULL::public.steadytext_config"}},
    {"steadytext_try_extract", "max_tokens", kAny},
    {"steadytext_try_extract", "use_cache", kAny},
    {"steadytext_try_extract", "seed", kAny},
    {"steadytext_try_extract", "unsafe_mode", kAny},
    {"steadytext_try_extract", "model", kAny},

    {"steadytext_extract", "input", kInput},
    {"steadytext_extract", "row_type", {.sample = "NULL::public.steadytext_config"}},
    {"steadytext_extract", "max_tokens", kMaxTokens},
    {"steadytext_extract", "use_cache", kFlag},
    {"steadytext_extract", "seed", kAnySeed},
    {"steadytext_extract", "unsafe_mode", kFlag},
    {"steadytext_extract", "model", kModel},

    {"_steadytext.extract_json", "input", kInput},
    {"_steadytext.extract_json", "row_type", kRowType},
    {"_steadytext.extract_json", "max_tokens", kMaxTokens},
    {"_steadytext.extract_json", "use_cache", kFlag},
    {"_steadytext.extract_json", "seed", kAnySeed},
    {"_steadytext.extract_json", "unsafe_mode", kFlag},
    {"_steadytext.extract_json", "model", kModel},

    {"_steadytext.extract_row", "row_type", {.sample = "NULL::public.steadytext_config"}},
    {"_steadytext.extract_row", "answer", {}},

    {"steadytext_generate_batch", "prompts", kPrompts},
    {"steadytext_generate_batch", "max_tokens", kMaxTokens},
    {"steadytext_generate_batch", "use_cache", kFlag},

    {"steadytext_embed_batch", "texts", kTexts},
    {"steadytext_embed_batch", "use_cache", kFlag},

    {"steadytext_embed", "text_input", kText},
    {"steadytext_embed", "use_cache", kFlag},
    {"steadytext_embed", "seed", kSeed},
    {"steadytext_embed", "model", kModel},
    {"steadytext_embed", "unsafe_mode", kFlag},

    {"steadytext_embed_cached", "text_input", kText},
    {"steadytext_embed_cached", "seed", kSeed},
    {"steadytext_embed_cached", "model", kModel},
    {"steadytext_embed_cached", "unsafe_mode", kFlag},

    {"steadytext_rerank", "query", kQuery},
    {"steadytext_rerank", "documents", kDocuments},
    {"steadytext_rerank", "task", kTask},
    {"steadytext_rerank", "return_scores", kFlag},
    {"steadytext_rerank", "seed", kSeed},

    {"steadytext_rerank_docs_only", "query", kQuery},
    {"steadytext_rerank_docs_only", "documents", kDocuments},
    {"steadytext_rerank_docs_only", "task", kTask},
    {"steadytext_rerank_docs_only", "seed", kSeed},

    {"steadytext_rerank_top_k", "query", kQuery},
    {"steadytext_rerank_top_k", "documents", kDocuments},
    {"steadytext_rerank_top_k", "top_k", kTopK},
    {"steadytext_rerank_top_k", "task", kTask},
    {"steadytext_rerank_top_k", "return_scores", kFlag},
    {"steadytext_rerank_top_k", "seed", kSeed},

    {"st_rerank_top_k", "query", kQuery},
    {"st_rerank_top_k", "documents", kDocuments},
    {"st_rerank_top_k", "k", kTopK},
    {"st_rerank_top_k", "task", kTask},
    {"st_rerank_top_k", "return_scores", kFlag},
    {"st_rerank_top_k", "seed", kSeed},

    {"steadytext_rerank_batch", "queries", kQueries},
    {"steadytext_rerank_batch", "documents", kMaybeDocuments},
    {"steadytext_rerank_batch", "task", kTask},
    {"steadytext_rerank_batch", "return_scores", kFlag},
    {"steadytext_rerank_batch", "seed", kSeed},

    {"steadytext_extract_facts", "input_text", kFactsText},
    {"steadytext_extract_facts", "max_facts", kMaxFacts},
    {"steadytext_deduplicate_facts", "facts_array", kAny},
    {"steadytext_deduplicate_facts", "similarity_threshold", kSimilarity},
    {"st_deduplicate_facts", "facts", kAny},
    {"st_deduplicate_facts", "similarity_threshold", kSimilarity},

    {"steadytext_summarize_accumulate", "state", kAny},
    {"steadytext_summarize_accumulate", "value", kSummarizedText},
    {"steadytext_summarize_accumulate", "metadata", kAny},
    {"steadytext_summarize_combine", "state1", kAny},
    {"steadytext_summarize_combine", "state2", kAny},
    {"steadytext_summarize_combine_states", "state1", kAny},
    {"steadytext_summarize_combine_states", "partial_state", kAny},
    {"steadytext_summarize_finalize", "state", kAny},
    {"steadytext_summarize_text", "input_text", kSummarizedText},
    {"steadytext_summarize_text", "metadata", kAny},
    {"steadytext_summarize_text", "model", kModel},
    {"steadytext_summarize_text", "unsafe_mode", kFlag},

    {"steadytext_cache_key", "prompt", free_text(kLongestPrompt)},
    {"steadytext_cache_key", "params", {.kind = Kind::Text, .least = 0, .most = kLongestPrompt, .sample = "'{}'"}},
    {"steadytext_cache_key", "prefix", free_text(kLongestPrompt)},

    {"steadytext_cache_top", "n", kCount},
    {"steadytext_cache_invalidate", "cache_key", kKey},
    {"steadytext_cache_invalidate", "prompt", kKey},
    {"steadytext_cache_invalidate", "model", kModel},
    {"steadytext_cache_preview_eviction", "preview_count", kCount},
    {"steadytext_cache_migrate_keys", "batch_size", kBatch},

    {"steadytext_cache_evict_by_age", "target_entries", kEntries},
    {"steadytext_cache_evict_by_age", "target_size_mb", kMegabytes},
    {"steadytext_cache_evict_by_age", "batch_size", kBatch},
    {"steadytext_cache_evict_by_age", "min_age_hours", kHours},

    {"steadytext_cache_evict_by_frecency", "target_entries", kEntries},
    {"steadytext_cache_evict_by_frecency", "target_size_mb", kMegabytes},
    {"steadytext_cache_evict_by_frecency", "batch_size", kBatch},
    {"steadytext_cache_evict_by_frecency", "min_access_count", kCount},
    {"steadytext_cache_evict_by_frecency", "min_age_hours", kHours},

    {"_steadytext.scope_role", "scope", {.sample = "'a/b'"}},
    {"_steadytext.cache_evict_to", "by", kOrder},
    {"_steadytext.cache_evict_to", "target_entries", kEntries},
    {"_steadytext.cache_evict_to", "target_size_mb", kMegabytes},
    {"_steadytext.cache_evict_to", "batch_size", kBatch},
    {"_steadytext.cache_evict_to", "min_access_count", kCount},
    {"_steadytext.cache_evict_to", "min_age_hours", kHours},

    {"_steadytext.cache_excess", "target_entries", needed(kBigCount)},
    {"_steadytext.cache_excess", "target_bytes", needed(kBigCount)},

    {"_steadytext.cache_evict", "by", kOrder},
    {"_steadytext.cache_evict", "target_entries", needed(kBigCount)},
    {"_steadytext.cache_evict", "target_bytes", needed(kBigCount)},
    {"_steadytext.cache_evict", "batch_size", needed(kBatch)},
    {"_steadytext.cache_evict", "below_count", needed(kBigCount)},
    {"_steadytext.cache_evict", "older_than", {.sample = "'2000-01-01'"}},
    {"_steadytext.cache_evict", "evicted", needed(kBigCount)},
    {"_steadytext.cache_evict", "freed", needed(kBigCount)},

    {"_steadytext.cache_limit", "config_key", kConfigKey},
    {"_steadytext.cache_limit", "seeded", real(0, 1'000'000'000)},
    {"_steadytext.cache_limit", "setting", line(255)},
    {"_steadytext.cache_quietly", "quietly", kFlag},
    {"_steadytext.cache_migrated_key", "entry", {.sample = "NULL"}},
    {"_steadytext.cache_migrate", "most", kBatch},
    {"_steadytext.cache_ledger_holds", "entries", {.sample = "0"}},
    {"_steadytext.cache_ledger_holds", "bytes", {.sample = "0"}},

    {"steadytext_daemon_register", "endpoint", kEndpoint},
    {"steadytext_daemon_register", "weight", kWeight},
    {"steadytext_daemon_set_weight", "endpoint", kEntry},
    {"steadytext_daemon_set_weight", "weight", kWeight},
    {"steadytext_daemon_unregister", "endpoint", kEntry},
    {"steadytext_daemon_drain", "endpoint", kEntry},
    {"steadytext_daemon_undrain", "endpoint", kEntry},
    {"steadytext_daemon_trip", "endpoint", kEntry},
    {"steadytext_daemon_reset", "endpoint", kEntry},

    {"steadytext_rate_limit_set", "role", kRole},
    {"steadytext_rate_limit_set", "operation", kOperation},
    {"steadytext_rate_limit_set", "requests", kCount},
    {"steadytext_rate_limit_set", "per", kWindow},
    {"steadytext_rate_limit_set", "tokens", kBigCount},
    {"steadytext_rate_limit_set", "concurrency", kCount},
    {"steadytext_rate_limit_get", "role", {.sample = "'*'"}},
    {"steadytext_rate_limit_remove", "role", {.sample = "'*'"}},
    {"steadytext_rate_limit_remove", "operation", {.sample = "'*'"}},
    {"steadytext_rate_limit_reset", "role", {.sample = "'*'"}},

    {"steadytext_budget_set", "role", kRole},
    {"steadytext_budget_set", "period", kPeriod},
    {"steadytext_budget_set", "tokens", needed(kBigCount)},
    {"steadytext_budget_set", "mode", needed(word("warn enforce"))},
    {"steadytext_budget_remove", "role", {.sample = "'*'"}},
    {"steadytext_budget_remove", "period", {.sample = "'7 days'"}},
    {"steadytext_budget_get", "role", {.sample = "'*'"}},
    {"steadytext_price_set", "model", needed(line(127))},
    {"steadytext_price_set", "per_million_prompt", kPrice},
    {"steadytext_price_set", "per_million_completion", kPrice},
    {"steadytext_explain", "query", {.sample = "'SELECT 1'"}},
    {"_steadytext.explain", "query", {.sample = "'SELECT 1'"}},
    {"_steadytext.budget_used", "role", {.sample = "'*'"}},
    {"_steadytext.budget_used", "period", {.sample = "'7 days'"}},

    {"steadytext_config_get", "config_key", kConfigKey},
    {"st_config_get", "key", kConfigKey},
    {"steadytext_config_set", "config_key", kKeyToSet},
    {"steadytext_config_set", "config_value", kValueToSet},
    {"st_config_set", "key", kKeyToSet},
    {"st_config_set", "value", kValueToSet},

    {"steadytext_admin_grant", "role", {.sample = "'pg_monitor'"}},
    {"_steadytext.admin_check", "role", {.sample = "'pg_monitor'"}},
    {"steadytext_admin_revoke", "role", {.sample = "'pg_monitor'"}},
    {"_steadytext.hub_take", "format", {.sample = "1"}},
    {"_steadytext.hub_take", "node", {.sample = "1"}},
    {"_steadytext.hub_take", "batch", {.sample = "1"}},
    {"_steadytext.hub_take", "clears", {.sample = "0"}},
    {"_steadytext.hub_take", "records", {.sample = "'{}'"}},
    {"_steadytext.hub_take", "node_role", {.sample = "10"}},
    {"_steadytext.hub_take", "roles", {.sample = "'{}'"}},
    {"_steadytext.hub_put", "format", {.sample = "1"}},
    {"_steadytext.hub_put", "node", {.sample = "1"}},
    {"_steadytext.hub_put", "batch", {.sample = "2"}},
    {"_steadytext.hub_put", "clears", {.sample = "0"}},
    {"_steadytext.hub_put", "records", {.sample = "'{}'"}},
    {"_steadytext.hub_role", "role", {.sample = "'pg_monitor'"}},
    {"steadytext_hub_allow", "node", kNode},
    {"steadytext_hub_allow", "role", kNodesRole},
    {"steadytext_hub_disallow", "node", kNode},
    {"steadytext_hub_disallow", "role", kNodesRole},
    {"steadytext_validate_endpoint", "host", {.sample = "'localhost'"}},
    {"steadytext_validate_endpoint", "port", {.sample = "5555"}},
    {"steadytext_validate_table_name", "name", {.sample = "'t'"}},

    {"_steadytext.incident_note", "condition", needed(line(63))},
    {"_steadytext.incident_note", "subject", needed(free_text(1023))},
    {"_steadytext.incident_note", "severity", needed(line(63))},
    {"_steadytext.incident_note", "opens", kFlag},
    {"_steadytext.incident_note", "at", {.sample = "'2000-01-01'"}},
    {"_steadytext.incident_note", "value", {.sample = "1"}},
    {"_steadytext.incident_note", "response", free_text(1023)},
    {"_steadytext.incidents_settle", "conditions", {.sample = "ARRAY['a']"}},
    {"_steadytext.incidents_settle", "subjects", {.sample = "ARRAY['a']"}},
    {"_steadytext.incidents_settle", "at", {.sample = "'2000-01-01'"}},

    {"_steadytext.inspect", "parameter", {.sample = "'model'"}},
    {"_steadytext.inspect", "name", {.sample = "'a'"}},
    {"_steadytext.check", "function", {.sample = "'steadytext_cache_stats'"}},
    {"_steadytext.check", "arguments", {.sample = "VARIADIC ARRAY[]::int[]"}},
    {"_steadytext.follow_daemon_address", "config_key", {.sample = "'some_key'"}},
    {"_steadytext.follow_daemon_address", "config_value", {.sample = "'a'"}},
    {"_steadytext.check_config", "config_key", kConfigKey},
    {"_steadytext.check_config", "config_value", kConfigValue},

    // Asynchronous calls. Other errors are reported when the call is carried out.
    {"_steadytext.queue_add", "request_type", kRequestType},
    {"_steadytext.queue_add", "prompt", kAnyText},
    {"_steadytext.queue_add", "prompts", kAnyTexts},
    {"_steadytext.queue_add", "params", kAny},
    {"_steadytext.queue_add", "priority", kPriority},
    {"_steadytext.queue_add", "max_retries", kRetries},
    {"_steadytext.queue_add", "callback", kAny},
    {"_steadytext.queue_add", "channel", needed(word("steadytext_queue steadytext_async steadytext_queue_notify"))},

    {"_steadytext.queue_wait", "request_ids", kRequests},
    {"_steadytext.queue_wait", "timeout_seconds", kTimeout},

    {"_steadytext.queue_check", "request_type", kRequestType},
    {"_steadytext.queue_check", "params", kJobParams},

    {"steadytext_enqueue", "request_type", kRequestType},
    {"steadytext_enqueue", "params", kJobParams},
    {"steadytext_enqueue", "priority", kPriority},
    {"steadytext_enqueue", "max_retries", kRetries},
    {"steadytext_enqueue", "callback", kAny},

    {"steadytext_generate_async", "prompt", kJobPrompt},
    {"steadytext_generate_async", "max_tokens", kJobMaxTokens},

    {"steadytext_generate_batch_async", "prompts", kJobPrompts},
    {"steadytext_generate_batch_async", "max_tokens", kJobMaxTokens},

    {"steadytext_generate_json_async", "prompt", kJobPrompt},
    {"steadytext_generate_json_async", "schema", kJobSchema},
    {"steadytext_generate_json_async", "max_tokens", kJobMaxTokens},
    {"steadytext_generate_json_async", "use_cache", kFlag},
    {"steadytext_generate_json_async", "seed", kAnySeed},

    {"steadytext_generate_regex_async", "prompt", kJobPrompt},
    {"steadytext_generate_regex_async", "pattern", kPattern},
    {"steadytext_generate_regex_async", "max_tokens", kJobMaxTokens},
    {"steadytext_generate_regex_async", "use_cache", kFlag},
    {"steadytext_generate_regex_async", "seed", kAnySeed},

    {"steadytext_generate_choice_async", "prompt", kJobPrompt},
    {"steadytext_generate_choice_async", "choices", kJobChoices},
    {"steadytext_generate_choice_async", "use_cache", kFlag},
    {"steadytext_generate_choice_async", "seed", kAnySeed},

    {"steadytext_embed_async", "text_input", kJobText},
    {"steadytext_embed_async", "use_cache", kFlag},
    {"steadytext_embed_async", "seed", kSeed},
    {"steadytext_embed_async", "model", kModel},
    {"steadytext_embed_async", "unsafe_mode", kFlag},

    {"steadytext_embed_batch_async", "texts", kJobTexts},

    {"steadytext_rerank_async", "query", kAnyText},
    {"steadytext_rerank_async", "documents", kAnyDocuments},
    {"steadytext_rerank_async", "task", kTask},
    {"steadytext_rerank_async", "return_scores", kFlag},
    {"steadytext_rerank_async", "seed", kSeed},

    {"steadytext_rerank_batch_async", "queries", kQueries},
    {"steadytext_rerank_batch_async", "documents", kAnyDocuments},
    {"steadytext_rerank_batch_async", "task", kTask},
    {"steadytext_rerank_batch_async", "return_scores", kFlag},
    {"steadytext_rerank_batch_async", "seed", kSeed},

    {"steadytext_check_async", "request_id", kRequest},
    {"steadytext_check_async_batch", "request_ids", kRequests},
    {"steadytext_get_async_result", "request_id", kRequest},
    {"steadytext_get_async_result", "timeout_seconds", kTimeout},
    {"steadytext_get_async_results", "request_ids", kRequests},
    {"steadytext_get_async_results", "timeout_seconds", kTimeout},
    {"steadytext_cancel_async", "request_id", kRequest},
    {"steadytext_queue_requeue", "request_ids", kRequests},

    // Prompts.
    {"steadytext_prompt_create", "slug", kNewSlug},
    {"steadytext_prompt_create", "template", kTemplate},
    {"steadytext_prompt_create", "description", kDescription},
    {"steadytext_prompt_create", "metadata", kAny},
    {"steadytext_prompt_update", "slug", kSlug},
    {"steadytext_prompt_update", "template", kTemplate},
    {"steadytext_prompt_update", "metadata", kAny},
    {"steadytext_prompt_get", "slug", kSlug},
    {"steadytext_prompt_get", "version", kVersion},
    {"steadytext_prompt_render", "slug", kSlug},
    {"steadytext_prompt_render", "variables", kAny},
    {"steadytext_prompt_render", "version", kVersion},
    {"steadytext_prompt_render", "strict", kFlag},
    {"steadytext_prompt_versions", "slug", kSlug},
    {"steadytext_prompt_delete", "slug", kSlug},
    {"steadytext_prompt_label_set", "slug", kSlug},
    {"steadytext_prompt_label_set", "label", needed(kLabel)},
    {"steadytext_prompt_label_set", "version", kVersion},
    {"steadytext_prompt_labels", "slug", kSlug},
    {"steadytext_prompt_label_history", "slug", kSlug},
    {"steadytext_prompt_label_history", "label", kLabel},
    {"steadytext_prompt_diff", "slug", kSlug},
    {"steadytext_prompt_diff", "from_version", needed(kVersion)},
    {"steadytext_prompt_diff", "to_version", needed(kVersion)},
    {"steadytext_prompt_rollback", "slug", kSlug},
    {"steadytext_prompt_rollback", "label", needed(kLabel)},
    {"steadytext_generate_prompt", "slug", kSlug},
    {"steadytext_generate_prompt", "variables", kAny},
    {"steadytext_generate_prompt", "version", kVersion},
    {"steadytext_generate_prompt", "label", kLabel},
    {"steadytext_generate_prompt", "max_tokens", kMaxTokens},
    {"steadytext_generate_prompt", "use_cache", kFlag},
    {"steadytext_generate_prompt", "seed", kSeed},
    {"steadytext_generate_prompt", "eos_string", kEosString},
    {"steadytext_generate_prompt", "model", kModel},
    {"steadytext_generate_prompt", "model_repo", kModelFile},
    {"steadytext_generate_prompt", "model_filename", kModelFile},
    {"steadytext_generate_prompt", "size", kSize},
    {"steadytext_generate_prompt", "unsafe_mode", kFlag},
    {"steadytext_generate_prompt_ex", "slug", kSlug},
    {"steadytext_generate_prompt_ex", "variables", kAny},
    {"steadytext_generate_prompt_ex", "options", kAny},
    {"steadytext_generate_prompt_ex", "version", kVersion},
    {"steadytext_generate_prompt_ex", "label", kLabel},
    {"_validate_jinja2_template", "template", kAny},
    {"_get_next_version", "p_prompt_id", kAny},
    {"_steadytext.jinja_check", "template", kAny},
    {"_steadytext.jinja_names", "template", kTemplate},
    {"_steadytext.jinja_render", "template", kTemplate},
    {"_steadytext.jinja_render", "variables", kAny},
    {"_steadytext.jinja_render", "strict", kFlag},
    {"_steadytext.prompt_to_change", "slug", kAny},
    {"_steadytext.prompt_next_move", "prompt", kAny},
    {"_steadytext.prompt_label_place", "prompt", kAny},
    {"_steadytext.prompt_label_place", "label", kAny},
    {"_steadytext.prompt_move_check", "move", kAny},
    {"_steadytext.prompt_label_move", "prompt", kAny},
    {"_steadytext.prompt_label_move", "label", kAny},
    {"_steadytext.prompt_label_move", "version", kAny},
    {"_steadytext.prompt_label_move", "undoes", kAny},
    {"_steadytext.prompt_version", "slug", kAny},
    {"_steadytext.prompt_version", "version", kAny},
    {"_steadytext.prompt_version", "label", kAny},
};

// Keys of steadytext_config; the name "*table_name" stands for all keys with this ending. Values come as
// text.
constexpr Parameter kConfigKeys[] = {
    {"steadytext_config", "daemon_host", parsed(253, is_host, {"Invalid host format"}, "'localhost'", "'a b'"),
     "steadytext.daemons"},
    {"steadytext_config",
     "daemon_port",
     {.kind = Kind::Integer,
      .least = 1,
      .most = 65'535,
      .below = {"Invalid port format"},
      .above = {"Invalid port format"},
      .malformed = {"Invalid port format"}},
     "steadytext.daemons"},
    {"steadytext_config", "model_path", parsed(1023, is_model_path, {"Invalid file path"}, "'a/b'", "'../b'")},
    {"steadytext_config", "daemon_command", parsed(1023, is_command, {"Invalid command format"}, "'st'", "'st;rm'")},
    {"steadytext_config", "*table_name", parsed(63, is_one_name, {"Invalid table name"}, "'t'", "'t t'")},
    {"steadytext_config",
     "default_max_tokens",
     {.kind = Kind::Integer,
      .least = 1,
      .most = 4096,
      .below = {"max_tokens must be at least 1"},
      .above = {"max_tokens exceeds system limit"}},
     "steadytext.default_max_tokens"},
    {"steadytext_config",
     "default_seed",
     {.kind = Kind::Integer, .least = 0, .most = kMaxInt, .below = {"seed must be non-negative"}},
     "steadytext.default_seed"},
    {"steadytext_config", "cache_enabled", kFlag, "steadytext.cache_enabled"},
    {"steadytext_config", "cache_eviction_enabled", kFlag},
    {"steadytext_config", "cache_max_entries", kEntries, "steadytext.cache_max_entries"},
    {"steadytext_config", "cache_max_size_mb", kMegabytes, "steadytext.cache_max_size"},
    {"steadytext_config", "daemon_auto_start", kFlag},
};

constexpr std::int64_t kMaxKb = INT32_MAX / 2;
constexpr std::int64_t kDayMs = 24 * 3600 * 1000;

constexpr Parameter kSettings[] = {
    {"settings", "steadytext.daemons", kDaemons},
    {"settings", "steadytext.balance", word("weighted affinity")},
    {"settings", "steadytext.fingerprint_policy", word("warn strict")},
    {"settings", "steadytext.allow_plaintext", kFlag},
    {"settings", "steadytext.embedded_daemon", kFlag},
    {"settings", "steadytext.embedded_model", kPath},
    {"settings", "steadytext.embedded_embedding_model", kPath},
    {"settings", "steadytext.embedded_reranker_model", kPath},
    {"settings", "steadytext.embedded_slots", integer(1, 256)},
    {"settings", "steadytext.embedded_threads", integer(0, 1024)},
    {"settings", "steadytext.embedded_prefix_memory", integer(0, 1 << 20)},
    {"settings", "steadytext.embedded_memory", integer(0, 1 << 30)},
    {"settings", "steadytext.embedded_gpu_layers", integer(0, 100'000)},
    {"settings", "steadytext.embedding_overflow", word("error cut mean")},
    {"settings", "steadytext.embedded_program", kPath},
    {"settings", "steadytext.embedding_dimensions", integer(1, 16'000)},
    {"settings", "steadytext.default_max_tokens", kMaxTokens},
    {"settings", "steadytext.default_seed", kSeed},
    {"settings", "steadytext.read_ahead", kFlag},
    {"settings", "steadytext.reorder", kFlag},
    {"settings", "steadytext.max_calls_per_statement", kCount},
    {"settings", "steadytext.max_tokens_per_statement", kCount},
    {"settings", "steadytext.own_max_calls_per_statement", kCount},
    {"settings", "steadytext.own_max_tokens_per_statement", kCount},
    {"settings", "steadytext.on_cap", word("error warn")},
    {"settings", "steadytext.request_timeout", integer(1, kDayMs)},
    {"settings", "steadytext.on_failure", word("auto fallback null error")},
    {"settings", "steadytext.fallback_text", kFallbackText},
    {"settings", "steadytext.unknown_model", word("warning error ignore")},
    {"settings", "steadytext.max_prompt_bytes", integer(1, 64 * 1024 * 1024)},
    {"settings", "steadytext.normalize_prompts", kFlag},
    {"settings", "steadytext.max_requests", kMaxRequests},
    {"settings", "steadytext.payload_memory", integer(1024, kMaxKb)},
    {"settings", "steadytext.pool_size", integer(1, 64)},
    {"settings", "steadytext.pool_wait", integer(0, 3600 * 1000)},
    {"settings", "steadytext.batch_window", integer(0, 1000)},
    {"settings", "steadytext.breaker_threshold", integer(0, 1'000'000)},
    {"settings", "steadytext.breaker_recovery", integer(1, kDayMs)},
    {"settings", "steadytext.breaker_timeout", integer(1, kDayMs)},
    {"settings", "steadytext.cache_enabled", kFlag},
    {"settings", "steadytext.hot_cache", kFlag},
    {"settings", "steadytext.hot_cache_size", integer(0, kMaxKb)},
    {"settings", "steadytext.cache_scope", word("role database")},
    {"settings", "steadytext.cache_write_memory", integer(1024, kMaxKb)},
    {"settings", "steadytext.cache_max_entries", kEntries},
    {"settings", "steadytext.cache_max_size", integer(0, kMaxInt)},
    {"settings", "steadytext.cache_ttl", integer(0, kMaxInt)},
    {"settings", "steadytext.frecency_refresh_interval", integer(1, 7 * 24 * 3600)},
    {"settings", "steadytext.new_cache_keys", kFlag},
    {"settings", "steadytext.legacy_cache_keys", kFlag},
    {"settings", "steadytext.keeper", kFlag},
    {"settings", "steadytext.hub_conninfo", kConninfo},
    {"settings", "steadytext.track_calls", kFlag},
    {"settings", "steadytext.metrics_listen", kListenAddress},
    {"settings", "steadytext.stat_statements_max", integer(16, 1'000'000)},
    {"settings", "steadytext.log_min_duration", integer(-1, kMaxInt)},
    {"settings", "steadytext.incident_window", integer(1'000, kDayMs)},
    {"settings", "steadytext.incident_delay", integer(0, kDayMs)},
    {"settings", "steadytext.incident_restart", kFlag},
    {"settings", "steadytext.incident_drain", kFlag},
    {"settings", "steadytext.incident_widen_refresh", kFlag},
    {"settings", "steadytext.incident_shed", kFlag},
    {"settings", "steadytext.on_limit", word("error wait null")},
    {"settings", "steadytext.limit_cache_hits", kFlag},
    {"settings", "steadytext.limit_superusers", kFlag},
    {"settings", "steadytext.limit_shadow_mode", kFlag},
    {"settings", "steadytext.server_requests_per_minute", kCount},
    {"settings", "steadytext.server_tokens_per_minute", kCount},
    {"settings", "steadytext.server_concurrency", kCount},
    {"settings", "steadytext.max_rate_meters", kMaxRateMeters},
    {"settings", "steadytext.max_databases", kMaxDatabases},
    {"settings", "steadytext.queue_priority", integer(1, 10)},
    {"settings", "steadytext.queue_max_length", kCount},
    {"settings", "steadytext.queue_max_per_role", kCount},
    {"settings", "steadytext.queue_memory", integer(16 * 1024, 4 * 1024 * 1024)},
    {"settings", "steadytext.queue_retention", kCount},
    {"settings", "steadytext.usage_retention", kCount},
    {"settings", "steadytext.audit_retention", kCount},
};

}  // namespace

}  // namespace rules

namespace {

// The rows of each function, by its name: every call looks up several functions.
struct Owner {
    std::string_view name;
    const Parameter *first;
    std::size_t count;
};

constexpr std::size_t count_owners() {
    std::size_t count = 0;
    std::string_view latest;
    for (const Parameter &row : rules::kArguments)
        if (latest != row.owner) {
            latest = row.owner;
            count++;
        }
    return count;
}

constexpr auto kOwners = [] {
    std::array<Owner, count_owners()> owners;
    Owner *next = owners.data();
    for (const Parameter &row : rules::kArguments)
        if (next != owners.data() && next[-1].name == row.owner)
            next[-1].count++;
        else
            *next++ = {row.owner, &row, 1};
    std::ranges::sort(owners, {}, &Owner::name);
    return owners;
}();

std::span<const Parameter> rows_of(std::string_view function) noexcept {
    const auto owner = std::ranges::lower_bound(kOwners, function, {}, &Owner::name);
    return owner == kOwners.end() || owner->name != function ? std::span<const Parameter>()
                                                             : std::span(owner->first, owner->count);
}

// A key, in any case of letters, fits the row with its name or with its ending.
bool fits(std::string_view key, std::string_view name) noexcept {
    const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b; };
    if (name.front() == '*') {
        name.remove_prefix(1);
        if (key.size() < name.size())
            return false;
        key.remove_prefix(key.size() - name.size());
    }
    return std::equal(key.begin(), key.end(), name.begin(), name.end(), same);
}

template <class Number>
bool is_number(std::string_view text, Number &number) noexcept {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size();
}

bool check_config_value(const Parameter &row, std::string_view value, Problem &problem) {
    const auto malformed = [&](const char *what) {
        (void)refuse(row.rule, row.shown(), Fault::Malformed, 0, problem);
        if (row.rule.malformed.message == nullptr)
            problem.with_detail("It must be %s.", what);
        return false;
    };
    std::int64_t integer;
    double real;
    switch (row.rule.kind) {
    case Kind::Integer:
        return is_number(value, integer) ? check(row.rule, row.shown(), integer, 0, problem) : malformed("an integer");
    case Kind::Real:
        return is_number(value, real) ? check(row.rule, row.shown(), real, 0, problem) : malformed("a number");
    case Kind::Flag:
        return has_word("true false on off yes no 1 0", value) || malformed("true or false");
    default:
        return check(row.rule, row.shown(), value, 0, problem);
    }
}

}  // namespace

std::span<const Parameter> arguments() noexcept { return rules::kArguments; }
std::span<const Parameter> config_keys() noexcept { return rules::kConfigKeys; }
std::span<const Parameter> settings() noexcept { return rules::kSettings; }

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

const Parameter *find_setting(std::string_view name) noexcept {
    for (const Parameter &row : rules::kSettings)
        if (name == row.name)
            return &row;
    return nullptr;
}

const Parameter *find_option(const Parameter *options, std::string_view name) noexcept {
    for (; options->name != nullptr; options++)
        if (name == options->name)
            return options;
    return nullptr;
}

bool check_config(std::string_view key, std::string_view value, Problem &problem) {
    for (const Parameter &row : rules::kConfigKeys)
        if (fits(key, row.name))
            return check_config_value(row, value, problem);
    return true;
}

bool check_remote(const TextArgument &model, bool unsafe_mode, Problem &problem) noexcept {
    return model.is_null || unsafe_mode || model.text.find(':') == std::string_view::npos ||
           problem.set(sqlstate::kInvalidParameterValue, "Remote models (containing ':' ) require unsafe_mode=TRUE");
}

}  // namespace steadytext::core
