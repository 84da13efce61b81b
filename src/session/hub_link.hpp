// A session of an independent node: whether it may answer from its cache now, what it asks of the hub after a miss, and how its clears get there.
//
// Called by src/session/answer_cache.cpp, running_call.cpp and src/functions. Regime: pg. A server is an independent node if it is no standby,
// steadytext.hub_conninfo is set, and its worker has found another server there (bgworker/node_main.cpp), which stands in _steadytext.hub_link
// from then on. A node knows of its hub's clears by that worker alone. While the worker has heard nothing for steadytext.hub_max_staleness, the
// cache answers nothing, neither shared memory nor the table. On a hub with nodes a call asks who computes an answer, too, but in shared memory.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/hub_asks.hpp"
#include "shmem/hub_leases.hpp"
#include "shmem/hub_links.hpp"
#include "src/session/cached_answer.hpp"

namespace steadytext::session {

struct CacheQuery;

// This database's link; null if shared memory has no row for the database.
[[nodiscard]] shmem::HubLink *hub_link();
// Null if this database is no node.
[[nodiscard]] shmem::HubLink *node_link();
// What is cached may be given: from shared memory, and from the table.
[[nodiscard]] bool is_fresh();
[[nodiscard]] bool is_table_fresh();

// A record for the hub, as bytes.
void tell_hub(shmem::HubLink &link, std::string_view bytes, std::uint64_t epoch);

// This transaction clears the cache; it is over.
void note_clearing();
void note_clear_over(bool is_committed);

// The question of one call. Plain data, which may be left by a longjmp; after an error its owner calls end().
class HubAsk {
public:
    enum class Outcome { Nothing, Waits, Found, Look };
    // Begins, or goes on. Waits: the latch is set, or come again at `again_us`. Look: on the hub, where a node computes the answer: look into the
    // cache, and come again.
    [[nodiscard]] Outcome advance(const CacheQuery &query, std::int64_t deadline_us, std::int64_t &again_us);
    // After Found, in CurrentMemoryContext. False: it is no answer of that kind.
    [[nodiscard]] bool take(const CacheQuery &query, CachedAnswer &answer);
    [[nodiscard]] bool has_news() const;
    // The call is over, and its answer goes to the hub, or it does not. Raises nothing, and may be called again.
    void end(bool is_kept);

private:
    [[nodiscard]] bool begin(const CacheQuery &query, shmem::HubLink &link);
    [[nodiscard]] Outcome advance_on_hub(const CacheQuery &query, std::int64_t deadline_us, std::int64_t &again_us);

    std::uint32_t slot_ = shmem::HubAsks::kNone;
    bool is_over_ = false;  // there is nothing more to ask
    bool has_heard_ = false;
    bool has_waited_ = false;
    std::int64_t deadline_us_ = 0;
    std::int64_t again_us_ = 0;
    std::int64_t wait_until_us_ = 0;  // for another node
    shmem::HubLeases::What lease_;    // on the hub: what this session computes
    bool has_lease_ = false;
};

}  // namespace steadytext::session
