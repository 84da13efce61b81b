// Takes turns: see role_shares.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/role_shares.hpp"

extern "C" {
#include "utils/memutils.h"
}

#include <algorithm>

namespace steadytext::queue {

namespace {

constexpr std::int64_t kActiveUs = 60'000'000;
constexpr std::uint32_t kMaxBatches = 4;  // begun batches per role, as each has texts and answers in memory

// Sorts by urgency, as the statement that claims jobs returns them in any order.
void insert_by_rank(JobList &jobs, Job *job) {
    Job *place = jobs.last;
    while (place != nullptr &&
           (place->row.rank < job->row.rank || (place->row.rank == job->row.rank && place->row.id > job->row.id)))
        place = place->previous;
    jobs.insert_after(place, job);
}

}  // namespace

RoleShare &RoleShares::of(Oid login) {
    if (latest_ != nullptr && latest_->login == login)
        return *latest_;
    for (RoleShare *share = first_; share != nullptr; share = share->next)
        if (share->login == login)
            return *(latest_ = share);
    auto *share = static_cast<RoleShare *>(MemoryContextAllocZero(TopMemoryContext, sizeof(RoleShare)));
    share->login = login;
    share->next = first_;
    first_ = latest_ = share;
    return *share;
}

void RoleShares::add(Job *job) {
    RoleShare &share = of(job->row.session_user);
    insert_by_rank(job->row.is_batch ? share.new_batches : share.singles, job);
    share.seen_us = job->started_us;
}

// The batch that has its turn goes to the end.
Job *RoleShares::next_batch(RoleShare &share, std::int64_t now_us) {
    while (!begins_none_ && share.batches.count < kMaxBatches && !share.new_batches.is_empty()) {
        Job *job = share.new_batches.first;
        share.new_batches.remove(job);
        share.batches.add(job);
    }
    for (Job *job = share.batches.first; job != nullptr; job = job->next) {
        if (!job->may_begin_part(now_us) || (begins_none_ && !job->is_begun()))
            continue;
        share.batches.remove(job);
        share.batches.add(job);
        return job;
    }
    return nullptr;
}

Job *RoleShares::next_of(RoleShare &share, std::int64_t now_us) {
    if (begins_none_)
        return next_batch(share, now_us);
    Job *job = share.batch_next || share.singles.is_empty() ? next_batch(share, now_us) : nullptr;
    share.batch_next = job == nullptr;
    return job != nullptr ? job : share.singles.first;
}

Job *RoleShares::next_job(std::uint32_t room, std::uint32_t under_way, std::int64_t now_us) {
    if (first_ == nullptr || under_way >= room)
        return nullptr;
    const std::uint32_t roles = active(now_us);
    RoleShare *share = turn_ == nullptr || turn_->next == nullptr ? first_ : turn_->next;
    RoleShare *const first_asked = share;
    do {
        const bool has_its_share =
            roles > 1 && share->under_way >= std::max(room / roles, 1U) && under_way >= (room + 1) / 2;
        if (Job *job = has_its_share ? nullptr : next_of(*share, now_us); job != nullptr) {
            turn_ = share;
            return job;
        }
        share = share->next == nullptr ? first_ : share->next;
    } while (share != first_asked);
    return nullptr;
}

bool RoleShares::is_empty() const {
    for (const RoleShare *share = first_; share != nullptr; share = share->next)
        if (share->waiting() > 0 || !share->batches.is_empty())
            return false;
    return true;
}

bool RoleShares::has_begun() const {
    for (const RoleShare *share = first_; share != nullptr; share = share->next)
        for (const Job *job = share->batches.first; job != nullptr; job = job->next)
            if (job->is_begun())
                return true;
    return false;
}

std::uint32_t RoleShares::waiting() const {
    std::uint32_t count = 0;
    for (const RoleShare *share = first_; share != nullptr; share = share->next)
        count += share->waiting();
    return count;
}

bool RoleShares::wants_more(std::uint32_t most) const {
    for (const RoleShare *share = first_; share != nullptr; share = share->next)
        if (share->has_more && share->waiting() <= most / 2)
            return true;
    return false;
}

std::uint32_t RoleShares::active(std::int64_t now_us) const {
    std::uint32_t count = 0;
    for (const RoleShare *share = first_; share != nullptr; share = share->next)
        count += !share->is_idle() || now_us - share->seen_us < kActiveUs;
    return count;
}

std::int64_t RoleShares::next_us() const {
    std::int64_t next_us = INT64_MAX;
    for (const RoleShare *share = first_; share != nullptr; share = share->next)
        for (const Job *job = share->batches.first; job != nullptr; job = job->next)
            if (job->to_repeat > 0)
                next_us = std::min(next_us, job->not_before_us);
    return next_us;
}

void RoleShares::forget_idle(std::int64_t now_us) {
    for (RoleShare **at = &first_; *at != nullptr;) {
        RoleShare *share = *at;
        if (!share->is_idle() || share->has_more || now_us - share->seen_us < kActiveUs) {
            at = &share->next;
            continue;
        }
        *at = share->next;
        if (turn_ == share)
            turn_ = nullptr;
        if (latest_ == share)
            latest_ = nullptr;
        pfree(share);
    }
}

}  // namespace steadytext::queue
