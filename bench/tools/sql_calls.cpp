// sql_calls: runs one statement in N sessions at a time and prints the seconds they took together.
//
//     sql_calls SESSIONS STATEMENT [EXPECTED]
//
// Used by the topics that measure SQL. The connections (from the environment: PGHOST ...) are open and the
// statement is prepared in each before the clock starts, so the statement alone is measured. $1 in it is the
// session's number. Its first value must be EXPECTED, so that a fallback never counts as an answer.
// One thread polls the sockets of all sessions. Regime: pure; any failure ends the program.
#include <libpq-fe.h>
#include <poll.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

const char *statement_text;
const char *expected;

[[noreturn]] void fail(PGconn *connection, const char *what) {
    std::fprintf(stderr, "sql_calls: %s: %s\n", what, PQerrorMessage(connection));
    std::exit(1);
}

PGconn *connect_prepared() {
    PGconn *connection = PQconnectdb("application_name=bench");
    if (PQstatus(connection) != CONNECTION_OK)
        fail(connection, "could not connect");
    PGresult *prepared = PQprepare(connection, "calls", statement_text, 0, nullptr);
    if (PQresultStatus(prepared) != PGRES_COMMAND_OK)
        fail(connection, "could not prepare");
    PQclear(prepared);
    return connection;
}

void send(PGconn *connection, int session) {
    const std::string number = std::to_string(session);
    const bool takes_number = std::string_view(statement_text).find("$1") != std::string_view::npos;
    const char *values[] = {number.c_str()};
    if (PQsendQueryPrepared(connection, "calls", takes_number ? 1 : 0, values, nullptr, nullptr, 0) == 0 ||
        PQflush(connection) != 0)
        fail(connection, "could not send");
}

// Takes the whole answer, which has begun to arrive or will.
void receive(PGconn *connection) {
    while (PGresult *result = PQgetResult(connection)) {
        if (PQresultStatus(result) != PGRES_TUPLES_OK)
            fail(connection, "the statement failed");
        const std::string value = PQgetvalue(result, 0, 0);
        if (expected != nullptr && value != expected) {
            std::fprintf(stderr, "sql_calls: expected %s, got %s\n", expected, value.c_str());
            std::exit(1);
        }
        PQclear(result);
    }
}

double run_all(const std::vector<PGconn *> &connections) {
    std::vector<pollfd> sockets;
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < connections.size(); i++) {
        send(connections[i], static_cast<int>(i));
        sockets.push_back({PQsocket(connections[i]), POLLIN, 0});
    }
    for (std::size_t waiting = connections.size(); waiting > 0;) {
        poll(sockets.data(), sockets.size(), -1);
        for (std::size_t i = 0; i < sockets.size(); i++)
            if (sockets[i].fd >= 0 && sockets[i].revents != 0) {
                if (PQconsumeInput(connections[i]) == 0)
                    fail(connections[i], "lost the connection");
                if (PQisBusy(connections[i]) != 0)
                    continue;
                receive(connections[i]);
                sockets[i].fd = -1;
                waiting--;
            }
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 3) {
        std::fputs("usage: sql_calls SESSIONS STATEMENT [EXPECTED]\n", stderr);
        return 2;
    }
    statement_text = argv[2];
    expected = argc > 3 ? argv[3] : nullptr;
    std::vector<PGconn *> connections;
    for (int i = 0; i < std::atoi(argv[1]); i++)
        connections.push_back(connect_prepared());
    std::printf("%.6f\n", run_all(connections));
    for (PGconn *connection : connections)
        PQfinish(connection);
    return 0;
}
