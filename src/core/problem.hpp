// An error as pure code reports it: an SQLSTATE and the texts for the user.
//
// Called by every validator and parser of src/core, by shmem and by the transports; src/pg/boundary.hpp turns it
// into an ereport. Regime: pure. It owns nothing and has no destructor, so a longjmp may skip it.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <type_traits>

namespace steadytext::core {

struct Problem {
    char sqlstate[6];
    char message[256];
    char detail[512];
    char hint[256];

    // A call makes ten of them and uses none, so the constructor only writes what makes them empty.
    Problem() noexcept { sqlstate[0] = message[0] = detail[0] = hint[0] = '\0'; }

    [[nodiscard]] bool is_set() const noexcept { return sqlstate[0] != '\0'; }

    // Sets the SQLSTATE and primary message; returns false, so that a check can `return problem.set(...)`.
    __attribute__((format(printf, 3, 4))) bool set(const char *state, const char *format, ...) noexcept {
        std::va_list arguments;
        va_start(arguments, format);
        std::snprintf(sqlstate, sizeof sqlstate, "%s", state);
        std::vsnprintf(message, sizeof message, format, arguments);
        va_end(arguments);
        return false;
    }

    __attribute__((format(printf, 2, 3))) Problem &with_detail(const char *format, ...) noexcept {
        std::va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(detail, sizeof detail, format, arguments);
        va_end(arguments);
        return *this;
    }

    __attribute__((format(printf, 2, 3))) Problem &with_hint(const char *format, ...) noexcept {
        std::va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(hint, sizeof hint, format, arguments);
        va_end(arguments);
        return *this;
    }
};

static_assert(std::is_trivially_destructible_v<Problem>);

// The SQLSTATEs this project raises, by meaning. Kept here so that pure code needs no PostgreSQL header.
namespace sqlstate {
inline constexpr const char *kWarning = "01000";
inline constexpr const char *kNullValueNotAllowed = "22004";
inline constexpr const char *kInvalidParameterValue = "22023";
inline constexpr const char *kInvalidTextRepresentation = "22P02";
inline constexpr const char *kCharacterNotInRepertoire = "22021";
inline constexpr const char *kUntranslatableCharacter = "22P05";
inline constexpr const char *kUndefinedObject = "42704";
inline constexpr const char *kProgramLimitExceeded = "54000";
inline constexpr const char *kInsufficientPrivilege = "42501";
inline constexpr const char *kConfigurationLimitExceeded = "53400";
inline constexpr const char *kInsufficientResources = "53000";
inline constexpr const char *kOutOfMemory = "53200";
inline constexpr const char *kTooManyConnections = "53300";
inline constexpr const char *kQueryCanceled = "57014";
inline constexpr const char *kConnectionFailure = "08006";
inline constexpr const char *kCannotConnect = "08001";
inline constexpr const char *kHeldBack = "08004";  // by open circuit breakers
inline constexpr const char *kCannotConnectNow = "57P03";
inline constexpr const char *kTimeoutExpired = "HYT00";  // of the SQL/CLI standard; 57014 would be taken for a cancel
inline constexpr const char *kProtocolViolation = "08P01";
inline constexpr const char *kExternalRoutineError = "38000";
inline constexpr const char *kPrerequisiteState = "55000";
inline constexpr const char *kFeatureNotSupported = "0A000";
inline constexpr const char *kInternalError = "XX000";
}  // namespace sqlstate

}  // namespace steadytext::core
