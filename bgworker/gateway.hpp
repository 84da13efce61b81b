// The gateway: takes requests from the slot table, gives each request to a daemon, and brings the answer back.
//
// Run by gateway_main.cpp, the worker process around it. Regime: pure (it may throw std::bad_alloc; the process then
// ends and is restarted). It never waits: the process around it sleeps on wait_fds().
#pragma once

#include "bgworker/daemon.hpp"
#include "bgworker/memory_watch.hpp"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace steadytext::gateway {

// The values of the settings.
struct Configuration {
    DaemonSettings daemons;
    bool affinity = false;             // steadytext.balance
    bool strict_fingerprints = false;  // steadytext.fingerprint_policy
    std::string daemon_list;           // steadytext.daemons
    std::string embedded_endpoint;     // empty: no embedded daemon
};

class Gateway {
public:
    Gateway(const shmem::Segment &segment, void *zmq_context, void (*wake)(std::int32_t owner),
            bool (*is_gone)(std::int32_t owner), std::string model_file);

    // Reconciles the daemons with the settings.
    void configure(Configuration configuration);

    // Lines about the daemons for the server log, since the last call; `complaints` comes in empty.
    void take_complaints(std::vector<std::string> &complaints) { complaints.swap(services_.complaints); }
    [[nodiscard]] bool has_complaints() const { return !services_.complaints.empty(); }

    // Does all work that is due; true if more may be due at once. `woken_by_descriptor`: a descriptor of wait_fds was
    // readable.
    [[nodiscard]] bool work(bool woken_by_descriptor);

    // Timers and the sweep of the slot table; call about every kTickUs.
    void tick();
    static constexpr std::int64_t kTickUs = 100'000;
    // When work() has something to do that no event wakes it for; CLOCK_MONOTONIC, INT64_MAX: never.
    [[nodiscard]] std::int64_t due_us() const;

    [[nodiscard]] bool take_wait_fds_changed();
    void append_wait_fds(std::vector<int> &fds) const;

private:
    void take_hints(std::int64_t now_us);
    void process_slot(std::uint32_t index, std::int64_t now_us);
    void take_back(std::uint32_t index, std::int64_t now_us);
    void dispatch(shmem::SlotId id, std::int64_t now_us);
    // Why no daemon takes a request; a later value came closer.
    enum class RejectReason { None, Daemon, Model, Connection, Breaker, HeldOff, HeldBack, Time, Account, Quota };
    struct ModelRequirement;
    [[nodiscard]] ModelRequirement requirement_of(const shmem::Slot &slot) const;
    // Null if there is no daemon; `reason` then says why.
    [[nodiscard]] Daemon *choose(shmem::SlotId id, std::int64_t now_us, RejectReason &reason);
    [[nodiscard]] RejectReason reserve(shmem::Slot &slot, Daemon &daemon, std::int64_t now_us);
    [[nodiscard]] bool wait_for_quota(shmem::SlotId id, std::int64_t now_us);
    void retry_waiting(std::int64_t now_us);
    void break_off(shmem::SlotId id, std::int64_t now_us);
    void refuse(shmem::SlotId id, RejectReason reason, std::int64_t now_us);
    [[nodiscard]] std::uint64_t affinity_key(const shmem::Slot &slot);
    void retry_lost(std::int64_t now_us);
    void drop_retired();
    [[nodiscard]] bool waits_for_daemon(shmem::SlotId id, std::int64_t now_us);
    void publish_waiting(std::int64_t now_us);
    void compare_fingerprints();
    [[nodiscard]] shmem::ModelsUntold untold() const;
    void publish_models();
    [[nodiscard]] std::uint16_t free_row(const char *endpoint) const;
    [[nodiscard]] bool is_owned(std::uint16_t row) const;
    void clear_deserted_rows();
    void reconcile();
    [[nodiscard]] const Name *fleet_of(const core::DaemonEntry &entry) const;
    [[nodiscard]] std::vector<std::size_t> rooms_of(std::span<const core::DaemonEntry> entries) const;
    [[nodiscard]] bool has_daemon_at(const core::DaemonEntry &entry) const;
    void add_entry(core::DaemonEntry &entry, std::size_t room);
    void complain_once(const std::string &complaint);
    void add_daemon(const core::DaemonEntry &entry, bool embedded);
    void apply_resolved(std::int64_t now_us);

    struct Member {
        std::unique_ptr<Daemon> daemon;
        std::int64_t turn = 0;  // running weight of core::choose
        bool wanted = true;
    };

    const shmem::Segment &segment_;
    bool (*is_gone_)(std::int32_t owner);  // true if no process has this number
    Flights flights_;
    Services services_;
    std::vector<Member> members_;
    struct Waiting {
        shmem::SlotId id;
        std::int64_t until_us;
    };
    std::vector<Waiting> waiting_;     // for the limits of daemons (steadytext.on_limit = wait)
    std::vector<std::string> warned_;  // what was complained of once
    MemoryWatch memory_watch_;
    Configuration configuration_;
    std::string model_file_;
    bool members_changed_ = true;
    bool lacks_room_ = false;   // a daemon of the settings has no row
    bool has_dropped_ = false;  // daemons were dropped since the last reconcile()
};

}  // namespace steadytext::gateway
