// Host names and their addresses: remembered, and looked up again, as daemons move and fleets grow.
//
// Owned by bgworker/gateway.*, read by daemons. Regime: pure. While look-ups fail, the last addresses are kept.
#pragma once

#include "bgworker/resolver.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace steadytext::gateway {

struct Name {
    std::vector<std::string> addresses;  // empty: not known yet, or the name has no address
    std::string reason;                  // why the last look-up found nothing, or not all
    bool is_answered = false;
    bool is_asked = false;
    bool is_wanted = true;
    std::int64_t due_us = 0;  // next look-up
};

class HostNames {
public:
    // The names to look up from now on; a name that is already known keeps its addresses.
    void want(const std::vector<std::string> &hosts);
    // Null for a name that is not wanted.
    [[nodiscard]] const Name *find(const std::string &host) const;

    void tick(std::int64_t now_us);  // begins the look-ups that are due
    // The names whose result has changed since the last call.
    [[nodiscard]] std::vector<std::string> take(std::int64_t now_us);
    [[nodiscard]] int wait_fd() const { return resolver_.wait_fd(); }

private:
    Resolver resolver_;
    std::map<std::string, Name> names_;
};

}  // namespace steadytext::gateway
