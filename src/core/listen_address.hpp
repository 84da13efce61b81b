// The address steadytext.metrics_listen names: an IP address and a port, no name that would have to be resolved.
//
// Called by the setting's check and by bgworker/metrics_listener.*. Regime: pure, noexcept.
#pragma once

#include "src/core/problem.hpp"

#include <netinet/in.h>
#include <string_view>

namespace steadytext::core {

struct ListenAddress {
    bool is_off = true;  // empty, or "off"
    sockaddr_storage address{};
    socklen_t length = 0;
};

// "127.0.0.1:9188", "[::1]:9188", "off" or nothing.
[[nodiscard]] bool parse_listen_address(std::string_view text, ListenAddress &address, Problem &problem) noexcept;

}  // namespace steadytext::core
