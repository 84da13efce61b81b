// Makes requests from a row, and a result from answers: see job.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/queue/job.hpp"
#include "src/core/clock.hpp"
#include "src/core/json_text.hpp"
#include "src/guc.hpp"
#include "src/pg/written.hpp"
#include "src/pg/text.hpp"
#include "src/queue/job_row.hpp"
#include "src/session/observe.hpp"
#include "src/session/settings.hpp"

extern "C" {
#include "utils/memutils.h"
}

#include <algorithm>
#include <charconv>
#include <new>
#include <string>
#include <vector>

namespace steadytext::queue {

using session::CallResult;

namespace {

std::int64_t integer(const char *name, std::string_view text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size())
        return number;
    core::Problem problem;
    problem.set(core::sqlstate::kInvalidParameterValue, "%s must be an integer", name);
    pg::raise(problem);
}

session::GenerationRequest generation_request(const JobRow &row, const core::TextArgument &prompt) {
    session::GenerationRequest request;
    request.prompt = prompt;
    request.form = row.form;
    if ((request.has_max_tokens = !row.max_tokens.is_null))
        request.max_tokens = integer("max_tokens", row.max_tokens.text);
    if ((request.has_seed = !row.seed.is_null))
        request.seed = integer("seed", row.seed.text);
    request.eos_string = row.eos_string;
    request.model = row.model;
    request.model_repo = row.model_repo;
    request.model_filename = row.model_filename;
    request.size = row.size;
    request.use_cache = row.use_cache;
    request.unsafe_mode = row.unsafe_mode;
    return request;
}

session::EmbeddingRequest embedding_request(const JobRow &row, const core::TextArgument &text) {
    session::EmbeddingRequest request;
    request.text = text;
    request.seed = row.seed.is_null ? session::settings().default_seed : integer("seed", row.seed.text);
    request.model = row.model;
    request.use_cache = row.use_cache;
    request.unsafe_mode = row.unsafe_mode;
    return request;
}

session::RerankRequest rerank_request(const JobRow &row) {
    session::RerankRequest request;
    request.query = row.text;
    request.documents_are_null = row.documents_are_null;
    request.documents = row.documents;
    request.task = row.task;
    request.seed = row.seed.is_null ? session::settings().default_seed : integer("seed", row.seed.text);
    return request;
}

bool is_class(const core::Problem &problem, const char *sqlstate_class) {
    return strncmp(problem.sqlstate, sqlstate_class, 2) == 0;
}

// If there is no room here, daemons ask to come again (57P03), or a table is locked (55P03), the job loses no attempt.
// An error in its arguments is final.
Outcome outcome_of(const core::Problem &problem) {
    if (is_class(problem, "53") || strcmp(problem.sqlstate, core::sqlstate::kCannotConnectNow) == 0 ||
        strcmp(problem.sqlstate, "55P03") == 0)
        return Outcome::Postponed;
    return is_class(problem, "22") || is_class(problem, "42") || is_class(problem, "54") ? Outcome::Failed
                                                                                         : Outcome::Retry;
}

// Best first, in the original's form: [["document", score], ...] or ["document", ...].
std::string_view ranking_text(const Job &job, std::string_view scores) {
    return pg::written([&](std::string &text) {
        std::vector<std::pair<double, std::size_t>> ranked;
        const char *at = scores.data() + 1;
        for (std::size_t i = 0; i < job.row.documents.size(); i++) {
            double score = 0;
            at = std::from_chars(at, scores.data() + scores.size(), score).ptr + 2;
            ranked.emplace_back(score, i);
        }
        std::stable_sort(ranked.begin(), ranked.end(), [](const auto &a, const auto &b) { return a.first > b.first; });
        text.assign("[");
        for (const auto &[score, index] : ranked) {
            text.append(text.size() == 1 ? "" : ", ").append(job.row.return_scores ? "[" : "");
            core::append_json_string(text, job.row.documents[index].text, core::Escape::Utf8);
            if (job.row.return_scores) {
                text.append(", ");
                core::append_json_number(text, score);
                text.append("]");
            }
        }
        text.append("]");
    });
}

void finish(Job &job, Outcome outcome) {
    job.outcome = outcome;
    job.took_us = core::monotonic_us() - job.started_us;
}

}  // namespace

