// Vectors, rankings, texts and what the daemon says of itself, as JSON: see answers.hpp. Regime: pure.
#include "daemon/answers.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <numeric>

#include <nlohmann/json.hpp>

#include "src/core/constraint/json_value.hpp"

namespace steadytext::daemon {

namespace {

using core::constraint::Json;  // keeps the order of members

constexpr const char *kStreamEnd = "##STREAM_END##";

std::string dump(const Json &json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// The shortest text that reads back as the same float.
void append_vector(std::string &out, const std::vector<float> &vector) {
    out += '[';
    for (std::size_t i = 0; i < vector.size(); i++) {
        char number[32];
        const auto [end, error] = std::to_chars(number, number + sizeof number, vector[i]);
        if (i > 0)
            out += ", ";
        out.append(number, end);
    }
    out += ']';
}

std::vector<float> average(const std::vector<std::vector<float>> &rows) {
    std::vector<float> sum(rows.front().size());
    for (const auto &row : rows)
        std::transform(sum.begin(), sum.end(), row.begin(), sum.begin(), std::plus<>());
    const double squares = std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0);
    if (rows.size() > 1 && squares > 0)
        for (float &value : sum)
            value = static_cast<float>(value / std::sqrt(squares));
    return sum;
}

std::vector<float> cosines(const std::vector<std::vector<float>> &rows) {
    std::vector<float> scores;
    for (std::size_t i = 1; i < rows.size(); i++) {
        const double cosine = std::inner_product(rows[0].begin(), rows[0].end(), rows[i].begin(), 0.0);
        scores.push_back(static_cast<float>(std::clamp((1 + cosine) / 2, 0.0, 1.0)));
    }
    return scores;
}

// Best first; equal scores in the order of the documents.
std::string format_ranking(const Form &form, const std::vector<float> &scores) {
    std::vector<std::size_t> order(form.documents.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return scores[a] > scores[b]; });
    Json ranking = Json::array();
    for (const std::size_t i : order)
        if (form.scores)
            ranking.push_back({form.documents[i], scores[i]});
        else
            ranking.push_back(form.documents[i]);
    return dump(ranking);
}

std::string format_vectors(const Vectors &vectors, const ModelInfo &model) {
    std::string out = "{\"embeddings\": [";
    for (std::size_t i = 0; i < vectors.rows.size(); i++) {
        if (i > 0)
            out += ", ";
        append_vector(out, vectors.rows[i]);
    }
    return out + "], \"dimensions\": " + std::to_string(model.dimensions) + ", \"model\": " + json_text(model.name) +
           ", \"fingerprint\": " + json_text(model.fingerprint) +
           ", \"prompt_tokens\": " + std::to_string(vectors.prompt_tokens) +
           (vectors.cut_tokens > 0 ? ", \"cut_tokens\": " + std::to_string(vectors.cut_tokens) : "") + "}";
}

std::string format_token(const Form &form, const std::string &token) {
    if (form.kind == Form::Kind::StreamWithLogprobs)
        return dump({{"token", {{"token", token}, {"logprobs", nullptr}}}});
    return "{\"token\": " + json_text(token) + "}";
}

std::string format_generation(const Form &form, const Generation &generation, const ModelInfo &model) {
    if (form.kind == Form::Kind::TextWithLogprobs)
        return dump({{"text", generation.text}, {"logprobs", nullptr}});
    if (form.kind != Form::Kind::Usage)
        return json_text(generation.text);
    return dump({{"text", generation.text},
                 {"prompt_tokens", generation.prompt_tokens},
                 {"completion_tokens", generation.completion_tokens},
                 {"finish_reason", generation.finish_reason},
                 {"engine_ms", generation.engine_ms},
                 {"model", model.name},
                 {"fingerprint", model.fingerprint}});
}

}  // namespace

std::string json_text(std::string_view text) { return dump(Json(text)); }

std::string result_reply(const std::string &id, const std::string &result, const std::string &usage) {
    return "{\"id\": " + id + ", \"result\": " + result + ", \"error\": null" +
           (usage.empty() ? "" : ", \"usage\": " + usage) + "}";
}

std::string error_reply(const std::string &id, std::string_view message) {
    return "{\"id\": " + id + ", \"result\": null, \"error\": " + json_text(message) + "}";
}

