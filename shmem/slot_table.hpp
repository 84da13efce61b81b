// The table of requests in progress: a slot per request, shared by sessions and the gateway.
//
// Called by src/session (claim, publish, finish, abandon) and bgworker/gateway (take, complete, sweep). Regime: pure.
//
//            claim           publish          take            complete          release
//     Free ─────────▶ Claimed ──────▶ Queued ──────▶ Inflight ─────────▶ Done ─────────▶ Free
//      ▲  session       │     session   │    gateway    │      gateway    │    session
//      │                │ release       │ abandon       │ abandon         │
//      │◀───────────────┘               │ expire        │ expire          │ expire
//      │                                ▼               ▼                 ▼
//      │◀────────────────────────────────────── Abandoned
//                  reclaim: gateway
//
// A 64-bit word {generation:32 | state:4 | timed out:1 | pinned:1 | 0:6 | owner:20} rules each slot. Every arrow is a
// single compare-and-swap on this word, so exactly one side frees a slot, and a reader can tell for 2^32 uses that a
// word it has seen has changed. The state names the owner of the fields beside the word: the session in Claimed, and in
// Done while it has the slot pinned; the gateway in Inflight and Abandoned. A release store of the new state hands the
// fields over; the acquire load that sees it takes them.
//
// A request has a deadline, and the gateway takes back a request that is past it (expire), whatever its session does: a
// session that is stopped, or fetches no more of its stream, holds nothing that others need. So a session pins its slot
// before it reads the slot or the pieces of its stream; pinning fails if the slot no longer belongs to it. A pinned
// slot is not taken back, and is pinned for microseconds, the time of a copy. A session that is stopped in these
// microseconds, or between claim and publish, keeps its slot. A slot whose process is gone is taken back in any state
// (bury).
//
// The submit ring (submit_ring.hpp) carries hints only. This table is the truth: the gateway's sweep finds a Queued
// slot whose hint was lost, and an Abandoned slot that no hint named.
#pragma once

#include "shmem/atomic.hpp"
#include "shmem/daemon_limits.hpp"
#include "shmem/piece_ring.hpp"
#include "src/core/problem.hpp"

namespace steadytext::shmem {

enum class SlotState : std::uint8_t { Free, Claimed, Queued, Inflight, Done, Abandoned };

enum class Operation : std::uint8_t { Generate, Embed, EmbedBatch, Rerank, CountTokens };

// Why a request ended, as the gateway tells the session. `problem` says it in words.
enum class Outcome : std::uint8_t {
    Answered,        // `reply` holds the daemon's message
    Refused,         // no daemon could take it: none configured, breakers open, pool exhausted
    Unserved,        // no daemon serves its model, though one may serve another
    Limited,         // at every daemon that could take it, rate limits refused: `limits.refusal`
    ConnectionLost,  // the daemon went away and no retry was left
    InvalidReply,    // the answer cannot be a reply to this request
    NoMemory,        // the reply found no room in the payload pool
};

// Why a request in progress was given up.
enum class Abandon : std::uint8_t { Cancelled, TimedOut };

// The process that claims a slot.
struct Claimant {
    std::int32_t proc_number;  // its latch is set on completion
    std::uint32_t role;        // the slot counts towards this role's share (src/core/fair_share.hpp)
};

// The holdings of a role.
struct Holdings {
    std::uint32_t slots = 0;
    std::uint32_t chunks = 0;  // of the payload pool
};

// A slot and its generation: together they identify a single request.
struct SlotId {
    std::uint32_t index;
    std::uint32_t generation;
};

inline constexpr std::size_t kModelNameBytes = 128;

struct alignas(kCacheLine) Slot {
    std::atomic<std::uint64_t> word{0};

    // Other processes read these at any time, to see the holdings of roles and the deadlines; so they are relaxed
    // atomics. The owner of the slot writes them.
    std::atomic<std::uint32_t> role{0};
    std::atomic<std::uint32_t> chunks{0};      // of the payload pool
    std::atomic<std::int64_t> deadline_us{0};  // CLOCK_MONOTONIC; of a stream: moved on by each fetch
    std::atomic<std::int64_t> sent_us{0};      // written by the gateway when it is sent; 0: it was not

    // Written by the session while Claimed.
    std::int32_t owner = -1;  // PGPROC number; the latch of this process is set on completion
    Operation operation = Operation::Generate;
    bool is_background = false;        // of the queue: sessions go first
    bool streaming = false;            // the answer comes piece by piece, through `pieces`
    char model[kModelNameBytes] = "";  // as the caller named it; empty: the daemon's default
    std::int64_t submitted_us = 0;     // CLOCK_MONOTONIC
    DaemonLimits limits;               // the gateway also writes in it
    Chain request;                     // the JSON text of `params`
    Chain pieces;                      // of a stream: a PieceRing, from which the session takes while Inflight and Done

