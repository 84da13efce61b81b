// libpq's asynchronous functions as one state machine: see hub_connection.hpp. Regime: pg.
//
// The only file of pg_steadytext_hub.so. It names nothing of pg_steadytext.so.
#include "src/pg/compat.hpp"
#include "bgworker/hub_connection.hpp"
#include "src/core/resident_memory.hpp"

extern "C" {
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "libpq-fe.h"

PG_MODULE_MAGIC;

PGDLLEXPORT steadytext::worker::HubConnection *steadytext_hub_connection(const char *interface,
                                                                         const char *application);
}

#include <algorithm>
#include <cstring>
#include <new>
#include <sys/resource.h>
#include <utility>

namespace steadytext::worker {

namespace {

constexpr int kMostMessages = 1000;  // read at a time; the rest is read later

void ignore_notice(void *, const PGresult *) {}

class LibpqConnection final : public HubConnection {
public:
    explicit LibpqConnection(const char *application) : application_(application) {}
    void begin(const char *conninfo, const char *database, std::int64_t memory) override;
    void ask(const char *statement, const Parameter *parameters, int count) override;
    [[nodiscard]] Event move() override;
    void give_up(int sqlstate, const char *why) override { (void)lose(sqlstate, why); }
    void close() override;
    [[nodiscard]] int socket() const override { return connection_ == nullptr ? -1 : PQsocket(connection_); }
    [[nodiscard]] int rows() const override { return result_ == nullptr ? 0 : PQntuples(result_); }
    [[nodiscard]] int columns() const override { return result_ == nullptr ? 0 : PQnfields(result_); }
    [[nodiscard]] const char *value(int row, int column, int &size) const override;
    [[nodiscard]] bool was_told() override { return std::exchange(was_told_, false); }

private:
    [[nodiscard]] Event move_state();
    [[nodiscard]] Event move_connecting();
    [[nodiscard]] Event move_asking();
    [[nodiscard]] Event read_result();
    [[nodiscard]] Event lose(int sqlstate, const char *message);
    [[nodiscard]] bool flush();
    void read_messages();
    void note(int sqlstate, const char *message);

    const char *application_;
    PGconn *connection_ = nullptr;
    PGresult *result_ = nullptr;
    bool has_descriptor_ = false;  // counted among the server's open files
    bool was_told_ = false;
    std::int64_t memory_ = 0;  // the most it may hold
    std::int64_t held_ = 0;    // bytes by which this process grew while libpq read
};

void LibpqConnection::begin(const char *conninfo, const char *database, std::int64_t memory) {
    close();
    // Earlier words give way to those of the setting, later ones count.
    const char *const keywords[] = {"target_session_attrs", "tcp_user_timeout", "dbname", "dbname",
                                    "client_encoding",      "application_name", nullptr};
    const char *const values[] = {"read-write", "5000", conninfo, database, "UTF8", application_, nullptr};
    state_ = State::Connecting;
    memory_ = memory;
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
    has_descriptor_ = was_told_ = false;
    wait_events_ = 0;
    state_ = State::Closed;
}

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

HubConnection::Event LibpqConnection::move_connecting() {
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
bool LibpqConnection::flush() {
    const int left = PQflush(connection_);
    wait_events_ = WL_SOCKET_READABLE | (left > 0 ? WL_SOCKET_WRITEABLE : 0);
    return left >= 0;
}

void LibpqConnection::ask(const char *statement, const Parameter *parameters, int count) {
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

const char *LibpqConnection::value(int row, int column, int &size) const {
    size = 0;
    if (row >= rows() || column >= columns() || PQgetisnull(result_, row, column) != 0 ||
        PQfformat(result_, column) != 1)
        return nullptr;
    size = PQgetlength(result_, row, column);
    return PQgetvalue(result_, row, column);
}

void LibpqConnection::read_messages() {
    for (int i = 0; i < kMostMessages; i++) {
        PGnotify *message = PQnotifies(connection_);
        if (message == nullptr)
            return;
        PQfreemem(message);
        was_told_ = true;
    }
}

// The one result of the statement is there.
HubConnection::Event LibpqConnection::read_result() {
    if (result_ == nullptr)
        return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
    const ExecStatusType status = PQresultStatus(result_);
    state_ = State::Idle;
    wait_events_ = WL_SOCKET_READABLE;
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return Event::Answered;
    const char *state = PQresultErrorField(result_, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result_, PG_DIAG_MESSAGE_PRIMARY);
    if (state == nullptr && PQstatus(connection_) == CONNECTION_BAD)  // libpq itself could not read on
        return lose(ERRCODE_PROTOCOL_VIOLATION, PQerrorMessage(connection_));
    if (state == nullptr || strspn(state, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5 || strlen(state) != 5 ||
        strcmp(state, "00000") == 0)
        return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
    note(MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]), primary == nullptr ? "" : primary);
    return Event::Refused;
}

HubConnection::Event LibpqConnection::move_asking() {
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

HubConnection::Event LibpqConnection::move_state() {
    switch (state_) {
    case State::Connecting:
        return move_connecting();
    case State::Asking:
        return move_asking();
    case State::Idle:  // what comes unasked: messages, or the end of the connection
        if (PQconsumeInput(connection_) == 0)
            return lose(ERRCODE_CONNECTION_FAILURE, PQerrorMessage(connection_));
        read_messages();
        return PQstatus(connection_) == CONNECTION_BAD ? lose(ERRCODE_PROTOCOL_VIOLATION, PQerrorMessage(connection_))
                                                       : Event::None;
    case State::Closed:
        break;
    }
    return Event::None;
}

// One call of libpq reads on while there is more to read, and makes room for a message of the length that the hub announces. So the system gives
// no more than twice what may be held, which is a failure that libpq reports; what is held is counted afterwards.
HubConnection::Event LibpqConnection::move() {
    if (state_ == State::Closed)
        return Event::None;
    const auto before = static_cast<std::int64_t>(core::resident_memory().data_bytes);
    rlimit usual;
    const bool is_bound = before > 0 && getrlimit(RLIMIT_DATA, &usual) == 0;
    if (is_bound) {
        rlimit bound = usual;
        bound.rlim_cur = std::min(usual.rlim_cur, static_cast<rlim_t>(before - held_ + 2 * memory_));
        (void)setrlimit(RLIMIT_DATA, &bound);
    }
    const Event event = move_state();
    if (is_bound)
        (void)setrlimit(RLIMIT_DATA, &usual);
    held_ += static_cast<std::int64_t>(core::resident_memory().data_bytes) - before;
    return held_ > memory_ && state_ != State::Closed
               ? lose(ERRCODE_PROTOCOL_VIOLATION, "the hub sends far more than an answer")
               : event;
}

}  // namespace

}  // namespace steadytext::worker

steadytext::worker::HubConnection *steadytext_hub_connection(const char *interface, const char *application) {
    using namespace steadytext::worker;
    if (strcmp(interface, kHubInterface) != 0)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("pg_steadytext_hub is of another version than pg_steadytext"),
                        errdetail("They are \"%s\" and \"%s\".", kHubInterface, interface)));
    return new (MemoryContextAlloc(TopMemoryContext, sizeof(LibpqConnection))) LibpqConnection(application);
}
