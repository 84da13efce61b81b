// Times of kinds of calls, kept for a second, and the support function: see call_cost.hpp. Regime: pg.
//
// All calls of a kind cost the same. PostgreSQL puts conditions that cost less first, however little less; were each question to have its
// own cost, a condition would come before one that keeps texts from it which it refuses (condition_order.hpp).
#include "src/pg/compat.hpp"
#include "src/planner/call_cost.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/planner/condition_order.hpp"
#include "src/planner/find_calls.hpp"
#include "src/session/concurrent_calls.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/memutils.h"
}

#include <algorithm>
#include <cmath>

namespace steadytext::planner {

namespace {

using session::ahead::Function;

constexpr std::uint64_t kFewCalls = 20;

struct Times {
    std::int64_t at_us = 0;  // 0: never
    std::array<double, shmem::kCallKinds> usual_us;
    double at_once, at_once_of_embeddings;
};
Times times;

// Between the bounds of the bucket that has it.
double median_of(const shmem::TimeCounts<std::uint64_t> &counts) {
    std::uint64_t total = 0;
    for (const std::uint64_t count : counts.buckets)
        total += count;
    if (total < kFewCalls)
        return -1;
    std::uint64_t below = 0;
    std::size_t bucket = 0;
    while (below + counts.buckets[bucket] <= total / 2)
        below += counts.buckets[bucket++];
    const auto low = static_cast<double>(bucket == 0 ? 0 : shmem::kTimeBounds[bucket - 1]);
    const auto high = static_cast<double>(shmem::kTimeBounds[std::min(bucket, shmem::kTimeBounds.size() - 1)]);
    return low + (high - low) * (static_cast<double>(total) / 2 - static_cast<double>(below)) /
                     static_cast<double>(counts.buckets[bucket]);
}

double daemon_us_of(const shmem::CallCounts<std::uint64_t> &counts) {
    const double on_the_way = median_of(counts.stages[static_cast<std::size_t>(shmem::CallStage::Network)]);
    const double engine = median_of(counts.stages[static_cast<std::size_t>(shmem::CallStage::Engine)]);
    return on_the_way < 0 ? engine : on_the_way + std::max(engine, 0.0);
}

const Times &times_now() {
    constexpr std::int64_t kKeptUs = 1'000'000;
    const std::int64_t now_us = core::monotonic_us();
    if (times.at_us != 0 && now_us - times.at_us < kKeptUs)
        return times;
    MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "steadytext call times", ALLOCSET_SMALL_SIZES);
    MemoryContext caller = MemoryContextSwitchTo(memory);
    auto *totals = static_cast<shmem::CallTotals *>(palloc(sizeof(shmem::CallTotals)));
    *totals = shmem::segment().calls->totals();
    for (std::size_t kind = 0; kind < shmem::kCallKinds; kind++)
        times.usual_us[kind] = daemon_us_of(totals->kinds[kind]);
    times.at_once = at_once(false);
    times.at_once_of_embeddings = at_once(true);
    times.at_us = now_us;
    MemoryContextSwitchTo(caller);
    MemoryContextDelete(memory);
    return times;
}

// ---- for PostgreSQL's planner ---------------------------------------------------------------------------------------

// In steps of two, from the function's COST on: conditions without calls stay in front, and of two kinds that take about as long neither goes
// ahead by chance.
double cost_of(double us) {
    constexpr double kUsOfUnit = 10, kMost = 10'000, kLeast = 1000;  // the last of cpu_operator_cost
    const double least = kLeast * cpu_operator_cost, cost = std::min(us / kUsOfUnit, kMost);
    return cost <= least || least <= 0 ? least : least * std::exp2(std::round(std::log2(cost / least)));
}

bool set_cost(SupportRequestCost &request, const Function &function) {
    double us = usual_us(function.kind);
    if (us < 0)
        return false;
    if (guc::read_ahead)
        us /= function.kind == shmem::CallKind::Embed ? times_now().at_once_of_embeddings : times_now().at_once;
    request.startup = 0;
    request.per_tuple = cost_of(us);
    return true;
}

bool set_selectivity(SupportRequestSelectivity &request) {
    Expr *call = reinterpret_cast<Expr *>(
        makeFuncExpr(request.funcid, BOOLOID, request.args, InvalidOid, request.inputcollid, COERCE_EXPLICIT_CALL));
    const double share = request.is_join ? -1 : share_met(reinterpret_cast<Node *>(call));
    if (share < 0)
        return false;
    request.selectivity = share;
    return true;
}

bool set(Node *request) {
    if (IsA(request, SupportRequestCost)) {
        auto &cost = *reinterpret_cast<SupportRequestCost *>(request);
        const Function *function = function_of(cost.funcid);
        return function != nullptr && set_cost(cost, *function);
    }
    return IsA(request, SupportRequestSelectivity) &&
           set_selectivity(*reinterpret_cast<SupportRequestSelectivity *>(request));
}

}  // namespace

double at_once(bool embeds) {
    constexpr double kMoreThanSlots = 1.5;  // as many are under way (concurrent_calls.cpp)
    return std::max(session::ConcurrentCalls::make(UINT32_MAX, embeds)->room() / kMoreThanSlots, 1.0);
}

double usual_us(shmem::CallKind kind) { return times_now().usual_us[static_cast<std::size_t>(kind)]; }

}  // namespace steadytext::planner

STEADYTEXT_FUNCTION(steadytext_call_support) {
    using namespace steadytext;
    auto *request = reinterpret_cast<Node *>(PG_GETARG_POINTER(0));
    const bool is_set = guc::reorder && shmem::segment_attached() && planner::set(request);
    PG_RETURN_POINTER(is_set ? request : nullptr);
}
