// The engine that generates: continuous batching over slots, on a thread of its own.
//
// Owned by the server, which submits jobs and takes what comes through the outbox. Regime: pure.
//
// Why a request's tokens do not depend on who else is served:
//   - a slot is a llama.cpp sequence with a stream of the cache of its own, emptied between requests;
//   - a prompt is processed alone, in chunks of fixed size;
//   - tokens after it are decoded one per slot and step, and a step's rows do not touch each other. That last point hangs
//     on the kernels, so it is checked on start for the loaded model (decode_check.hpp); if it fails, one request is
//     served at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <common/chat.h>

#include "daemon/constrained_text.hpp"
#include "daemon/llama_model.hpp"
#include "daemon/mailbox.hpp"
#include "daemon/options.hpp"
#include "daemon/text_tail.hpp"

namespace steadytext::daemon {

class Generator {
public:
    Generator(const Options &options, Outbox &outbox);
    Generator(const Generator &) = delete;
    Generator &operator=(const Generator &) = delete;
    ~Generator();

    void submit(Job<GenerateTask> job) { inbox_.put(std::move(job)); }

    using Clock = std::chrono::steady_clock;
    // Slots at work; and, while there are none, since when. Asked by the server's thread.
    [[nodiscard]] int slots_in_use() const noexcept { return slots_in_use_.load(std::memory_order_acquire); }  // pairs with release()
    [[nodiscard]] Clock::time_point idle_since() const noexcept { return idle_since_.load(std::memory_order_relaxed); }

private:

    // A request at work. Its sequence id is its index in slots_.
    struct Request {
        Job<GenerateTask> job;
        std::vector<llama_token> prompt;
        std::size_t prefilled = 0;  // tokens of the prompt in the cache
        llama_pos position = 0;     // where `next` goes
        llama_token next = 0;       // chosen, not yet decoded
        int produced = 0;
        int limit = 0;
        Sampler sampler;  // none: greedy
        std::unique_ptr<ConstrainedText> constrained;  // none: any text
        TextTail tail;
        Clock::time_point started = Clock::now();

        [[nodiscard]] bool decoding() const noexcept { return prefilled == prompt.size(); }
    };

    // --- start-up, generator_start ---
    [[nodiscard]] bool load(core::Problem &problem);
    [[nodiscard]] std::string settings() const;
    void run();

    // --- a step ---
    void release_abandoned();
    void admit();
    void start(std::size_t slot, Job<GenerateTask> job);
    void prefill();
    int prefill_chunk(std::size_t slot);
    [[nodiscard]] bool compute();
    [[nodiscard]] bool is_in_vain() const noexcept;
    void close_gap();
    void decode();
    void choose_next(std::size_t slot, int row);
    void accept(std::size_t slot, llama_token token);
    void finish(std::size_t slot, const char *reason);
    void fail(std::size_t slot, std::string message);
    void release(std::size_t slot);

    [[nodiscard]] bool apply_template(const std::string &prompt, std::string &text) const;
    [[nodiscard]] bool busy() const;

    const Options &options_;
    Outbox &outbox_;
    Inbox<Job<GenerateTask>> inbox_;
    std::atomic<bool> stopping_ = false;  // relaxed: read often by the compute threads, publishes nothing
    std::vector<const Request *> computed_for_;  // whose tokens are in the batch under way

    Model model_;
    Context context_;
    common_chat_templates_ptr templates_;
    const llama_vocab *vocabulary_ = nullptr;
    TokenTable tokens_;
    std::optional<Batch> batch_;
    std::size_t usable_slots_ = 0;
    std::vector<std::optional<Request>> slots_;
    std::deque<Job<GenerateTask>> waiting_;
    std::atomic<int> slots_in_use_ = 0;
    std::atomic<Clock::time_point> idle_since_ = Clock::now();
    std::thread thread_;
};

}  // namespace steadytext::daemon
