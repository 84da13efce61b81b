// How the queue worker begins the requests of jobs and takes their answers: see worker.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/worker.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"

extern "C" {
#include "utils/memutils.h"
#include "utils/syscache.h"
}

#include <algorithm>

namespace steadytext::queue {

// ---- roles ----------------------------------------------------------------------------------------------------------

namespace {

// Becomes the job's role for the code that follows; returns the role before.
struct Role {
    Oid user;
    int security;
};
Role become(const Job &job) {
    Role before;
    GetUserIdAndSecContext(&before.user, &before.security);
    SetUserIdAndSecContext(job.row.user, before.security | SECURITY_LOCAL_USERID_CHANGE);
    return before;
}
void become(const Role &role) { SetUserIdAndSecContext(role.user, role.security); }

// A limit stands against the role.
void hold_back(Oid role) {
    const std::int64_t now_us = core::monotonic_us();
    self->held_back.hold(role, kHoldBackUs, now_us);
    self->due_us = std::min(self->due_us, self->held_back.next_us(now_us));
}

// ---- the requests of jobs -------------------------------------------------------------------------------------------

void keep(Part &part) {
    while (self->parts[self->latest = (self->latest + 1) % kMaxCalls] != nullptr) {
    }
    self->parts[self->latest] = &part;
    part.call->tag = self->latest;
}

Part &part_of(const ModelCall *call) {
    Part *part = self->parts[call->tag];
    self->parts[call->tag] = nullptr;
    return *part;
}

void keep_ended(const Part &part) { self->shares.of(part.job->row.session_user).under_way--; }

}  // namespace

void move_over(Job *job) {
    for (std::uint32_t i = 0; job->parts != nullptr && i < std::max(job->window, 1U); i++)
        if (Part &part = job->parts[i]; part.call != nullptr) {
            self->calls->give_up(part.call);
            self->parts[part.call->tag] = nullptr;
            part.call = nullptr;
            keep_ended(part);
        }
    self->recorder.add(job);
    if (job->outcome == Outcome::Postponed)
        hold_back(job->row.user);
}

void end_broken(const core::Problem &problem) {
    Job *job = self->in_hand;
    if (const ModelCall *call = self->calls->take_broken(); call != nullptr) {
        Part &part = part_of(call);
        part.call = nullptr;
        job = part.job;
        keep_ended(part);
    }
    self->in_hand = nullptr;
    mark.clear();
    if (job == nullptr)
        return;
    fail(*job, problem);
    move_over(job);
}

void note_moving(const ModelCall *call) {
    if (call == nullptr)
        mark.clear();
    else
        mark.set(self->parts[call->tag]->job->row.id);
}

namespace {

void start_part(Job &job) {
    get_ready(job);
    if (job.is_over())
        return;
    const Role before = become(job);
    Part &part = begin_part(job);
    keep(part);
    self->shares.of(job.row.session_user).under_way++;
    MemoryContext caller = MemoryContextSwitchTo(part.memory);
    self->calls->start(part.call);
    MemoryContextSwitchTo(caller);
    become(before);
    self->begun_bytes += job.row.is_batch ? static_cast<std::int64_t>(part.text.text.size()) : job.row.bytes;
}

bool is_known(Oid role) { return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)); }

}  // namespace

std::int64_t budget() { return std::int64_t{guc::queue_memory_kb} * 1024 / 2; }

namespace {

bool has_memory() {
    constexpr std::int64_t kMeasureUs = 20'000;
    if (const std::int64_t now_us = core::monotonic_us();
        self->begun_bytes > budget() / 16 || now_us - self->memory_us > kMeasureUs) {
        self->memory_us = now_us;
        self->begun_bytes = 0;
        self->has_memory = static_cast<std::int64_t>(MemoryContextMemAllocated(self->memory, true)) < budget();
    }
    return self->has_memory || (self->calls->is_idle() && self->recorder.is_empty());
}

// The job whose turn it is begins a request; false if no job may.
bool start_next() {
    Job *job = self->shares.next_job(self->calls->room(), self->calls->count(), core::monotonic_us());
    if (job == nullptr)
        return false;
    self->in_hand = job;
    mark.set(job->row.id);
    if (is_known(job->row.user)) {
        start_part(*job);
    } else {
        core::Problem problem;
        problem.set(core::sqlstate::kUndefinedObject, "the role that queued it does not exist any more");
        fail(*job, problem);
    }
    self->in_hand = nullptr;
    mark.clear();
    if (job->is_over()) {
        move_over(job);
    } else if (!job->has_parts_left()) {
        move(job, self->under_way);
    }
    return true;
}

void start_jobs() {
    while (self->calls->has_room() && has_memory() && start_next()) {
    }
    self->could_start = false;
}

// After a limit refused a part, its job goes back to the jobs with parts left.
void take_answers() {
    while (const ModelCall *call = self->calls->take_ended()) {
        Part &part = part_of(call);
        Job *job = part.job;
        keep_ended(part);
        self->in_hand = job;
        mark.set(job->row.id);
        const Role before = become(*job);
        end_part(part);
        become(before);
        self->in_hand = nullptr;
        mark.clear();
        if (job->is_over())
            move_over(job);
        else if (job->to_repeat > 0 && job->list == &self->under_way)
            move(job, self->shares.of(job->row.session_user).batches);
    }
}

}  // namespace

void advance_jobs() {
    take_answers();
    start_jobs();
}

}  // namespace steadytext::queue
