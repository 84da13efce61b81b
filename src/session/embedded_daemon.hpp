// The embedded daemon as sessions see it: whether there is one, and starting it again after steadytext_daemon_stop().
//
// Called by pending_slot.cpp and src/functions/daemon.cpp. Regime: pg.
#pragma once

namespace steadytext::session {

// The settings name a model for it.
[[nodiscard]] bool embedded_is_configured();

void wake_launcher();

// A call needs a daemon. If steadytext_daemon_stop() has stopped the embedded daemon and no other daemon answers, it is
// started again, unless the key daemon_auto_start of steadytext_config is false: the call waits for it within its
// deadline.
void start_if_stopped();

}  // namespace steadytext::session
