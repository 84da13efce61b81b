// From a suspicious argument to the log and the ring: see audit.hpp. Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/session/audit.hpp"
#include "src/core/clock.hpp"
#include "src/core/json_text.hpp"
#include "src/core/sha256.hpp"
#include "src/guc.hpp"
#include "src/pg/written.hpp"
#include "src/session/keeper_call.hpp"

extern "C" {
#include "common/ip.h"
#include "libpq/libpq-be.h"
}

namespace steadytext::session {

using core::Suspicion;
using shmem::AuditRecord;

namespace {

constexpr std::size_t kShownBytes = 256;     // of a name
constexpr std::size_t kParameterBytes = 64;  // of a parameter's name, or a function's

struct Finding {
    Suspicion suspicion;
    const char *parameter;
    std::string_view text;
    bool is_secret;  // a prompt
};

// The shown part of the text: the hash of a prompt, the beginning of a name.
struct Shown {
    char parameter[kParameterBytes] = "";
    char hash[core::kHexBytes + 1] = "";
    char text[kShownBytes] = "";
};

Shown show(const Finding &finding) {
    Shown shown;
    core::write_printable(finding.parameter, shown.parameter, sizeof shown.parameter);
    if (!finding.is_secret) {
        core::write_printable(finding.text, shown.text, sizeof shown.text);
        return shown;
    }
    if (core::Sha256 *sha = core::Sha256::instance(); sha != nullptr) {
        sha->begin();
        sha->add(finding.text);
        core::to_hex(sha->finish(), shown.hash);
    }
    return shown;
}

// JSON is never cut: each text in it is printable ASCII that was bounded before, and doubled at most by its escapes.
void put_details(std::string_view details, AuditRecord &record) {
    static_assert(sizeof record.details > 2 * (kShownBytes + kParameterBytes) + 90);
    Assert(details.size() < sizeof record.details);
    if (details.size() >= sizeof record.details)
        details = "{}";
    details.copy(record.details, details.size());
    record.details[details.size()] = '\0';
}

void write_details(const Finding &finding, const Shown &shown, std::uint32_t left_out, AuditRecord &record) {
    const std::string_view details = pg::written_json(core::Escape::Ascii, [&](core::JsonObject &json) {
        json.add("kind", core::name_of(finding.suspicion));
        json.add("parameter", shown.parameter);
        json.add("bytes", static_cast<std::int64_t>(finding.text.size()));
        finding.is_secret ? json.add("sha256", shown.hash) : json.add("value", shown.text);
        if (left_out > 0)
            json.add("not_logged_before", std::int64_t{left_out});
    });
    put_details(details, record);
}

// The statement is left out: it may hold the prompt.
void log_finding(const Finding &finding, const Shown &shown, const AuditRecord &record, std::uint32_t left_out) {
    const char *what = finding.is_secret ? "SHA-256" : "Value";
    ereport(LOG_SERVER_ONLY, (errmsg("suspicious input: %s", record.message),
                              errdetail("Role \"%s\", %zu bytes. %s: %s.", record.user, finding.text.size(), what,
                                        finding.is_secret ? shown.hash : shown.text),
                              left_out > 0 ? errhint("%u more like it were not logged since.", left_out) : 0,
                              errhidestmt(true), errhidecontext(true)));
}

void count_missing(shmem::DatabaseRow *row) {
    shmem::segment().counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), shmem::Counter::AuditDropped);
    if (row != nullptr)
        row->note_audit_missing();
}

void submit(const AuditRecord &record) {
    const shmem::Segment &segment = shmem::segment();
    shmem::DatabaseRow *row = my_database();
    bool is_there = false;
    if (row != nullptr) {
        // Announced before it is put, so that the count is never less than the number of records in the ring.
        row->pending_audit.fetch_add(1);
        is_there = segment.audit->put(MyDatabaseId, GetUserId(), record);
        if (!is_there)
            row->pending_audit.fetch_sub(1);
        wake_keeper(*row);
    }
    if (!is_there)
        count_missing(row);
}

AuditRecord new_record(const char *event_type) {
    AuditRecord record;
    record.at_us = core::unix_us();
    strlcpy(record.user, GetUserNameFromId(GetUserId(), false), sizeof record.user);
    write_client_address(record.address, sizeof record.address);
    strlcpy(record.event_type, event_type, sizeof record.event_type);
    return record;
}

void note(const Finding &finding) {
    const shmem::Segment &segment = shmem::segment();
    segment.counters->add(static_cast<std::uint32_t>(pg::my_proc_number()), shmem::Counter::SuspiciousInputs);
    const shmem::AuditPacing::Turn turn =
        segment.audit_pacing->take(static_cast<std::uint32_t>(finding.suspicion),
                                   std::uint64_t{MyDatabaseId} << 32 | GetUserId(), core::monotonic_us());
    if (!turn.is_written)
        return count_missing(my_database());
    AuditRecord record = new_record("suspicious_input");
    const Shown shown = show(finding);
    snprintf(record.message, sizeof record.message, "%s in %s", core::describe(finding.suspicion), shown.parameter);
    write_details(finding, shown, turn.left_out, record);
    if (turn.is_first)
        log_finding(finding, shown, record, turn.left_out);
    submit(record);
}

}  // namespace

void inspect_prompt(const char *parameter, const core::TextArgument &text) {
    if (text.is_null)
        return;
    const Suspicion suspicion = core::suspect_prompt(text.text, static_cast<std::size_t>(guc::max_prompt_bytes));
    if (suspicion != Suspicion::None)
        note({suspicion, parameter, text.text, true});
}

void inspect_name(const char *parameter, const core::TextArgument &name, std::size_t longest) {
    if (name.is_null)
        return;
    const Suspicion suspicion = core::suspect_name(name.text, longest);
    if (suspicion != Suspicion::None)
        note({suspicion, parameter, name.text, false});
}

void note_suspicious(Suspicion suspicion, const char *parameter, std::string_view text) {
    note({suspicion, parameter, text, false});
}

void note_server_action(const char *function, std::string_view argument) {
    char shown[kShownBytes];
    core::write_printable(argument, shown, sizeof shown);
    AuditRecord record = new_record("server_action");
    const std::string_view details = pg::written_json(core::Escape::Ascii, [&](core::JsonObject &json) {
        json.add("function", function);
        if (!argument.empty())
            json.add("argument", shown);
    });
    put_details(details, record);
    ereport(LOG_SERVER_ONLY, (errmsg("role \"%s\" called %s", record.user, function),
                              argument.empty() ? 0 : errdetail("Its argument was \"%s\".", shown), errhidestmt(true),
                              errhidecontext(true)));
    submit(record);
}

void write_client_address(char *address, std::size_t room) {
    address[0] = '\0';
    if (MyProcPort == nullptr || MyProcPort->raddr.addr.ss_family == AF_UNIX)
        return;
    if (pg_getnameinfo_all(&MyProcPort->raddr.addr, MyProcPort->raddr.salen, address, static_cast<int>(room), nullptr,
                           0, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        address[0] = '\0';
    if (char *zone = strchr(address, '%'); zone != nullptr)
        *zone = '\0';
}

void note_bad_encoding(std::string_view text) { note({Suspicion::BadEncoding, "text", text, true}); }

}  // namespace steadytext::session
