// The table of requests under way: one slot per request, shared by sessions and the gateway.
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
// Each slot is ruled by one 64-bit word {generation:32 | state:4 | timed out:1 | pinned:1 | 0:6 | owner:20}; every arrow is one
// compare-and-swap on it, so exactly one side frees a slot, and a word seen once and changed since can be told apart for 2^32 uses.
// The fields beside the word belong to whoever the state names: the session in Claimed and, while it has the slot pinned, in Done;
// the gateway in Inflight and Abandoned. A release store of the new state hands the fields over; the acquire load that sees it
// takes them.
//
// A request has a deadline, and the gateway takes back what is past it (expire) whatever its session does: one that is stopped, or
// fetches no more of its stream, holds nothing that others need. So a session that wants to look at its slot, or at the pieces of its
// stream, pins it first; that fails if the slot is no longer its. What is pinned is not taken back, and is pinned for microseconds: it
// is as much as a copy takes. A session that is stopped in just these keeps the one slot, and so does one that is stopped
// between claim and publish. A slot whose process is gone is taken back in any state (bury).
//
// The submit ring (submit_ring.hpp) carries hints only. This table is the truth: the gateway's sweep finds a Queued slot
// whose hint was lost and an Abandoned slot that nobody named.
#pragma once

#include "shmem/atomic.hpp"
#include "shmem/daemon_limits.hpp"
#include "shmem/piece_ring.hpp"
#include "src/core/problem.hpp"

namespace steadytext::shmem {

enum class SlotState : std::uint8_t { Free, Claimed, Queued, Inflight, Done, Abandoned };

enum class Operation : std::uint8_t { Generate, Embed, EmbedBatch, Rerank };
inline constexpr std::size_t kOperationCount = 4;

// Why a request ended, as the gateway tells the session. Problem says it in words.
enum class Outcome : std::uint8_t {
    Answered,        // `reply` holds the daemon's message
    Refused,         // no daemon could take it: none configured, breakers open, pool exhausted
    Limited,         // rate limits stood against it at every daemon that could take it: `limits.refusal`
    ConnectionLost,  // the daemon went away and no retry was left
    InvalidReply,    // what came back cannot be a reply to this request
    NoMemory,        // the reply found no room in the payload pool
};

// Why a request that was under way was let go.
enum class Abandon : std::uint8_t { Cancelled, TimedOut };

// Who claims a slot.
struct Claimant {
    std::int32_t proc_number;  // whose latch is set on completion
    std::uint32_t role;        // whose share it is (fair_share.hpp)
};

// What one role holds.
struct Holdings {
    std::uint32_t slots = 0;
    std::uint32_t chunks = 0;  // of the payload pool
};

// A slot and the generation that makes it one particular request.
struct SlotId {
    std::uint32_t index;
    std::uint32_t generation;
};

inline constexpr std::size_t kModelNameBytes = 128;

struct alignas(kCacheLine) Slot {
    std::atomic<std::uint64_t> word{0};

    // Read by others at any time, to see what roles hold and what is past its deadline; so relaxed atomics, written by who has the slot.
    std::atomic<std::uint32_t> role{0};
    std::atomic<std::uint32_t> chunks{0};        // of the payload pool
    std::atomic<std::int64_t> deadline_us{0};    // CLOCK_MONOTONIC; of a stream: moved on by each fetch
    std::atomic<std::int64_t> sent_us{0};        // written by the gateway when it is sent; 0: it was not

    // Written by the session while Claimed.
    std::int32_t owner = -1;  // PGPROC number whose latch is set on completion
    Operation operation = Operation::Generate;
    bool streaming = false;            // the answer comes piece by piece, through `pieces`
    char model[kModelNameBytes] = "";  // as the caller named it; empty: the daemon's default
    std::int64_t submitted_us = 0;     // CLOCK_MONOTONIC
    DaemonLimits limits;               // the gateway writes in it too
    Chain request;                     // the JSON text of `params`
    Chain pieces;                      // of a stream: a PieceRing, from which the session takes while Inflight and Done

    // Written by the gateway while Inflight (or Queued, for a refusal), read by the session when Done.
    Outcome outcome = Outcome::Answered;
    std::uint16_t daemon = 0;             // row of the daemon table, of the daemon it was sent to last
    std::uint64_t daemon_tenure = 0;      // and whose row it was then
    std::int64_t taken_us = 0;
    std::int64_t first_piece_us = 0;  // of a stream; 0: none has come. Written before the first piece is put
    std::int64_t answered_us = 0;
    std::uint32_t rest_bytes = 0;     // of a stream: `reply` begins with so much text that found no room in `pieces`
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

    // Session. Claims a free slot, searching from `start` (the session's own number: sessions do not meet there).
    [[nodiscard]] bool claim(std::uint32_t start, const Claimant &claimant, SlotId &id) noexcept;
    // Session. Claimed → Queued: from here on the gateway may take it.
    void publish(SlotId id) noexcept;
    // Session. True once the gateway has completed it, and not taken it back since.
    [[nodiscard]] bool is_done(SlotId id) noexcept;
    // Session. From here to unpin() or release() the slot is not taken back. False if it is no longer its.
    [[nodiscard]] bool pin(SlotId id) noexcept;
    void unpin(SlotId id) noexcept;
    // Session. Gives up a published request. False if it is Done, and release() is due, or if the gateway has taken it back.
    [[nodiscard]] bool abandon(SlotId id, Abandon because) noexcept;
    // Session. Claimed or Done → Free, pinned or not; its chains go back to the pool. Nothing if the gateway has taken it back.
    void release(SlotId id, PayloadPool &pool) noexcept;

    // Gateway. Queued → Inflight; false if the session gave up first.
    [[nodiscard]] bool take(SlotId id) noexcept;
    // Gateway. Inflight → Queued, for another attempt; false if the session gave up first.
    [[nodiscard]] bool put_back(SlotId id) noexcept;
    // Gateway. True if the request is still wanted (Inflight and of this generation).
    [[nodiscard]] bool is_inflight(SlotId id) noexcept;
    // Gateway. Inflight → Done; false if the session gave up first.
    [[nodiscard]] bool complete(SlotId id) noexcept;
    // Gateway. Takes back a published request that is past its deadline: as if the session had given it up, or an answer
    // that it does not take. False if the session has it pinned, or has let it go.
    [[nodiscard]] bool expire(SlotId id) noexcept;
    // Gateway. The same of a slot in any state, pinned or not, whose process is gone.
    [[nodiscard]] bool bury(SlotId id) noexcept;
    // Gateway. Abandoned → Free; its chains go back to the pool.
    void reclaim(SlotId id, PayloadPool &pool) noexcept;
    // Of an abandoned one.
    [[nodiscard]] Abandon abandoned_because(std::uint32_t index) noexcept;
    // The process that claimed it, if it is not Free.
    [[nodiscard]] std::int32_t owner(std::uint32_t index) noexcept;

    // What a role holds: counted from the slots themselves, so that no crash can leave a wrong count behind. A moment's view.
    [[nodiscard]] Holdings held_by(std::uint32_t role) noexcept;
    // Whether this slot is held, by which role, and with how much payload memory. A moment's view.
    [[nodiscard]] bool holding(std::uint32_t index, std::uint32_t &role, Holdings &held) noexcept;
    // Slots not Free, or one more for each that is being freed: a moment's view. seq_cst: see waiting_line.hpp.
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
