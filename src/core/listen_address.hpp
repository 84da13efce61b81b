// The address in steadytext.metrics_listen: an IP address and a port; names are not allowed, as nothing resolves
// them.
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
