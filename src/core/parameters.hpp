// The validator table: every argument of every SQL function, every option in its JSON, every key of steadytext_config
// and every setting, each with its rule.
//
// Rules that C++ code names stand here; the table itself is in parameters.cpp. t/027_parameters.sql fails for an
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

// The same rule for a value that must be given.
constexpr Rule needed(Rule rule) {
    rule.needed = true;
    return rule;
}

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
inline constexpr Rule kTask = {.kind = Kind::Text, .name = "task", .least = 0, .most = kLongestPrompt};

inline constexpr Rule kMaxTokens = {.kind = Kind::Integer,
                                    .name = "max_tokens",
                                    .least = 1,
                                    .most = 4096,
                                    .above = {"max_tokens exceeds system limit"}};
inline constexpr Rule kSeed = {
    .kind = Kind::Integer, .name = "seed", .least = 0, .most = INT32_MAX, .below = {"seed must be non-negative"}};
inline constexpr Rule kAnySeed = {.kind = Kind::Integer, .name = "seed", .least = INT32_MIN, .most = INT32_MAX};
inline constexpr Rule kTemperature = {.kind = Kind::Real,
                                      .name = "temperature",
                                      .least = 0,
                                      .most = 2,
                                      .below = {"temperature must be between 0 and 2"},
                                      .above = {"temperature must be between 0 and 2"}};
inline constexpr Rule kEosString = {.kind = Kind::Text, .name = "eos_string", .least = 1, .most = 256};
inline constexpr Rule kModel = {.kind = Kind::Text, .name = "model", .form = Form::Line, .least = 1, .most = 127};
inline constexpr Rule kModelFile = {.kind = Kind::Text, .form = Form::Line, .least = 1, .most = 255};

// An unknown size is not an error, as in the original: the default model answers, and the caller is warned.
inline constexpr const char *kSizes = "mini small medium large";
inline constexpr Rule kSize = {.kind = Kind::Text, .name = "size", .least = 0, .most = 32, .sample = "'small'"};

inline constexpr Rule kSchema = {.kind = Kind::Text,
                                 .name = "Schema",
                                 .needed = true,
                                 .least = 0,
                                 .most = constraint::kMaxSchemaBytes,
                                 .null = {"Schema cannot be empty"},
                                 .sample = "'{}'"};
inline constexpr Rule kPattern = {.kind = Kind::Text,
                                  .name = "Pattern",
                                  .needed = true,
                                  .least = 1,
                                  .most = constraint::kMaxPatternBytes,
                                  .null = {"Pattern cannot be empty"}};
inline constexpr Rule kChoice = {.kind = Kind::Text,
                                 .name = "Choice",
                                 .needed = true,
                                 .least = 0,
                                 .most = constraint::kMaxChoiceBytes,
                                 .null = {"Choices array cannot contain nulls"}};
inline constexpr Rule kChoices = {.kind = Kind::Texts,
                                  .name = "Choices array",
                                  .needed = true,
                                  .least = 2,
                                  .most = 1000,
                                  .distinct = true,
                                  .element = &kChoice,
                                  .null = {"Choices cannot be null"},
                                  .below = {"Choices array must contain at least 2 options"},
                                  .malformed = {"Choices array cannot contain duplicates"},
                                  .sample = "ARRAY['a', 'b']",
                                  .bad_sample = "ARRAY['a', 'b', 'a']"};

inline constexpr Rule kDocument = {.kind = Kind::Text,
                                   .name = "Document",
                                   .needed = true,
                                   .least = 0,
                                   .most = kLongestPrompt,
                                   .null = {"Documents cannot contain null elements"}};
inline constexpr Rule kDocuments = {.kind = Kind::Texts,
                                    .name = "Documents array",
                                    .needed = true,
                                    .least = 1,
                                    .most = kMaxDocuments,
                                    .element = &kDocument,
                                    .null = {"Documents cannot be null"}};
// The texts of a batch, as many as an array holds; NULL elements are left out.
inline constexpr Rule kPrompts = {
    .kind = Kind::Texts, .name = "Prompts", .needed = true, .least = 0, .most = INT32_MAX, .element = &kPrompt};
