// The jobs in the worker's hands by role, and whose turn it is to begin a request.
//
// Used by src/queue/worker_main.cpp. Regime: pg.
//
// Roles take turns, each with one request: however many jobs a role has, or however many parts one of its jobs has, another role's job
// waits for one request of each role. Within a role, single requests and batches take turns, and so do the batches; single requests
// go by their rank.
//
// While others have had jobs lately, a role that already has its even share of the requests under way leaves half of them free:
// the daemons work on two thirds of what is sent, so a job that comes then is worked on at once.
#pragma once

#include "src/queue/job.hpp"

namespace steadytext::queue {

struct RoleShare {
    Oid role;
    RoleShare *next;
    JobList singles;       // not begun, most urgent first
    JobList new_batches;   // the same
    JobList batches;       // begun, with parts left: in turn
    bool batch_next;
    bool has_more;         // the table had more for it than was taken
    std::uint32_t under_way;   // requests
    std::int64_t seen_us;      // when it last had a job

    [[nodiscard]] std::uint32_t waiting() const { return singles.count + new_batches.count; }
    [[nodiscard]] bool is_idle() const { return waiting() == 0 && batches.is_empty() && under_way == 0; }
};

class RoleShares {
public:
    // Made if the role has none.
    [[nodiscard]] RoleShare &of(Oid role);
    [[nodiscard]] RoleShare *begin() const { return first_; }

    // A job just claimed.
    void add(Job *job);
    // A job one of whose parts may begin now, out of turn's order; null if there is none. `room`: requests that may be under way in
    // all, `under_way`: those that are.
    [[nodiscard]] Job *next_job(std::uint32_t room, std::uint32_t under_way, std::int64_t now_us);

    [[nodiscard]] bool is_empty() const;  // of jobs that have parts left
    [[nodiscard]] std::uint32_t waiting() const;
    // Whether the table has more for a role that has no more than half of `most` waiting.
    [[nodiscard]] bool wants_more(std::uint32_t most) const;
    [[nodiscard]] bool has_more() const { return wants_more(UINT32_MAX); }
    // Roles that had a job within the last minute.
    [[nodiscard]] std::uint32_t active(std::int64_t now_us) const;
    // From now on only jobs that have begun go on.
    void begin_no_job(bool none) { begins_none_ = none; }
    // Of those with parts left.
    [[nodiscard]] bool has_begun() const;
    // When a part that was put off may be begun again; INT64_MAX: there is none.
    [[nodiscard]] std::int64_t next_us() const;
    // Forgets roles without jobs for longer than a minute.
    void forget_idle(std::int64_t now_us);

private:
    [[nodiscard]] Job *next_of(RoleShare &share, std::int64_t now_us);
    [[nodiscard]] Job *next_batch(RoleShare &share, std::int64_t now_us);

    bool begins_none_ = false;
    RoleShare *first_ = nullptr;
    RoleShare *turn_ = nullptr;  // who had the last one
    RoleShare *latest_ = nullptr;
};

}  // namespace steadytext::queue
