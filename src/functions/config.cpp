// What steadytext_config_set does beyond the table: daemon_host and daemon_port are the address of the first daemon.
//
// Regime: pg, with C++ only inside guarded().
#include "src/pg/compat.hpp"
#include "src/core/daemon_list.hpp"
#include "src/guc.hpp"
#include "src/pg/alter_system.hpp"
#include "src/pg/boundary.hpp"
#include "src/session/audit.hpp"
#include "src/session/settings.hpp"
#include "shmem/daemon_table.hpp"

extern "C" {
#include "access/xact.h"
}

#include <memory>
#include <string>

namespace {

using namespace steadytext;

// The list with the address in the place of its first tcp daemon, or in front of all.
std::string with_first_daemon(std::string_view list, const std::string &address) {
    const auto entries = std::make_unique<core::DaemonEntry[]>(shmem::kMaxDaemons);
    core::Problem ignored;
    const std::size_t count = core::parse_daemon_list(list, entries.get(), shmem::kMaxDaemons, ignored);
    std::string result;
    bool placed = false;
    for (std::size_t i = 0; i < count; i++) {
        core::DaemonEntry &entry = entries[i];
        if (!placed && entry.endpoint.kind == core::EndpointKind::Tcp) {
            std::snprintf(entry.endpoint.text, sizeof entry.endpoint.text, "%s", address.c_str());
            placed = true;
        }
        result.append(result.empty() ? "" : ", ").append(core::format_daemon_entry(entry));
    }
    if (placed)
        return result;
    return result.empty() ? address : address + ", " + result;
}

}  // namespace

// The table is one database's, daemons are the server's: so this goes to postgresql.auto.conf.
STEADYTEXT_FUNCTION(steadytext_follow_daemon_address) {
    static std::string *list = new std::string;
    CommandCounterIncrement();  // see the row just written
    const session::Settings settings = session::settings();
    core::Problem refusal;
    const bool good = pg::try_guarded(refusal, [&](core::Problem &problem) {
        const bool ipv6 = std::string_view(settings.daemon_host).find(':') != std::string_view::npos;
        const std::string host = ipv6 ? "[" + std::string(settings.daemon_host) + "]" : settings.daemon_host;
        const std::string address = "tcp://" + host + ":" + std::to_string(settings.daemon_port);
        *list = with_first_daemon(guc::daemons != nullptr ? guc::daemons : "", address);
        return core::check_daemon_list(*list, problem);
    });
    if (!good) {
        session::note_suspicious(core::Suspicion::Endpoint, "daemon_host", settings.daemon_host);
        pg::raise(refusal);
    }
    pg::alter_system("steadytext.daemons", list->c_str());
    PG_RETURN_VOID();
}
