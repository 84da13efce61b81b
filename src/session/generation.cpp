// Text generation, step by step: see generation.hpp.
//
// Regime: pg, with C++ only inside guarded(). Texts under construction are in process-lifetime buffers, which no
// longjmp can leak.
#include "src/pg/compat.hpp"
#include "src/session/generation.hpp"
#include "src/core/json_text.hpp"
#include "src/core/reply.hpp"
#include "src/core/sha256.hpp"
#include "src/guc.hpp"
#include "src/pg/written.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"
#include "src/session/audit.hpp"
#include "src/session/on_failure.hpp"
#include "src/session/equal_answers.hpp"
#include "src/session/generation_stream.hpp"
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

constexpr std::string_view kPrefix = "generate:";

// The session keeps the deadline and sends a cancel; the daemon drops the request by itself only if the cancel is lost.
constexpr std::int64_t kDaemonGraceMs = 1000;

// A request with all defaults filled in.
struct Resolved {
    std::string_view prompt;  // in NFC, if normalize_prompts is on
    std::size_t prefix_bytes;
    CheckedForm form;
    bool streaming;
    std::int64_t max_tokens;
    std::int64_t seed;
    double temperature;
    std::string_view eos;
    std::string_view model;
    ChosenModel chosen;
    std::string_view size;
    std::string_view fingerprint;
    std::string_view scope;
    bool use_cache;
};

// In the order in which the original complains.
void check(const GenerationRequest &request, Resolved &resolved) {
    inspect_prompt("prompt", request.prompt);
    inspect_prompt("eos_string", request.eos_string);
    inspect_name("model", request.model, rules::kModel.most);
    inspect_name("model_repo", request.model_repo, rules::kModelFile.most);
    inspect_name("model_filename", request.model_filename, rules::kModelFile.most);
    inspect_name("size", request.size, rules::kSize.most);
    if (!request.prompt_is_checked)
        require(rules::kPrompt, request.prompt);
    resolved.form = check_form(request.form);
    require(resolved.form.is_free() ? rules::kSeed : rules::kAnySeed, resolved.seed);
    require(rules::kMaxTokens, resolved.max_tokens);
    require(rules::kTemperature, request.temperature);
    check_model(shmem::ModelRole::Generation, request.model, request.unsafe_mode);
    if (request.unsafe_mode && request.model.is_null) {
        core::Problem problem;
        problem.set(core::sqlstate::kInvalidParameterValue, "unsafe_mode=TRUE requires a model parameter");
        pg::raise(problem);
    }
    require(rules::kEosString, resolved.eos);
    require(rules::kSize, request.size);
    require(rules::kModelFile, "model_repo", request.model_repo);
    require(rules::kModelFile, "model_filename", request.model_filename);
}

// A model file named in both its parts is a model of its own.
std::string_view model_of(const GenerationRequest &request) {
    if (!request.model.is_null)
        return request.model.text;
    if (request.model_repo.is_null || request.model_filename.is_null)
        return {};
    return request.model_filename.text;
}

// The parameters as the key has them, until the next call. `scope` and `fingerprint` say for which roles and of which
// model the answer is. Rows of the original have kLegacyFingerprint, and no scope.
std::string_view key_params(const Resolved &resolved, std::string_view scope, std::string_view fingerprint) {
    return pg::written_json(core::Escape::Ascii, [&](core::JsonObject &json) {
        resolved.form.add_to(json, AnswerForm::Kind::Choice);  // each where its name stands in the order
        json.add("eos_string", resolved.eos);
        json.add("fingerprint", fingerprint);
        json.add("max_tokens", resolved.max_tokens);
        json.add("model", resolved.model);
        if (resolved.prefix_bytes > 0)
            json.add("prefix_bytes", static_cast<std::int64_t>(resolved.prefix_bytes));
        resolved.form.add_to(json, AnswerForm::Kind::Regex);
        resolved.form.add_to(json, AnswerForm::Kind::Json);
        json.add("scope", scope);
        json.add("seed", resolved.seed);
        json.add("size", resolved.size);
        json.add("temperature", resolved.temperature);
    });
}