    // Written by the gateway while Inflight (or Queued, for a refusal), read by the session when Done.
    Outcome outcome = Outcome::Answered;
    std::uint16_t daemon = 0;         // row of the daemon table, of the daemon it was sent to last
    std::uint64_t daemon_tenure = 0;  // tenure of that row at the time
    std::int64_t taken_us = 0;
    std::int64_t first_piece_us = 0;  // of a stream; 0: none has come. Written before the first piece is put
    std::int64_t answered_us = 0;
    // Of a stream: bytes of text at the beginning of `reply` that found no room in `pieces`
    std::uint32_t rest_bytes = 0;
    Chain reply;
    core::Problem problem;
};

class SlotTable {
public:
    [[nodiscard]] static std::size_t bytes_needed(std::uint32_t slots) noexcept;
    static SlotTable *place(void *memory, std::uint32_t slots) noexcept;

    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard]] Slot &operator[](std::uint32_t index) noexcept { return slots()[index]; }
    [[nodiscard]] SlotState state(std::uint32_t index) noexcept;
    [[nodiscard]] std::uint32_t generation(std::uint32_t index) noexcept;

    // Session. Claims a free slot, searching from `start` (the session's own number, so that sessions start at
    // different slots).
    [[nodiscard]] bool claim(std::uint32_t start, const Claimant &claimant, SlotId &id) noexcept;
    // Session. Claimed → Queued: from here on the gateway may take it.
    void publish(SlotId id) noexcept;
    // Session. True once the gateway has completed the request, unless it has since taken the slot back.
    [[nodiscard]] bool is_done(SlotId id) noexcept;
    // Session. From here to unpin() or release() the slot is not taken back. False if it no longer belongs to the
    // session.
    [[nodiscard]] bool pin(SlotId id) noexcept;
    void unpin(SlotId id) noexcept;
    // Session. Gives up a published request. False if it is Done, so that release() is due, or if the gateway has taken
    // it back.
    [[nodiscard]] bool abandon(SlotId id, Abandon because) noexcept;
    // Session. Claimed or Done → Free, pinned or not; its chains go back to the pool. Does nothing if the gateway has
    // taken it back.
    void release(SlotId id, PayloadPool &pool) noexcept;

    // Gateway. Queued → Inflight; false if the session gave up first.
    [[nodiscard]] bool take(SlotId id) noexcept;
    // Gateway. Inflight → Queued, for another attempt; false if the session gave up first.
    [[nodiscard]] bool put_back(SlotId id) noexcept;
    // Gateway. True if the request is still wanted (Inflight and of this generation).
    [[nodiscard]] bool is_inflight(SlotId id) noexcept;
    // Gateway. Inflight → Done; false if the session gave up first.
    [[nodiscard]] bool complete(SlotId id) noexcept;
    // Gateway. Takes back a published request that is past its deadline, as if the session had given it up, or had left
    // its answer unread. False if the session has pinned it or let it go.
    [[nodiscard]] bool expire(SlotId id) noexcept;
    // Gateway. Takes back a slot whose process is gone, in any state, pinned or not.
    [[nodiscard]] bool bury(SlotId id) noexcept;
    // Gateway. Abandoned → Free; its chains go back to the pool.
    void reclaim(SlotId id, PayloadPool &pool) noexcept;
    // Of an abandoned request.
    [[nodiscard]] Abandon abandoned_because(std::uint32_t index) noexcept;
    // The process that claimed the slot, if it is not Free.
    [[nodiscard]] std::int32_t owner(std::uint32_t index) noexcept;

    // The holdings of a role, counted from the slots themselves, so that no crash leaves a wrong count behind. A
    // moment's view.
    [[nodiscard]] Holdings held_by(std::uint32_t role) noexcept;
    // Whether this slot is held, by which role, and with how much payload memory. A moment's view.
    [[nodiscard]] bool holding(std::uint32_t index, std::uint32_t &role, Holdings &held) noexcept;
    // Slots that are not Free; a slot that is just being freed may count too: a moment's view. seq_cst: see
    // waiting_line.hpp.
    [[nodiscard]] std::uint32_t in_use() const noexcept { return in_use_.load(); }

private:
    explicit SlotTable(std::uint32_t size) noexcept;
    [[nodiscard]] Slot *slots() noexcept;
    [[nodiscard]] bool move(SlotId id, SlotState from, SlotState to) noexcept;
    [[nodiscard]] bool abandon(SlotId id, std::uint32_t states, std::uint64_t reason, bool even_pinned) noexcept;
    void set_free(SlotId id, PayloadPool &pool) noexcept;

    std::uint32_t size_;
    alignas(kCacheLine) std::atomic<std::uint32_t> in_use_{0};
};

}  // namespace steadytext::shmem
