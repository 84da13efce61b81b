// One asynchronous call in the worker's hands: a row of steadytext_queue, the requests it takes, and what came of them.
//
// Made by queue_sql.cpp, carried out by worker_main.cpp. Regime: pg. A job has a memory context of its own, in which all it
// needs lives, and goes with it.
#pragma once

#include "src/core/problem.hpp"
#include "src/pg/postgres.hpp"
#include "src/session/embedding.hpp"
#include "src/session/generation.hpp"
#include "src/session/inquiry.hpp"
#include "src/session/reranking.hpp"

extern "C" {
#include "utils/uuid.h"
}

#include <span>
#include <string_view>

namespace steadytext::queue {

enum class JobKind : std::uint8_t { Generate, Embed, Rerank };

// What a row says, texts in UTF-8.
struct JobRow {
    std::int64_t id = 0;
    pg_uuid_t request_id{};
    JobKind kind = JobKind::Generate;
    bool is_batch = false;  // one part for each of `texts`
    Oid user = InvalidOid;  // invalid: there is no such role any more
    std::string_view user_name;
    double rank = 0;
    int retry_count = 0;
    int max_retries = 0;
    bool has_callback = false;

    core::TextArgument text;  // prompt, text or query
    std::span<const core::TextArgument> texts;
    session::AnswerForm form;
    core::TextArgument max_tokens, seed;  // numbers as text
    core::TextArgument eos_string, model, model_repo, model_filename, size, task;
    bool documents_are_null = true;
    std::span<const core::TextArgument> documents;
    bool use_cache = true, unsafe_mode = false, return_scores = true;
};

enum class Outcome : std::uint8_t {
    None,
    Done,
    Failed,     // and would again: a bad argument
    Retry,      // an attempt failed
    Postponed,  // not its fault: a limit, or no room
};

struct Job;
struct JobList;

struct Part {
    Job *job;
    session::Inquiry *inquiry = nullptr;  // null: not begun, or ended
    session::Generation generation{};
    bool is_null = true;
    std::string_view bytes{};
};

struct Job {
    JobList *list = nullptr;
    Job *previous = nullptr, *next = nullptr;  // in its list
    MemoryContext memory;
    JobRow row;
    Part *parts;
    std::uint32_t part_count;
    std::uint32_t begun = 0;
    std::uint32_t ended = 0;
    std::int64_t started_us = 0;
    std::int64_t took_us = 0;
    Outcome outcome = Outcome::None;
    core::Problem problem;
    std::string_view daemon;

    [[nodiscard]] bool is_over() const { return outcome != Outcome::None; }
};

// Jobs one after another; each is in one list.
struct JobList {
    Job *first = nullptr, *last = nullptr;
    std::uint32_t count = 0;

    [[nodiscard]] bool is_empty() const { return first == nullptr; }
    void add(Job *job) { insert_after(last, job); }
    void insert_after(Job *place, Job *job);  // null: before all others
    void remove(Job *job);
};

// In CurrentMemoryContext, which becomes the job's.
[[nodiscard]] Job *make_job(const JobRow &row);

// Begins the next part, as the current user; raises on a bad argument.
[[nodiscard]] Part &begin_part(Job &job);

// Takes what came of a part, counts it, and sees whether its job is over with it.
void end_part(Part &part);

// The job is over: it failed as the problem says.
void fail(Job &job, const core::Problem &problem);

// The result column's text; of an embedding none.
[[nodiscard]] std::string_view result_text(const Job &job, const Part &part);

}  // namespace steadytext::queue
