// Splitting and checking the list: see daemon_list.hpp. Regime: pure (may throw std::bad_alloc).
#include "src/core/daemon_list.hpp"

#include "src/core/daemon_list_words.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>

namespace steadytext::core {

namespace {

constexpr std::size_t kMaxEntries = 64;

std::string unquoted(std::string_view value) {
    std::string text;
    for (const char c : value)
        if (c != '"')
            text += c;
    return text;
}

// The value is masked if it may be secret: a header may be a key, and so may a word behind a header
// that has lost its quotes.
bool bad_option(std::string_view option, const char *why, Problem &problem, bool is_secret = false) {
    if (is_secret)
        option = option.substr(0, option.find('=') == std::string_view::npos ? 0 : option.find('=') + 1);
    problem.set(sqlstate::kInvalidParameterValue, "invalid option \"%.*s%s\" of a daemon",
                static_cast<int>(option.size() < 200 ? option.size() : 200), option.data(), is_secret ? "***" : "");
    problem.with_detail("%s", why);
    return false;
}

bool parse_number(const std::string &value, int least, int most, int &number) {
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    return error == std::errc{} && end == value.data() + value.size() && number >= least && number <= most;
}

// Names separated by commas, within the option's double quotes.
bool parse_omitted(std::string_view value, std::uint8_t &omitted) {
    while (!value.empty()) {
        const std::string_view name = trimmed(cut(value, is_comma));
        const auto *found = std::find(std::begin(kOmittable), std::end(kOmittable), name);
        if (found == std::end(kOmittable))
            return false;
        omitted = static_cast<std::uint8_t>(omitted | 1U << (found - std::begin(kOmittable)));
    }
    return omitted != 0;
}

std::string names_of(std::uint8_t omitted) {
    std::string names;
    for (std::size_t i = 0; i < std::size(kOmittable); i++)
        if ((omitted >> i & 1) != 0)
            names.append(names.empty() ? "" : ",").append(kOmittable[i]);
    return names;
}

// A valid name of a header or of a parameter of the body.
bool is_token(std::string_view name) {
    return !name.empty() && name.size() < 64 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
               c == '.';
    });
}

// The request itself sets these headers, so an option may not.
bool is_free_header(std::string_view name) {
    constexpr std::string_view kOwn[] = {"host",       "content-length", "content-type",    "transfer-encoding",
                                         "connection", "expect",         "accept-encoding", "te",
                                         "upgrade"};
    std::string lower(name);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return std::find(std::begin(kOwn), std::end(kOwn), lower) == std::end(kOwn);
}

bool add_header(std::string_view name, std::string_view value, DaemonEntry &entry) {
    const bool is_good = is_token(name) && is_free_header(name) && !value.empty() &&
                         std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~'; });
    const std::size_t used = std::strlen(entry.headers);
    const std::string line = std::string(name) + ": " + std::string(value) + "\n";
    if (!is_good || used + line.size() >= sizeof entry.headers)
        return false;
    std::memcpy(entry.headers + used, line.c_str(), line.size() + 1);
    return true;
}

bool parse_switch(const std::string &value, bool &on) {
    on = value == "on";
    return value == "on" || value == "off";
}

// Options that are texts, and the member that stores each.
struct TextOption {
    const char *name;
    char *place;
    std::size_t room;
};

