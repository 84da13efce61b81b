// The engine that generates: continuous batching over slots, on its own thread.
//
// Owned by the server, which submits jobs and takes the results through the outbox. Regime: pure.
//
// Why the tokens of a request do not depend on other requests:
//   - a slot is a llama.cpp sequence with its own stream of the cache, emptied between requests;
//   - a prompt is processed alone, in chunks of fixed size, or in pieces that give the same bits;
//   - later tokens are decoded one per slot and step, and the rows of a step do not touch each other. This depends on
//     the kernels, so it is checked on start for the loaded model (decode_check.hpp); if it fails, requests are served
//     one at a time. It is also checked that pieces give the same bits as chunks; if not, prompts are processed in
//     chunks;
//   - a prompt that names a prefix is computed in two runs, the prefix and the rest, whether the prefix is kept from
//     an earlier request or not. That a kept prefix gives the same bits is checked on start; if not, none is kept.
//
// Why the prompt, schema or regex of a request does not delay other requests: a pool of threads with low priority
// prepares templates, tokens and forms. If finding the tokens that may follow takes long, another pool with still lower
// priority chooses the token. A request whose next token is not known yet sits out the steps of the others; for the
// reasons above this does not change its tokens. Prompts take turns, short prompts before long prompts
// (prompt_turns.hpp): between two decoding steps, the generator processes prompts for about a tenth of a second. Peers
// get slots in turn (peer_line.hpp).
//
// Requests in the background have the slots and the time that the others leave, and a share (background.hpp). A step
// for them alone is broken off when another request comes. If it finds no free slot, one of them is parked: its cache is
// copied out, and back in when there is room, as prefixes are; where that would not give the same bits, a slot is kept
// free instead.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include "daemon/background.hpp"
#include "daemon/chat_template.hpp"
#include "daemon/constrained_text.hpp"
#include "daemon/llama_model.hpp"
#include "daemon/mailbox.hpp"
#include "daemon/model_file.hpp"
#include "daemon/options.hpp"
#include "daemon/peer_line.hpp"
#include "daemon/prefix_cache.hpp"
#include "daemon/prompt_turns.hpp"
#include "daemon/text_tail.hpp"
#include "daemon/token_counter.hpp"
#include "daemon/worker_pool.hpp"

namespace steadytext::daemon {

class Generator {
public:
    Generator(const Options &options, ModelFile file, Outbox &outbox);
    Generator(const Generator &) = delete;
    Generator &operator=(const Generator &) = delete;
    ~Generator();

    void submit(Job<GenerateTask> job) {
        const bool is_background = job.is_background;
        put(std::make_shared<const Job<GenerateTask>>(std::move(job)), is_background);
    }

    void submit(Job<CountTask> job) { counter_.submit(std::move(job)); }

    // All that can change an answer, for the fingerprint.
    [[nodiscard]] static std::string settings(const Options &options);

    using Clock = std::chrono::steady_clock;
    // The number of slots at work and, while it is 0, since when. Called by the server's thread.
    [[nodiscard]] int slots_in_use() const noexcept {
        return slots_in_use_.load(std::memory_order_acquire);
    }  // pairs with release()
    [[nodiscard]] Clock::time_point idle_since() const noexcept { return idle_since_.load(std::memory_order_relaxed); }

private:
    // Tokens of a prompt computed at a time. This is llama.cpp's own default, so plain llama.cpp gives the same bits.
    static constexpr int kChunk = 512;
    static constexpr int kDefaultStopCount = 4;  // texts that end any answer: the first of a request's stops

    using SharedJob = std::shared_ptr<const Job<GenerateTask>>;  // shared with the pool

    enum class Phase {
        Preparing,   // by the pool
        Prefilling,  // part of the prompt is not in the cache
        Choosing,    // in the pool: the token after those in the cache
        Decoding,    // `next` is known, not yet in the cache
    };

    // A request at work. Its sequence id is its index in slots_.
    struct Request {
        SharedJob job;
        Phase phase = Phase::Preparing;
        std::vector<llama_token> prompt;
        std::size_t prefix = 0;     // tokens of the prompt that other requests may share
        std::string prefix_key;     // of prefixes_; empty: it is not shared
        std::size_t prefilled = 0;  // tokens of the prompt in the cache
        llama_pos position = 0;     // where `next` goes
        llama_token next = 0;       // chosen, not yet decoded
        int produced = 0;
        int limit = 0;
        Sampler sampler;                               // none: greedy
        std::shared_ptr<ConstrainedText> constrained;  // null: any text; shared with the pool during Choosing
        // Its last choice was costly: the pool makes the next choice from the beginning
        bool is_costly = false;
        TextTail tail;
        Clock::time_point started = Clock::now();

        [[nodiscard]] bool is_background() const noexcept { return job->is_background; }
        // Nothing but the engine keeps it from going on.
        [[nodiscard]] bool is_computable() const noexcept {
            return phase == Phase::Prefilling || phase == Phase::Decoding;
        }
    };