std::string stream_end() { return "{\"token\": " + json_text(kStreamEnd) + "}"; }

std::string stream_end(const Form &form, const Answer &answer, const ModelInfo &model) {
    const auto *generation = std::get_if<Generation>(&answer);
    if (!form.usage || generation == nullptr)
        return stream_end();
    return dump({{"token", kStreamEnd},
                 {"prompt_tokens", generation->prompt_tokens},
                 {"completion_tokens", generation->completion_tokens},
                 {"finish_reason", generation->finish_reason},
                 {"engine_ms", generation->engine_ms},
                 {"model", model.name},
                 {"fingerprint", model.fingerprint}});
}

std::string usage_of(const Form &form, const Answer &answer) {
    const auto text = [](const auto &told) {
        return dump({{"prompt_tokens", told.prompt_tokens}, {"engine_ms", told.engine_ms}});
    };
    if (!form.usage)
        return "";
    if (const auto *vectors = std::get_if<Vectors>(&answer); vectors != nullptr && vectors->cut_tokens > 0)
        return dump({{"prompt_tokens", vectors->prompt_tokens},
                     {"cut_tokens", vectors->cut_tokens},
                     {"engine_ms", vectors->engine_ms}});
    else if (vectors != nullptr)
        return text(*vectors);
    const auto *scores = std::get_if<Scores>(&answer);
    return scores == nullptr ? "" : text(*scores);
}

std::string format_info(const DaemonInfo &daemon) {
    Json models = Json::array();
    bool checked = false;
    bool invariant = true;
    bool shares = false;
    for (const ModelInfo *model : daemon.models) {
        models.push_back({{"role", model->role}, {"name", model->name}, {"loaded", model->is_loaded}});
        if (model->fingerprint.empty())
            continue;
        models.back()["fingerprint"] = model->fingerprint;
        models.back()["context"] = model->context;
        if (model->dimensions > 0)
            models.back()["dimensions"] = model->dimensions;
        if (!model->invariance.has_value())
            continue;
        checked = true;
        shares = shares || model->shares_prefixes;
        invariant = invariant && model->invariance->batch;
    }
    invariant = invariant && checked;
    Json capabilities = Json::array();
    for (const char *method : method_names())
        // Who shares a message would not hear that a text was cut
        if (!daemon.cuts_texts || std::string_view(method) != "embed_batch")
            capabilities.push_back(method);
    for (const char *feature : {"return_usage", "timeout_ms", "pipelining", "push_stream", "schema", "regex", "choices",
                                "prefix_bytes", "priority"})
        capabilities.push_back(feature);
    return dump({{"name", "steadytextd"},
                 {"version", STEADYTEXT_VERSION},
                 {"protocol", 1},
                 {"state", daemon.ready ? "ready" : "loading"},
                 {"slots", daemon.slots},
                 {"slots_in_use", daemon.slots_in_use},
                 {"idle_ms", daemon.slots_in_use == 0 ? Json(daemon.idle_ms) : Json()},
                 {"resident_bytes", daemon.resident_bytes},
                 {"capabilities", std::move(capabilities)},
                 {"determinism",
                  {{"checked", checked},
                   {"batch_invariant", invariant},
                   {"shares_prefixes", shares},
                   {"mode", checked && !invariant ? "serial" : "batched"}}},
                 {"has_more_models", daemon.has_more_models},
                 {"models", std::move(models)}});
}

std::string format_answer(const Form &form, const Answer &answer, const ModelInfo &model) {
    if (const auto *piece = std::get_if<Piece>(&answer))
        return format_token(form, piece->text);
    if (const auto *generation = std::get_if<Generation>(&answer))
        return format_generation(form, *generation, model);
    if (const auto *scores = std::get_if<Scores>(&answer))
        return format_ranking(form, scores->values);
    if (const auto *count = std::get_if<Count>(&answer))
        return dump({{"tokens", count->tokens}, {"model", model.name}, {"fingerprint", model.fingerprint}});
    const auto &vectors = std::get<Vectors>(answer);
    if (form.kind == Form::Kind::Ranking)
        return format_ranking(form, cosines(vectors.rows));
    if (form.kind == Form::Kind::Vectors)
        return format_vectors(vectors, model);
    std::string out;
    append_vector(out, average(vectors.rows));
    return out;
}

}  // namespace steadytext::daemon
