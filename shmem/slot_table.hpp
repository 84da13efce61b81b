// The table of requests under way: one slot per request, shared by sessions and the gateway.
//
// Called by src/session (claim, publish, finish, abandon) and bgworker/gateway (take, complete, sweep). Regime: pure.
//
//            claim           publish          take            complete          release
//     Free ─────────▶ Claimed ──────▶ Queued ──────▶ Inflight ─────────▶ Done ─────────▶ Free
//      ▲  session       │     session   │    gateway    │      gateway    ▲    session
//      │                │ release       │ abandon       │ abandon         │
//      │◀───────────────┘               ▼   session     ▼                 │
//      │◀──────────────────────────  Abandoned   Queued ──────────────────┘ complete (refused before it was sent)
//                  reclaim: gateway
//
// Each slot is ruled by one 64-bit word {generation:32 | state:8 | 0:24}; every arrow is one compare-and-swap on it, so
// exactly one side frees a slot, and a word seen once and changed since can be told apart for 2^32 uses. The fields
// beside the word belong to whoever the state names: the session in Free→Claimed and Done, the gateway in Inflight. A
// release store of the new state hands the fields over; the acquire load that sees it takes them.
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

// Why a session let go of a request that was under way.
enum class Abandon : std::uint8_t { Cancelled, TimedOut };

// A slot and the generation that makes it one particular request.
struct SlotId {
    std::uint32_t index;
    std::uint32_t generation;
};

inline constexpr std::size_t kModelNameBytes = 128;

struct alignas(kCacheLine) Slot {
    std::atomic<std::uint64_t> word{0};

    // Written by the session while Claimed.
    std::int32_t owner = -1;  // PGPROC number whose latch is set on completion
    Operation operation = Operation::Generate;
    bool streaming = false;            // the answer comes piece by piece, through `pieces`
    char model[kModelNameBytes] = "";  // as the caller named it; empty: the daemon's default
    std::int64_t submitted_us = 0;     // CLOCK_MONOTONIC
    std::int64_t deadline_us = 0;      // CLOCK_MONOTONIC
    DaemonLimits limits;               // the gateway writes in it too
    Chain request;                     // the JSON text of `params`
    Chain pieces;                      // of a stream: a PieceRing, from which the session takes while Inflight and Done

    // Written by the session before Abandoned.
    Abandon abandoned_because = Abandon::Cancelled;

    // Written by the gateway while Inflight (or Queued, for a refusal), read by the session when Done.
    Outcome outcome = Outcome::Answered;
    std::uint16_t daemon = 0;             // row of the daemon table, of the daemon it was sent to last
    std::uint64_t daemon_tenure = 0;      // and whose row it was then
    std::int64_t taken_us = 0;
    std::int64_t sent_us = 0;  // 0: it never was
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
    [[nodiscard]] bool claim(std::uint32_t start, SlotId &id) noexcept;
    // Session. Claimed → Queued: from here on the gateway may take it.
    void publish(SlotId id) noexcept;
    // Session. True once the gateway has completed it; the slot's fields may then be read.
    [[nodiscard]] bool is_done(SlotId id) noexcept;
    // Session. Gives up a published request. False if the gateway was first: it is Done, and the session releases it.
    [[nodiscard]] bool abandon(SlotId id, Abandon because) noexcept;
    // Session. Claimed or Done → Free; its chains go back to the pool.
    void release(SlotId id, PayloadPool &pool) noexcept;

    // Gateway. Queued → Inflight; false if the session gave up first.
    [[nodiscard]] bool take(SlotId id) noexcept;
    // Gateway. Inflight → Queued, for another attempt; false if the session gave up first.
    [[nodiscard]] bool put_back(SlotId id) noexcept;
    // Gateway. True if the request is still wanted (Inflight and of this generation).
    [[nodiscard]] bool is_inflight(SlotId id) noexcept;
    // Gateway. Inflight → Done; false if the session gave up first.
    [[nodiscard]] bool complete(SlotId id) noexcept;
    // Gateway. Abandoned → Free; its chains go back to the pool.
    void reclaim(SlotId id, PayloadPool &pool) noexcept;

    // Slots not Free: a moment's view, for monitoring and tests.
    [[nodiscard]] std::uint32_t in_use() noexcept;

private:
    explicit SlotTable(std::uint32_t size) noexcept;
    [[nodiscard]] Slot *slots() noexcept;
    [[nodiscard]] bool move(SlotId id, SlotState from, SlotState to) noexcept;
    void set_free(SlotId id, SlotState from, PayloadPool &pool) noexcept;

    std::uint32_t size_;
};

}  // namespace steadytext::shmem
