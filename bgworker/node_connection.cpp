// libpq's asynchronous functions as one state machine, for any statement: see node_connection.hpp. Regime: pg.
//
// In pg_steadytext_hub.so. It names nothing of pg_steadytext.so.
#include "src/pg/compat.hpp"
#include "bgworker/node_connection.hpp"

extern "C" {
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "libpq-fe.h"

PGDLLEXPORT steadytext::worker::NodeConnection *steadytext_node_connection(const char *interface);
}

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace steadytext::worker {

namespace {

constexpr int kMostParameters = 4;
constexpr int kMostMessages = 1000;  // read at a time; the rest is read later

void ignore(void *, const PGresult *) {}

class LibpqNodeConnection final : public NodeConnection {
public:
    void begin(const char *conninfo, const char *database) override;
    void ask(const char *statement, const Parameter *parameters, int count) override;
    [[nodiscard]] Event move() override;
    void give_up(const char *why) override { (void)lose(ERRCODE_CONNECTION_FAILURE, why); }
    void close() override;
    [[nodiscard]] int socket() const override { return connection_ == nullptr ? -1 : PQsocket(connection_); }
    [[nodiscard]] int rows() const override { return result_ == nullptr ? 0 : PQntuples(result_); }
    [[nodiscard]] int columns() const override { return result_ == nullptr ? 0 : PQnfields(result_); }
    [[nodiscard]] const char *value(int row, int column, int &size) const override;
    [[nodiscard]] bool was_told() override;

private:
    [[nodiscard]] Event connect_on();
    [[nodiscard]] Event read_on();
    [[nodiscard]] Event read_result();
    [[nodiscard]] Event lose(int sqlstate, const char *message);
    [[nodiscard]] bool flush();
    void note(int sqlstate, const char *message);
    void read_messages();

    PGconn *connection_ = nullptr;
    PGresult *result_ = nullptr;
    bool has_descriptor_ = false;
    bool was_told_ = false;
};

void LibpqNodeConnection::begin(const char *conninfo, const char *database) {
    close();
    const char *const keywords[] = {"target_session_attrs", "tcp_user_timeout", "dbname", "dbname",
                                    "client_encoding",      "application_name", nullptr};
    const char *const values[] = {"read-write", "5000", conninfo, database, "UTF8", "pg_steadytext node worker",
                                  nullptr};
    state_ = State::Connecting;
    has_descriptor_ = AcquireExternalFD();
    if (has_descriptor_)
        connection_ = PQconnectStartParams(keywords, values, 1);
    if (connection_ != nullptr)
        PQsetNoticeReceiver(connection_, ignore, nullptr);
    wait_events_ = WL_SOCKET_WRITEABLE;
}

void LibpqNodeConnection::close() {
    if (result_ != nullptr)
        PQclear(result_);
    if (connection_ != nullptr)
        PQfinish(connection_);
    if (has_descriptor_)
        ReleaseExternalFD();
    result_ = nullptr;
    connection_ = nullptr;
    has_descriptor_ = was_told_ = false;
    wait_events_ = 0;
    state_ = State::Closed;
}

void LibpqNodeConnection::note(int sqlstate, const char *message) {
    sqlstate_ = sqlstate;
    strlcpy(message_, message, sizeof message_);
    for (char *each = message_; *each != '\0'; each++)
        if (static_cast<unsigned char>(*each) < ' ' || *each == 0x7f)
            *each = ' ';
}

NodeConnection::Event LibpqNodeConnection::lose(int sqlstate, const char *message) {
    note(sqlstate, message);
    close();
    return Event::Lost;
}

NodeConnection::Event LibpqNodeConnection::connect_on() {
    if (connection_ == nullptr)
        return lose(ERRCODE_INSUFFICIENT_RESOURCES, "out of memory or file descriptors");
    switch (PQstatus(connection_) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PQconnectPoll(connection_)) {
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
bool LibpqNodeConnection::flush() {
    const int left = PQflush(connection_);
    wait_events_ = WL_SOCKET_READABLE | (left > 0 ? WL_SOCKET_WRITEABLE : 0);
    return left >= 0;
}

void LibpqNodeConnection::ask(const char *statement, const Parameter *parameters, int count) {
    Oid types[kMostParameters];
    const char *values[kMostParameters];
    int sizes[kMostParameters], formats[kMostParameters];
    count = std::min(count, kMostParameters);
    for (int i = 0; i < count; i++) {
        types[i] = parameters[i].type;
        values[i] = parameters[i].bytes;
        sizes[i] = parameters[i].size;
        formats[i] = 1;
    }
    if (result_ != nullptr)
        PQclear(result_);
    result_ = nullptr;
    state_ = State::Asking;
    // What goes wrong here is found by move().
    if (PQsendQueryParams(connection_, statement, count, types, values, sizes, formats, 1) == 1)
        (void)flush();
}

const char *LibpqNodeConnection::value(int row, int column, int &size) const {
    size = 0;
    if (row >= rows() || column >= columns() || PQgetisnull(result_, row, column) != 0 ||
        PQfformat(result_, column) != 1)
        return nullptr;
    size = PQgetlength(result_, row, column);
    return PQgetvalue(result_, row, column);
}

void LibpqNodeConnection::read_messages() {
    for (int i = 0; i < kMostMessages; i++) {
        PGnotify *message = PQnotifies(connection_);
        if (message == nullptr)
            return;
        PQfreemem(message);
        was_told_ = true;
    }
}

bool LibpqNodeConnection::was_told() { return std::exchange(was_told_, false); }

// The one result of the statement is there.
NodeConnection::Event LibpqNodeConnection::read_result() {
    const ExecStatusType status = result_ == nullptr ? PGRES_FATAL_ERROR : PQresultStatus(result_);
    if (result_ == nullptr)
        return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
    state_ = State::Idle;
    wait_events_ = WL_SOCKET_READABLE;
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return Event::Answered;
    const char *state = PQresultErrorField(result_, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result_, PG_DIAG_MESSAGE_PRIMARY);
    if (state == nullptr || strspn(state, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5 || strlen(state) != 5 ||
        strcmp(state, "00000") == 0)
        return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
    note(MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]), primary == nullptr ? "" : primary);
    return Event::Refused;
}

NodeConnection::Event LibpqNodeConnection::read_on() {
    if (PQconsumeInput(connection_) == 0 || !flush())
        return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
    read_messages();
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

NodeConnection::Event LibpqNodeConnection::move() {
    switch (state_) {
    case State::Connecting:
        return connect_on();
    case State::Asking:
        return read_on();
    case State::Idle:
        if (PQconsumeInput(connection_) == 0 || PQstatus(connection_) == CONNECTION_BAD)
            return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
        read_messages();
        return Event::None;
    case State::Closed:
        break;
    }
    return Event::None;
}

}  // namespace

}  // namespace steadytext::worker

steadytext::worker::NodeConnection *steadytext_node_connection(const char *interface) {
    using namespace steadytext::worker;
    if (strcmp(interface, kNodeInterface) != 0)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("pg_steadytext_hub is of another version than pg_steadytext"),
                        errdetail("They are \"%s\" and \"%s\".", kNodeInterface, interface)));
    return new (MemoryContextAlloc(TopMemoryContext, sizeof(LibpqNodeConnection))) LibpqNodeConnection();
}
