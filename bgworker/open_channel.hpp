// Opens a connection for an entry of steadytext.daemons.
//
// Called by bgworker/daemon_connections.cpp. Regime: pure.
#pragma once

#include "bgworker/daemon.hpp"

namespace steadytext::gateway {

// `addresses`: the entry's host as an address, or the addresses of its name; ZeroMQ connects to the first. Null if the
// connection cannot be opened at all; `reason` then says why.
[[nodiscard]] std::unique_ptr<Channel> open_channel(const Services &services, const core::DaemonEntry &entry,
                                                    const std::vector<std::string> &addresses, std::string &reason);

}  // namespace steadytext::gateway