core::Digest key_of(const Resolved &resolved, std::string_view scope, std::string_view fingerprint) {
    return cache_key(kPrefix, resolved.prompt, key_params(resolved, scope, fingerprint));
}

// Within this a daemon shares what it has computed of a prefix. Not the names themselves: a daemon has no use for them.
std::string_view prefix_scope(const Resolved &resolved) {
    static char digits[core::kHexBytes];
    core::Sha256 *sha = core::Sha256::instance();
    if (sha == nullptr)
        return resolved.scope;
    sha->begin();
    sha->add("prefix:");
    sha->add(resolved.scope);
    const Oid role = scope_role();
    sha->add({reinterpret_cast<const char *>(&role), sizeof role});
    core::to_hex(sha->finish(), digits);
    return {digits, sizeof digits};
}

std::string_view wire_params(const Resolved &resolved) {
    const std::string_view scope = resolved.prefix_bytes > 0 ? prefix_scope(resolved) : std::string_view();
    return pg::written_json(core::Escape::Utf8, [&](core::JsonObject &json) {
        json.add("prompt", resolved.prompt);
        if (resolved.prefix_bytes > 0) {
            json.add("prefix_bytes", static_cast<std::int64_t>(resolved.prefix_bytes));
            json.add("scope", scope);
        }
        json.add("seed", std::max<std::int64_t>(resolved.seed, 0));
        json.add("temperature", resolved.temperature);
        json.add("max_new_tokens", resolved.max_tokens);
        json.add("eos_string", resolved.eos);
        json.add_or_null("model", resolved.chosen.asked);
        json.add_or_null("size", resolved.size);
        resolved.form.add_to(json, resolved.form.kind);
        json.add_bool("return_usage", true);
        if (resolved.streaming)
            json.add_bool("ack", false);  // a stream may last; its session sees to it that it ends
        else
            json.add("timeout_ms", guc::request_timeout_ms + kDaemonGraceMs);
    });
}

std::string_view daemon_name(std::uint16_t row) {
    shmem::DaemonIdentity identity;
    if (!shmem::segment().daemons->rows[row].identity.load(identity))
        return {};
    return pg::copy_text(identity.endpoint);
}

// Part of an object is worse than nothing, so a form has no fallback. If no answer of the form fits into max_tokens,
// that is the caller's mistake.
void fall_back(const Resolved &resolved, const core::Problem &problem, Generation &generation) {
    if (strcmp(problem.sqlstate, core::sqlstate::kProgramLimitExceeded) == 0)
        pg::raise(problem);
    const Degraded instead = apply_on_failure(problem);
    generation.degraded = true;
    generation.finish_reason = "fallback";
    generation.is_null = instead == Degraded::Null || !resolved.form.is_free();
    generation.text = generation.is_null ? std::string_view() : pg::fitted_to_encoding(guc::fallback_text);
}

// Takes the daemon's reply into `generation`; false, with the problem, if it cannot be used.
// An engine may put the form into the prompt.
std::size_t prompt_bytes(const Resolved &resolved) {
    std::size_t bytes = resolved.prompt.size() + resolved.form.text.size();
    for (const std::string_view choice : resolved.form.choices)
        bytes += choice.size();
    return bytes;
}

