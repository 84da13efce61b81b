// The wall between the two error systems: C++ exceptions on one side, PostgreSQL's longjmp on the other.
//
// Used by src/functions, src/session, src/queue and bgworker. Regime: boundary.
//
// This file is short because of a rule: pure code never calls PostgreSQL. A SQL function is plain PostgreSQL code, in
// which no object with a destructor is alive where ereport can be reached. When it needs C++ that may throw, it calls
// guarded(), whose closure calls no PostgreSQL function. Before the error is raised, all objects of the closure are
// gone and the exception's storage is freed. So nothing leaks, no destructor is skipped, and no hot path needs
// sigsetjmp.
#pragma once

#include "src/pg/postgres.hpp"
#include "src/core/problem.hpp"

#include <exception>
#include <new>
#include <type_traits>
#include <utility>

namespace steadytext::pg {

[[nodiscard]] inline int sqlstate_of(const core::Problem &problem) {
    const char *s = problem.sqlstate;
    return MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]);
}

// Reports the problem at `level`; does not return for ERROR and above. A failure that nobody gave a reason is a mistake
// of this code, and is reported as one.
inline void report(int level, const core::Problem &problem) {
    Assert(problem.is_set());
    if (!problem.is_set()) {
        elog(level, "pg_steadytext failed without a reason");
        return;
    }
    ereport(level, (errcode(sqlstate_of(problem)), errmsg("%s", problem.message),
                    problem.detail[0] != '\0' ? errdetail("%s", problem.detail) : 0,
                    problem.hint[0] != '\0' ? errhint("%s", problem.hint) : 0));
}

[[noreturn]] inline void raise(const core::Problem &problem) {
    report(ERROR, problem);
    pg_unreachable();
}

// Runs pure code that may throw: `body(core::Problem &) -> bool`, or `body()`, which only fails by an exception. If it
// throws, or returns false itself, returns false with `problem` set.
template <class Body>
[[nodiscard]] bool try_guarded(core::Problem &problem, Body &&body) noexcept {
    try {
        if constexpr (std::is_invocable_v<Body>) {
            std::forward<Body>(body)();
            return true;
        } else {
            return std::forward<Body>(body)(problem);
        }
    } catch (const std::bad_alloc &) {
        return problem.set(core::sqlstate::kOutOfMemory, "out of memory");
    } catch (const std::exception &error) {
        return problem.set(core::sqlstate::kInternalError, "%s", error.what());
    } catch (...) {
        return problem.set(core::sqlstate::kInternalError, "unknown C++ exception");
    }
}

// As try_guarded(), and raises the problem as an ERROR.
template <class Body>
void guarded(Body &&body) {
    core::Problem problem;
    if (!try_guarded(problem, std::forward<Body>(body)))
        raise(problem);
}

}  // namespace steadytext::pg

// Declares a SQL-callable function; the body follows. Regime of the body: pg.
#define STEADYTEXT_FUNCTION(name)                                                                                      \
    extern "C" {                                                                                                       \
    PG_FUNCTION_INFO_V1(name);                                                                                         \
    PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                                          \
    }                                                                                                                  \
    Datum name([[maybe_unused]] PG_FUNCTION_ARGS)
