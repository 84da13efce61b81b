// The nodes that send batches to this server, which is their hub: which batches they have delivered, so that a batch
// that comes again is not taken twice.
//
// Used by src/functions/hub.cpp in the sessions of nodes; read by the views. Regime: pure, noexcept, but for a spin
// word (spin_word.hpp). A node is a role, a database, and the random number that its shared memory got when it was made
// (Header::hub_node), which only node and hub know. A batch is claimed, taken, and settled; in between its session neither raises nor waits, so a
// claim never stays behind. What is here is forgotten with all shared memory: a batch whose acknowledgement was lost
// when the hub stopped may then be taken twice.
//
// A role has kPerRole entries at most, so that no role makes the hub forget the nodes of others.
#pragma once

#include "shmem/spin_word.hpp"

#include <cstdint>

namespace steadytext::shmem {

class HubNodes {
public:
    static constexpr std::uint32_t kNodes = 256;
    static constexpr std::uint32_t kPerRole = 64;
    static constexpr std::uint32_t kNone = UINT32_MAX;

    struct Who {
        std::uint32_t database = 0;
        std::uint32_t role = 0;
        std::uint64_t node = 0;
        [[nodiscard]] bool operator==(const Who &) const noexcept = default;
    };
    struct Node {
        Who who;
        std::uint64_t batch = 0;       // the last one
        std::uint32_t batch_done = 0;  // of its records, the first so many are dealt with
        bool is_busy = false;          // the batch is being taken now
        std::int64_t seen_us = 0;      // since 1970; 0: the entry is free
        std::uint64_t taken = 0;       // records of all batches
        std::uint64_t refused = 0;
    };
    struct Claim {
        // Passed: a later batch of the node has been taken, so something is wrong.
        enum class State { Mine, Done, Busy, Passed } state;
        std::uint32_t place = kNone;  // for settle()
        std::uint32_t done = 0;       // of a batch that was taken before: how many of its records
    };

    [[nodiscard]] Claim claim(const Who &who, std::uint64_t batch, std::int64_t now_us) noexcept {
        const SpinHold hold(changing_);
        const std::uint32_t place = place_of(who);
        if (place == kNone)
            return {Claim::State::Busy};
        Node &node = nodes_[place];
        if (node.is_busy)
            return {Claim::State::Busy};
        if (node.seen_us == 0 || node.who != who) {
            node = Node{};
            node.who = who;
        }
        node.seen_us = now_us;
        if (batch < node.batch)
            return {Claim::State::Passed};
        if (batch == node.batch)
            return {Claim::State::Done, place, node.batch_done};
        node.batch = batch;
        node.batch_done = 0;
        node.is_busy = true;
        return {Claim::State::Mine, place};
    }

    void settle(std::uint32_t place, std::uint32_t done, std::uint32_t refused) noexcept {
        const SpinHold hold(changing_);
        Node &node = nodes_[place];
        node.batch_done = done;
        node.taken += done - refused;
        node.refused += refused;
        node.is_busy = false;
    }

    // Copies the entries of a database, kNodes at most, and returns how many.
    [[nodiscard]] std::uint32_t copy(std::uint32_t database, Node *nodes) noexcept {
        const SpinHold hold(changing_);
        std::uint32_t count = 0;
        for (const Node &node : nodes_)
            if (node.seen_us != 0 && node.who.database == database)
                nodes[count++] = node;
        return count;
    }

private:
    // The node's own place; or a free one, or that of the node that has been silent longest: of the role's if it has
    // its share. kNone: all are busy.
    [[nodiscard]] std::uint32_t place_of(const Who &who) const noexcept {
        std::uint32_t oldest = kNone, oldest_of_role = kNone, of_role = 0;
        for (std::uint32_t i = 0; i < kNodes; i++) {
            const Node &node = nodes_[i];
            if (node.seen_us != 0 && node.who == who)
                return i;
            if (node.seen_us != 0 && node.who.role == who.role) {
                of_role++;
                if (!node.is_busy && (oldest_of_role == kNone || node.seen_us < nodes_[oldest_of_role].seen_us))
                    oldest_of_role = i;
            }
            if (!node.is_busy && (oldest == kNone || node.seen_us < nodes_[oldest].seen_us))
                oldest = i;
        }
        return of_role >= kPerRole ? oldest_of_role : oldest;
    }

    SpinWord changing_;
    Node nodes_[kNodes];
};

}  // namespace steadytext::shmem
