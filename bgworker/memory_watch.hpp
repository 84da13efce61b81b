// Keeps the gateway's own memory bounded against daemons that send ZeroMQ messages that do not end.
//
// libzmq keeps the parts of a message until the last part has come, has a limit for a part and none for their number, and tells
// nobody of it. So the gateway looks at its own memory, and beyond a bound it closes connections one by one: the one first
// that has brought no whole message for the longest time. If that frees memory, that was the connection.
//
// Owned by the gateway, called from its tick. Regime: pure.
#pragma once

#include "bgworker/daemon.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace steadytext::gateway {

class MemoryWatch {
public:
    // `payload_bytes`: what all requests and replies of sessions may take.
    explicit MemoryWatch(std::size_t payload_bytes);

    // `each` calls its argument for each daemon.
    using EachDaemon = std::function<void(const std::function<void(Daemon &)> &)>;
    void look(const EachDaemon &each, std::int64_t now_us, std::vector<std::string> &complaints);

private:
    void judge(const EachDaemon &each, std::size_t bytes, std::int64_t now_us, std::vector<std::string> &complaints);

    std::size_t most_;
    std::size_t before_ = 0;                         // bytes, when the last connection was closed
    std::string suspect_;                            // the name of that daemon; empty: none
    std::unordered_map<std::string, int> tried_;     // names, since memory was within the bound: how often
    std::unordered_map<std::string, int> offences_;  // names: how often a daemon was found to be the cause
};

}  // namespace steadytext::gateway
