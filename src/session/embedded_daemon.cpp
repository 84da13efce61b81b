// See embedded_daemon.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/embedded_daemon.hpp"
#include "shmem/segment.hpp"
#include "src/guc.hpp"
#include "src/session/settings.hpp"

#include <algorithm>

namespace steadytext::session {

namespace {

bool any_daemon_answers() {
    const auto &rows = shmem::segment().daemons->rows;
    return std::any_of(std::begin(rows), std::end(rows), [](const shmem::DaemonRow &row) {
        return row.state.load(std::memory_order_relaxed) == shmem::DaemonState::Ready;
    });
}

}  // namespace

bool embedded_is_configured() {
    const auto is_named = [](const char *model) { return model != nullptr && model[0] != '\0'; };
    return guc::embedded_daemon && (is_named(guc::embedded_model) || is_named(guc::embedded_embedding_model));
}

void wake_launcher() { pg::set_latch_of(shmem::segment().header->launcher.proc_number.load()); }

// The gateway lets a request wait for a daemon that is expected: so it is, before it is wanted.
void start_if_stopped() {
    using Wanted = shmem::EmbeddedState::Wanted;
    shmem::EmbeddedState &embedded = shmem::segment().header->embedded;
    if (embedded.wanted.load(std::memory_order_relaxed) != Wanted::Stopped || !embedded_is_configured() ||
        any_daemon_answers() || !settings().daemon_auto_start)
        return;
    embedded.expected.store(true);
    embedded.wanted.store(Wanted::BySetting);
    wake_launcher();
}

}  // namespace steadytext::session
