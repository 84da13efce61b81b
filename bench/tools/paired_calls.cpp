// paired_calls: what something that can be switched on and off adds to a call, as a client sees it.
//
//     paired_calls PAIRS CALLS STATEMENT VALUE ON OFF
//
// One session (from the environment: PGHOST ...) makes blocks of CALLS calls of the prepared STATEMENT, whose $1 is
// VALUE, two of them a pair: one with it on, one with it off, in turn this one first and that one. ON and OFF are SQL,
// run between blocks; the calls that find out about it are not counted. A block's time is the median of its calls, so a
// call that lost its processor does not matter; a pair's two blocks are milliseconds apart, so a machine that gets
// slower does so for both. Prints the median over the pairs of on / off, then the medians of off and on in
// microseconds. Used by topics/limits.py. Regime: pure; any failure ends the program.
#include <libpq-fe.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr int kFindingOut = 20;

[[noreturn]] void fail(PGconn *connection, const char *what) {
    std::fprintf(stderr, "paired_calls: %s: %s\n", what, PQerrorMessage(connection));
    std::exit(1);
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

double call_us(PGconn *connection, const char *value) {
    const auto start = std::chrono::steady_clock::now();
    PGresult *result = PQexecPrepared(connection, "call", 1, &value, nullptr, nullptr, 0);
    const auto end = std::chrono::steady_clock::now();
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQgetisnull(result, 0, 0))
        fail(connection, "the statement failed");
    PQclear(result);
    return std::chrono::duration<double, std::micro>(end - start).count();
}

double block_us(PGconn *connection, const char *switch_to, const char *value, int calls) {
    PGresult *result = PQexec(connection, switch_to);
    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        fail(connection, "could not switch");
    PQclear(result);
    for (int i = 0; i < kFindingOut; i++)
        (void)call_us(connection, value);
    std::vector<double> times;
    for (int i = 0; i < calls; i++)
        times.push_back(call_us(connection, value));
    return median(times);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 7) {
        std::fputs("usage: paired_calls PAIRS CALLS STATEMENT VALUE ON OFF\n", stderr);
        return 2;
    }
    const int pairs = std::atoi(argv[1]), calls = std::atoi(argv[2]);
    const char *value = argv[4], *switch_on = argv[5], *switch_off = argv[6];
    PGconn *connection = PQconnectdb("application_name=bench");
    if (PQstatus(connection) != CONNECTION_OK)
        fail(connection, "could not connect");
    PQclear(PQprepare(connection, "call", argv[3], 1, nullptr));
    std::vector<double> ratios, on, off;
    for (int i = 0; i < pairs; i++) {
        const bool on_first = i % 2 == 0;
        const double first = block_us(connection, on_first ? switch_on : switch_off, value, calls);
        const double second = block_us(connection, on_first ? switch_off : switch_on, value, calls);
        on.push_back(on_first ? first : second);
        off.push_back(on_first ? second : first);
        ratios.push_back(on.back() / off.back());
    }
    PQclear(PQexec(connection, switch_off));
    PQfinish(connection);
    std::printf("%.6f %.3f %.3f\n", median(ratios), median(off), median(on));
}
