// The hub worker: on a standby, in the place of a database's keeper, sends to the hub what a keeper would write.
//
// Started by the launcher (bgworker/keepers.cpp) when its database has something for the hub. Regime: pg. It holds one
// connection and one batch. A batch that was sent is kept until the hub has answered: after a lost connection it goes
// out again under its number, and the hub does not take it twice (shmem/hub_nodes.hpp). Sessions never wait for this
// worker, and it never waits but for its latch, its socket and the clock: what finds no room in shared memory meanwhile
// is dropped and counted. It leaves when idle, when its place is wanted, when there is no hub any more, and when the
// standby is promoted: then the keeper has what is left.
#include "bgworker/worker_process.hpp"
#include "bgworker/databases.hpp"
#include "bgworker/hub_batch.hpp"
#include "bgworker/hub_contact.hpp"
#include "bgworker/keeper_usage.hpp"
#include "bgworker/places.hpp"
#include "bgworker/workers.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/wait.hpp"

extern "C" {
#include "access/xlog.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

PGDLLEXPORT void steadytext_hub_main(Datum);
}

#include <algorithm>

namespace steadytext::worker {

namespace {

constexpr std::int64_t kGatherUs = 20'000;    // records that arrive together are sent together
constexpr std::int64_t kCrowdedUs = 200'000;  // after the hub had no room
// How long the connection is kept for the next record. DROP DATABASE on the hub waits five seconds for others to leave.
constexpr std::int64_t kIdleUs = 2'000'000;
constexpr std::int64_t kPatienceUs = 10'000'000;  // for an answer
constexpr std::int64_t kConnectUs = 20'000'000;   // for a connection: several hosts may have to be tried
constexpr std::int64_t kLongestPauseUs = 10'000'000;

struct Worker {
    shmem::DatabaseRow *row;
    HubContact contact;
    HubConnection *hub;  // none before it is first wanted
    HubBatch batch;
    char *conninfo;        // as it was when the connection began
    const char *database;  // its name
    std::int64_t began_us;
    std::int64_t busy_us;      // when there last was something to do
    std::int64_t deadline_us;  // for the connection, or for the answer
    bool was_sent;             // the batch in hand may have been taken
};
Worker *self;

void part(int, Datum) {
    if (self->hub != nullptr)
        self->hub->close();
    self->row->hub_connected.store(false);
}

HubConnection::State state() { return self->hub == nullptr ? HubConnection::State::Closed : self->hub->state(); }

void leave_politely() {
    self->batch.give_back();
    proc_exit(0);
}

// ---- what happens ---------------------------------------------------------------------------------------------------

void lose() {
    self->row->hub_connected.store(false);
    self->contact.note_silence(*self->hub);
}

void answered() {
    HubTaken answer;
    if (!HubRecords::read_answer(*self->hub, answer)) {
        self->hub->give_up(ERRCODE_PROTOCOL_VIOLATION, "the hub's answer has another form");
        return lose();
    }
    const bool is_crowded = answer.taken < self->batch.records().count();
    self->batch.settle(answer);
    self->was_sent = false;
    self->contact.note_answer();
    if (is_crowded)
        self->row->hub_sqlstate.store(ERRCODE_INSUFFICIENT_RESOURCES);
    self->contact.wait_until(core::monotonic_us() + (is_crowded ? kCrowdedUs : 0));
}

// Reads what has happened on the connection.
void move() {
    using Event = HubConnection::Event;
    if (self->hub == nullptr)
        return;
    switch (self->hub->move()) {
    case Event::Connected:
        self->row->hub_connected.store(true);
        break;
    case Event::Answered:
        answered();
        break;
    case Event::Refused:  // nothing of the batch was taken
        self->contact.note_silence(*self->hub);
        break;
    case Event::Lost:
        lose();
        break;
    case Event::None:
        if (self->hub->is_waiting() && core::monotonic_us() >= self->deadline_us) {
            self->hub->give_up(ERRCODE_CONNECTION_FAILURE, "it is silent");
            lose();
        }
        break;
    }
}

// ---- what is to be done ---------------------------------------------------------------------------------------------

void connect(std::int64_t now_us) {
    if (self->hub == nullptr && (self->hub = self->contact.make_connection("pg_steadytext hub worker")) == nullptr)
        return;
    if (self->conninfo != nullptr)
        pfree(self->conninfo);
    self->conninfo = MemoryContextStrdup(TopMemoryContext, guc::hub_conninfo);
    self->deadline_us = now_us + kConnectUs;
    self->hub->begin(self->conninfo, self->database, HubRecords::kAnswerMemory);
}

void send(std::int64_t now_us) {
    if (self->was_sent)
        shmem::segment().counters->add(0, shmem::Counter::HubRetries);
    self->was_sent = true;
    self->deadline_us = now_us + kPatienceUs;
    self->batch.records().send(*self->hub);
}

// Whether there is a batch in hand. Fills one if there is something to send, at most every kGatherUs.
bool has_batch(std::int64_t now_us, std::int64_t &due_us) {
    if (!self->batch.is_empty())
        return true;
    if (!has_news(*self->row, now_us, due_us) && !self->batch.has_hits())
        return false;
    self->busy_us = now_us;
    self->contact.wait_until(now_us + kGatherUs);  // where what is announced is not there yet
    due_us = std::min(due_us, self->contact.not_before_us());
    return self->batch.fill(now_us);
}

// Returns when to come again, if nothing happens before.
std::int64_t work(std::int64_t now_us) {
    using State = HubConnection::State;
    const State before = state();
    if (self->hub != nullptr && self->hub->is_waiting())
        return self->deadline_us;
    std::int64_t due_us = self->busy_us + kIdleUs;
    if (now_us < self->contact.not_before_us())
        return self->contact.not_before_us();
    if (self->contact.is_misled())  // the next process may find the right one
        leave_politely();
    if (!has_batch(now_us, due_us))
        return due_us;
    self->busy_us = now_us;
    before == State::Closed ? connect(now_us) : send(now_us);
    return state() == State::Closed ? now_us : self->deadline_us;
}

// The place is wanted by others, and no answer is waited for; of a hub that is away none is expected.
bool gives_place(std::int64_t now_us) {
    if (!turn_is_over(self->began_us))
        return false;
    const std::int64_t away_since_us = self->row->hub_away_since_us.load();
    return !self->was_sent || (away_since_us != 0 && now_us - away_since_us > kPatienceUs);
}

void wait_until(std::int64_t until_us) {
    static pg::WaitEvent waiting("SteadytextHubMain");
    const int socket = self->hub == nullptr ? -1 : self->hub->socket();
    const std::int64_t now_us = core::monotonic_us();
    const std::int64_t left_us = std::clamp<std::int64_t>(std::min(until_us, turn_ends_us(self->began_us)) - now_us, 0,
                                                          1'000'000);  // a promotion sets no latch
    const auto left_ms = static_cast<long>((left_us + 999) / 1000);
    const int events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
    if (socket >= 0 && self->hub->wait_events() != 0)
        WaitLatchOrSocket(MyLatch, events | static_cast<int>(self->hub->wait_events()), socket, left_ms, waiting.id());
    else
        WaitLatch(MyLatch, events, left_ms, waiting.id());
    ResetLatch(MyLatch);
}

void run() {
    for (;;) {
        if (serve_interrupts() && state() != HubConnection::State::Closed && guc::has_hub() &&
            strcmp(self->conninfo, guc::hub_conninfo) != 0) {
            self->hub->close();
            self->row->hub_connected.store(false);
        }
        if (!guc::keeper || !guc::has_hub() || !RecoveryInProgress()) {
            self->contact.forget();
            leave_politely();
        }
        move();
        const std::int64_t now_us = core::monotonic_us();
        const std::int64_t due_us = work(now_us);
        if (gives_place(now_us) || (now_us >= self->busy_us + kIdleUs && self->batch.is_empty()))
            leave_politely();
        wait_until(due_us);
    }
}

}  // namespace

}  // namespace steadytext::worker

void steadytext_hub_main(Datum) {
    using namespace steadytext;
    using namespace steadytext::worker;
    self = static_cast<Worker *>(MemoryContextAllocZero(TopMemoryContext, sizeof(Worker)));
    new (self) Worker{};
    const bool has_extension = begin_in(my_order().database);
    const shmem::Segment &segment = shmem::segment();
    const std::uint32_t index = segment.databases->find(MyDatabaseId);
    if (index == shmem::DatabaseTable::kNone)
        proc_exit(0);
    self->row = &(*segment.databases)[index];
    if (!become_keeper(*self->row))
        proc_exit(0);
    segment.cache_writes->recover(MyDatabaseId);
    if (!has_extension) {
        drop_work(segment, *self->row, MyDatabaseId);
        proc_exit(0);
    }
    self->database = name_of_database();
    if (self->database == nullptr)
        proc_exit(0);
    self->contact.begin(self->row, kLongestPauseUs);
    self->batch.begin(self->row);
    begin_usage();
    before_shmem_exit(part, static_cast<Datum>(0));
    self->began_us = self->busy_us = core::monotonic_us();
    run();
}
