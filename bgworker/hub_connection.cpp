// libpq's asynchronous functions as one state machine: see hub_connection.hpp. Regime: pg.
//
// The only file of pg_steadytext_hub.so. It names nothing of pg_steadytext.so but constants.
#include "src/pg/compat.hpp"
#include "bgworker/hub_connection.hpp"
#include "src/core/foreign_record.hpp"
#include "src/core/resident_memory.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "port/pg_bswap.h"
#include "storage/fd.h"
#include "storage/latch.h"

#include "utils/memutils.h"

#include "libpq-fe.h"

PG_MODULE_MAGIC;

PGDLLEXPORT steadytext::worker::HubConnection *steadytext_hub_connection(const char *interface);
}

#include <charconv>
#include <cstring>
#include <new>

namespace steadytext::worker {

namespace {

// An answer has some hundred bytes. What the hub sends is in memory until libpq has all of it.
constexpr std::int64_t kMostHeld = 8 * 1024 * 1024;

constexpr const char *kPut = "SELECT taken, refused FROM _steadytext.hub_put($1, $2, $3, $4, $5)";

void ignore_notice(void *, const PGresult *) {}

bool read_number(const char *text, std::uint32_t &number) {
    const char *end = text + strlen(text);
    return std::from_chars(text, end, number).ptr == end && end != text;
}

class LibpqConnection final : public HubConnection {
public:
    void begin(const char *conninfo, const char *database) override;
    void ask(std::int64_t node, std::int64_t batch, std::int64_t clears, const char *records, int bytes) override;
    [[nodiscard]] Event move() override;
    void give_up(const char *why) override;
    void close() override;
    [[nodiscard]] int socket() const override;

private:
    [[nodiscard]] Event move_state();
    [[nodiscard]] Event move_connecting();
    [[nodiscard]] Event move_asking();
    [[nodiscard]] Event lose(int sqlstate, const char *message);
    [[nodiscard]] bool flush();
    [[nodiscard]] Event read_result();
    [[nodiscard]] bool read_row();
    void note(int sqlstate, const char *message);

