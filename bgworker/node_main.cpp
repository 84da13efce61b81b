// The node worker: on an independent node, beside the keeper of a database, its link to the hub.
//
// Started by the launcher (bgworker/keepers.cpp) for each database in use, and stays. Regime: pg. It has two connections, as what is asked must
// not wait for what is brought. By the first it asks how often the hub was cleared (several times within steadytext.hub_max_staleness, and when
// a message comes), asks what sessions want to know (shmem/hub_asks.hpp), and tells the hub of this node's own clears. By the second it brings
// answers and hits (node_giver.hpp).
//
// The order in which a clear of the hub is obeyed: rows of the table are no longer given (HubLink::table_is_stale), the epoch of the cache is
// raised, the number is written down; then all rows are deleted, and the number with them (_steadytext.hub_obey). A question that is sent after
// that sees a hub after the clear; a record that is older has an older epoch, and is neither kept here nor sent.
//
// Where the hub turns out to be this very server there is nothing to do: the worker says so and leaves (HubLink::is_self_until_us).
#include "bgworker/worker_process.hpp"
#include "bgworker/databases.hpp"
#include "bgworker/hub_contact.hpp"
#include "bgworker/node_giver.hpp"
#include "bgworker/node_questions.hpp"
#include "bgworker/places.hpp"
#include "bgworker/worker_transaction.hpp"
#include "bgworker/workers.hpp"
#include "src/core/clock.hpp"
#include "src/core/foreign_record.hpp"
#include "src/guc.hpp"
#include "src/pg/text.hpp"
#include "src/pg/wait.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "port/pg_bswap.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

PGDLLEXPORT void steadytext_node_main(Datum);
}

#include <algorithm>
#include <cstring>

namespace steadytext::worker {

namespace {

constexpr std::int64_t kPatienceUs = 5'000'000;  // for an answer
constexpr std::int64_t kClearingUs = 10'000'000;
constexpr std::int64_t kConnectUs = 20'000'000;
constexpr std::int64_t kLongestPauseUs = 5'000'000;
constexpr std::int64_t kMessagesUs = 5'000;       // between looks because of messages
constexpr std::int64_t kStrangerUs = 60'000'000;  // the longest pause before this server has become a node
constexpr std::int64_t kSelfUs = 60'000'000;
constexpr std::int64_t kFailedUs = 1'000'000;  // after something failed here
constexpr std::size_t kHubBytes = 128;         // of a hub's name
constexpr std::int64_t kAnswerMemory =
    std::int64_t{96} * 1024 * 1024;  // 64 answers (node_questions.cpp), and libpq's room for one more

enum class Asked { Nothing, Listen, Watch, Clear, Questions };

struct Known {
    char hub[kHubBytes] = "";  // "": none
    std::int64_t heard = -1;
    std::int64_t told = 0;    // of this node's own clears
    std::int64_t clears = 0;  // their number
};

struct Worker {
    shmem::DatabaseRow *row;
    shmem::HubLink *link;
    HubContact contact;
    HubConnection *hub;
    NodeGiver giver;
    char *conninfo;
    const char *database;
    std::int64_t began_us;

    Asked asked = Asked::Nothing;
    std::int64_t asked_us, deadline_us, watch_us, watched_us;
    bool listens, is_established;
    std::uint64_t connection;   // its number, for leases
    std::uint64_t clears_seen;  // HubLink::cleared when the hub was asked to clear

    Known known;
    // For the transactions.
    char heard_hub[kHubBytes];
    std::int64_t heard;
};
Worker *self;

void part(int, Datum) {
    std::int32_t mine = MyProcPid;
    self->link->proc_number.store(-1);
    (void)self->link->pid.compare_exchange_strong(mine, 0);
    end_questions();
    if (self->hub != nullptr)
        self->hub->close();
    self->giver.close();
    self->row->hub_connected.store(false);
}

void leave_politely() {
    self->giver.give_back();
    proc_exit(0);
}

// ---- what the tables of this node say -------------------------------------------------------------------------------

std::int64_t number_of(const char *column, bool &is_null) {
    const Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
                                      SPI_fnumber(SPI_tuptable->tupdesc, column), &is_null);
    return is_null ? 0 : DatumGetInt64(value);
}

void read_known() {
    Known known;
    bool is_null;
    if (SPI_execute("SELECT l.hub, l.heard, l.told, c.clears FROM _steadytext.cache_clears c LEFT JOIN "
                    "_steadytext.hub_link l ON true LIMIT 1",
                    true, 1) != SPI_OK_SELECT)
        elog(ERROR, "could not read the link to the hub");
    if (SPI_processed == 1) {
        known.clears = number_of("clears", is_null);
        known.told = number_of("told", is_null);
        known.heard = number_of("heard", is_null);
        if (char *hub = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1); !is_null && hub != nullptr)
            strlcpy(known.hub, hub, sizeof known.hub);
    }
    self->known = known;
}