inline constexpr Rule kTexts = {
    .kind = Kind::Texts, .name = "Texts", .needed = true, .least = 0, .most = INT32_MAX, .element = &kText};
inline constexpr Rule kTopK = {.kind = Kind::Integer,
                               .name = "top_k",
                               .needed = true,
                               .least = 1,
                               .most = INT32_MAX,
                               .null = {"top_k must be greater than 0", sqlstate::kInvalidParameterValue},
                               .below = {"top_k must be greater than 0"}};

// Ranking for several queries: NULL and blank queries are skipped, and without documents there is nothing to rank.
inline constexpr Rule kOneOfQueries = {.kind = Kind::Text, .name = "Query", .least = 0, .most = kLongestPrompt};
inline constexpr Rule kQueries = {.kind = Kind::Texts,
                                  .name = "Queries",
                                  .needed = true,
                                  .least = 1,
                                  .most = kMaxDocuments,
                                  .element = &kOneOfQueries,
                                  .null = {"Queries cannot be empty", sqlstate::kInvalidParameterValue}};
inline constexpr Rule kMaybeDocuments = {
    .kind = Kind::Texts, .name = "Documents array", .least = 0, .most = kMaxDocuments, .element = &kDocument};

// Facts and summaries, with the words of the original.
inline constexpr Rule kSummarizedText = {.kind = Kind::Text, .name = "Text", .least = 0, .most = INT32_MAX};
inline constexpr Rule kFactsText = {.kind = Kind::Text, .name = "Text", .least = 0, .most = kLongestPrompt};
inline constexpr Refusal kBadMaxFacts = {"max_facts must be between 1 and 50", sqlstate::kInvalidParameterValue};
inline constexpr Rule kMaxFacts = {.kind = Kind::Integer,
                                   .name = "max_facts",
                                   .needed = true,
                                   .least = 1,
                                   .most = 50,
                                   .null = kBadMaxFacts,
                                   .below = kBadMaxFacts,
                                   .above = kBadMaxFacts};
inline constexpr Refusal kBadSimilarity = {"similarity_threshold must be between 0.0 and 1.0",
                                           sqlstate::kInvalidParameterValue};
inline constexpr Rule kSimilarity = {.kind = Kind::Real,
                                     .name = "similarity_threshold",
                                     .needed = true,
                                     .least = 0,
                                     .most = 1,
                                     .null = kBadSimilarity,
                                     .below = kBadSimilarity,
                                     .above = kBadSimilarity};

inline constexpr Rule kWeight = {
    .kind = Kind::Integer,
    .name = "weight",
    .least = 1,
    .most = kMaxWeight,
    .below = {nullptr, nullptr, "A daemon that shall get nothing is drained."},
    .above = {nullptr, nullptr, "Weights are shares of the requests, relative to each other."}};
inline constexpr Rule kEndpoint = {.kind = Kind::Text,
                                   .name = "endpoint",
                                   .least = 1,
                                   .most = 255,
                                   .parse = is_endpoint,
                                   .sample = "'tcp://127.0.0.1:5999'",
                                   .bad_sample = "'tcp://169.254.169.254:5999'"};
// An entry that exists: a bad entry can be removed too.
inline constexpr Rule kEntry = {.kind = Kind::Text, .name = "endpoint", .form = Form::Line, .least = 1, .most = 1023};

inline constexpr Rule kRowType = {.name = "row_type", .needed = true, .sample = "'public.steadytext_config'::regtype"};
// Settings: files, texts, lists, and settings with a limit in shared memory.
inline constexpr Rule kPath = {.kind = Kind::Text, .form = Form::Line, .least = 0, .most = 1023};
inline constexpr Rule kFallbackText = free_text(8191);
inline constexpr Rule kDaemons = {.kind = Kind::Text,
                                  .least = 0,
                                  .most = INT32_MAX,
                                  .parse = check_daemon_list,
                                  .sample = "''",
                                  .bad_sample = "'tcp://0.0.0.0:5999'"};
inline constexpr Rule kListenAddress = {.kind = Kind::Text,
                                        .least = 0,
                                        .most = 63,
                                        .parse = is_listen_address,
                                        .sample = "'off'",
                                        .bad_sample = "'localhost:80'"};
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
