// See queue_changes.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/functions/queue_changes.hpp"
#include "shmem/segment.hpp"
#include "src/pg/once.hpp"
#include "src/session/keeper_call.hpp"

extern "C" {
#include "access/xact.h"
#include "utils/memutils.h"
}

namespace steadytext::functions {

namespace {

// The numbers of a role's requests that were added and that ended.
struct RoleChange {
    Oid role;
    std::int32_t added;
    std::int32_t ended;
};

// The changes that a level of the transaction, and the levels merged into it, make to the queue. In
// TopTransactionContext.
struct Changes {
    Changes *outer;
    int level;
    bool cancels;
    bool
        called;  // a function that changes the queue, whether or not it found anything to change: it has locked the table
    int count, room;
    RoleChange *roles;
};
Changes *changes;  // of the innermost level that has any

RoleChange &change_of(Changes &at, Oid role) {
    for (int i = 0; i < at.count; i++)
        if (at.roles[i].role == role)
            return at.roles[i];
    if (at.count == at.room)
        at.roles = static_cast<RoleChange *>(repalloc(at.roles, sizeof(RoleChange) * static_cast<Size>(at.room *= 2)));
    at.roles[at.count] = {role, 0, 0};
    return at.roles[at.count++];
}

Changes &current_changes() {
    const int level = GetCurrentTransactionNestLevel();
    if (changes != nullptr && changes->level == level)
        return *changes;
    auto *made = static_cast<Changes *>(MemoryContextAllocZero(TopTransactionContext, sizeof(Changes)));
    made->room = 4;
    made->roles = static_cast<RoleChange *>(MemoryContextAllocZero(TopTransactionContext, sizeof(RoleChange) * 4));
    made->outer = changes;
    made->level = level;
    return *(changes = made);
}

void give_back(const Changes &undone) {
    if (shmem::DatabaseRow *row = session::my_database(); row != nullptr)
        for (int i = 0; i < undone.count; i++)
            row->queue_places.give_back(undone.roles[i].role, undone.roles[i].added);
}

void tell(const Changes &done) {
    const shmem::Segment &segment = shmem::segment();
    shmem::DatabaseRow *row = session::my_database();
    if (row == nullptr)
        return;
    for (int i = 0; i < done.count; i++) {
        const RoleChange &change = done.roles[i];
        row->queue_places.add(change.role, change.added - change.ended);
        row->queue_places.give_back(change.role, change.added);
    }
    if (done.cancels)
        row->queue_cancels.fetch_add(1);
    row->queue_changes.fetch_add(1, std::memory_order_release);
    const std::int32_t at_work = row->queue_proc_number.load();
    pg::set_latch_of(at_work >= 0 ? at_work : segment.header->launcher.proc_number.load());
    if (done.cancels)
        segment.queue_waiters->wake([](std::uint64_t) { return true; }, pg::set_latch_of);
}

// The functions have made a change, and have counted with its commit; or they hold a lock, which a prepared transaction would keep.
bool must_end_here() {
    for (const Changes *each = changes; each != nullptr; each = each->outer)
        if (each->count > 0 || each->cancels || each->called)
            return true;
    return false;
}

// Calls cancelled, or rows written by hand, on a server without the library: at the end of a transaction or a subtransaction
// an error would end the server.
void forget_without_library() {
    if (!shmem::segment_attached())
        changes = nullptr;
}

void at_transaction_end(XactEvent event, void *) {
    forget_without_library();
    if (changes == nullptr)
        return;
    if (event == XACT_EVENT_PRE_PREPARE && must_end_here())
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("cannot PREPARE a transaction that has changed the queue of asynchronous calls")));
    if (event == XACT_EVENT_PREPARE)
        changes = nullptr;  // rows written by hand: the worker comes upon them
    if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
        return;
    // After an abort, levels may be left for which no end of a subtransaction was reported.
    for (Changes *each = changes; each != nullptr; each = each->outer)
        event == XACT_EVENT_COMMIT ? tell(*each) : give_back(*each);
    changes = nullptr;
}

// A committed level merges into the level around it; if that level has no changes, the committed level takes its place.
// A level that is rolled back gives its places back.
void at_subtransaction_end(SubXactEvent event, SubTransactionId, SubTransactionId, void *) {
    forget_without_library();
    if (changes == nullptr || changes->level != GetCurrentTransactionNestLevel() ||
        (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB))
        return;
    Changes &ending = *changes;
    if (event == SUBXACT_EVENT_ABORT_SUB) {
        changes = ending.outer;
        return give_back(ending);
    }
    if (ending.outer == nullptr || ending.outer->level != ending.level - 1) {
        ending.level--;
        return;
    }
    changes = ending.outer;
    changes->cancels |= ending.cancels;
    changes->called |= ending.called;
    for (int i = 0; i < ending.count; i++) {
        RoleChange &change = change_of(*changes, ending.roles[i].role);
        change.added += ending.roles[i].added;
        change.ended += ending.roles[i].ended;
    }
}

Changes &note() {
    pg::once([] {
        RegisterXactCallback(at_transaction_end, nullptr);
        RegisterSubXactCallback(at_subtransaction_end, nullptr);
    });
    return current_changes();
}

}  // namespace

void note_change() { (void)note(); }
void note_called() { note().called = true; }
void note_look() { note().cancels = true; }

void note_added(Oid role, std::int32_t count) {
    change_of(note(), role).added += count;
    if (shmem::DatabaseRow *row = session::my_database(); row != nullptr)
        row->queue_places.reserve(role, count);
}

void note_cancelled(Oid role) {
    Changes &at = note();
    at.cancels = true;
    change_of(at, role).ended++;
}

}  // namespace steadytext::functions
