// A node worker's second connection to its hub, by which it brings answers and hits.
//
// Owned by bgworker/node_main.cpp. Regime: pg, without a destructor. A batch that was sent is kept until the hub has answered: after a lost
// connection it goes out again under its number, and the hub does not take it twice (shmem/hub_nodes.hpp).
#pragma once

#include "bgworker/hub_connection.hpp"
#include "bgworker/node_batch.hpp"

namespace steadytext::worker {

class NodeGiver {
public:
    void begin(shmem::DatabaseRow *row, shmem::HubLink *link, const char *database);
    void take(HubConnection *hub) { hub_ = hub; }
    void close();

    // Reads what has happened on the connection.
    void move();
    // Sends what there is, if the hub is there. Returns when to come again, if nothing happens before.
    [[nodiscard]] std::int64_t work(const char *conninfo, std::int64_t now_us);
    void give_back() { batch_.give_back(); }
    // The hub may have taken the batch in hand.
    [[nodiscard]] bool waits() const { return was_sent_; }
    // For the caller's wait; 0: nothing.
    [[nodiscard]] std::uint32_t wait_events() const {
        return hub_ == nullptr || hub_->socket() < 0 ? 0 : hub_->wait_events();
    }
    [[nodiscard]] int socket() const { return hub_->socket(); }

private:
    void lose();
    void answered();

    shmem::DatabaseRow *row_ = nullptr;
    shmem::HubLink *link_ = nullptr;
    const char *database_ = nullptr;
    HubConnection *hub_ = nullptr;
    NodeBatch batch_;
    bool was_sent_ = false;
    std::int64_t deadline_us_ = 0, not_before_us_ = 0, busy_us_ = 0;
};

}  // namespace steadytext::worker