bool take_reply(const Resolved &resolved, const Answer &answer, Generation &generation, core::Problem &problem) {
    core::GenerateReply reply;
    const auto read = [&](core::Problem &p) {
        return answer.streamed ? core::read_stream_end(answer.body, answer.text, reply, p)
                               : core::read_generate_reply(answer.body, reply, p);
    };
    if (!note_reading(answer, pg::try_guarded(problem, read), problem))
        return false;
    // An answer of another form could be read: the fault is the model's, not the daemon's.
    if (!reply.is_null && !take_formed(resolved.form, reply.text, problem)) {
        if (strcmp(problem.sqlstate, core::sqlstate::kProtocolViolation) == 0)
            shmem::segment().counters->add(static_cast<std::uint32_t>(pg::my_proc_number()),
                                           shmem::Counter::InvalidReplies);
        return false;
    }
    if (reply.is_null) {
        problem.set(core::sqlstate::kPrerequisiteState, "the daemon has no generation model");
        return false;
    }
    if (!pg::check_encoding(reply.text, problem))
        return false;
    generation.is_null = false;
    generation.text = pg::copy_text(reply.text);
    if (!reply.model.empty())
        generation.model = pg::copy_text(reply.model);
    if (!reply.fingerprint.empty())
        generation.fingerprint = pg::copy_text(reply.fingerprint);
    generation.finish_reason = pg::copy_text(reply.finish_reason.empty() ? "stop" : reply.finish_reason);
    if (core::Problem ignored; !reply.reasoning.empty() && pg::check_encoding(reply.reasoning, ignored))
        generation.reasoning = pg::copy_text(reply.reasoning);
    generation.prompt_tokens = believed_prompt_tokens(reply.prompt_tokens, prompt_bytes(resolved));
    generation.completion_tokens = believed_answer_tokens(reply.completion_tokens, resolved.max_tokens, answer.daemon);
    generation.engine_ms = reply.engine_ms;
    observe::engine(reply.engine_ms, generation.prompt_tokens, generation.completion_tokens);
    return true;
}

// The parameters as the table cache shows them.
std::string_view shown_params(const Resolved &resolved) {
    return pg::written_json(core::Escape::Utf8, [&](core::JsonObject &json) {
        json.add("max_tokens", resolved.max_tokens);
        json.add("seed", resolved.seed);
        json.add("temperature", resolved.temperature);
    });
}

CachedAnswer to_keep(const Generation &generation) {
    CachedAnswer answer;
    answer.text = generation.text;
    answer.prompt_tokens = generation.prompt_tokens;
    answer.completion_tokens = generation.completion_tokens;
    answer.finish_reason = generation.finish_reason;
    return answer;
}

void keep(const Resolved &resolved, const CacheQuery &query, const Generation &generation,
          std::int64_t expires_us = 0) {
    core::CacheRecord row;
    row.operation = resolved.form.operation();
    row.scope = resolved.scope;
    row.prompt = resolved.prompt;
    row.model = generation.model;
    row.fingerprint = generation.fingerprint;
    row.size = resolved.size;
    row.eos = resolved.eos == kDefaultEos ? std::string_view() : resolved.eos;
    row.params = shown_params(resolved);
    if (is_for_hub())
        row.key_params = key_params(resolved, resolved.scope, resolved.fingerprint);
    row.numbers.seed = static_cast<std::int32_t>(resolved.seed);
    row.numbers.generation_ms = static_cast<std::int32_t>(generation.engine_ms);
    CachedAnswer answer = to_keep(generation);
    answer.expires_us = expires_us;
    remember(query, row, answer);
}

// The original's key: the prompt, without temperature or size.
bool recall_original(const GenerationRequest &request, const Resolved &resolved, const CacheQuery &query,
                     CachedAnswer &found) {
    if (!guc::legacy_cache_keys || resolved.temperature != 0 || !resolved.size.empty())
        return false;
    static std::string *key = new std::string;
    if (!resolved.form.is_free())
        original_key(resolved.form, request.prompt.text, resolved.seed, *key);
    else
        pg::guarded([&] {
            key->assign(request.prompt.text);
            if (resolved.eos != kDefaultEos)
                key->append("::EOS::").append(resolved.eos);
        });
    // The key of a prompt with an end string may be the key of a longer prompt without: the row tells which prompt it
    // is.
    const std::string_view prompt = resolved.form.is_free() ? request.prompt.text : std::string_view();
    const std::int64_t max_tokens = resolved.form.is_free() ? resolved.max_tokens : -1;  // of no account for the others
    const auto accept = [](const void *form, CachedAnswer &answer) {
        core::Problem ignored;
        return take_formed(*static_cast<const CheckedForm *>(form), answer.text, ignored);
    };
    return recall_legacy(query,
                         {*key,
                          key_of(resolved, "", kLegacyFingerprint),
                          {resolved.model, resolved.seed, max_tokens, prompt},
                          accept,
                          &resolved.form},
                         found);
}

