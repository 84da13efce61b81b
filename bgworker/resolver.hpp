// Looking up names, off the event loop: each name in a thread of its own, so that a name server that does not answer holds
// up neither the loop nor another name.
//
// Used by bgworker/names.*. Regime: pure. A thread blocks every signal, calls getaddrinfo and nothing of PostgreSQL, and leaves
// its answer in a box that it shares with the resolver (one mutex); the box's descriptor then becomes readable. A thread may
// outlive the resolver, for nobody can end one that waits for a name server.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace steadytext::gateway {

// What became of one look-up.
struct Resolution {
    std::string host;
    std::vector<std::string> addresses;  // in numbers, in the system's order of preference, each once
    std::string reason;                  // why there are none, in words
};

class Resolver {
public:
    Resolver();

    // Begins a look-up; its answer comes by take(), a failure to begin too.
    void ask(const std::string &host);
    [[nodiscard]] int wait_fd() const;
    [[nodiscard]] std::vector<Resolution> take();

private:
    struct Box;
    std::shared_ptr<Box> box_;
};

}  // namespace steadytext::gateway
