// Looks up names outside the event loop: each name in its own thread, so that a name server that does not answer delays
// neither the loop nor another name.
//
// Used by bgworker/host_names.*. Regime: pure. A thread blocks every signal, calls getaddrinfo and nothing of PostgreSQL,
// and leaves its answer in a box that it shares with the resolver (with a mutex); the box's descriptor then becomes
// readable. A thread may outlive the resolver, as nobody can end a thread that waits for a name server.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace steadytext::gateway {

// The result of a look-up.
struct Resolution {
    std::string host;
    std::vector<std::string> addresses;  // numeric, in the system's order of preference, each once
    std::string reason;                  // why there are none, in words
};

class Resolver {
public:
    Resolver();

    // Begins a look-up; take() returns its answer, also if it could not begin.
    void ask(const std::string &host);
    [[nodiscard]] int wait_fd() const;
    [[nodiscard]] std::vector<Resolution> take();

private:
    struct Box;
    std::shared_ptr<Box> box_;
};

}  // namespace steadytext::gateway
