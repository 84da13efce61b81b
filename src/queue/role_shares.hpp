// The jobs in the worker's hands, by role, and the choice of the next job.
//
// Used by src/queue/worker_jobs.cpp and worker_steps.cpp. Regime: pg.
//
// A role here is a role that had connected: SET ROLE gives nobody another share.
//
// Roles take turns, a request each: however many jobs a role has, or parts a job has, another role's job waits for a
// single request of each role. Within a role, single requests and batches take turns, and batches take turns among
// themselves; single requests go by their rank.
//
// While other roles have had jobs lately, a role that already has its even share of the running requests leaves half of
// them free. As the daemons work on two thirds of the requests that are sent, a job that comes then starts at once.
#pragma once

#include "src/queue/job.hpp"

namespace steadytext::queue {

struct RoleShare {
    Oid login;
    RoleShare *next;
    JobList singles;      // not begun, most urgent first
    JobList new_batches;  // as singles
    JobList batches;      // begun, with parts left; they take turns
    bool batch_next;
    bool has_more;            // the table had more for it than were taken
    std::uint32_t under_way;  // requests
    std::int64_t seen_us;     // when it last had a job

    [[nodiscard]] std::uint32_t waiting() const { return singles.count + new_batches.count; }
    [[nodiscard]] bool is_idle() const { return waiting() == 0 && batches.is_empty() && under_way == 0; }
};

class RoleShares {
public:
    // Makes a share if the role has none.
    [[nodiscard]] RoleShare &of(Oid login);
    [[nodiscard]] RoleShare *begin() const { return first_; }

    // Adds a job that was just claimed.
    void add(Job *job);
    // The next job, in the order of the turns, that may begin a part now; null if there is none. `room`: requests that
    // may run in all, `under_way`: requests that run.
    [[nodiscard]] Job *next_job(std::uint32_t room, std::uint32_t under_way, std::int64_t now_us);

    [[nodiscard]] bool is_empty() const;  // of jobs with parts left
    [[nodiscard]] std::uint32_t waiting() const;
    // Whether the table has more for a role that has at most half of `most` waiting.
    [[nodiscard]] bool wants_more(std::uint32_t most) const;
    [[nodiscard]] bool has_more() const { return wants_more(UINT32_MAX); }
    // Roles that had a job within the last minute.
    [[nodiscard]] std::uint32_t active(std::int64_t now_us) const;
    // If `none`, only jobs that have begun go on.
    void begin_no_job(bool none) { begins_none_ = none; }
    // Whether any of the jobs with parts left has begun.
    [[nodiscard]] bool has_begun() const;
    // When a postponed part may begin again; INT64_MAX: there is none.
    [[nodiscard]] std::int64_t next_us() const;
    // Forgets roles without jobs for longer than a minute.
    void forget_idle(std::int64_t now_us);

private:
    [[nodiscard]] Job *next_of(RoleShare &share, std::int64_t now_us);
    [[nodiscard]] Job *next_batch(RoleShare &share, std::int64_t now_us);

    bool begins_none_ = false;
    RoleShare *first_ = nullptr;
    RoleShare *turn_ = nullptr;  // the share that had the last turn
    RoleShare *latest_ = nullptr;
};

}  // namespace steadytext::queue
