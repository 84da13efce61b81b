// The settings: names, units, contexts; their bounds are in src/core/setting_rules.cpp. Called by _PG_init. Regime: pg.
//
// Contexts: a setting that sizes shared memory is POSTMASTER; a setting that workers read is SIGHUP; a setting with an
// endpoint, a path or a scope is SUSET or SIGHUP, and superuser-only, as a role could use it to reach other hosts or
// other roles' prompts.
#include "src/pg/compat.hpp"
#include "src/guc.hpp"
#include "shmem/rate_limiter.hpp"
#include "shmem/submit_ring.hpp"
#include "src/core/conninfo.hpp"
#include "src/core/parameters.hpp"
#include "src/pg/boundary.hpp"

extern "C" {
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
}

namespace steadytext::guc {

char *daemons = nullptr;
int balance = static_cast<int>(Balance::Weighted);
int fingerprint_policy = static_cast<int>(FingerprintPolicy::Warn);
bool allow_plaintext = false;
bool embedded_daemon = true;
char *embedded_model = nullptr;
char *embedded_embedding_model = nullptr;
char *embedded_reranker_model = nullptr;
int embedded_slots = 16;
int embedded_threads = 0;
int embedded_prefix_memory_mb = 256;
int embedded_memory_mb = 0;
int embedded_gpu_layers = 0;
char *embedded_program = nullptr;
int embedding_dimensions = 1024;
int embedding_overflow = static_cast<int>(EmbeddingOverflow::Error);
int default_max_tokens = 512;
int default_seed = 42;
int request_timeout_ms = 30'000;
bool read_ahead = true;
bool reorder = true;
int on_failure = static_cast<int>(OnFailure::Auto);
char *fallback_text = nullptr;
int unknown_model = static_cast<int>(UnknownModel::Warning);
int max_requests = 256;
int max_prompt_bytes = 1024 * 1024;
int payload_memory_kb = 64 * 1024;
bool normalize_prompts = true;
int pool_size = 5;
int pool_wait_ms = 5'000;
int batch_window_ms = 0;
int breaker_threshold = 5;
int breaker_recovery_ms = 30'000;
int breaker_timeout_ms = 10'000;
bool cache_enabled = true;
bool hot_cache = true;
int hot_cache_size_kb = 64 * 1024;
int cache_scope = static_cast<int>(CacheScope::Role);
int cache_write_memory_kb = 16 * 1024;
int cache_max_entries = 10'000;
int cache_max_size_mb = 100;
int cache_ttl_s = 0;
int frecency_refresh_interval_s = 300;
bool new_cache_keys = true;
bool legacy_cache_keys = true;
bool keeper = true;
bool track_calls = true;
char *hub_conninfo = nullptr;
int hub_lookup_timeout_ms = 20;
int hub_max_staleness_ms = 5000;
char *metrics_listen = nullptr;
int stat_statements_max = 1'024;
int log_min_duration_ms = -1;
int incident_window_ms = 300'000;
int incident_delay_ms = 10'000;
bool incident_restart = true;
bool incident_drain = true;
bool incident_widen_refresh = true;
bool incident_shed = true;
int on_limit = static_cast<int>(OnLimit::Error);
int max_calls_per_statement = 0;
int max_tokens_per_statement = 0;
int own_max_calls_per_statement = 0;
int own_max_tokens_per_statement = 0;
int on_cap = static_cast<int>(OnCap::Error);
bool limit_cache_hits = true;
bool limit_superusers = true;
bool limit_shadow_mode = false;
int server_requests_per_minute = 0;
int server_tokens_per_minute = 0;
int server_concurrency = 0;
int max_rate_meters = 1024;
int max_databases = 256;
int queue_priority = 5;
int queue_max_length = 100'000;
int queue_max_per_role = 0;
int queue_memory_kb = 256 * 1024;
int queue_retention_s = 7 * 24 * 3600;
int usage_retention_s = 400 * 24 * 3600;
int audit_retention_s = 400 * 24 * 3600;

static_assert(core::rules::kMaxRequests.most == shmem::kMaxSlots);
static_assert(core::rules::kMaxRateMeters.most == shmem::RateLimiter::kMaxMeters);

namespace {

// Reports a refused value from a check hook.
bool refuse(const core::Problem &problem) {
    GUC_check_errcode(pg::sqlstate_of(problem));
    GUC_check_errmsg("%s", problem.message);
    if (problem.detail[0] != '\0')
        GUC_check_errdetail("%s", problem.detail);
    if (problem.hint[0] != '\0')
        GUC_check_errhint("%s", problem.hint);
    return false;
}

// A bad entry is an error where a person can see it: ALTER SYSTEM checks its value inside a transaction. In a file a
// bad entry must not affect the other entries: the value is accepted, the gateway logs the entry and it is shown with
// state `invalid`.
bool check_daemons(char **value, void **, GucSource) {
    if (*value == nullptr || !IsTransactionState())
        return true;
    core::Problem problem;
    (void)core::check_daemon_list(*value, problem);
    if (!problem.is_set())
        return true;
    return refuse(problem);
}

// Checks any other text by the rule of its setting. A hook does not get the setting's name, so the rule is a template
// argument.
template <const core::Rule &kRule>
bool check_text(char **value, void **, GucSource) {
    if (*value == nullptr)
        return true;
    core::Problem problem;
    const auto held = [&](core::Problem &p) { return core::check(kRule, "value", std::string_view(*value), 0, p); };
    return pg::try_guarded(problem, held) || refuse(problem);
}

bool check_conninfo(char **value, void **, GucSource) {
    if (*value == nullptr || (*value)[0] == '\0')
        return true;
    core::Problem problem;
    return check_text<core::rules::kConninfo>(value, nullptr, PGC_S_DEFAULT) &&
           (core::is_conninfo(*value, problem) || refuse(problem));
}

// ---- a setting has its bounds from its rule, and its default from its variable --------------------------------------

const core::Rule &rule_of(const char *name) {
    const core::Parameter *row = core::find_setting(name);
    if (row == nullptr)
        elog(FATAL, "setting \"%s\" has no row in src/core/setting_rules.cpp", name);
    return row->rule;
}

void define_flag(const char *name, const char *what, const char *more, bool *variable, GucContext context,
                 int flags = 0) {
    (void)rule_of(name);
    DefineCustomBoolVariable(name, what, more, variable, *variable, context, flags, nullptr, nullptr, nullptr);
}

void define_integer(const char *name, const char *what, const char *more, int *variable, GucContext context,
                    int flags = 0, GucIntCheckHook check = nullptr) {
    const core::Rule &rule = rule_of(name);
    DefineCustomIntVariable(name, what, more, variable, *variable, static_cast<int>(rule.least),
                            static_cast<int>(rule.most), context, flags, check, nullptr, nullptr);
}

// The rule's words are the enumeration's values, in its order.
void define_word(const char *name, const char *what, const char *more, int *variable, GucContext context,
                 int flags = 0) {
    constexpr std::size_t kMaxWords = 8;
    auto *entries = static_cast<config_enum_entry *>(
        MemoryContextAllocZero(TopMemoryContext, (kMaxWords + 1) * sizeof(config_enum_entry)));
    std::size_t count = 0;
    char *rest = nullptr;
    for (char *word = strtok_r(MemoryContextStrdup(TopMemoryContext, rule_of(name).words), " ", &rest);
         word != nullptr && count < kMaxWords; word = strtok_r(nullptr, " ", &rest)) {
        entries[count] = {word, static_cast<int>(count), false};
        count++;
    }
    DefineCustomEnumVariable(name, what, more, variable, *variable, entries, context, flags, nullptr, nullptr, nullptr);
}

template <const core::Rule &kRule, GucStringCheckHook kCheck = check_text<kRule>>
void define_text(const char *name, const char *what, const char *more, char **variable, const char *initial,
                 GucContext context, int flags = 0) {
    (void)rule_of(name);
    DefineCustomStringVariable(name, what, more, variable, initial, context, flags, kCheck, nullptr, nullptr);
}

void define_daemons() {
    define_text<core::rules::kDaemons, check_daemons>("steadytext.daemons", "Inference daemons, separated by commas.",
                                                      "Each is an endpoint with options: tcp://host:port weight=2, "
                                                      "ipc:///path, https://host/v1 model=name key_file=/path.",
                                                      &daemons, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY);
    define_word("steadytext.balance", "How a request finds its daemon.",
                "weighted: in turn, by weight; affinity: the same request goes to the same daemon.", &balance,
                PGC_SIGHUP);
    define_word("steadytext.fingerprint_policy", "What to do about daemons that mean different models by one name.",
                "warn: log it; strict: the later one gets nothing.", &fingerprint_policy, PGC_SIGHUP);
    define_flag("steadytext.allow_plaintext", "Sends prompts to other machines unencrypted.",
                "Off, a tcp:// daemon beyond loopback needs server_key_file=, its CURVE public key.", &allow_plaintext,
                PGC_SIGHUP, GUC_SUPERUSER_ONLY);
    define_flag("steadytext.embedded_daemon", "Runs steadytextd beside the server.",
                "It starts once steadytext.embedded_model or steadytext.embedded_embedding_model names a model.",
                &embedded_daemon, PGC_SIGHUP);
    define_text<core::rules::kPath>("steadytext.embedded_model", "GGUF file of the embedded daemon's generation model.",
                                    "Or a directory of GGUF files, which calls name.", &embedded_model, "", PGC_SIGHUP,
                                    GUC_SUPERUSER_ONLY);
    define_text<core::rules::kPath>("steadytext.embedded_embedding_model",
                                    "GGUF file of the embedded daemon's embedding model.", nullptr,
                                    &embedded_embedding_model, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY);
    define_text<core::rules::kPath>("steadytext.embedded_reranker_model",
                                    "GGUF file of the embedded daemon's reranking model.", nullptr,
                                    &embedded_reranker_model, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY);
    define_integer("steadytext.embedded_slots", "Requests the embedded daemon works on at once.", nullptr,
                   &embedded_slots, PGC_SIGHUP);
    define_integer("steadytext.embedded_threads", "Threads of the embedded daemon; 0 means one per core but one.",
                   "More threads than free cores make it very slow: they wait for each other by spinning.",
                   &embedded_threads, PGC_SIGHUP);
    define_integer("steadytext.embedded_prefix_memory",
                   "Memory in which the embedded daemon keeps beginnings of prompts.", "0: none is kept.",
                   &embedded_prefix_memory_mb, PGC_SIGHUP, GUC_UNIT_MB);
    define_integer("steadytext.embedded_memory", "Memory of the embedded daemon's models together.",
                   "Models of a directory are loaded when a call names them, and the one used longest ago is given up "
                   "for them; 0: half of the machine's memory.",
                   &embedded_memory_mb, PGC_SIGHUP, GUC_UNIT_MB);
    define_integer("steadytext.embedded_gpu_layers", "Layers of each model that the embedded daemon computes on a GPU.",
                   "It takes a steadytextd built for one (scripts/build-llama --cuda or --vulkan).",
                   &embedded_gpu_layers, PGC_SIGHUP);
    define_word(
        "steadytext.embedding_overflow",
        "What the embedded daemon does with a text that is longer than the embedding model's window.",
        "error: refuses it; cut: embeds its beginning, with a WARNING; mean: embeds it part by part, and gives the "
        "parts' average.",
        &embedding_overflow, PGC_SIGHUP);
    define_text<core::rules::kPath>("steadytext.embedded_program", "Program run as the embedded daemon.",
                                    "Empty means steadytextd in PostgreSQL's bin directory.", &embedded_program, "",
                                    PGC_SIGHUP, GUC_SUPERUSER_ONLY);
}

void define_requests() {
    define_integer("steadytext.embedding_dimensions", "Dimensions of the vectors steadytext_embed returns.",
                   "Shorter vectors are padded with zeros, longer ones cut and normalised again.",
                   &embedding_dimensions, PGC_USERSET);
    define_integer("steadytext.default_max_tokens", "Tokens generated when a call does not say.", nullptr,
                   &default_max_tokens, PGC_USERSET);
    define_integer("steadytext.default_seed", "Seed used when a call passes NULL, or cannot pass one.", nullptr,
                   &default_seed, PGC_USERSET);
    define_integer("steadytext.request_timeout", "How long one call may wait for its answer.", nullptr,
                   &request_timeout_ms, PGC_USERSET, GUC_UNIT_MS);
    define_flag("steadytext.read_ahead", "Asks for later rows of a statement while its earlier rows are answered.",
                "Rows and errors are the same without.", &read_ahead, PGC_USERSET);
    define_flag("steadytext.reorder",
                "Evaluates conditions that make calls after joins and other conditions, where that means fewer calls.",
                "Rows are the same without.", &reorder, PGC_USERSET);
    define_word("steadytext.on_failure", "What a call gives when no daemon can answer.",
                "auto: an error in a statement that stores its rows, else as fallback; fallback: a recognisable text, "
                "lexical scores, "
                "NULL for vectors; null: NULL; error: an error.",
                &on_failure, PGC_USERSET);
    define_text<core::rules::kFallbackText>("steadytext.fallback_text",
                                            "Text given by steadytext_generate when no daemon can answer.", nullptr,
                                            &fallback_text, "[steadytext: no answer available]", PGC_USERSET);
    define_word("steadytext.unknown_model", "What becomes of a call that names a model that no daemon serves.",
                "warning: the default model answers, and a WARNING says so; error: an error, before anything is sent; "
                "ignore: the default "
                "model answers.",
                &unknown_model, PGC_USERSET);
    define_integer("steadytext.max_prompt_bytes", "Longest prompt or text accepted.", nullptr, &max_prompt_bytes,
                   PGC_SUSET, GUC_UNIT_BYTE);
    define_flag("steadytext.normalize_prompts", "Brings prompts to Unicode normalization form NFC.", nullptr,
                &normalize_prompts, PGC_USERSET);
}

void define_rate_limits() {
    define_integer("steadytext.max_calls_per_statement",
                   "Calls that a statement may make, those not answered by the cache; 0: no limit.", nullptr,
                   &max_calls_per_statement, PGC_SUSET);
    define_integer("steadytext.max_tokens_per_statement",
                   "Tokens that the calls of a statement may need, prompts and answers; 0: no limit.", nullptr,
                   &max_tokens_per_statement, PGC_SUSET);
    define_integer(
        "steadytext.own_max_calls_per_statement",
        "The same as steadytext.max_calls_per_statement, for a role to set by itself; the lower of both counts.",
        nullptr, &own_max_calls_per_statement, PGC_USERSET);
    define_integer("steadytext.own_max_tokens_per_statement",
                   "The same as steadytext.max_tokens_per_statement, for a role to set by itself; the lower of both "
                   "counts.",
                   nullptr, &own_max_tokens_per_statement, PGC_USERSET);
    define_word("steadytext.on_cap", "What becomes of a call beyond what its statement may make.",
                "error: an error, before it is made; warn: it is made, and a WARNING says so once a statement.",
                &on_cap, PGC_SUSET);
    define_word("steadytext.on_limit", "What a call does when a rate limit stands against it.",
                "error: it fails; wait: it waits, steadytext.request_timeout at most; null: it gives NULL.", &on_limit,
                PGC_USERSET);
    define_flag("steadytext.limit_cache_hits", "Cached answers count against rate limits.", nullptr, &limit_cache_hits,
                PGC_SUSET);
    define_flag("steadytext.limit_superusers", "Rate limits bind superusers too.", nullptr, &limit_superusers,
                PGC_SUSET);
    define_flag("steadytext.limit_shadow_mode", "Counts what rate limits would refuse, and refuses nothing.", nullptr,
                &limit_shadow_mode, PGC_SUSET);
    define_integer("steadytext.server_requests_per_minute",
                   "Requests of all databases together in any minute; 0: no limit.", nullptr,
                   &server_requests_per_minute, PGC_SIGHUP);
    define_integer("steadytext.server_tokens_per_minute",
                   "Tokens of all databases together in any minute; 0: no limit.", nullptr, &server_tokens_per_minute,
                   PGC_SIGHUP);
    define_integer("steadytext.server_concurrency", "Calls of all databases under way at once; 0: no limit.", nullptr,
                   &server_concurrency, PGC_SIGHUP);
    define_integer("steadytext.max_rate_meters",
                   "Things that rate limits count separately, such as one role's requests.",
                   "A call that needs one more while all are in use is refused.", &max_rate_meters, PGC_POSTMASTER);
}

void define_limits() {
    define_integer("steadytext.max_requests", "Requests under way at once, in all sessions together.", nullptr,
                   &max_requests, PGC_POSTMASTER);
    define_integer("steadytext.max_databases", "Databases that may use the extension at once.",
                   "In one more nothing is written to tables and no asynchronous call is carried out, until another "
                   "database is dropped.",
                   &max_databases, PGC_POSTMASTER);
    define_integer("steadytext.payload_memory", "Shared memory for requests and replies under way.", nullptr,
                   &payload_memory_kb, PGC_POSTMASTER, GUC_UNIT_KB);
    define_integer("steadytext.pool_size", "Connections kept to each daemon that serves one request at a time.",
                   nullptr, &pool_size, PGC_SIGHUP);
    define_integer("steadytext.pool_wait", "How long a request may wait for a connection.", nullptr, &pool_wait_ms,
                   PGC_SIGHUP, GUC_UNIT_MS);
    define_integer("steadytext.batch_window",
                   "How long an embedding waits for others to share its message to the daemon.", "0 is not at all.",
                   &batch_window_ms, PGC_SIGHUP, GUC_UNIT_MS);
    define_integer("steadytext.breaker_threshold", "Consecutive failures that open a daemon's circuit breaker.",
                   "0: none do.", &breaker_threshold, PGC_SIGHUP);
    define_integer("steadytext.breaker_recovery", "How long an open circuit breaker waits before it tries again.",
                   nullptr, &breaker_recovery_ms, PGC_SIGHUP, GUC_UNIT_MS);
    define_integer("steadytext.breaker_timeout",
                   "How long a daemon may be silent before a call that gives up counts as its failure.",
                   "A call that gives up sooner, by its own steadytext.request_timeout, says nothing of the daemon.",
                   &breaker_timeout_ms, PGC_SIGHUP, GUC_UNIT_MS);
}

void define_cache() {
    define_flag("steadytext.cache_enabled", "Answers repeated calls from the cache.", nullptr, &cache_enabled,
                PGC_USERSET);
    define_flag("steadytext.hot_cache", "Answers repeated calls from shared memory.",
                "Off: steadytext_cache alone answers them, once the keeper has written the answer.", &hot_cache,
                PGC_SUSET);
    define_integer("steadytext.hot_cache_size", "Shared memory for cached answers.", nullptr, &hot_cache_size_kb,
                   PGC_POSTMASTER, GUC_UNIT_KB);
    define_word("steadytext.cache_scope", "Who shares cached answers.",
                "A shared cache tells by its speed what others have asked.", &cache_scope, PGC_SUSET);
    define_integer("steadytext.cache_write_memory", "Shared memory for answers on their way to steadytext_cache.",
                   "Answers that find no room are not written there.", &cache_write_memory_kb, PGC_POSTMASTER,
                   GUC_UNIT_KB);
    define_integer("steadytext.cache_max_entries", "Rows of steadytext_cache the scheduled eviction keeps; 0: all.",
                   nullptr, &cache_max_entries, PGC_SIGHUP);
    define_integer("steadytext.cache_max_size", "Size of steadytext_cache the scheduled eviction keeps; 0: all.",
                   nullptr, &cache_max_size_mb, PGC_SIGHUP, GUC_UNIT_MB);
    define_integer("steadytext.cache_ttl", "How long a cached answer counts; 0 means for ever.",
                   "Each answer's time differs by up to a tenth, so that not all go at once.", &cache_ttl_s, PGC_SUSET,
                   GUC_UNIT_S);
    define_integer("steadytext.frecency_refresh_interval",
                   "How often hits are folded into steadytext_cache, and what is too much evicted.", nullptr,
                   &frecency_refresh_interval_s, PGC_SIGHUP, GUC_UNIT_S);
    define_flag("steadytext.new_cache_keys", "Keeps and finds answers under this version's keys.",
                "Off: rows of the PL/Python original answer and keep their keys, and no answer is added to the cache.",
                &new_cache_keys, PGC_SUSET);
    define_flag("steadytext.keeper", "Writes answers, hits, usage and audit rows to tables.",
                "Off: they wait in shared memory as long as it has room for them.", &keeper, PGC_SIGHUP);
    define_flag("steadytext.legacy_cache_keys", "Finds cached answers under the keys of the PL/Python original too.",
                "Its rows tell no author: they answer every role.", &legacy_cache_keys, PGC_SUSET);
}

void define_hub() {
    define_text<core::rules::kConninfo, check_conninfo>(
        "steadytext.hub_conninfo",
        "How a node connects to its hub: a standby to its primary, another server to that which shares its cache.",
        "Empty: it does not. Of each database the worker goes to the database of the same name.", &hub_conninfo, "",
        PGC_SIGHUP, GUC_SUPERUSER_ONLY);
    define_integer("steadytext.hub_lookup_timeout",
                   "How long a call of an independent node waits for the hub's answer to a miss.",
                   "0: the hub is not asked.", &hub_lookup_timeout_ms, PGC_SIGHUP, GUC_UNIT_MS);
    define_integer("steadytext.hub_max_staleness",
                   "How long an independent node gives cached answers after it last heard from its hub.",
                   "After that, until it hears from it again, the cache answers nothing. 0: without end.",
                   &hub_max_staleness_ms, PGC_SIGHUP, GUC_UNIT_MS);
}

void define_incidents() {
    define_integer("steadytext.incident_window", "Time over which incidents' rates are taken.", nullptr,
                   &incident_window_ms, PGC_SIGHUP, GUC_UNIT_MS);
    define_integer("steadytext.incident_delay",
                   "How long a condition must hold to open an incident, and be over to close it.", nullptr,
                   &incident_delay_ms, PGC_SIGHUP, GUC_UNIT_MS);
    define_flag("steadytext.incident_restart", "Restarts the embedded daemon when it hangs.", nullptr,
                &incident_restart, PGC_SIGHUP);
    define_flag("steadytext.incident_drain", "Gives nothing new to a daemon whose circuit breaker flaps.",
                "Only while another daemon is ready.", &incident_drain, PGC_SIGHUP);
    define_flag("steadytext.incident_widen_refresh", "Refreshes frecency less often while calls are slow or wait.",
                nullptr, &incident_widen_refresh, PGC_SIGHUP);
    define_flag("steadytext.incident_shed",
                "Begins no asynchronous calls of low priority while daemons are down or calls fail or wait.", nullptr,
                &incident_shed, PGC_SIGHUP);
}

void define_queue() {
    DefineCustomIntVariable("steadytext.queue_priority", "Priority of asynchronous calls that name none, from 1 to 10.",
                            nullptr, &queue_priority, 5, 1, 10, PGC_USERSET, 0, nullptr, nullptr, nullptr);
    DefineCustomIntVariable("steadytext.queue_max_length",
                            "Asynchronous calls that may wait or be under way in a database.",
                            "One more is refused. 0: no limit.", &queue_max_length, 100'000, 0, INT_MAX, PGC_SIGHUP, 0,
                            nullptr, nullptr, nullptr);
    DefineCustomIntVariable("steadytext.queue_max_per_role",
                            "Of them, how many one role may have; superusers are not counted.",
                            "0: half of what the requests of all others leave free.", &queue_max_per_role, 0, 0,
                            INT_MAX, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
    DefineCustomIntVariable("steadytext.queue_memory", "Memory that a queue worker fills with requests and answers.",
                            "One request, and the answers of one request, may have a quarter of it.", &queue_memory_kb,
                            256 * 1024, 16 * 1024, 4 * 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, nullptr, nullptr, nullptr);
    DefineCustomIntVariable(
        "steadytext.queue_retention", "How long asynchronous calls that have ended are kept; 0: for ever.", nullptr,
        &queue_retention_s, 7 * 24 * 3600, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
}

void define_monitoring() {
    define_flag("steadytext.track_calls", "Counts and times calls.",
                "Off: steadytext_metrics(), steadytext_response_times() and pg_stat_steadytext do not see them.",
                &track_calls, PGC_SUSET);
    define_text<core::rules::kListenAddress>("steadytext.metrics_listen",
                                             "Address and port where Prometheus may read the metrics over HTTP.",
                                             "Anybody who can connect there may read them. off: nowhere.",
                                             &metrics_listen, "off", PGC_SIGHUP, GUC_SUPERUSER_ONLY);
    define_integer("steadytext.log_min_duration", "Logs calls that take this long or longer; -1: none.",
                   "With the hash of the prompt, never the prompt.", &log_min_duration_ms, PGC_SUSET, GUC_UNIT_MS);
    define_integer("steadytext.usage_retention", "How long days are kept in steadytext_usage; 0: for ever.",
                   "A budget that is set, or begins anew with the server, knows no more of its period than is there.",
                   &usage_retention_s, PGC_SIGHUP, GUC_UNIT_S);
    define_integer("steadytext.audit_retention", "How long rows of steadytext_audit_log are kept; 0: for ever.",
                   nullptr, &audit_retention_s, PGC_SIGHUP, GUC_UNIT_S);
    define_integer("steadytext.stat_statements_max", "Rows pg_stat_steadytext has room for.",
                   "When it is full the least used make room.", &stat_statements_max, PGC_POSTMASTER);
}

}  // namespace

void define_gucs() {
    define_daemons();
    define_requests();
    define_limits();
    define_cache();
    define_hub();
    define_queue();
    define_monitoring();
    define_incidents();
    define_rate_limits();
    pg::reserve_guc_prefix("steadytext");
}

}  // namespace steadytext::guc
