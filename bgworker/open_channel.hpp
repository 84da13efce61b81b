// From an entry of steadytext.daemons to a connection of its kind.
//
// Called by bgworker/daemon_connections.cpp. Regime: pure.
#pragma once

#include "bgworker/daemon.hpp"

namespace steadytext::gateway {

// `addresses`: the entry's host in numbers, or what its name leads to; ZeroMQ connects to the first. Null if it cannot be
// opened at all; `reason` then says why.
[[nodiscard]] std::unique_ptr<Channel> open_channel(const Services &services, const core::DaemonEntry &entry,
                                                    const std::vector<std::string> &addresses, std::string &reason);

}  // namespace steadytext::gateway
