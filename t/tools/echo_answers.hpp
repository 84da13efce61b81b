// What the echo daemon answers to each method when nothing is wrong.
//
// Used by echo_daemon.cpp. Regime: pure, without state; a parameter of the wrong type is a json::exception,
// which the daemon turns into an error reply.
#pragma once

#include <openssl/sha.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "src/core/resident_memory.hpp"
#include "t/tools/echo_options.hpp"

namespace steadytext::echo {

using nlohmann::json;

inline std::string json_text(std::string_view text) {
    return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

inline std::vector<std::string> as_texts(const json &value) {
    return value.is_string() ? std::vector<std::string>{value.get<std::string>()}
                             : value.get<std::vector<std::string>>();
}

// Words, as blanks in the JSON text of a string separate them: what the echo daemon calls tokens.
inline std::size_t count_words(std::string_view raw) {
    std::size_t words = 0;
    bool inside = false;
    for (const char c : raw.substr(1, raw.size() - 2)) {
        words += c != ' ' && !inside;
        inside = c != ' ';
    }
    return words;
}

// A direction that depends on the text alone: the bytes of SHA-256(text, block number), centred.
inline std::vector<float> direction_of(const std::string &text, std::size_t dimensions) {
    std::vector<float> vector;
    for (unsigned block = 0; vector.size() < dimensions; block++) {
        const std::string seeded = text + '\0' + std::to_string(block);
        unsigned char digest[SHA256_DIGEST_LENGTH];
        SHA256(reinterpret_cast<const unsigned char *>(seeded.data()), seeded.size(), digest);
        for (const unsigned char byte : digest)
            vector.push_back(static_cast<float>(byte) - 127.5F);
    }
    vector.resize(dimensions);
    return vector;
}

// The mean direction of the texts as a unit vector, in JSON.
inline std::string unit_vector(const std::vector<std::string> &texts, int dimensions) {
    std::vector<float> sum(static_cast<std::size_t>(dimensions), 0.0F);
    for (const std::string &text : texts) {
        const std::vector<float> direction = direction_of(text, sum.size());
        std::transform(sum.begin(), sum.end(), direction.begin(), sum.begin(), std::plus<>());
    }
    float squares = 0.0F;
    for (const float x : sum)
        squares += x * x;
    std::string array;
    for (const float x : sum) {
        char number[32];
        std::snprintf(number, sizeof number, "%s%.8g", array.empty() ? "[" : ", ", x / std::sqrt(squares));
        array.append(number);
    }
    return array + "]";
}

// The prompt, given as JSON text, with what return_usage asks for.
inline std::string with_usage(const Options &options, std::string_view prompt) {
    const std::string words = std::to_string(count_words(prompt));
    std::string object = R"({"text": )";
    object.append(prompt).append(R"(, "prompt_tokens": )").append(words);
    object.append(R"(, "completion_tokens": )").append(words);
    object.append(R"(, "finish_reason": "stop", "engine_ms": )").append(std::to_string(options.delay.count()));
    object.append(R"(, "model": ")").append(options.model);
    object.append(R"(", "fingerprint": ")").append(options.fingerprint).append("\"}");
    return object;
}

// What the prompt answers itself to the first of its <say KEY>ANSWER</say> whose KEY is also before them all; empty if
// there is none. So a text knows the answer to several questions.
inline std::string_view keyed_answer_to(std::string_view prompt) {
    constexpr std::string_view kBegin = "<say ", kEnd = "</say>";
    const std::string_view question = prompt.substr(0, prompt.find(kBegin));
    for (std::size_t at = question.size(); at < prompt.size(); at = prompt.find(kBegin, at + 1)) {
        const std::string_view rest = prompt.substr(at + kBegin.size());
        const std::size_t close = rest.find('>'), end = rest.find(kEnd);
        if (close < end && end != std::string_view::npos &&
            question.find(rest.substr(0, close)) != std::string_view::npos)
            return rest.substr(close + 1, end - close - 1);
    }
    return {};
}

// The prompt; of a prompt with <say>ANSWER</say> in it, the last such answer, so that a test can have one where an
// instruction surrounds its text.
inline std::string answer_to(const std::string &prompt) {
    constexpr std::string_view kBegin = "<say>", kEnd = "</say>";
    if (const std::string_view keyed = keyed_answer_to(prompt); !keyed.empty())
        return std::string(keyed);
    const std::size_t begin = prompt.rfind(kBegin), end = prompt.rfind(kEnd);
    if (begin == std::string::npos || end == std::string::npos || end < begin + kBegin.size())
        return prompt;
    return prompt.substr(begin + kBegin.size(), end - begin - kBegin.size());
}

inline std::string generated(const Options &options, const json &params) {
    const std::string prompt = json_text(answer_to(params.value("prompt", std::string())));
    return params.value("return_usage", false) ? with_usage(options, prompt) : prompt;
}

inline std::string embedded(const Options &options, const json &params) {
    return unit_vector(as_texts(params.value("text_input", json(""))), options.dimensions);
}

inline std::string embedded_batch(const Options &options, const json &params) {
    std::string vectors;
    std::size_t tokens = 0;
    for (const std::string &text : as_texts(params.at("texts"))) {
        vectors.append(vectors.empty() ? "" : ", ").append(unit_vector({text}, options.dimensions));
        tokens += count_words(json_text(text));
    }
    return R"({"embeddings": [)" + vectors + R"(], "dimensions": )" + std::to_string(options.dimensions) +
           R"(, "model": "echo-embedding", "fingerprint": )" + json_text(options.fingerprint) +
           R"(, "prompt_tokens": )" + std::to_string(tokens) + "}";
}

inline std::string reranked(const json &params) {
    const std::vector<std::string> documents = as_texts(params.value("documents", json::array()));
    const bool with_scores = params.value("return_scores", true);
    json result = json::array();
    for (std::size_t i = 0; i < documents.size(); i++) {
        const double score = 1.0 - static_cast<double>(i) / static_cast<double>(documents.size());
        result.push_back(with_scores ? json::array({documents[i], score}) : json(documents[i]));
    }
    return result.dump();
}

inline std::string described(const Options &options) {
    constexpr int context = 1 << 20;
    const auto model = [&](const char *role, std::string_view name) {
        return json{{"role", role}, {"name", name}, {"fingerprint", options.fingerprint}, {"context", context}};
    };
    json embedding = model("embedding", "echo-embedding");
    embedding["dimensions"] = options.dimensions;
    json models = {model("generation", options.model), embedding};
    if (options.has_reranker)
        models.push_back(model("reranker", "echo-reranker"));
    const json info = {{"name", options.name},
                       {"version", "1"},
                       {"protocol", 1},
                       {"slots", options.slots},
                       {"resident_bytes", core::resident_bytes()},
                       {"capabilities",
                        {"ping", "info", "generate", "generate_iter", "embed", "embed_batch", "rerank", "count_tokens",
                         "cancel", "shutdown", "return_usage", "timeout_ms",
                         options.knows_priority ? "priority" : "no_priority", "stats", "control"}},
                       {"determinism", {{"checked", true}, {"batch_invariant", true}, {"mode", "batched"}}},
                       {"models", models}};
    return info.dump();
}

// The result of a method that is answered with one message; empty for a method that there is not.
inline std::string result_of(const Options &options, const std::string &method, const json &params) {
    if (method == "ping")
        return R"("pong")";
    if (method == "shutdown")
        return R"("shutdown initiated")";
    if (method == "generate")
        return generated(options, params);
    if (method == "embed")
        return embedded(options, params);
    if (method == "rerank")
        return reranked(params);
    if (method == "embed_batch" && !options.serial)
        return embedded_batch(options, params);
    if (method == "count_tokens" && !options.serial)
        return json{{"tokens", count_words(json_text(params.value("text", std::string())))}}.dump();
    if (method == "info" && !options.serial)
        return described(options);
    return {};
}

// What return_usage asks for beside a result that has no room for it; empty if it did not.
inline std::string usage_beside(const Options &options, const std::string &method, const json &params) {
    if ((method != "embed" && method != "rerank") || options.serial || !params.value("return_usage", false))
        return {};
    std::size_t tokens = 0;
    for (const char *part : {"text_input", "query", "documents"})
        if (params.contains(part))
            for (const std::string &text : as_texts(params[part]))
                tokens += count_words(json_text(text));
    return json{{"prompt_tokens", tokens}, {"engine_ms", options.delay.count()}}.dump();
}

// The results of generate_iter: the prompt word by word, each with the blanks before it, so that the tokens
// put together are the prompt; then the end marker, with return_usage and what it tells.
inline std::vector<std::string> stream_of(const Options &options, const json &params) {
    const std::string prompt = params.value("prompt", std::string());
    std::vector<std::string> results;
    for (std::size_t start = 0; start < prompt.size();) {
        const std::size_t word = std::min(prompt.find_first_not_of(' ', start), prompt.size());
        const std::size_t end = std::min(prompt.find(' ', word), prompt.size());
        results.push_back(R"({"token": )" + json_text(prompt.substr(start, end - start)) + "}");
        start = end;
    }
    results.emplace_back(R"({"token": "##STREAM_END##"})");
    if (params.value("return_usage", false) && !options.serial) {
        const std::string whole = with_usage(options, json_text(prompt));
        results.back().replace(results.back().size() - 1, 1, ", " + whole.substr(whole.find(R"("prompt_tokens")")));
    }
    return results;
}

// Where a request may ask for a fault: the text its method works on.
inline std::string leading_text(const std::string &method, const json &params) {
    const char *key = method == "embed"          ? "text_input"
                      : method == "embed_batch"  ? "texts"
                      : method == "rerank"       ? "query"
                      : method == "count_tokens" ? "text"
                                                 : "prompt";
    json text = params.value(key, json());
    if (text.is_array() && !text.empty()) {
        const auto faulty = std::find_if(text.begin(), text.end(), [](const json &one) {
            return one.is_string() && one.get_ref<const std::string &>().starts_with(kFaultPrefix);
        });
        text = json(faulty != text.end() ? *faulty : text.front());
    }
    return text.is_string() ? text.get<std::string>() : std::string();
}

}  // namespace steadytext::echo