// All rows may be older than the clear.
void obey() {
    Oid types[] = {TEXTOID, INT8OID};
    Datum values[] = {CStringGetTextDatum(self->heard_hub), Int64GetDatum(self->heard)};
    if (SPI_execute_with_args("SELECT _steadytext.hub_obey($1, $2)", 2, types, values, nullptr, false, 0) !=
        SPI_OK_SELECT)
        elog(ERROR, "could not obey a clear of the hub");
    read_known();
}

void note_told() {
    Oid types[] = {INT8OID};
    Datum values[] = {Int64GetDatum(self->known.clears)};
    if (SPI_execute_with_args("UPDATE _steadytext.hub_link SET told = greatest(told, $1)", 1, types, values, nullptr,
                              false, 0) != SPI_OK_UPDATE)
        elog(ERROR, "could not note what the hub was told");
    read_known();
}

// ---- what happens ---------------------------------------------------------------------------------------------------

void stand(shmem::Standing standing) {
    self->link->standing.store(standing);
    self->contact.set_longest_pause(standing == shmem::Standing::Node ? kLongestPauseUs : kStrangerUs);
}

void lose_link() {
    self->row->hub_connected.store(false);
    self->listens = self->is_established = false;
    self->asked = Asked::Nothing;
    lose_questions();
}

void lose() {
    self->contact.note_silence(*self->hub);
    lose_link();
}

// The name of a hub is printable.
bool read_hub(char (&hub)[kHubBytes]) {
    int size;
    const char *bytes = self->hub->value(0, 0, size);
    if (bytes == nullptr || size <= 0 || static_cast<std::size_t>(size) >= sizeof hub ||
        !std::all_of(bytes, bytes + size, [](char each) { return each > ' ' && each <= '~'; }))
        return false;
    memcpy(hub, bytes, static_cast<std::size_t>(size));
    hub[size] = '\0';
    return true;
}

[[nodiscard]] bool forget_older() {
    self->link->table_is_stale.store(true);
    shmem::segment().cache_epochs->clear(MyDatabaseId);
    self->link->heard.store(self->heard, std::memory_order_release);
    self->link->forgotten.fetch_add(1);
    if (!run_transaction("obeying a clear of the hub", obey)) {
        self->watch_us = core::monotonic_us() + kFailedUs;
        return false;
    }
    return true;
}

// False: the answer has another form.
bool heed_watch() {
    std::int64_t server;
    if (!read_hub(self->heard_hub) || !self->hub->read(0, 1, server) || !self->hub->read(0, 2, self->heard) ||
        self->heard < -1)
        return false;
    if (static_cast<std::uint64_t>(server) == shmem::hub_links().server.load()) {
        self->link->is_self_until_us.store(core::monotonic_us() + kSelfUs);
        self->contact.forget();
        leave_politely();
    }
    if (self->heard < 0) {
        self->hub->give_up(ERRCODE_INSUFFICIENT_PRIVILEGE, "the hub shares nothing with this role");
        lose();
        self->contact.set_pause(kLongestPauseUs);
        return true;
    }
    self->contact.note_answer();
    self->watched_us = self->asked_us;
    self->watch_us = self->asked_us + watch_interval_us();
    if ((strcmp(self->known.hub, self->heard_hub) != 0 || self->known.heard != self->heard) && !forget_older())
        return true;
    self->link->table_is_stale.store(false);  // also where an earlier worker had not come to it
    self->link->heard.store(self->heard, std::memory_order_release);
    self->link->current_as_of_us.store(self->asked_us);
    stand(shmem::Standing::Node);
    self->is_established = true;
    return true;
}

// The hub has cleared; its number tells the rest.
void heed_clear() {
    if (run_transaction("noting what the hub was told", note_told))
        self->link->told.store(self->clears_seen);
    self->watch_us = 0;
}

