// Finds out from a failed answer whether the request, the engine or the account is at fault, in the engine's own words.
// Regime: see openai.hpp.
//
// Engines report errors in many forms: {"error": {"message", "type", "code", "param"}} (OpenAI, vLLM), {"error":
// "text"} (Ollama), {"object": "error", "message"} (older vLLM), {"detail": "text"} and {"detail": [{"loc", "msg"}]}
// (FastAPI), [{"error": ...}] (Google), a line of text, or a web page of a proxy before them.
#include "src/core/openai_json.hpp"
#include "src/core/plain_words.hpp"

#include <charconv>

namespace steadytext::core::openai {

namespace {

constexpr std::size_t kLongestWords = 400;

// "body.max_tokens: " of FastAPI's ["body", "max_tokens"].
std::string place_of(dom::element item) {
    dom::array places;
    std::string place;
    if (item["loc"].get(places) != simdjson::SUCCESS)
        return place;
    for (const dom::element part : places) {
        std::string_view name;
        if (part.get(name) == simdjson::SUCCESS)
            place.append(place.empty() ? "" : ".").append(name);
    }
    return place.empty() ? place : place + ": ";
}

std::string_view first_text(dom::element object, std::initializer_list<const char *> keys) {
    for (const char *key : keys)
        if (const std::string_view text = text_of(object, key); !text.empty())
            return text;
    return {};
}

// The words of a list of errors.
std::string listed_words(dom::array list) {
    std::string words;
    for (const dom::element item : list) {
        std::string_view text;
        if (item.get(text) != simdjson::SUCCESS && item.is_object())
            text = first_text(item, {"msg", "message", "error", "detail"});
        if (text.empty())
            continue;
        words.append(words.empty() ? "" : "; ").append(item.is_object() ? place_of(item) : "").append(text);
        if (words.size() > kLongestWords)
            break;
    }
    return words;
}

// The words of a member of any form: a text, a list, an object with a message.
std::string words_of(dom::element told) {
    constexpr int kLevels = 4;
    for (int level = 0; level < kLevels; level++) {
        std::string_view text;
        dom::array list;
        if (told.get(text) == simdjson::SUCCESS)
            return std::string(text);
        if (told.get(list) == simdjson::SUCCESS)
            return listed_words(list);
        bool is_deeper = false;
        for (const char *key : {"message", "error", "detail", "msg", "errors"}) {
            dom::element inner;
            if (is_deeper || told[key].get(inner) != simdjson::SUCCESS || inner.is_null())
                continue;
            told = inner;
            is_deeper = true;
        }
        if (!is_deeper)
            return {};
    }
    return {};
}

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
    return text.size() == lower.size() && contains_word(text, lower);
}

// The HTTP status for an error that is given by name; 0: unknown name.
long status_of_name(std::string_view name) {
    constexpr struct {
        std::string_view name;
        long status;
    } kNames[] = {{"insufficient_quota", kQuotaUsedUp},
                  {"billing_hard_limit_reached", kQuotaUsedUp},
                  {"quota_exceeded", kQuotaUsedUp},
                  {"insufficient_credits", kQuotaUsedUp},
                  {"rate_limit_exceeded", 429},
                  {"rate_limit_error", 429},
                  {"resource_exhausted", 429},
                  {"too_many_requests", 429},
                  {"overloaded_error", 529},
                  {"unavailable_error", 503},
                  {"unavailable", 503},
                  {"service_unavailable", 503},
                  {"invalid_api_key", 401},
                  {"authentication_error", 401},
                  {"permission_error", 403},
                  {"permission_denied", 403},
                  {"server_error", 500},
                  {"api_error", 500},
                  {"internal", 500},
                  {"internal_server_error", 500},
                  {"internalservererror", 500}};
    for (const auto &known : kNames)
        if (equals_ignoring_case(name, known.name))
            return known.status;
    return 0;
}

long status_of(dom::element told) {
    std::int64_t number;
    std::string_view text;
    if (told.get(number) == simdjson::SUCCESS)
        return number >= 400 && number <= 599 ? static_cast<long>(number) : 0;
    if (told.get(text) != simdjson::SUCCESS)
        return 0;
    if (std::from_chars(text.data(), text.data() + text.size(), number).ec == std::errc{} && number >= 400 &&
        number <= 599)
        return static_cast<long>(number);
    return status_of_name(text);
}

// {"detail": [{"loc": ["body", "max_tokens"], "type": "extra_forbidden"}]}: parameter and code of the first error.
void read_place(dom::element root, EngineError &error) {
    dom::element detail;
    dom::array places;
    if (root["detail"].at(0).get(detail) != simdjson::SUCCESS || detail["loc"].get(places) != simdjson::SUCCESS)
        return;
    for (const dom::element place : places)
        if (std::string_view name; place.get(name) == simdjson::SUCCESS)
            error.parameter = plain_words(name, kLongestWords);
    error.code = plain_words(text_of(detail, "type"), kLongestWords);
}

Reply suspicion(std::string why, std::string message = {}) {
    return {Verdict::Suspect, std::move(message), std::move(why)};
}

// `reason` has the engine's words, `shown` has not.
Reply with_words(Verdict verdict, std::string what, const std::string &words, std::string message = {}) {
    return {.verdict = verdict,
            .message = std::move(message),
            .reason = words.empty() ? what : what + ": " + words,
            .shown = what};
}

}  // namespace

