// JSON of daemons' replies, by nlohmann/json: see reply.hpp. Regime: pure.
#include "src/core/reply.hpp"

#include "src/core/utf8.hpp"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace steadytext::core {

using nlohmann::json;

namespace {

bool invalid(Problem &problem, const char *why) {
    problem.set(sqlstate::kProtocolViolation, "the daemon sent an invalid reply");
    problem.with_detail("%s", why);
    return false;
}

// Parses one reply into `result`; a daemon's own error becomes the problem.
bool read_result(std::string_view body, json &result, Problem &problem) {
    bool too_deep = false;
    json reply = json::parse(
        body,
        [&](int depth, json::parse_event_t, json &) {
            too_deep |= static_cast<std::size_t>(depth) > kMaxDepth;
            return !too_deep;
        },
        false);
    if (too_deep)
        return invalid(problem, "It is nested too deeply.");
    if (!reply.is_object())
        return invalid(problem, "It is not a JSON object in UTF-8.");
    const auto error = reply.find("error");
    if (error != reply.end() && !error->is_null()) {
        const std::string text = error->is_string() ? error->get<std::string>() : error->dump();
        problem.set(sqlstate::kExternalRoutineError, "the daemon reported an error: %s", text.c_str());
        return false;
    }
    const auto found = reply.find("result");
    if (found == reply.end())
        return invalid(problem, "It has neither result nor error.");
    result = std::move(*found);
    return true;
}

std::string text_of(const json &object, const char *key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// A number from 0 to a billion, or -1: counts and times, of which no more is believed.
double number_of(const json &object, const char *key) {
    const auto found = object.find(key);
    const double number = found != object.end() && found->is_number() ? found->get<double>() : -1;
    return number >= 0 && number <= 1e9 ? number : -1;
}

// Takes the numbers of a top-level member "result": [..] without building a tree of them.
class VectorReader : public nlohmann::json_sax<json> {
public:
    explicit VectorReader(std::vector<float> &vector) : vector_(vector) {}

    bool null() override { return scalar(); }
    bool boolean(bool) override { return scalar(); }
    bool number_integer(number_integer_t value) override { return number(static_cast<double>(value)); }
    bool number_unsigned(number_unsigned_t value) override { return number(static_cast<double>(value)); }
    bool number_float(number_float_t value, const string_t &) override { return number(value); }
    bool string(string_t &text) override {
        if (depth_ == 1 && key_ == "error")
            error_ = text.empty() ? "unknown" : text;
        return scalar();
    }
    bool binary(binary_t &) override { return false; }
    bool start_object(std::size_t) override {
        wrong_shape_ |= in_result();
        return ++depth_ <= kMaxDepth;
    }
    bool key(string_t &text) override {
        if (depth_ == 1)
            key_ = text;
        return true;
    }
    bool end_object() override { return depth_-- > 0; }
    bool start_array(std::size_t) override {
        if (depth_ == 1 && key_ == "result")
            seen_ = true;
        else
            wrong_shape_ |= in_result();
        return ++depth_ <= kMaxDepth;
    }
    bool end_array() override { return depth_-- > 0; }
    bool parse_error(std::size_t, const std::string &, const nlohmann::detail::exception &) override { return false; }

    [[nodiscard]] bool seen() const { return seen_ && !wrong_shape_; }
    [[nodiscard]] const std::string &error() const { return error_; }

private:
    [[nodiscard]] bool in_result() const { return key_ == "result" && depth_ >= 2; }
    bool scalar() {
        wrong_shape_ |= in_result();
        return true;
    }
    bool number(double value) {
        if (!in_result())
            return true;
        if (depth_ > 2)
            wrong_shape_ = true;
        const bool fits = std::isfinite(value) && std::abs(value) <= std::numeric_limits<float>::max();
        wrong_shape_ |= !fits || vector_.size() >= kMaxDimensions;
        if (!wrong_shape_)
            vector_.push_back(static_cast<float>(value));
        return !wrong_shape_;
    }

    std::vector<float> &vector_;
    std::string key_;
    std::string error_;
    std::size_t depth_ = 0;
    bool seen_ = false;
    bool wrong_shape_ = false;
};

}  // namespace

bool envelope_id(std::string_view body, std::string_view &id, std::string &storage) {
    for (const std::string_view start : {std::string_view("{\"id\": \""), std::string_view("{\"id\":\"")}) {
        if (!body.starts_with(start))
            continue;
        const std::size_t end = body.find_first_of("\"\\", start.size());
        if (end == std::string_view::npos)
            return false;
        if (body[end] == '"') {
            id = body.substr(start.size(), end - start.size());
            return true;
        }
    }
    // The id stands elsewhere: read the whole message, but keep nothing else of it.
    const json reply = json::parse(
        body,
        [](int depth, json::parse_event_t event, json &value) {
            return depth == 0 || (depth == 1 && event == json::parse_event_t::key && value == "id") ||
                   (depth == 1 && event == json::parse_event_t::value);
        },
        false);
    const auto found = reply.is_object() ? reply.find("id") : reply.end();
    if (!reply.is_object() || found == reply.end() || !found->is_string())
        return false;
    storage = found->get<std::string>();
    id = storage;
    return true;
}

bool read_generate_reply(std::string_view body, GenerateReply &reply, Problem &problem) {
    json result;
    if (!read_result(body, result, problem))
        return false;
    reply = GenerateReply{};
    if (result.is_null()) {
        reply.is_null = true;
    } else if (result.is_string()) {
        reply.text = result.get<std::string>();
    } else if (result.is_object() && result.contains("text") && result["text"].is_null()) {
        reply.is_null = true;
    } else if (result.is_object() && result.contains("text") && result["text"].is_string()) {
        reply.text = text_of(result, "text");
        reply.model = text_of(result, "model");
        reply.fingerprint = text_of(result, "fingerprint");
        reply.finish_reason = text_of(result, "finish_reason");
        reply.prompt_tokens = static_cast<int>(number_of(result, "prompt_tokens"));
        reply.completion_tokens = static_cast<int>(number_of(result, "completion_tokens"));
        reply.engine_ms = number_of(result, "engine_ms");
    } else {
        return invalid(problem, "The result is not a text.");
    }
    return !contains_nul(reply.text) || invalid(problem, "The text contains a NUL character.");
}

bool read_embed_reply(std::string_view body, std::vector<float> &vector, Problem &problem) {
    vector.clear();
    VectorReader reader(vector);
    const bool parsed = json::sax_parse(body, &reader);
    if (!reader.error().empty()) {
        problem.set(sqlstate::kExternalRoutineError, "the daemon reported an error: %s", reader.error().c_str());
        return false;
    }
    if (!parsed || !reader.seen())
        return invalid(problem, "The result is not an array of finite numbers.");
    return !vector.empty() || invalid(problem, "The vector is empty.");
}

}  // namespace steadytext::core
