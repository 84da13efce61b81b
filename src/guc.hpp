// Every setting of pg_steadytext, under the name that the user knows.
//
// Defined once by define_gucs() in _PG_init; read anywhere on the PostgreSQL side. Regime: pg. The variables belong to
// PostgreSQL's GUC machinery: nobody else writes them.
#pragma once

#include "src/core/breaker.hpp"

namespace steadytext::guc {

enum class OnFailure : int { Auto, Fallback, Null, Error };
enum class UnknownModel : int { Warning, Error, Ignore };
enum class EmbeddingOverflow : int { Error, Cut, Mean };
enum class CacheScope : int { Role, Database };
enum class Balance : int { Weighted, Affinity };
enum class OnLimit : int { Error, Wait, Null };
enum class OnCap : int { Error, Warn };
enum class FingerprintPolicy : int { Warn, Strict };

extern char *daemons;
extern int balance;             // Balance
extern int fingerprint_policy;  // FingerprintPolicy
extern bool allow_plaintext;
extern bool embedded_daemon;
extern char *embedded_model;
extern char *embedded_embedding_model;
extern char *embedded_reranker_model;
extern int embedded_slots;
extern int embedded_threads;
extern int embedded_prefix_memory_mb;
extern int embedded_memory_mb;   // of all models; 0: half of the machine's
extern int embedded_gpu_layers;  // of each model
extern char *embedded_program;
extern int embedding_dimensions;
extern int embedding_overflow;  // EmbeddingOverflow
extern int default_max_tokens;
extern int default_seed;
extern int request_timeout_ms;
extern bool read_ahead;
extern bool reorder;
extern int on_failure;  // OnFailure
extern char *fallback_text;
extern int unknown_model;  // UnknownModel
extern int max_requests;
extern int max_prompt_bytes;
extern int payload_memory_kb;
extern bool normalize_prompts;
extern int pool_size;
extern int pool_wait_ms;
extern int batch_window_ms;
extern int breaker_threshold;
extern int breaker_recovery_ms;
extern int breaker_timeout_ms;
extern bool cache_enabled;
extern bool hot_cache;
extern int hot_cache_size_kb;
extern int cache_scope;  // CacheScope
extern int cache_write_memory_kb;
extern int cache_max_entries;
extern int cache_max_size_mb;
extern int cache_ttl_s;
extern int frecency_refresh_interval_s;
extern bool new_cache_keys;
extern bool legacy_cache_keys;
extern bool keeper;
extern bool track_calls;
extern char *hub_conninfo;
extern int hub_lookup_timeout_ms;
extern int hub_max_staleness_ms;
extern char *metrics_listen;
extern int stat_statements_max;
extern int log_min_duration_ms;
extern int incident_window_ms;
extern int incident_delay_ms;
extern bool incident_restart;
extern bool incident_drain;
extern bool incident_widen_refresh;
extern bool incident_shed;
extern int on_limit;  // OnLimit
extern int max_calls_per_statement;
extern int max_tokens_per_statement;
extern int own_max_calls_per_statement;
extern int own_max_tokens_per_statement;
extern int on_cap;  // OnCap
extern bool limit_cache_hits;
extern bool limit_superusers;
extern bool limit_shadow_mode;
extern int server_requests_per_minute;
extern int server_tokens_per_minute;
extern int server_concurrency;
extern int max_rate_meters;
extern int max_databases;
extern int queue_priority;
extern int queue_max_length;
extern int queue_max_per_role;
extern int queue_memory_kb;
extern int queue_retention_s;
extern int usage_retention_s;
extern int audit_retention_s;

[[nodiscard]] inline bool has_hub() { return hub_conninfo != nullptr && hub_conninfo[0] != '\0'; }

// A threshold of 0 is one that no daemon comes to.
[[nodiscard]] inline core::BreakerSettings breaker_settings() {
    constexpr int kNever = INT32_MAX;
    return {static_cast<std::uint32_t>(breaker_threshold == 0 ? kNever : breaker_threshold),
            std::int64_t{breaker_recovery_ms} * 1000};
}

void define_gucs();

}  // namespace steadytext::guc