void JobList::insert_after(Job *place, Job *job) {
    job->list = this;
    job->previous = place;
    job->next = place == nullptr ? first : place->next;
    (job->next == nullptr ? last : job->next->previous) = job;
    (place == nullptr ? first : place->next) = job;
    count++;
}

void JobList::remove(Job *job) {
    (job->previous == nullptr ? first : job->previous->next) = job->next;
    (job->next == nullptr ? last : job->next->previous) = job->previous;
    count--;
}

Job *make_job(const JobRow &row) {
    auto *job = new (palloc0(sizeof(Job))) Job;
    job->memory = CurrentMemoryContext;
    job->row = row;
    job->started_us = core::monotonic_us();
    return job;
}

// ---- beginning -----------------------------------------------------------------------------------------------------

namespace {

constexpr std::uint32_t kWindow = 256;  // parts of a batch that are in memory at a time
constexpr std::int64_t kRepeatUs = 250'000;

void prepare(Job &job) {
    if (job.row.bytes > most_bytes_of_one()) {
        core::Problem problem;
        problem.set("54000", "the request has %lld kB, more than a quarter of steadytext.queue_memory",
                    static_cast<long long>(job.row.bytes / 1024));
        pg::raise(problem);
    }
    read_payload(job);
    MemoryContext caller = MemoryContextSwitchTo(job.memory);
    if (job.row.is_batch) {
        job.window = std::clamp(job.part_count, 1U, kWindow);
        job.answers = BatchAnswers::make();
    }
    job.parts = static_cast<Part *>(palloc0(std::max(job.window, 1U) * sizeof(Part)));
    MemoryContextSwitchTo(caller);
    if (job.part_count == 0)
        finish(job, Outcome::Done);
}

Part &new_part(Job &job) {
    Part &part = *new (&job.parts[job.window == 0 ? 0 : job.begun % job.window]) Part{};
    part.job = &job;
    part.number = job.begun;
    part.is_null = true;
    part.memory = job.memory;
    if (!job.row.is_batch)
        return part;
    const core::TextArgument &text = job.texts[job.begun - job.texts_from];
    part.memory = AllocSetContextCreate(job.memory, "steadytext part", ALLOCSET_SMALL_SIZES);
    MemoryContext caller = MemoryContextSwitchTo(part.memory);
    part.text = {text.is_null, pg::copy_text(text.text)};
    MemoryContextSwitchTo(caller);
    return part;
}

// A part that a limit refused, with a fresh memory context, as it may begin again very often.
Part &repeated_part(Job &job) {
    std::uint32_t number = job.stored;
    while (!job.parts[number % job.window].again)
        number++;
    Part &part = job.parts[number % job.window];
    MemoryContext before = part.memory;
    part.memory = AllocSetContextCreate(job.memory, "steadytext part", ALLOCSET_SMALL_SIZES);
    MemoryContext caller = MemoryContextSwitchTo(part.memory);
    part.text.text = pg::copy_text(part.text.text);
    MemoryContextSwitchTo(caller);
    MemoryContextDelete(before);
    part.again = false;
    part.generation = {};
    job.to_repeat--;
    return part;
}

}  // namespace

void get_ready(Job &job) {
    if (!job.payload.is_read)
        prepare(job);
    if (job.row.is_batch && !job.is_over() && job.to_repeat == 0 && job.begun >= job.texts_from + job.texts.size())
        read_texts(job, job.begun);
}

Part &begin_part(Job &job) {
    const bool repeats = job.to_repeat > 0;
    Part &part = repeats ? repeated_part(job) : new_part(job);
    if (!repeats)
        job.begun++;
    MemoryContext caller = MemoryContextSwitchTo(part.memory);
    const core::TextArgument &text = job.row.is_batch ? part.text : job.row.text;
    switch (job.row.kind) {
    case JobKind::Generate:
        part.call = session::begin_generation(generation_request(job.row, text), part.generation);
        break;
    case JobKind::Embed:
        part.call = session::begin_embedding(embedding_request(job.row, text));
        break;
    case JobKind::Rerank:
        part.call = session::begin_reranking(rerank_request(job.row));
        break;
    }
    part.call->spending.login = job.row.session_user;
    session::observe::login(job.row.session_user);
    MemoryContextSwitchTo(caller);
    return part;
}

