// The rules of settings in postgresql.conf and of the keys of steadytext_config: see parameters.hpp. Regime: pure.
#include "src/core/parameters.hpp"

#include "src/core/argument_rules.hpp"
#include "src/core/endpoint.hpp"
#include "src/core/identifier.hpp"

#include <algorithm>
#include <charconv>

namespace steadytext::core {

namespace rules {

namespace {

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

bool is_one_name(std::string_view text, Problem &) { return is_identifier(text); }

// Keys of steadytext_config; the name "*table_name" stands for all keys with this ending. Values come as text.
constexpr Parameter kConfigKeys[] = {
    {"steadytext_config", "daemon_host",
     free_text(253).parsed_by(is_host).if_malformed({"Invalid host format"}).shown_by("'localhost'", "'a b'"),
     "steadytext.daemons"},
    {"steadytext_config", "daemon_port",
     integer(1, 65'535).if_outside({"Invalid port format"}).if_malformed({"Invalid port format"}),
     "steadytext.daemons"},
    {"steadytext_config", "model_path",
     free_text(1023).parsed_by(is_model_path).if_malformed({"Invalid file path"}).shown_by("'a/b'", "'../b'")},
    {"steadytext_config", "daemon_command",
     free_text(1023).parsed_by(is_command).if_malformed({"Invalid command format"}).shown_by("'st'", "'st;rm'")},
    {"steadytext_config", "*table_name",
     free_text(63).parsed_by(is_one_name).if_malformed({"Invalid table name"}).shown_by("'t'", "'t t'")},
    {"steadytext_config", "default_max_tokens", kMaxTokens.named(nullptr).if_below({"max_tokens must be at least 1"}),
     "steadytext.default_max_tokens"},
    {"steadytext_config", "default_seed", kSeed.named(nullptr), "steadytext.default_seed"},
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
    {"settings", "steadytext.hub_lookup_timeout", integer(0, 60'000)},
    {"settings", "steadytext.hub_max_staleness", integer(0, kDayMs)},
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

std::span<const Parameter> config_keys() noexcept { return rules::kConfigKeys; }
std::span<const Parameter> settings() noexcept { return rules::kSettings; }

const Parameter *find_setting(std::string_view name) noexcept {
    for (const Parameter &row : rules::kSettings)
        if (name == row.name)
            return &row;
    return nullptr;
}

bool check_config(std::string_view key, std::string_view value, Problem &problem) {
    for (const Parameter &row : rules::kConfigKeys)
        if (fits(key, row.name))
            return check_config_value(row, value, problem);
    return true;
}

}  // namespace steadytext::core
