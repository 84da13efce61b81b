// Reading a connection string: see conninfo.hpp. Regime: pure, noexcept.
#include "src/core/conninfo.hpp"

#include <algorithm>

namespace steadytext::core {

namespace {

constexpr std::string_view kKeywords[] = {
    "host",
    "hostaddr",
    "port",
    "user",
    "passfile",
    "service",
    "application_name",
    "fallback_application_name",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "target_session_attrs",
    "load_balance_hosts",
    "channel_binding",
    "require_auth",
    "requirepeer",
    "sslmode",
    "sslnegotiation",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "min_protocol_version",
    "max_protocol_version",
    "gssencmode",
    "gsslib",
    "gssdelegation",
    "krbsrvname",
};
constexpr std::string_view kSpaces = " \t\n\v\f\r";
constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz_";
constexpr std::size_t kLongestKeyword = 32;

void skip_spaces(std::string_view &rest) noexcept {
    rest.remove_prefix(std::min(rest.find_first_not_of(kSpaces), rest.size()));
}

// Takes a value, in quotes or not; a backslash stands before any character. False: its quote is not closed.
bool skip_value(std::string_view &rest) noexcept {
    const bool is_quoted = !rest.empty() && rest.front() == '\'';
    for (std::size_t at = is_quoted ? 1 : 0; at < rest.size(); at++) {
        if (rest[at] == '\\') {
            at++;
        } else if (is_quoted ? rest[at] == '\'' : kSpaces.find(rest[at]) != std::string_view::npos) {
            rest.remove_prefix(at + 1);
            return true;
        }
    }
    rest = {};
    return !is_quoted;
}

bool refuse(Problem &problem) noexcept {
    problem.set(sqlstate::kInvalidParameterValue, "invalid value for parameter \"steadytext.hub_conninfo\"");
    problem.with_hint("Give host, port, user and how to authenticate: passfile, or sslcert and sslkey.");
    return false;
}

bool refuse_text(Problem &problem) noexcept {
    problem.with_detail("It is no list of keyword = value.");
    return refuse(problem);
}

}  // namespace

bool is_conninfo(std::string_view text, Problem &problem) noexcept {
    skip_spaces(text);
    do {
        const std::string_view keyword = text.substr(0, text.find_first_not_of(kLetters));
        text.remove_prefix(keyword.size());
        skip_spaces(text);
        if (keyword.empty() || keyword.size() > kLongestKeyword || text.empty() || text.front() != '=')
            return refuse_text(problem);
        if (std::find(std::begin(kKeywords), std::end(kKeywords), keyword) == std::end(kKeywords)) {
            problem.with_detail("\"%.*s\" cannot be given here.", static_cast<int>(keyword.size()), keyword.data());
            return refuse(problem);
        }
        text.remove_prefix(1);
        skip_spaces(text);
        if (!skip_value(text))
            return refuse_text(problem);
        skip_spaces(text);
    } while (!text.empty());
    return true;
}

}  // namespace steadytext::core