// ---- ending --------------------------------------------------------------------------------------------------------

namespace {

// Stores answers in the order of the parts. A slow part holds back at most a window of parts behind it.
void store_answers(Job &job) {
    while (job.stored < job.begun && job.parts[job.stored % job.window].has_ended) {
        Part &part = job.parts[job.stored % job.window];
        job.answers->add(part.is_null, part.bytes);
        MemoryContextDelete(part.memory);
        part = Part{};
        job.stored++;
    }
    if (job.answers->bytes() <= most_bytes_of_one())
        return;
    core::Problem problem;
    problem.set("54000", "the answers have more than %lld kB, a quarter of steadytext.queue_memory",
                static_cast<long long>(most_bytes_of_one() / 1024));
    fail(job, problem);
}

// All daemons are down, or held back, or none is configured.
bool is_outage(const core::Problem &problem) {
    for (const char *state :
         {core::sqlstate::kCannotConnect, core::sqlstate::kHeldBack, core::sqlstate::kPrerequisiteState})
        if (strcmp(problem.sqlstate, state) == 0)
            return true;
    return false;
}

void postpone(Job &job, const core::Problem &problem) {
    if (job.is_over())
        return;
    job.problem = problem;
    finish(job, Outcome::Postponed);
}

// Of a batch only this part waits; answers of the other parts stay.
void put_off(Part &part, const core::Problem &problem, std::int64_t wait_us) {
    Job &job = *part.job;
    if (!job.row.is_batch)
        return postpone(job, problem);
    part.again = true;
    job.to_repeat++;
    job.not_before_us = core::monotonic_us() + std::clamp(wait_us, kRepeatUs, kMaxLimitWaitUs);
}

// The part has not ended, so it is not counted now: it is counted once, when it ends.
void end_limited(Part &part, const session::ModelCall &call) {
    session::observe::forget();
    part.job->was_limited = !part.job->row.is_batch;
    part.job->limit_wait_us = call.limit_wait_us;
    put_off(part, call.problem, call.limit_wait_us);
}

void end_unreached(Part &part, const core::Problem &problem) {
    Job &job = *part.job;
    const std::int64_t now_us = core::monotonic_us();
    job.is_unreached = !job.row.is_batch;
    if (job.unreached_since_us == 0)
        job.unreached_since_us = now_us;
    put_off(part, problem, outage_pause_us(now_us - job.unreached_since_us));
}

}  // namespace

std::int64_t age_us(const Job &job) { return job.row.age_us + core::monotonic_us() - job.started_us; }

void end_part(Part &part) {
    Job &job = *part.job;
    session::ModelCall &call = *part.call;
    part.call = nullptr;
    if (call.result == CallResult::Limited)
        return end_limited(part, call);
    if (has_failed(call.result)) {
        session::observe::failed(call.problem);
        (void)session::observe::end();
        if (is_outage(call.problem) && age_us(job) < kLongestOutageUs)
            return end_unreached(part, call.problem);
        return outcome_of(call.problem) == Outcome::Postponed ? put_off(part, call.problem, 0)
                                                              : fail(job, call.problem);
    }
    job.unreached_since_us = 0;
    call.finish();
    std::string_view bytes;
    part.is_null = !call.bytes(bytes);
    MemoryContext caller = MemoryContextSwitchTo(part.memory);
    part.bytes = pg::copy_text(job.row.kind == JobKind::Rerank && !part.is_null ? ranking_text(job, bytes) : bytes);
    MemoryContextSwitchTo(caller);
    part.has_ended = true;
    job.ended++;
    const std::string_view daemon = part.generation.daemon.substr(0, sizeof job.daemon - 1);
    daemon.copy(job.daemon, daemon.size());
    job.daemon[daemon.size()] = '\0';
    if (job.row.is_batch)
        store_answers(job);
    if (job.ended == job.part_count && !job.is_over())
        finish(job, Outcome::Done);
}

void fail(Job &job, const core::Problem &problem) {
    if (job.is_over())
        return;
    job.problem = problem;
    finish(job, outcome_of(problem));
}

std::int64_t most_bytes_of_one() { return std::int64_t{guc::queue_memory_kb} * 1024 / 4; }

}  // namespace steadytext::queue