bool parse_option(std::string_view option, DaemonEntry &entry, Problem &problem) {
    const std::size_t equals = option.find('=');
    if (equals == std::string_view::npos)
        return bad_option(option, "An option is written name=value.", problem, entry.headers[0] != '\0');
    const std::string_view name = option.substr(0, equals);
    const std::string value = unquoted(option.substr(equals + 1));
    if (name == "weight")
        return parse_number(value, 1, kMaxWeight, entry.weight) ||
               bad_option(option, "A weight is a number from 1 to 1000.", problem);
    if (name == "reasoning_tokens")
        return parse_number(value, 0, kMaxReasoningTokens, entry.reasoning_tokens) ||
               bad_option(option, "reasoning_tokens is a number from 0 to 1000000.", problem);
    if (name == "batch")
        return parse_number(value, 1, kMaxBatch, entry.batch) ||
               bad_option(option, "batch is a number of texts from 1 to 2048.", problem);
    if (name == "drain")
        return parse_switch(value, entry.drain) || bad_option(option, "drain is on or off.", problem);
    if (name == "strict")
        return parse_switch(value, entry.strict) || bad_option(option, "strict is on or off.", problem);
    if (name == "omit")
        return parse_omitted(value, entry.omitted) ||
               bad_option(
                   option,
                   "omit is a list, in double quotes, of temperature, seed, stop, stream_options and encoding_format.",
                   problem);
    constexpr std::string_view kHeader = "header.";
    if (name.starts_with(kHeader))
        return add_header(name.substr(kHeader.size()), value, entry) ||
               bad_option(option,
                          "A header is header.NAME=VALUE or header.NAME=@FILE, in ASCII, and none of those that the "
                          "request is made of.",
                          problem, true);
    if (name == "max_tokens_param" && !is_token(value))
        return bad_option(option, "max_tokens_param is the name of a parameter.", problem);
    const TextOption texts[] = {{"model", entry.model, sizeof entry.model},
                                {"provider", entry.provider, sizeof entry.provider},
                                {"key_file", entry.key_file, sizeof entry.key_file},
                                {"fingerprint", entry.fingerprint, sizeof entry.fingerprint},
                                {"prefix", entry.prefix, sizeof entry.prefix},
                                {"ca_file", entry.ca_file, sizeof entry.ca_file},
                                {"server_key_file", entry.server_key_file, sizeof entry.server_key_file},
                                {"max_tokens_param", entry.max_tokens_param, sizeof entry.max_tokens_param},
                                {"extra_body", entry.extra_body_file, sizeof entry.extra_body_file}};
    for (const TextOption &text : texts) {
        if (name != text.name)
            continue;
        if (value.empty() || value.size() >= text.room)
            return bad_option(option, value.empty() ? "The value is empty." : "The value is too long.", problem);
        std::memcpy(text.place, value.c_str(), value.size() + 1);
        return true;
    }
    return bad_option(
        option,
        "Options are weight, drain, model, provider, key_file, fingerprint, prefix, ca_file, server_key_file, "
        "reasoning_tokens, batch, max_tokens_param, omit, strict, header.NAME and extra_body.",
        problem);
}

// An option that would do nothing is refused: who writes server_key_file beside an http:// endpoint believes that
// prompts go encrypted.
bool fits_kind(std::string_view option, const DaemonEntry &entry, Problem &problem) {
    constexpr std::string_view kOfHttp[] = {"key_file",         "ca_file", "reasoning_tokens", "batch",
                                            "max_tokens_param", "omit",    "strict",           "extra_body"};
    const std::string_view name = option.substr(0, option.find('='));
    const bool is_http = core::is_http(entry.endpoint);
    if (is_http && name == "server_key_file")
        return bad_option(option, "It encrypts tcp:// and dns+tcp://; HTTP is encrypted by https://.", problem);
    if (name == "ca_file" && entry.endpoint.kind != EndpointKind::Https)
        return bad_option(option, "It is for https://.", problem);
    const bool is_of_http =
        name.starts_with("header.") || std::find(std::begin(kOfHttp), std::end(kOfHttp), name) != std::end(kOfHttp);
    return is_http || !is_of_http ||
           bad_option(option, "It is for http:// and https://.", problem, name.starts_with("header."));
}

bool parse_entry(std::string_view text, DaemonEntry &entry, Problem &problem) {
    if (text.size() >= sizeof entry.text)
        return problem.set(sqlstate::kInvalidParameterValue, "an entry of steadytext.daemons is too long");
    text.copy(entry.text, text.size());
    std::string_view rest = text;
    if (!parse_endpoint(cut(rest, is_space), entry.endpoint, problem))
        return false;
    while (!rest.empty()) {
        const std::string_view option = cut(rest, is_space);
        if (!option.empty() && (!parse_option(option, entry, problem) || !fits_kind(option, entry, problem)))
            return false;
    }
    return true;
}

}  // namespace

