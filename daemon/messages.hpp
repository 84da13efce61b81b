// The messages between the server's thread and the engines' threads.
//
// The server hands a Job to an engine; the engine posts Outcomes with the job's serial. The last outcome is anything
// but a Piece. Only the server knows the client, and whether an answer is still wanted: to give a job up, it sets
// `abandoned`, and drops the outcomes that the engine still posts. Regime: pure.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "src/core/problem.hpp"

namespace steadytext::daemon {

// The form that the answer must have.
struct Constraint {
    enum class Kind { None, Schema, Regex, Choices };
    Kind kind = Kind::None;
    std::string text;  // the schema, or the regex
    std::vector<std::string> choices;
};

struct GenerateTask {
    std::string prompt;
    // The prompt's first bytes, which other requests share: they are computed as a run of their own. Absent: no such part
    std::optional<std::size_t> prefix_bytes;
    std::string scope;       // within which the computed prefix is shared; empty: the client's own
    std::string eos_string;  // empty: only the model's own ends
    std::uint32_t seed = 42;
    float temperature = 0;
    int max_new_tokens = 0;
    bool stream = false;
    Constraint constraint;
};

// Counts the tokens of a text by itself, without those that a template or the model puts around it.
struct CountTask {
    std::string text;
};

struct EmbedTask {
    std::vector<std::string> texts;
    bool is_compared = false;  // texts beyond the model's window are cut, whatever --embedding-overflow says
};

struct RankTask {
    std::string instruction;
    std::string query;
    std::vector<std::string> documents;
};

template <typename Task>
struct Job {
    std::uint64_t serial = 0;
    // A hash of the client's identity; two peers seldom have the same
    std::uint64_t peer = 0;
    bool is_background = false;  // the others go first
    // relaxed: it carries no data, and noticing it a step late is soon enough
    std::shared_ptr<const std::atomic<bool>> abandoned;
    Task task;

    [[nodiscard]] bool is_abandoned() const noexcept { return abandoned->load(std::memory_order_relaxed); }
};

struct Piece {
    std::string text;
};

struct Generation {
    std::string text;
    int prompt_tokens = 0;
    int completion_tokens = 0;
    const char *finish_reason = "";
    double engine_ms = 0;
};

struct Vectors {
    std::vector<std::vector<float>> rows;
    int prompt_tokens = 0;
    int cut_tokens = 0;  // left out of texts beyond the model's window
    double engine_ms = 0;
};

// Vectors, and what is computed of the next one: a text beyond the window is embedded window by window.
struct EmbedProgress : Vectors {
    std::deque<std::vector<std::int32_t>> windows;  // tokens
    std::vector<double> sum;                        // of the windows' vectors
};

struct Scores {
    std::vector<float> values;
    int prompt_tokens = 0;
    double engine_ms = 0;
};

// Scores, and the tokens of the query with the next document.
struct RankProgress : Scores {
    std::vector<std::int32_t> tokens;
};

struct Count {
    int tokens = 0;
};

struct Failure {
    std::string message;
};

// What the check on start found of a model that generates (decode_check.hpp).
struct Invariance {
    bool batch = false;     // a token has the same bits in a batch as alone
    bool pieces = false;    // a prompt has the same bits in pieces as whole; checked only if `batch` holds
    bool prefixes = false;  // a prompt has the same bits behind a restored prefix; checked only if `batch` holds
};

// The facts about a model that `info` reports. It has a fingerprint before it is loaded, or from then on.
struct ModelInfo {
    const char *role = "";
    std::string name;
    std::string fingerprint;
    int context = 0;
    int dimensions = 0;                         // 0: not an embedder
    std::optional<Invariance> invariance = {};  // generation: as checked
    bool shares_prefixes = false;               // generation: the same, and wanted
    bool is_loaded = false;
};

struct LoadFailure {
    const char *role = "";
    std::string name;
    core::Problem problem;
};

// What a thread beside the server's found, for the server's thread to note (model_shelf.cpp).
struct Errand {
    std::function<void()> run;
};

using Answer = std::variant<Piece, Generation, Vectors, Scores, Count, Failure, ModelInfo, LoadFailure, Errand>;

struct Outcome {
    std::uint64_t serial = 0;  // 0: of no request, but of a model
    Answer answer;
};

}  // namespace steadytext::daemon
