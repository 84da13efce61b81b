// From a row to requests, from answers to a result: see job.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/queue/job.hpp"
#include "src/core/clock.hpp"
#include "src/core/json_text.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/observe.hpp"

#include <algorithm>
#include <charconv>
#include <new>
#include <string>
#include <vector>

namespace steadytext::queue {

using session::Ended;

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
    if (!row.seed.is_null)
        request.seed = integer("seed", row.seed.text);
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
    if (!row.seed.is_null)
        request.seed = integer("seed", row.seed.text);
    return request;
}

bool is_class(const core::Problem &problem, const char *sqlstate_class) { return strncmp(problem.sqlstate, sqlstate_class, 2) == 0; }

// No room here, or daemons that ask to come again (57P03), cost a job no attempt; what is wrong with its arguments stays wrong.
Outcome outcome_of(const core::Problem &problem) {
    if (is_class(problem, "53") || strcmp(problem.sqlstate, core::sqlstate::kCannotConnectNow) == 0)
        return Outcome::Postponed;
    return is_class(problem, "22") || is_class(problem, "42") || is_class(problem, "54") ? Outcome::Failed : Outcome::Retry;
}

// Best first, as the original wrote it: [["document", score], ...] or ["document", ...].
std::string_view ranking_text(const Job &job, std::string_view scores) {
    static std::string *text = new std::string;
    pg::guarded([&](core::Problem &) {
        std::vector<std::pair<double, std::size_t>> ranked;
        const char *at = scores.data() + 1;
        for (std::size_t i = 0; i < job.row.documents.size(); i++) {
            double score = 0;
            at = std::from_chars(at, scores.data() + scores.size(), score).ptr + 2;
            ranked.emplace_back(score, i);
        }
        std::stable_sort(ranked.begin(), ranked.end(), [](const auto &a, const auto &b) { return a.first > b.first; });
        text->assign("[");
        for (const auto &[score, index] : ranked) {
            text->append(text->size() == 1 ? "" : ", ").append(job.row.return_scores ? "[" : "");
            core::append_json_string(*text, job.row.documents[index].text, core::Escape::Utf8);
            if (job.row.return_scores) {
                text->append(", ");
                core::append_json_number(*text, score);
                text->append("]");
            }
        }
        text->append("]");
        return true;
    });
    return *text;
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
    job->part_count = row.is_batch ? static_cast<std::uint32_t>(row.texts.size()) : 1;
    job->parts = static_cast<Part *>(palloc_extended(std::max(job->part_count, 1U) * sizeof(Part), MCXT_ALLOC_HUGE));
    for (std::uint32_t i = 0; i < job->part_count; i++)
        new (&job->parts[i]) Part{.job = job};
    job->started_us = core::monotonic_us();
    if (job->part_count == 0)
        finish(*job, Outcome::Done);
    return job;
}

Part &begin_part(Job &job) {
    Part &part = job.parts[job.begun++];
    const core::TextArgument &text = job.row.is_batch ? job.row.texts[job.begun - 1] : job.row.text;
    switch (job.row.kind) {
    case JobKind::Generate:
        part.inquiry = session::begin_generation(generation_request(job.row, text), part.generation);
        break;
    case JobKind::Embed:
        part.inquiry = session::begin_embedding(embedding_request(job.row, text));
        break;
    case JobKind::Rerank:
        part.inquiry = session::begin_reranking(rerank_request(job.row));
        break;
    }
    return part;
}

void end_part(Part &part) {
    Job &job = *part.job;
    session::Inquiry &inquiry = *part.inquiry;
    part.inquiry = nullptr;
    job.ended++;
    if (inquiry.ended == Ended::Limited) {
        (void)session::observe::end();
        inquiry.problem.set(core::sqlstate::kConfigurationLimitExceeded, "rate limit exceeded");
        return fail(job, inquiry.problem);
    }
    if (inquiry.ended == Ended::Failed) {
        session::observe::failed(inquiry.problem);
        (void)session::observe::end();
        return fail(job, inquiry.problem);
    }
    inquiry.finish();
    std::string_view bytes;
    part.is_null = !inquiry.bytes(bytes);
    MemoryContext caller = MemoryContextSwitchTo(job.memory);
    part.bytes = pg::copy_text(job.row.kind == JobKind::Rerank && !part.is_null ? ranking_text(job, bytes) : bytes);
    MemoryContextSwitchTo(caller);
    job.daemon = part.generation.daemon;
    if (job.ended == job.part_count && !job.is_over())
        finish(job, Outcome::Done);
}

void fail(Job &job, const core::Problem &problem) {
    if (job.is_over())
        return;
    job.problem = problem;
    finish(job, outcome_of(problem));
}

std::string_view result_text(const Job &job, const Part &part) {
    return job.row.kind == JobKind::Embed ? std::string_view() : part.bytes;
}

}  // namespace steadytext::queue