    PGconn *connection_ = nullptr;
    PGresult *result_ = nullptr;
    bool has_descriptor_ = false;  // counted among the server's open files
    std::int64_t held_ = 0;        // bytes by which this process grew while libpq read
};

void LibpqConnection::begin(const char *conninfo, const char *database) {
    close();
    // Earlier words give way to those of the setting, later ones count.
    const char *const keywords[] = {"target_session_attrs", "tcp_user_timeout", "dbname", "dbname",
                                    "client_encoding",      "application_name", nullptr};
    const char *const values[] = {"read-write", "5000", conninfo, database, "UTF8", "pg_steadytext hub worker",
                                  nullptr};
    state_ = State::Connecting;
    held_ = 0;
    has_descriptor_ = AcquireExternalFD();
    if (has_descriptor_)
        connection_ = PQconnectStartParams(keywords, values, 1);
    if (connection_ != nullptr)
        PQsetNoticeReceiver(connection_, ignore_notice, nullptr);
    wait_events_ = WL_SOCKET_WRITEABLE;
}

void LibpqConnection::close() {
    if (result_ != nullptr)
        PQclear(result_);
    if (connection_ != nullptr)
        PQfinish(connection_);
    if (has_descriptor_)
        ReleaseExternalFD();
    result_ = nullptr;
    connection_ = nullptr;
    has_descriptor_ = false;
    wait_events_ = 0;
    state_ = State::Closed;
}

int LibpqConnection::socket() const { return connection_ == nullptr ? -1 : PQsocket(connection_); }

void LibpqConnection::note(int sqlstate, const char *message) {
    sqlstate_ = sqlstate;
    strlcpy(message_, message, sizeof message_);
    for (char *each = message_; *each != '\0'; each++)
        if (static_cast<unsigned char>(*each) < ' ' || *each == 0x7f)
            *each = ' ';
}

HubConnection::Event LibpqConnection::lose(int sqlstate, const char *message) {
    note(sqlstate, message);
    close();
    return Event::Lost;
}

void LibpqConnection::give_up(const char *why) { (void)lose(ERRCODE_CONNECTION_FAILURE, why); }

HubConnection::Event LibpqConnection::move_connecting() {
    if (connection_ == nullptr)
        return lose(ERRCODE_INSUFFICIENT_RESOURCES, "out of memory or file descriptors");
    if (PQstatus(connection_) == CONNECTION_BAD)
        return lose(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, PQerrorMessage(connection_));
    switch (PQconnectPoll(connection_)) {
    case PGRES_POLLING_READING:
        wait_events_ = WL_SOCKET_READABLE;
        return Event::None;
    case PGRES_POLLING_WRITING:
        wait_events_ = WL_SOCKET_WRITEABLE;
        return Event::None;
    case PGRES_POLLING_OK:
        break;
    default:
        return lose(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, PQerrorMessage(connection_));
    }
    if (PQsetnonblocking(connection_, 1) != 0)
        return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
    state_ = State::Idle;
    wait_events_ = WL_SOCKET_READABLE;
    return Event::Connected;
}

// False: the connection is lost. Sets what to wait for.
bool LibpqConnection::flush() {
    const int left = PQflush(connection_);
    wait_events_ = WL_SOCKET_READABLE | (left > 0 ? WL_SOCKET_WRITEABLE : 0);
    return left >= 0;
}

void LibpqConnection::ask(std::int64_t node, std::int64_t batch, std::int64_t clears, const char *records, int bytes) {
    const Oid types[] = {INT4OID, INT8OID, INT8OID, INT8OID, BYTEAARRAYOID};
    const std::uint32_t format = pg_hton32(static_cast<std::uint32_t>(core::kForeignFormat));
    const std::uint64_t numbers[] = {pg_hton64(static_cast<std::uint64_t>(node)),
                                     pg_hton64(static_cast<std::uint64_t>(batch)),
                                     pg_hton64(static_cast<std::uint64_t>(clears))};
    const char *const values[] = {reinterpret_cast<const char *>(&format), reinterpret_cast<const char *>(&numbers[0]),
                                  reinterpret_cast<const char *>(&numbers[1]),
                                  reinterpret_cast<const char *>(&numbers[2]), records};
    const int lengths[] = {4, 8, 8, 8, bytes};
    const int formats[] = {1, 1, 1, 1, 1};
    state_ = State::Asking;
    taken_ = refused_ = 0;
    // What goes wrong here is found by move().
    if (PQsendQueryParams(connection_, kPut, 5, types, values, lengths, formats, 0) == 1)
        (void)flush();
}

bool LibpqConnection::read_row() {
    return PQntuples(result_) == 1 && PQnfields(result_) == 2 && read_number(PQgetvalue(result_, 0, 0), taken_) &&
           read_number(PQgetvalue(result_, 0, 1), refused_) && refused_ <= taken_;
}

// The one result of the statement is there.
HubConnection::Event LibpqConnection::read_result() {
    if (result_ == nullptr)
        return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
    Event event = Event::Answered;
    if (PQresultStatus(result_) != PGRES_TUPLES_OK) {
        const char *state = PQresultErrorField(result_, PG_DIAG_SQLSTATE);
        const char *primary = PQresultErrorField(result_, PG_DIAG_MESSAGE_PRIMARY);
        if (state == nullptr || strspn(state, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5 || strlen(state) != 5 ||
            strcmp(state, "00000") == 0)
            return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
        note(MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]), primary == nullptr ? "" : primary);
        event = Event::Refused;
    } else if (!read_row()) {
        return lose(ERRCODE_PROTOCOL_VIOLATION, "the hub's answer has another form");
    }
    PQclear(result_);
    result_ = nullptr;
    state_ = State::Idle;
    wait_events_ = WL_SOCKET_READABLE;
    return event;
}

HubConnection::Event LibpqConnection::move_asking() {
    if (PQconsumeInput(connection_) == 0 || !flush())
        return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
    while (PQisBusy(connection_) == 0) {
        PGresult *next = PQgetResult(connection_);
        if (next == nullptr)
            return read_result();
        const ExecStatusType status = PQresultStatus(next);
        if (result_ != nullptr || status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
            PQclear(next);
            return lose(ERRCODE_PROTOCOL_VIOLATION, "the hub's answer has another form");
        }
        result_ = next;
    }
    return Event::None;
}

HubConnection::Event LibpqConnection::move() {
    const std::uint64_t before = core::resident_memory().own_bytes();
    const Event event = move_state();
    held_ += static_cast<std::int64_t>(core::resident_memory().own_bytes()) - static_cast<std::int64_t>(before);
    return held_ > kMostHeld && state_ != State::Closed
               ? lose(ERRCODE_PROTOCOL_VIOLATION, "the hub sends far more than an answer")
               : event;
}

HubConnection::Event LibpqConnection::move_state() {
    switch (state_) {
    case State::Connecting:
        return move_connecting();
    case State::Asking:
        return move_asking();
    case State::Idle:  // what comes unasked: the end of the connection
        if (PQconsumeInput(connection_) == 0 || PQstatus(connection_) == CONNECTION_BAD)
            return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
        return Event::None;
    case State::Closed:
        break;
    }
    return Event::None;
}

}  // namespace

}  // namespace steadytext::worker

steadytext::worker::HubConnection *steadytext_hub_connection(const char *interface) {
    using namespace steadytext::worker;
    if (strcmp(interface, kHubInterface) != 0)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("pg_steadytext_hub is of another version than pg_steadytext"),
                        errdetail("They are \"%s\" and \"%s\".", kHubInterface, interface)));
    return new (MemoryContextAlloc(TopMemoryContext, sizeof(LibpqConnection))) LibpqConnection();
}
