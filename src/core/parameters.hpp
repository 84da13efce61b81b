// The validator table: every argument of every SQL function, every option in its JSON, every key of steadytext_config
// and every setting, each with its rule.
//
// Rules that C++ code names stand here. The arguments are in parameters.cpp, by function, with the rules of
// argument_rules.hpp; the keys and settings are in setting_rules.cpp. t/027_parameters.sql fails for an
// argument or setting that has no row, and tries every bound of every row on the function itself. Regime: pure.
#pragma once

#include "src/core/constraint/limits.hpp"
#include "src/core/daemon_list.hpp"
#include "src/core/rules.hpp"

namespace steadytext::core {

inline constexpr int kMaxDocuments = 10'000;

namespace rules {

[[nodiscard]] bool is_endpoint(std::string_view text, Problem &problem);
[[nodiscard]] bool is_listen_address(std::string_view text, Problem &problem);

constexpr Rule integer(std::int64_t least, std::int64_t most) {
    return {.kind = Kind::Integer, .least = least, .most = most};
}
constexpr Rule real(std::int64_t least, std::int64_t most) {
    return {.kind = Kind::Real, .least = least, .most = most};
}
constexpr Rule line(std::int64_t most) { return {.kind = Kind::Text, .form = Form::Line, .least = 1, .most = most}; }
constexpr Rule free_text(std::int64_t most) { return {.kind = Kind::Text, .least = 0, .most = most}; }
constexpr Rule word(const char *words) { return {.kind = Kind::Text, .least = 0, .most = 63, .words = words}; }

constexpr Rule some_text(std::int64_t most) { return {.kind = Kind::Text, .least = 1, .most = most}; }
constexpr Rule list(std::int64_t least, std::int64_t most, const Rule &element) {
    return {.kind = Kind::Texts, .least = least, .most = most, .element = &element};
}
// Any value of its SQL type.
constexpr Rule example(const char *sample) { return {.sample = sample}; }

// Texts and lists that are asked about are called as the original calls them, with a capital (Prompt, Text, Input, Labels); all other
// arguments by their names.
constexpr Rule prose(const char *name) {
    return {.kind = Kind::Text, .name = name, .form = Form::Prose, .needed = true, .least = 1, .most = kLongestPrompt};
}
constexpr Rule asked(const char *name) {
    Rule rule = prose(name);
    rule.null.hint = rule.below.hint = "Leave such rows out, as WHERE btrim(...) <> '' does.";
    return rule;
}

inline constexpr Rule kAny{};
inline constexpr Rule kFlag{.kind = Kind::Flag};

inline constexpr Rule kPrompt = asked("Prompt");
inline constexpr Rule kText = asked("Text");
inline constexpr Rule kQuery = prose("Query");
inline constexpr Rule kInput = asked("Input");
inline constexpr Rule kTask = free_text(kLongestPrompt).named("task");

inline constexpr Rule kMaxTokens = integer(1, 4096).named("max_tokens").if_above({"max_tokens exceeds system limit"});
inline constexpr Rule kSeed = integer(0, INT32_MAX).named("seed").if_below({"seed must be non-negative"});
inline constexpr Rule kAnySeed = integer(INT32_MIN, INT32_MAX).named("seed");
inline constexpr Rule kTemperature =
    real(0, 2).named("temperature").if_outside({"temperature must be between 0 and 2"});
inline constexpr Rule kEosString = some_text(256).named("eos_string");
inline constexpr Rule kModel = line(127).named("model");
inline constexpr Rule kModelFile = line(255);

// An unknown size is not an error, as in the original: the default model answers, and the caller is warned.
inline constexpr const char *kSizes = "mini small medium large";
inline constexpr Rule kSize = free_text(32).named("size").shown_by("'small'");

inline constexpr Rule kSchema =
    free_text(constraint::kMaxSchemaBytes).named("Schema").required({"Schema cannot be empty"}).shown_by("'{}'");
inline constexpr Rule kPattern =
    some_text(constraint::kMaxPatternBytes).named("Pattern").required({"Pattern cannot be empty"});
inline constexpr Rule kChoice =
    free_text(constraint::kMaxChoiceBytes).named("Choice").required({"Choices array cannot contain nulls"});
inline constexpr Rule kChoices = list(2, 1000, kChoice)
                                     .named("Choices array")
                                     .required({"Choices cannot be null"})
                                     .if_below({"Choices array must contain at least 2 options"})
                                     .all_distinct({"Choices array cannot contain duplicates"})
                                     .shown_by("ARRAY['a', 'b']", "ARRAY['a', 'b', 'a']");

inline constexpr Rule kDocument =
    free_text(kLongestPrompt).named("Document").required({"Documents cannot contain null elements"});
inline constexpr Rule kDocuments =
    list(1, kMaxDocuments, kDocument).named("Documents array").required({"Documents cannot be null"});
// The texts of a batch, as many as an array holds; NULL elements are left out.
inline constexpr Rule kPrompts = list(0, INT32_MAX, kPrompt).named("Prompts").required();
inline constexpr Rule kTexts = list(0, INT32_MAX, kText).named("Texts").required();
inline constexpr Rule kTopK = integer(1, INT32_MAX)
                                  .named("top_k")
                                  .required({"top_k must be greater than 0", sqlstate::kInvalidParameterValue})
                                  .if_below({"top_k must be greater than 0"});

// Ranking for several queries: NULL and blank queries are skipped, and without documents there is nothing to rank.
inline constexpr Rule kAnyQuery = free_text(kLongestPrompt).named("Query");
inline constexpr Rule kQueries = list(1, kMaxDocuments, kAnyQuery)
                                     .named("Queries")
                                     .required({"Queries cannot be empty", sqlstate::kInvalidParameterValue});
inline constexpr Rule kMaybeDocuments = list(0, kMaxDocuments, kDocument).named("Documents array");

// Facts and summaries, with the words of the original.
inline constexpr Rule kSummarizedText = free_text(INT32_MAX).named("Text");
inline constexpr Rule kFactsText = free_text(kLongestPrompt).named("Text");
inline constexpr Refusal kBadMaxFacts = {"max_facts must be between 1 and 50", sqlstate::kInvalidParameterValue};
inline constexpr Rule kMaxFacts = integer(1, 50).named("max_facts").required(kBadMaxFacts).if_outside(kBadMaxFacts);
inline constexpr Refusal kBadSimilarity = {"similarity_threshold must be between 0.0 and 1.0",
                                           sqlstate::kInvalidParameterValue};
inline constexpr Rule kSimilarity =
    real(0, 1).named("similarity_threshold").required(kBadSimilarity).if_outside(kBadSimilarity);

inline constexpr Rule kWeight =
    integer(1, kMaxWeight)
        .named("weight")
        .if_below({nullptr, nullptr, "A daemon that shall get nothing is drained."})
        .if_above({nullptr, nullptr, "Weights are shares of the requests, relative to each other."});
inline constexpr Rule kEndpoint = some_text(255)
                                      .named("endpoint")
                                      .parsed_by(is_endpoint)
                                      .shown_by("'tcp://127.0.0.1:5999'", "'tcp://169.254.169.254:5999'");
// An entry that exists: a bad entry can be removed too.
inline constexpr Rule kEntry = line(1023).named("endpoint");

inline constexpr Rule kRowType = example("'public.steadytext_config'::regtype").named("row_type").required();
// Settings: files, texts, lists, and settings with a limit in shared memory.
inline constexpr Rule kPath = {.kind = Kind::Text, .form = Form::Line, .least = 0, .most = 1023};
inline constexpr Rule kFallbackText = free_text(8191);
inline constexpr Rule kDaemons =
    free_text(INT32_MAX).parsed_by(check_daemon_list).shown_by("''", "'tcp://0.0.0.0:5999'");
inline constexpr Rule kListenAddress = free_text(63).parsed_by(is_listen_address).shown_by("'off'", "'localhost:80'");
// What it may say: src/core/conninfo.hpp.
inline constexpr Rule kConninfo = {.kind = Kind::Text, .form = Form::Line, .least = 0, .most = 1023};
inline constexpr Rule kMaxRequests = integer(1, 4096);
inline constexpr Rule kMaxRateMeters = integer(16, 65'535);
inline constexpr Rule kMaxDatabases = integer(1, 65'535);

// The options of steadytext_generate_ex.
extern const Parameter kGenerateOptions[];
inline constexpr Rule kOptions = {.kind = Kind::Options,
                                  .name = "options",
                                  .options = kGenerateOptions,
                                  .malformed = {"options must be a JSON object"},
                                  .sample = "'{}'",
                                  .bad_sample = "'[]'"};

}  // namespace rules

// The rows in order: arguments, keys of steadytext_config, settings.
[[nodiscard]] std::span<const Parameter> arguments() noexcept;
[[nodiscard]] std::span<const Parameter> config_keys() noexcept;
[[nodiscard]] std::span<const Parameter> settings() noexcept;

// The rows of a function, in the order of its arguments; st_x and _steadytext.x share the rows of steadytext_x unless
// they have their own.
[[nodiscard]] std::span<const Parameter> arguments_of(std::string_view function) noexcept;
// Null if there is no such row.
[[nodiscard]] const Parameter *find_setting(std::string_view name) noexcept;
[[nodiscard]] const Parameter *find_option(const Parameter *options, std::string_view name) noexcept;

// A value for steadytext_config, as steadytext_config_set takes it. Keys that mean nothing to the extension may hold
// anything.
[[nodiscard]] bool check_config(std::string_view key, std::string_view value, Problem &problem);

// Checks model and unsafe_mode together: a remote model (with a colon) needs unsafe_mode.
[[nodiscard]] bool check_remote(const TextArgument &model, bool unsafe_mode, Problem &problem) noexcept;

}  // namespace steadytext::core