// Ignores the case of ASCII letters only.
bool contains_word(std::string_view text, std::string_view lower) {
    return std::search(text.begin(), text.end(), lower.begin(), lower.end(), [](char c, char expected) {
               return (c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) == expected;
           }) != text.end();
}

EngineError error_of(dom::element root) {
    EngineError error;
    error.is_json = true;
    dom::element told = root;
    if (root["error"].get(told) == simdjson::SUCCESS && !told.is_null()) {
        error.is_told = true;
    } else if (text_of(root, "object") == "error") {
        error.is_told = true;
        told = root;
    } else {
        return error;
    }
    error.words = plain_words(words_of(told), kLongestWords);
    for (const dom::element place : {told, root})
        for (const char *key : {"code", "type", "status"})
            if (dom::element code; error.status == 0 && place.is_object() && place[key].get(code) == simdjson::SUCCESS)
                error.status = status_of(code);
    // A used-up quota may come with the status of a rate limit.
    if (told.is_object())
        for (const char *key : {"code", "type"})
            if (status_of_name(text_of(told, key)) == kQuotaUsedUp)
                error.status = kQuotaUsedUp;
    if (told.is_object()) {
        error.parameter = plain_words(text_of(told, "param"), kLongestWords);
        error.code = plain_words(text_of(told, "code"), kLongestWords);
    }
    return error;
}

EngineError read_error(std::string_view body) {
    Document document;
    EngineError error;
    if (document.parse_any(body)) {
        dom::element root = document.root, first;
        if (root.is_array() && root.at(0).get(first) == simdjson::SUCCESS && first.is_object())
            root = first;
        if (root.is_object())
            error = error_of(root);
        error.is_json = true;  // a list too
        if (!error.is_told)
            error.words = plain_words(words_of(root), kLongestWords);
        if (root.is_object() && error.parameter.empty())
            read_place(root, error);
        if (!error.words.empty() || error.is_told)
            return error;
    }
    error.words = plain_words(body, kLongestWords);
    return error;
}

// An engine quotes the key that it refuses, so that text is left out. An error in the request goes back to the caller,
// as another engine would answer the same. For any other failure, the gateway first finds out whether other requests
// fail too (Suspect): a filter refuses a prompt with 403, a proxy gives up with 408, and an engine that crashes on a
// request says nothing.
Reply failure_reply(const Request &request, const EngineError &error, long status, bool says_when) {
    const std::string http = "HTTP " + std::to_string(status == kQuotaUsedUp ? 429 : status);
    const std::string words = request.secrets == nullptr ? error.words : request.secrets->masked(error.words);
    if (status == kQuotaUsedUp || error.status == kQuotaUsedUp || status == 402)
        return with_words(Verdict::Exhausted, "its quota is used up (" + http + ")", words);
    const bool is_loading = status == 503 && contains_word(words, "loading");
    if (status == 429 || status == 529 || is_loading || (status == 503 && says_when)) {
        Reply reply = with_words(Verdict::Busy, "it asks to come again later (" + http + ")", words);
        reply.is_loading = is_loading;
        return reply;
    }
    if (status == 403 && error.is_json)
        return suspicion("it refuses the key (" + http + ")",
                         error_reply(request.id, "the engine refuses this request (" + http + ")"));
    if (status == 401 || status == 403)
        return suspicion("it refuses the key (" + http + ")");
    if (status >= 300 && status < 400)
        return suspicion("it redirects, which is not followed (" + http + ")");
    const bool has_told = error.is_json && !words.empty();
    if (status == 400 || status == 413 || status == 422 || (status == 404 && has_told))
        return {Verdict::Answer, error_reply(request.id, words.empty() ? http : words), {}};
    return with_words(Verdict::Suspect, "it answers " + http, words,
                      has_told ? error_reply(request.id, words) : std::string());
}

}  // namespace steadytext::core::openai
