// The models that this daemon has, with their engines: those named on the command line, always loaded, and those of a
// directory, loaded when a request names them and given up when others need their memory.
//
// Owned by the server, and called by its thread only. Regime: pure. What takes time happens elsewhere: an engine loads
// its model on its own thread, and ends on one of `ends_`; `library_` lists the directory and computes fingerprints;
// `trials_` tries a model before its first load (model_trial.hpp). Their findings come back as errands through the
// outbox.
//
// Why names that take turns cannot make everybody wait for loading:
//   - one model is loaded at a time, in the order in which the first request for each came;
//   - what is loaded stays at least kStay times as long as loading it took, so at most half of the time is spent on
//     loading, however many names are asked for;
//   - a model that a request waits for is never given up. If the next one in line finds no memory because all are at
//     work, the one that has been loaded longest takes no more requests until those that it has are over; those that
//     come for it stand in line like others. So no model keeps another one out for ever.
// A request that waits has its deadline, of which the server takes care; one that is over does not load anything.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/embedder.hpp"
#include "daemon/generator.hpp"
#include "daemon/mailbox.hpp"
#include "daemon/model_directory.hpp"
#include "daemon/options.hpp"
#include "daemon/reranker.hpp"
#include "daemon/worker_pool.hpp"

namespace steadytext::daemon {

using AnyJob = std::variant<Job<GenerateTask>, Job<EmbedTask>, Job<RankTask>, Job<CountTask>>;

class ModelShelf {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr Clock::time_point kNever = Clock::time_point::max();

    // One model. The address stays as long as a request has it, and `info` with it.
    class Entry;

    ModelShelf(const Options &options, Outbox &outbox);
    ModelShelf(const ModelShelf &) = delete;
    ModelShelf &operator=(const ModelShelf &) = delete;
    ~ModelShelf();

    // Lists the directory, and begins to load what is named on the command line and the directory's first model.
    [[nodiscard]] bool start(core::Problem &problem);

    // The model of this name, or the role's first one for an empty name; null if there is none. Where there is no
    // directory, the name does not matter.
    [[nodiscard]] Entry *find(Role role, std::string_view name);
    [[nodiscard]] bool has_directory() const noexcept { return !directory_.empty(); }
    // The names that a request may use, in words.
    [[nodiscard]] std::string names_of(Role role) const;

    [[nodiscard]] const ModelInfo &info_of(const Entry &entry) const noexcept;
    void submit(Entry &entry, AnyJob job);
    // A request of the model is over, however it ended.
    void release(Entry &entry);

    // An engine's news.
    void note(ModelInfo info);
    void note(const LoadFailure &failure);

    // Goes on with loading and giving up, as far as that is possible now.
    void advance();
    [[nodiscard]] Clock::time_point next_time() const noexcept { return next_time_; }

    // The models whose requests are to fail, and why; each is told once.
    [[nodiscard]] std::vector<std::pair<const Entry *, std::string>> take_failures();
    // A model of the command line cannot be loaded.
    [[nodiscard]] bool has_failed() const noexcept { return has_failed_; }

    // Looks for new files, if the last time is not just now.
    void look_again();

    // All models, the first of each role first. Those whose fingerprint is not known yet may be left out.
    [[nodiscard]] std::vector<const ModelInfo *> models() const;
    [[nodiscard]] bool has_more_models() const;  // some are left out
    [[nodiscard]] bool is_loading() const;       // those that are loaded at start
    [[nodiscard]] int slots_in_use() const;
    [[nodiscard]] Clock::time_point idle_since() const;

private:
    using Engine =
        std::variant<std::monostate, std::unique_ptr<Generator>, std::unique_ptr<Embedder>, std::unique_ptr<Reranker>>;

    void add_named(Role role, const std::string &file);
    void take_listing(std::vector<FoundModel> found);
    void order();
    void list_in_background();
    void fingerprint_next();
    [[nodiscard]] std::string settings_of(Role role) const;

    void load_at_start();
    void load(Entry &entry);
    void try_first(Entry &entry);
    void start_engine(Entry &entry);
    void hand_over(Entry &entry, AnyJob job);
    void resume(Entry &entry);
    void resume_all();
    void fail(Entry &entry, const std::string &reason);
    void refuse(Entry &entry);
    [[nodiscard]] bool make_room(const Entry &entry);
    [[nodiscard]] std::uint64_t taken() const;
    [[nodiscard]] std::uint64_t taken_for_good() const;
    [[nodiscard]] bool may_go(const Entry &entry, Clock::time_point now) const;
    void give_up(Entry &entry);
    void drop_gone();
    [[nodiscard]] Entry *entry_of(std::string_view role, std::string_view name) const;
    [[nodiscard]] Entry *loading_entry(std::string_view role, std::string_view name) const;
    [[nodiscard]] std::shared_ptr<Entry> shared(const Entry &entry) const;

    const Options &options_;
    Outbox &outbox_;
    std::string directory_;
    std::uint64_t memory_ = 0;
    std::vector<std::shared_ptr<Entry>> entries_;  // in order()
    std::deque<Entry *> line_;                     // who wait to be loaded
    Entry *loading_ = nullptr;                     // of the directory
    Entry *at_start_ = nullptr;                    // of the directory, loaded though nobody asked
    int named_loading_ = 0;
    bool has_failed_ = false;
    bool was_ready_ = false;
    Clock::time_point next_time_ = kNever;
    std::vector<std::pair<const Entry *, std::string>> failures_;
    std::vector<FoundModel> known_;  // the last listing
    Clock::time_point listed_ = {};
    bool is_listing_ = false;
    bool is_fingerprinting_ = false;
    std::atomic<bool> stopping_ = false;  // relaxed: read often, publishes nothing
    std::optional<WorkerPool> library_, trials_, ends_;
};

}  // namespace steadytext::daemon
