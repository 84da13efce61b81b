// Reads values that have a syntax of their own: see argument_rules.hpp and parameters.hpp. Regime: pure.
#include "src/core/argument_rules.hpp"

#include "src/core/daemon_list_words.hpp"
#include "src/core/endpoint.hpp"
#include "src/core/listen_address.hpp"

#include <algorithm>

namespace steadytext::core::rules {

namespace {

// Lower case letters, numbers, and single hyphens between them.
bool is_hyphenated(std::string_view text) {
    char before = '-';
    for (const char c : text) {
        if (c == '-' ? before == '-' : !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            return false;
        before = c;
    }
    return before != '-';
}

}  // namespace

bool is_endpoint(std::string_view text, Problem &problem) {
    Endpoint endpoint;
    return parse_endpoint(trimmed(text), endpoint, problem);
}

bool is_listen_address(std::string_view text, Problem &problem) {
    ListenAddress address;
    return parse_listen_address(text, address, problem);
}

bool is_operation(std::string_view text, Problem &problem) {
    constexpr std::string_view kOfModel = "model:", kOfDaemon = "daemon:";
    if (text.starts_with(kOfDaemon)) {
        Endpoint endpoint;
        text.remove_prefix(kOfDaemon.size());
        if (const std::size_t last = text.find_last_not_of("0123456789");
            last != std::string_view::npos && text[last] == '#')
            text = text.substr(0, last);  // "#2": one of several daemons with the same name
        return text == kEmbeddedEndpoint || parse_endpoint(text, endpoint, problem);
    }
    if (has_word("* generate embed rerank json regex choice stream", text) ||
        (text.starts_with(kOfModel) && text.size() > kOfModel.size()))
        return true;
    problem.set(sqlstate::kInvalidParameterValue, "unknown operation");
    problem.with_hint(
        "Operations are *, generate, embed, rerank, json, regex, choice, stream, model:NAME and daemon:ENDPOINT.");
    return false;
}

bool is_slug(std::string_view text, Problem &) { return text.size() >= 3 && is_hyphenated(text); }
bool is_label(std::string_view text, Problem &) { return is_hyphenated(text); }

// As PostgreSQL's length() counts.
bool is_description(std::string_view text, Problem &) {
    return std::ranges::count_if(text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }) <=
           500;
}

}  // namespace steadytext::core::rules