void answered() {
    const Asked asked = self->asked;
    self->asked = Asked::Nothing;
    bool is_good = true;
    switch (asked) {
    case Asked::Listen:
        self->listens = true;
        break;
    case Asked::Watch:
        is_good = heed_watch();
        break;
    case Asked::Clear:
        heed_clear();
        break;
    case Asked::Questions:
        is_good = heed_questions(*self->hub, self->connection);
        break;
    case Asked::Nothing:
        break;
    }
    if (is_good) {
        if (self->hub->state() != HubConnection::State::Closed && asked != Asked::Watch)
            self->contact.note_answer();
        return;
    }
    self->hub->give_up(ERRCODE_PROTOCOL_VIOLATION, "the hub's answer has another form");
    lose();
}

void refused() {
    self->contact.note_silence(*self->hub);
    self->asked = Asked::Nothing;
    lose_questions();
}

void move_hub() {
    using Event = HubConnection::Event;
    if (self->hub == nullptr)
        return;
    switch (self->hub->move()) {
    case Event::Connected:
        self->row->hub_connected.store(true);
        self->connection++;
        self->watch_us = 0;
        break;
    case Event::Answered:
        answered();
        break;
    case Event::Refused:
        refused();
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
    // Any role of the hub could send such messages without end.
    if (self->hub->was_told())
        self->watch_us = std::min(self->watch_us, self->watched_us + kMessagesUs);
}

// ---- what is to be done ---------------------------------------------------------------------------------------------

// What goes wrong is tried again by another process.
bool make_connections() {
    constexpr const char *kApplication = "pg_steadytext node worker";
    HubConnection *giver = self->contact.make_connection(kApplication);
    self->hub = giver == nullptr ? nullptr : self->contact.make_connection(kApplication);
    self->giver.take(giver);
    return self->hub != nullptr;
}

void connect(std::int64_t now_us) {
    if (self->hub == nullptr && !make_connections())
        leave_politely();
    if (self->conninfo != nullptr)
        pfree(self->conninfo);
    self->conninfo = MemoryContextStrdup(TopMemoryContext, guc::hub_conninfo);
    self->deadline_us = now_us + kConnectUs;
    self->hub->begin(self->conninfo, self->database, kAnswerMemory);
}

void ask(Asked what, const char *statement, std::int64_t now_us, std::int64_t patience_us) {
    const std::uint32_t format = pg_hton32(static_cast<std::uint32_t>(core::kForeignFormat));
    const HubConnection::Parameter parameters[] = {{INT4OID, reinterpret_cast<const char *>(&format), 4}};
    self->asked = what;
    self->asked_us = now_us;
    self->deadline_us = now_us + patience_us;
    self->hub->ask(statement, parameters, what == Asked::Listen ? 0 : 1);
}

// Whether the hub is to be asked to clear: there is a clear of which it has not been told.
bool has_clear_to_tell() {
    self->clears_seen = self->link->cleared.load();
    if (self->link->told.load() == self->clears_seen)
        return false;
    if (!run_transaction("looking for clears", read_known))
        return false;
    if (self->known.told < self->known.clears)
        return true;
    self->link->told.store(self->clears_seen);
    return false;
}

// Returns when to come again, if nothing happens before.
std::int64_t work_hub(std::int64_t now_us) {
    using State = HubConnection::State;
    const State before = self->hub == nullptr ? State::Closed : self->hub->state();
    if (before == State::Asking || before == State::Connecting)
        return self->deadline_us;
    if (now_us < self->contact.not_before_us())
        return self->contact.not_before_us();
    if (before == State::Closed)
        connect(now_us);
    else if (now_us >= self->watch_us)
        ask(Asked::Watch, "SELECT hub, server, clears FROM _steadytext.hub_watch($1)", now_us, kPatienceUs);
    else if (!self->listens)
        ask(Asked::Listen, "LISTEN steadytext_clears", now_us, kPatienceUs);
    else if (has_clear_to_tell())
        ask(Asked::Clear, "SELECT _steadytext.hub_clear($1)", now_us, kClearingUs);
    else if (self->is_established && ask_questions(*self->hub, self->connection)) {
        self->asked = Asked::Questions;
        self->deadline_us = now_us + kPatienceUs;
    } else {
        return self->watch_us;
    }
    return self->deadline_us;
}

// ---- all of it ------------------------------------------------------------------------------------------------------

void wait_until(std::int64_t until_us) {
    static pg::WaitEvent waiting("SteadytextNodeMain");
    static WaitEventSet *set = nullptr;
    if (set != nullptr)
        FreeWaitEventSet(set);
    set = pg::create_wait_event_set(4);
    AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
    AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
    if (self->hub != nullptr && self->hub->socket() >= 0 && self->hub->wait_events() != 0)
        AddWaitEventToSet(set, self->hub->wait_events(), self->hub->socket(), nullptr, nullptr);
    if (self->giver.wait_events() != 0)
        AddWaitEventToSet(set, self->giver.wait_events(), self->giver.socket(), nullptr, nullptr);
    const std::int64_t left_us =
        std::clamp<std::int64_t>(std::min(until_us, turn_ends_us(self->began_us)) - core::monotonic_us(), 0, 1'000'000);
    WaitEvent event;
    (void)WaitEventSetWait(set, static_cast<long>((left_us + 999) / 1000), &event, 1, waiting.id());
    ResetLatch(MyLatch);
}

void run() {
    for (;;) {
        if (serve_interrupts()) {
            self->watch_us = 0;
            if (self->conninfo != nullptr && guc::has_hub() && strcmp(self->conninfo, guc::hub_conninfo) != 0)
                leave_politely();  // the next one goes there
        }
        if (!guc::keeper || !guc::has_hub() || RecoveryInProgress()) {
            self->contact.forget();
            leave_politely();
        }
        move_hub();
        self->giver.move();
        const std::int64_t now_us = core::monotonic_us();
        std::int64_t due_us = work_hub(now_us);
        if (self->is_established)
            due_us = std::min(due_us, self->giver.work(self->conninfo, now_us));
        if (turn_is_over(self->began_us) && !self->giver.waits())
            leave_politely();
        wait_until(due_us);
    }
}

bool become_worker(shmem::HubLink &link) {
    std::int32_t none = 0;
    if (!link.pid.compare_exchange_strong(none, MyProcPid))
        return false;
    link.proc_number.store(pg::my_proc_number());
    return true;
}

// What is known of earlier workers, and of earlier lives of the server.
void begin_link() {
    self->clears_seen = self->link->cleared.load();
    if (!run_transaction("reading the link to the hub", read_known))
        proc_exit(0);
    const bool is_node = self->known.hub[0] != '\0';
    stand(is_node ? shmem::Standing::Node : shmem::Standing::Alone);
    if (is_node && self->known.told < self->known.clears)
        self->link->cleared.fetch_add(1);  // so that the hub is told
    else
        self->link->told.store(self->clears_seen);
}

}  // namespace

