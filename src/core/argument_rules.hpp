// Rules of arguments that only the table in parameters.cpp names. Used by parameters.cpp, and its general rules by setting_rules.cpp.
// Regime: pure.
#pragma once

#include "src/core/job_types.hpp"
#include "src/core/parameters.hpp"

namespace steadytext::core::rules {

inline constexpr std::int64_t kMaxInt = INT32_MAX;
inline constexpr std::int64_t kDayUs = 86'400'000'000;
inline constexpr std::int64_t kCenturyHours = 100 * 366 * 24;

[[nodiscard]] bool is_operation(std::string_view text, Problem &problem);
[[nodiscard]] bool is_slug(std::string_view text, Problem &problem);
[[nodiscard]] bool is_label(std::string_view text, Problem &problem);
[[nodiscard]] bool is_description(std::string_view text, Problem &problem);

inline constexpr Rule kCount = integer(0, kMaxInt);
inline constexpr Rule kBigCount = integer(0, INT64_MAX);
inline constexpr Rule kEntries = integer(0, kMaxInt);
inline constexpr Rule kMegabytes = real(0, 1'000'000'000);

// The cache.
inline constexpr Rule kKey = free_text(kLongestPrompt);
inline constexpr Rule kBatch = integer(1, 1'000'000);
inline constexpr Rule kHours = integer(0, kCenturyHours);
inline constexpr Rule kOrder = word("age frecency share").required();

// Limits, budgets and prices.
inline constexpr Rule kRole = line(63).required().shown_by("'*'");
inline constexpr Rule kOperation = free_text(262).required().parsed_by(is_operation).shown_by("'generate'", "'sing'");
inline constexpr Rule kWindow = Rule{.kind = Kind::Interval, .least = 10'000, .most = 366 * kDayUs}
                                    .required()
                                    .if_below({"per must be at least 10 milliseconds"})
                                    .if_above({"per must be at most 366 days"});
inline constexpr Rule kPeriod = Rule{.kind = Kind::Interval, .least = kDayUs, .most = 366 * kDayUs}
                                    .required()
                                    .if_below({"period must be at least 1 day", nullptr,
                                               "steadytext_rate_limit_set() limits tokens in shorter times."})
                                    .if_above({"period must be at most 366 days"});
inline constexpr Rule kPrice = real(0, 1'000'000'000'000);

// Configuration and the hub.
inline constexpr Rule kConfigKey = line(255).named("config_key").shown_by("'some_key'");
inline constexpr Rule kConfigValue = free_text(65'536).named("config_value");
inline constexpr Rule kNode = line(63).required().shown_by("'pg_monitor'");
inline constexpr Rule kNodesRole = line(63).shown_by("'pg_monitor'");

// Prompts, with the words of the original.
inline constexpr Refusal kBadSlug = {
    "Invalid slug format. Use lowercase letters, numbers, and hyphens only (3-100 chars)", "22P02"};
inline constexpr Rule kNewSlug =
    free_text(100).named("slug").required().parsed_by(is_slug).if_above(kBadSlug).if_malformed(kBadSlug).shown_by(
        "'a-slug'", "'No'");
inline constexpr Rule kSlug = free_text(1000).named("slug").required().shown_by("'no-such-prompt'");
inline constexpr Rule kTemplate = some_text(kLongestPrompt).named("template").required();
inline constexpr Rule kDescription = free_text(2000)
                                         .parsed_by(is_description)
                                         .if_malformed({"description cannot be longer than 500 characters"})
                                         .shown_by("'a'", "repeat('a', 501)");
inline constexpr Refusal kBadLabel = {
    "Invalid label format. Use lowercase letters, numbers, and hyphens only (1-63 chars)", "22P02"};
inline constexpr Rule kLabel =
    free_text(63).named("label").parsed_by(is_label).if_above(kBadLabel).if_malformed(kBadLabel).shown_by(
        "'production'", "'No'");
inline constexpr Rule kVersion = integer(INT32_MIN, INT32_MAX).named("version");

// Asynchronous calls, with the words of the original.
inline constexpr Refusal kNoBatch = {"Batch cannot be empty", sqlstate::kInvalidParameterValue};
inline constexpr Refusal kNoTexts = {"texts array cannot be null or empty", sqlstate::kInvalidParameterValue};
inline constexpr Refusal kNoChoice = {"Must provide at least 2 choices", sqlstate::kInvalidParameterValue};
inline constexpr Rule kRequestType = word(kJobTypeNames).required().if_malformed({"Unknown request type"});
inline constexpr Rule kJobParams = example(R"('{"prompt": "a"}')")
                                       .required()
                                       .if_malformed({"params must be a JSON object"})
                                       .shown_by(R"('{"prompt": "a"}')", "'[]'");
inline constexpr Rule kPriority = integer(1, 10);
inline constexpr Rule kRetries = integer(0, 1000);
inline constexpr Rule kTimeout = integer(0, kMaxInt).named("Timeout").if_below({"Timeout cannot be negative"});
inline constexpr Rule kRequest = example("gen_random_uuid()");
inline constexpr Rule kRequests = example("ARRAY[gen_random_uuid()]");
inline constexpr Rule kAnyText = free_text(kLongestPrompt);
inline constexpr Rule kAnyTexts = list(0, kMaxInt, kAnyText);
inline constexpr Rule kAnyDocuments = list(0, kMaxDocuments, kAnyText);
inline constexpr Rule kJobPrompt =
    prose("Prompt").required({"Prompt cannot be empty", sqlstate::kInvalidParameterValue});
inline constexpr Rule kJobText = prose("Text").required({"Text cannot be empty", sqlstate::kInvalidParameterValue});
inline constexpr Rule kJobMaxTokens = integer(1, 4096).if_outside({"max_tokens must be between 1 and 4096"});
inline constexpr Rule kJobPrompts =
    list(1, 100, kPrompt)
        .required(kNoBatch)
        .if_below(kNoBatch)
        .if_above({"Batch size exceeds maximum limit", sqlstate::kInvalidParameterValue});
inline constexpr Rule kJobTexts = list(1, kMaxInt, kAnyText).required(kNoTexts).if_below(kNoTexts);
inline constexpr Rule kJobSchema = free_text(constraint::kMaxSchemaBytes).named("Schema").required().shown_by("'{}'");
inline constexpr Rule kJobChoices = list(2, 1000, kChoice)
                                        .named("Choices array")
                                        .required(kNoChoice)
                                        .if_below(kNoChoice)
                                        .all_distinct({"Choices array cannot contain duplicates"})
                                        .shown_by("ARRAY['a', 'b']", "ARRAY['a', 'b', 'a']");

}  // namespace steadytext::core::rules