std::size_t parse_daemon_list(std::string_view list, DaemonEntry *entries, std::size_t capacity,
                              Problem &first_problem) {
    std::size_t count = 0;
    while (!list.empty()) {
        const std::string_view text = trimmed(cut(list, is_comma));
        if (text.empty())
            continue;
        Problem problem;
        if (count == capacity) {
            problem.set(sqlstate::kProgramLimitExceeded, "too many daemons");
            problem.with_detail("There may be %zu at most.", capacity);
        } else {
            DaemonEntry &entry = entries[count++];
            entry = DaemonEntry{};
            entry.valid = parse_entry(text, entry, problem);
            entry.problem = problem;
        }
        if (problem.is_set() && !first_problem.is_set())
            first_problem = problem;
        if (count == capacity && problem.is_set())
            break;
    }
    return count;
}

bool check_daemon_list(std::string_view list, Problem &problem) {
    const auto entries = std::make_unique<DaemonEntry[]>(kMaxEntries);
    const std::size_t count = parse_daemon_list(list, entries.get(), kMaxEntries - 1, problem);
    for (std::size_t i = 0; i < count && !problem.is_set(); i++)
        for (std::size_t j = 0; j < i && !problem.is_set(); j++)
            if (std::strcmp(entries[i].endpoint.text, entries[j].endpoint.text) == 0)
                problem.set(sqlstate::kInvalidParameterValue, "daemon \"%s\" stands twice",
                            PublicEndpoint(entries[i].endpoint.text).text);
    return !problem.is_set();
}

bool has_provider(std::string_view list, std::string_view provider) {
    const auto entries = std::make_unique<DaemonEntry[]>(kMaxEntries);
    Problem ignored;
    const std::size_t count = parse_daemon_list(list, entries.get(), kMaxEntries - 1, ignored);
    return std::any_of(entries.get(), entries.get() + count,
                       [&](const DaemonEntry &entry) { return !provider.empty() && provider == entry.provider; });
}

bool same_connection(const DaemonEntry &one, const DaemonEntry &other) {
    const auto connection = [](DaemonEntry entry) {
        entry.weight = 1;
        entry.drain = false;
        return format_daemon_entry(entry);
    };
    return one.valid && other.valid && connection(one) == connection(other);
}

std::string format_daemon_entry(const DaemonEntry &entry) {
    std::string text = entry.endpoint.text;
    const auto add = [&](const char *name, std::string_view value) {
        if (value.empty())
            return;
        const bool quote = value.find_first_of(" \t\r\n,") != std::string_view::npos;
        text.append(" ").append(name).append(quote ? "=\"" : "=").append(value).append(quote ? "\"" : "");
    };
    if (entry.weight != 1)
        add("weight", std::to_string(entry.weight));
    if (entry.drain)
        add("drain", "on");
    add("model", entry.model);
    add("provider", entry.provider);
    add("key_file", entry.key_file);
    add("fingerprint", entry.fingerprint);
    add("prefix", entry.prefix);
    add("ca_file", entry.ca_file);
    add("server_key_file", entry.server_key_file);
    if (entry.reasoning_tokens != 0)
        add("reasoning_tokens", std::to_string(entry.reasoning_tokens));
    if (entry.batch != kUsualBatch)
        add("batch", std::to_string(entry.batch));
    add("max_tokens_param", entry.max_tokens_param);
    add("omit", names_of(entry.omitted));
    if (entry.strict)
        add("strict", "on");
    for (std::string_view headers = entry.headers; !headers.empty();) {
        const std::string_view line = cut(headers, [](char c) { return c == '\n'; });
        const std::size_t colon = line.find(": ");
        add(("header." + std::string(line.substr(0, colon))).c_str(), line.substr(colon + 2));
    }
    add("extra_body", entry.extra_body_file);
    return text;
}

}  // namespace steadytext::core
