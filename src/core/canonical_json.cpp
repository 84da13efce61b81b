// One walk over the document, members sorted on the way out: see canonical_json.hpp. Regime: pure.
#include "src/core/canonical_json.hpp"

#include "src/core/json_text.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <simdjson.h>
#include <string_view>
#include <utility>
#include <vector>

namespace steadytext::core {

namespace {

namespace ondemand = simdjson::ondemand;

constexpr int kDeepest = 900;  // a little less than Python can

struct Failure {
    simdjson::error_code code;
};

template <class T>
T good(simdjson::simdjson_result<T> result) {
    T value;
    if (const auto error = std::move(result).get(value); error != simdjson::SUCCESS)
        throw Failure{error};
    return value;
}

inline std::string_view good(std::string_view value) { return value; }

// json.loads makes an int of a number without point and exponent, else a float.
void append_number(std::string &out, std::string_view token) {
    token = token.substr(0, token.find_first_of(" \t\r\n,]}"));
    if (token.find_first_of(".eE") == std::string_view::npos) {
        out += token == "-0" ? "0" : token;
        return;
    }
    const double value = std::strtod(std::string(token).c_str(), nullptr);
    if (std::isinf(value))
        out += value > 0 ? "Infinity" : "-Infinity";
    else
        append_json_number(out, value);
}

// `depth` is how deep the value stands.
template <class Value>
void append(std::string &out, Value &value, int depth);

void append_object(std::string &out, ondemand::object object, int depth) {
    std::vector<std::pair<std::string, std::string>> members;
    for (auto field : object) {
        std::string key(good(field.unescaped_key()));
        ondemand::value value = good(field.value());
        std::string text;
        append(text, value, depth + 1);
        members.emplace_back(std::move(key), std::move(text));
    }
    // The bytes of UTF-8 are in the order of the code points. Of equal keys the last one counts.
    std::stable_sort(members.begin(), members.end(), [](const auto &a, const auto &b) { return a.first < b.first; });
    out += '{';
    bool first = true;
    for (std::size_t i = 0; i < members.size(); i++) {
        if (i + 1 < members.size() && members[i].first == members[i + 1].first)
            continue;
        out += first ? "" : ", ";
        first = false;
        append_json_string(out, members[i].first, Escape::Ascii);
        out += ": ";
        out += members[i].second;
    }
    out += '}';
}

void append_array(std::string &out, ondemand::array array, int depth) {
    out += '[';
    bool first = true;
    for (auto element : array) {
        out += first ? "" : ", ";
        first = false;
        ondemand::value value = good(std::move(element));
        append(out, value, depth + 1);
    }
    out += ']';
}

template <class Value>
void append(std::string &out, Value &value, int depth) {
    if (depth > kDeepest)
        throw Failure{simdjson::DEPTH_ERROR};
    switch (good(value.type())) {
    case ondemand::json_type::object:
        return append_object(out, good(value.get_object()), depth);
    case ondemand::json_type::array:
        return append_array(out, good(value.get_array()), depth);
    case ondemand::json_type::string:
        return append_json_string(out, good(value.get_string()), Escape::Ascii);
    case ondemand::json_type::number:
        return append_number(out, good(value.raw_json_token()));
    case ondemand::json_type::boolean:
        out += good(value.get_bool()) ? "true" : "false";
        return;
    case ondemand::json_type::null:
        out += "null";
        return;
    }
}

}  // namespace

bool canonical_json(const PaddedText &text, std::string &out, Problem &problem) {
    static ondemand::parser *parser = new ondemand::parser;
    out.clear();
    try {
        ondemand::document document =
            good(parser->iterate(text.text.data(), text.text.size(), text.text.size() + PaddedText::kPadding));
        append(out, document, 0);
        return true;
    } catch (const Failure &failure) {
        return problem.set(sqlstate::kInvalidTextRepresentation, "invalid JSON: %s", simdjson::error_message(failure.code));
    }
}

}  // namespace steadytext::core