std::int64_t watch_interval_us() {
    const std::int64_t longest_us = 1'000'000;
    return guc::hub_max_staleness_ms == 0
               ? longest_us
               : std::clamp<std::int64_t>(std::int64_t{guc::hub_max_staleness_ms} * 1000 / 4, 20'000, longest_us);
}

}  // namespace steadytext::worker

void steadytext_node_main(Datum) {
    using namespace steadytext;
    using namespace steadytext::worker;
    self = static_cast<Worker *>(MemoryContextAllocZero(TopMemoryContext, sizeof(Worker)));
    new (self) Worker{};
    const bool has_extension = begin_in(my_order().database);
    const shmem::Segment &segment = shmem::segment();
    const std::uint32_t index = segment.databases->find(MyDatabaseId);
    if (index == shmem::DatabaseTable::kNone || !has_extension)
        proc_exit(0);
    self->row = &(*segment.databases)[index];
    self->link = &shmem::hub_links().link(index, MyDatabaseId);
    if (!become_worker(*self->link))
        proc_exit(0);
    before_shmem_exit(part, static_cast<Datum>(0));
    begin_questions();
    segment.cache_writes->recover(shmem::for_hub(MyDatabaseId));
    self->database = name_of_database();
    if (self->database == nullptr)
        proc_exit(0);
    self->contact.begin(self->row, kStrangerUs);
    self->giver.begin(self->row, self->link, self->database);
    self->began_us = core::monotonic_us();
    self->connection = static_cast<std::uint64_t>(self->began_us);
    begin_link();
    run();
}
