// An asynchronous call in the worker's hands: a row of steadytext_queue, its requests, and their results.
//
// Made by queue_sql.cpp, carried out by worker_jobs.cpp. Regime: pg. A job lives in its own memory context and is freed
// with it.
//
// A batch has a part for each of its texts, and may have very many. So only a window of a batch is in memory at a time:
// some texts read ahead, the parts that are begun, and parts that ended out of order; each part has its own memory
// context. Answers move on to BatchAnswers in the order of the parts.
#pragma once

#include "src/core/problem.hpp"
#include "src/pg/postgres.hpp"
#include "src/queue/batch_answers.hpp"
#include "src/session/embedding.hpp"
#include "src/session/generation.hpp"
#include "src/session/model_call.hpp"
#include "src/session/reranking.hpp"

extern "C" {
#include "utils/uuid.h"
}

#include <span>
#include <string_view>

namespace steadytext::queue {

enum class JobKind : std::uint8_t { Generate, Embed, Rerank };

// The columns of a row, texts in UTF-8.
struct JobRow {
    std::int64_t id = 0;
    pg_uuid_t request_id{};
    JobKind kind = JobKind::Generate;
    bool is_batch = false;          // a part for each of `texts`
    Oid user = InvalidOid;          // the role that queued it
    Oid session_user = InvalidOid;  // the role that had connected
    double rank = 0;
    int retry_count = 0;
    int max_retries = 0;
    std::int64_t age_us = 0;  // when it was claimed
    std::int64_t bytes = 0;   // of prompt, prompts and params

    // Known only after the payload has been read:
    core::TextArgument text;  // prompt, text or query
    session::AnswerForm form;
    core::TextArgument max_tokens, seed;  // numbers as text
    core::TextArgument eos_string, model, model_repo, model_filename, size, task;
    bool documents_are_null = true;
    std::span<const core::TextArgument> documents;
    bool use_cache = true, unsafe_mode = false, return_scores = true;
};

// The columns with the request, as the row has them. Of a large row only the size is in memory until the job begins.
struct Payload {
    bool is_here = false;
    bool is_read = false;
    Datum prompt{}, prompts{}, params{};
    bool has_prompt = false, has_prompts = false, has_params = false;
};

enum class Outcome : std::uint8_t {
    None,
    Done,
    Failed,     // and would fail again: a bad argument
    Retry,      // an attempt failed
    Postponed,  // the job is not at fault: a limit, no room, or no daemon
};

// While a job waits for a limit, the limit may be raised or removed. So the limit is asked again after this time.
inline constexpr std::int64_t kMaxLimitWaitUs = 600'000'000;

// That no daemon can be reached costs a job of at most this age no attempt.
inline constexpr std::int64_t kLongestOutageUs = 86'400'000'000;
// While it lasts, how long a job waits that has waited for so long: a quarter of it more.
[[nodiscard]] constexpr std::int64_t outage_pause_us(std::int64_t waited_us) noexcept {
    constexpr std::int64_t kLeastUs = 1'000'000, kMaxUs = 30'000'000;
    return waited_us / 4 < kLeastUs ? kLeastUs : waited_us / 4 < kMaxUs ? waited_us / 4 : kMaxUs;
}

struct Job;
struct JobList;

struct Part {
    Job *job;
    MemoryContext memory;  // for a single request: the job's context
    std::uint32_t number;
    session::ModelCall *call;  // null: not begun, or ended
    session::Generation generation;
    bool has_ended;
    bool again;  // a limit, or lack of room, refused it: it must begin again
    bool is_null;
    core::TextArgument text;  // of a batch
    std::string_view bytes;
};

struct Job {
    JobList *list = nullptr;
    Job *previous = nullptr, *next = nullptr;  // in its list
    MemoryContext memory;
    JobRow row;
    Payload payload;

    Part *parts = nullptr;  // part n is at n modulo `window`
    std::uint32_t window = 0;
    std::uint32_t part_count = 1;
    std::uint32_t begun = 0;
    std::uint32_t ended = 0;
    std::uint32_t stored = 0;        // so many parts, from the first on, have their answers in `answers`
    std::uint32_t to_repeat = 0;     // parts that must begin again
    std::int64_t not_before_us = 0;  // the earliest time for that
    BatchAnswers *answers = nullptr;

    MemoryContext texts_memory = nullptr;  // texts read ahead, from `texts_from` on
    std::uint32_t texts_from = 0;
    std::span<const core::TextArgument> texts;

    std::int64_t started_us = 0;
    std::int64_t took_us = 0;
    Outcome outcome = Outcome::None;
    core::Problem problem;
    std::int64_t limit_wait_us = 0;  // if a limit put the job off: how long the limit stands against it
    bool was_limited = false;
    bool is_unreached = false;            // put off, as no daemon could be reached
    std::int64_t unreached_since_us = 0;  // of a batch: so its parts are put off; 0: they are not
    char daemon[256] = "";

    [[nodiscard]] bool is_over() const { return outcome != Outcome::None; }
    [[nodiscard]] bool is_begun() const { return begun > 0; }
    // Whether there is, or will be, a part to begin.
    [[nodiscard]] bool has_parts_left() const { return begun < part_count || to_repeat > 0; }
    [[nodiscard]] bool may_begin_part(std::int64_t now_us) const {
        return (to_repeat > 0 && now_us >= not_before_us) ||
               (to_repeat == 0 && begun < part_count && (window == 0 || begun - stored < window));
    }
};

// A list of jobs; each job is in a single list.
struct JobList {
    Job *first = nullptr, *last = nullptr;
    std::uint32_t count = 0;

    [[nodiscard]] bool is_empty() const { return first == nullptr; }
    void add(Job *job) { insert_after(last, job); }
    void insert_after(Job *place, Job *job);  // null: before all others
    void remove(Job *job);
};

inline void move(Job *job, JobList &to) {
    job->list->remove(job);
    to.add(job);
}

// Made in CurrentMemoryContext, which becomes the job's context.
[[nodiscard]] Job *make_job(const JobRow &row);

// Call before each part, as the table's owner: reads what the part needs. Raises if the request is invalid: this ends
// only this job. A batch without parts is done then.
void get_ready(Job &job);
// Begins the next part, as the current user; raises on a bad argument.
[[nodiscard]] Part &begin_part(Job &job);

// Takes the result of a part, counts the part, and ends the job if this was its last part.
void end_part(Part &part);

[[nodiscard]] std::int64_t age_us(const Job &job);

// Ends the job: it failed with this problem.
void fail(Job &job, const core::Problem &problem);

// How much of steadytext.queue_memory a single request, or the answers of a single request, may take.
[[nodiscard]] std::int64_t most_bytes_of_one();

}  // namespace steadytext::queue