std::int64_t used_tokens(const Generation &generation) {
    const bool known = generation.prompt_tokens >= 0 && generation.completion_tokens >= 0;
    return known ? std::int64_t{generation.prompt_tokens} + generation.completion_tokens : kUnknownTokens;
}

Resolved resolve(const GenerationRequest &request) {
    const Settings settings = session::settings();
    Resolved resolved{};
    resolved.prompt = request.prompt.text;
    resolved.streaming = request.streaming;
    resolved.max_tokens = request.has_max_tokens ? request.max_tokens : settings.default_max_tokens;
    resolved.seed = request.has_seed ? request.seed : settings.default_seed;
    resolved.temperature = request.temperature;
    resolved.eos = request.eos_string.or_else(kDefaultEos);
    resolved.model = model_of(request);
    resolved.size = request.size.or_else("");
    resolved.use_cache = request.use_cache && settings.cache_enabled;
    return resolved;
}

shmem::CallKind call_kind_of(const Resolved &resolved) {
    return resolved.streaming ? shmem::CallKind::Stream : resolved.form.call_kind();
}

// The bytes of the prefix in NFC; 0 if the prompt in NFC does not begin with it, as a character joins the next one there.
std::size_t prefix_of(std::string_view prompt, std::string_view written) {
    if (written.empty())
        return 0;
    if (prompt.starts_with(written))
        return written.size();
    const std::string_view prefix = normalized(written, "the prompt");
    return prompt.starts_with(prefix) ? prefix.size() : 0;
}

class GenerationCall final : public ModelCall {
public:
    GenerationCall(const GenerationRequest &request, Generation &generation);

    [[nodiscard]] bool recall_original(CachedAnswer &found) override {
        return session::recall_original(request_, resolved_, query, found);
    }
    [[nodiscard]] bool accept_cached(const CachedAnswer &found) override;
    [[nodiscard]] bool accept_from_hub(const CachedAnswer &found) override {
        CachedAnswer formed = found;
        core::Problem ignored;
        return (resolved_.form.is_free() || take_formed(resolved_.form, formed.text, ignored)) && accept_cached(formed);
    }
    void keep_from_hub(const CachedAnswer &found) override {
        session::keep(resolved_, query, generation_, found.expires_us);
    }
    [[nodiscard]] SlotRequest prepare() override {
        require_usable(resolved_.form);
        if (streaming)
            require_room_for_stream();
        replace_if_gone(shmem::ModelRole::Generation, resolved_.chosen, resolved_.model);
        return {shmem::Operation::Generate, pg::copy_text(wire_params(resolved_)), resolved_.chosen.asked,
                resolved_.streaming};
    }
    [[nodiscard]] bool choose_again() override;
    [[nodiscard]] CallResult accept(const Answer &answer, CachedAnswer &shared) override;
    [[nodiscard]] std::int64_t used_tokens() const override { return session::used_tokens(generation_); }
    void finish() override;
    [[nodiscard]] bool bytes(std::string_view &answer) const override {
        answer = generation_.text;
        return !generation_.is_null;
    }

private:
    void choose();
    // Whether the answer is of the model in the key, as far as models are known here.
    [[nodiscard]] bool is_for_cache() const {
        const bool is_unknown = !resolved_.chosen.is_known && !resolved_.chosen.asked.empty();
        return !is_unknown && generation_.fingerprint == resolved_.fingerprint;
    }

    GenerationRequest request_;
    Resolved resolved_;
    Generation &generation_;
};