    // A request in the background without a slot, and what was in the cache.
    struct Parked {
        Request request;
        PrefixCache::Bytes cells;
    };

    // A result from the pool, for the request with this serial, if it is still there.
    struct Prepared {
        std::uint64_t serial = 0;
        std::vector<llama_token> prompt;
        std::size_t prefix = 0;
        int limit = 0;
        std::shared_ptr<ConstrainedText> constrained;
        std::string error;
    };
    struct Chosen {
        std::uint64_t serial = 0;
        ConstrainedText::Choice choice;
        std::uint64_t steps = 0;
    };
    using Arrival = std::variant<SharedJob, Prepared, Chosen>;
    struct Waiting {
        std::uint64_t peer;
        bool is_background;
        SharedJob job;
    };

    // --- start-up ---
    [[nodiscard]] bool load(core::Problem &problem);
    void run();

    // --- a step ---
    [[nodiscard]] bool take_arrivals();
    void handle(Prepared prepared);
    void handle(Chosen chosen);
    void release_abandoned();
    void put(Arrival arrival, bool is_background);
    void admit();
    [[nodiscard]] bool may_take_background() const;
    [[nodiscard]] bool fills_gaps() const;
    [[nodiscard]] std::optional<std::size_t> free_slot() const;
    [[nodiscard]] bool park_one();
    void unpark(std::size_t slot);
    void start(std::size_t slot, SharedJob job);
    void prepare(const Job<GenerateTask> &job, Prepared &prepared) const;
    void prefill();
    void prefill_background_beside_others();
    [[nodiscard]] std::vector<PromptTurns::Prompt> prompts(bool is_background) const;
    [[nodiscard]] bool waits_for_prefix(const Request &request) const;
    [[nodiscard]] bool restore_prefix(std::size_t slot);
    void keep_prefix(std::size_t slot);
    std::size_t prefill_piece(std::size_t slot, std::size_t most);
    enum class Computed { Yes, Failed, BrokenOff };
    [[nodiscard]] Computed compute(std::size_t background);
    [[nodiscard]] bool is_in_vain() const noexcept;
    void close_gap();
    [[nodiscard]] std::vector<std::size_t> rows_to_decode() const;
    void decode();
    void choose_next(std::size_t slot, int row);
    void choose_constrained(std::size_t slot, const float *logits);
    void take_choice(std::size_t slot, const ConstrainedText::Choice &choice);
    void accept(std::size_t slot, llama_token token, bool is_complete = false, std::string_view rest = {});
    void finish(std::size_t slot, const char *reason);
    void fail(std::size_t slot, std::string message);
    void release(std::size_t slot);
    void discard(Request &request);

    [[nodiscard]] PeerLine<Waiting>::AtWork at_work() const;
    [[nodiscard]] bool busy() const;
    [[nodiscard]] bool has_work() const;
    [[nodiscard]] std::optional<std::size_t> slot_of(std::uint64_t serial) const;
    // True if no client waits any more for this job's result. Called on the pool's threads.
    [[nodiscard]] bool is_given_up(const Job<GenerateTask> &job) const noexcept {
        return job.is_abandoned() || stopping_.load(std::memory_order_relaxed);
    }

    // For core::Work.
    static bool ask_whether(void *function) { return (*static_cast<std::function<bool()> *>(function))(); }

    const Options &options_;
    const ModelFile file_;
    Outbox &outbox_;
    Inbox<Arrival> inbox_;
    std::atomic<bool> stopping_ = false;         // relaxed: read often by the compute threads, publishes nothing
    std::vector<const Request *> computed_for_;  // the requests with tokens in the current batch

    Model model_;
    Context context_;
    ChatTemplate template_;
    Tokenizer plain_;  // of texts without a template
    const llama_vocab *vocabulary_ = nullptr;
    TokenTable tokens_;
    std::optional<Batch> batch_;
    std::size_t usable_slots_ = 0;
    std::vector<std::optional<Request>> slots_;
    std::deque<Arrival> arrivals_;
    PeerLine<Waiting> waiting_;
    std::deque<Parked> parked_;
    bool parks_ = false;           // a parked request goes on with the same bits
    bool others_compute_ = false;  // in this pass there is something to compute that is not in the background
    bool was_broken_off_ = false;  // the last step of this pass
    BackgroundShare background_;
    YieldSignal yield_;
    Clock::time_point last_other_ = {};  // when a request that is not in the background was last at work
    PromptTurns turns_;
    bool in_pieces_ = false;  // prompts
    PrefixCache prefixes_;
    bool shares_prefixes_ = false;
    std::atomic<int> slots_in_use_ = 0;
    std::atomic<Clock::time_point> idle_since_ = Clock::now();
    // The pools come after the members that they use, so they are destroyed first
    std::optional<WorkerPool> preparing_;
    std::optional<WorkerPool> choosing_;
    TokenCounter counter_;
    std::thread thread_;
};

}  // namespace steadytext::daemon