GenerationCall::GenerationCall(const GenerationRequest &request, Generation &generation)
    : request_(request), resolved_(resolve(request)), generation_(generation) {
    check(request_, resolved_);
    observe::begin(call_kind_of(resolved_));
    const std::string_view written = resolved_.prompt;
    resolved_.prompt = normalized(written, "the prompt");
    resolved_.prefix_bytes = prefix_of(resolved_.prompt, written.substr(0, request.prefix_bytes));
    observe::prompt(resolved_.prompt);
    generation.finish_reason = "limited";
    resolved_.scope = pg::copy_text(cache_scope());
    use_cache = resolved_.use_cache;
    streaming = resolved_.streaming;
    run = streaming ? 0 : EqualAnswers::run_at_hand();
    query = new_query(shmem::ValueKind::Text);
    choose();
}

// The model, and what depends on it.
void GenerationCall::choose() {
    resolved_.chosen = choose_model(shmem::ModelRole::Generation, resolved_.model);
    const bool is_known = resolved_.chosen.is_known;
    generation_.model = is_known ? pg::copy_text(resolved_.chosen.model.name) : std::string_view();
    resolved_.fingerprint = is_known ? pg::copy_text(resolved_.chosen.model.fingerprint) : std::string_view();
    const std::string_view model = generation_.model.empty() ? resolved_.model : generation_.model;
    observe::model(generation_.model);
    generation_.fingerprint = resolved_.fingerprint;
    const shmem::CallKind kind = call_kind_of(resolved_);
    const std::int64_t answer_tokens = most_tokens(resolved_.form, resolved_.max_tokens);
    spending = {kind, model, 1, prompt_tokens(kind, model, resolved_.prompt) + answer_tokens};
    spending.answer_tokens = answer_tokens;
    if (use_cache || request_.wants_key || run != 0) {
        query.key = key_of(resolved_, resolved_.scope, resolved_.fingerprint);
        core::to_hex(query.key, generation_.cache_key);
    }
}

bool GenerationCall::choose_again() {
    const std::string_view before = resolved_.chosen.asked;
    choose();
    replace_if_gone(shmem::ModelRole::Generation, resolved_.chosen, resolved_.model);
    return resolved_.chosen.asked != before;
}

// The answer goes to the cache, unless it comes from another model than the key says.
CallResult GenerationCall::accept(const Answer &answer, CachedAnswer &shared) {
    if (!take_reply(resolved_, answer, generation_, problem))
        return CallResult::Failed;
    generation_.daemon = daemon_name(answer.daemon);
    note_prompt_tokens(spending.kind, spending.model, resolved_.prompt, generation_.prompt_tokens);
    shared = to_keep(generation_);
    if (!is_for_cache())
        return CallResult::Unshared;
    if (use_cache)
        keep(resolved_, query, generation_);
    return CallResult::Answered;
}

bool GenerationCall::accept_cached(const CachedAnswer &found) {
    generation_.is_null = false;
    generation_.text = found.text;
    generation_.finish_reason = found.finish_reason.empty() ? "stop" : found.finish_reason;
    generation_.prompt_tokens = found.prompt_tokens;
    generation_.completion_tokens = found.completion_tokens;
    if (found.is_legacy) {
        generation_.model = {};
        generation_.fingerprint = kLegacyFingerprint;
    }
    observe::saved(found.completion_tokens);
    return true;
}

void GenerationCall::finish() {
    if (has_failed(result))
        fall_back(resolved_, problem, generation_);
    generation_.queue_ms = queue_ms;
    generation_.cached = result == CallResult::Recalled;
    took_us = observe::end();
    generation_.total_ms = static_cast<double>(took_us) / 1000;
}

}  // namespace

void generate(const GenerationRequest &request, Generation &generation) {
    (void)shmem::segment();  // first of all: is the library preloaded?
    GenerationCall call(request, generation);
    run(call);
    call.finish();
}

ModelCall *begin_generation(const GenerationRequest &request, Generation &generation) {
    (void)shmem::segment();
    return new (palloc(sizeof(GenerationCall))) GenerationCall(request, generation);
}

}  // namespace steadytext::session
