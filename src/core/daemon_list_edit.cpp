// Changes a single entry of steadytext.daemons, and keeps the others word for word: see daemon_list.hpp. Regime:
// pure (may throw std::bad_alloc).
#include "src/core/daemon_list.hpp"
#include "src/core/balance.hpp"
#include "src/core/daemon_list_words.hpp"
#include "src/core/parameters.hpp"

#include <algorithm>
#include <vector>

namespace steadytext::core {

namespace {

std::vector<std::string> split(std::string_view list) {
    std::vector<std::string> entries;
    while (!list.empty())
        if (const std::string_view entry = trimmed(cut(list, is_comma)); !entry.empty())
            entries.emplace_back(entry);
    // An open quote would swallow an entry that is appended.
    if (!entries.empty() && std::count(entries.back().begin(), entries.back().end(), '"') % 2 == 1)
        entries.back().append("\"");
    return entries;
}

std::string joined(const std::vector<std::string> &entries) {
    std::string list;
    for (const std::string &entry : entries)
        list.append(list.empty() ? "" : ", ").append(entry);
    return list;
}

// An endpoint in its usual form; an invalid endpoint as it was written.
std::string usual_form(std::string_view text) {
    Endpoint endpoint;
    Problem ignored;
    return parse_endpoint(text, endpoint, ignored) ? endpoint.text : std::string(text);
}

std::string endpoint_of(std::string_view entry) { return usual_form(cut(entry, is_space)); }

// Also found by its public name, if no other entry has the same.
std::vector<std::string>::iterator find(std::vector<std::string> &entries, std::string_view endpoint) {
    const std::string wanted = usual_form(trimmed(endpoint));
    const auto is_it = [&](const std::string &entry) { return endpoint_of(entry) == wanted; };
    const auto is_called_so = [&](const std::string &entry) {
        return PublicEndpoint(endpoint_of(entry)).text == wanted;
    };
    const auto found = std::find_if(entries.begin(), entries.end(), is_it);
    if (found != entries.end() || std::count_if(entries.begin(), entries.end(), is_called_so) != 1)
        return found;
    return std::find_if(entries.begin(), entries.end(), is_called_so);
}

bool not_found(std::string_view endpoint, Problem &problem) {
    problem.set(sqlstate::kUndefinedObject, "there is no daemon \"%.200s\"", PublicEndpoint(endpoint).text);
    problem.with_hint("SELECT endpoint FROM steadytext_daemons lists the daemons; those of "
                      "steadytext.daemons can be changed.");
    return false;
}

bool check_weight(int weight, Problem &problem) { return check(rules::kWeight, "weight", weight, 0, problem); }

// An empty value removes the option.
bool set_daemon_option(std::string &list, std::string_view endpoint, std::string_view name, std::string_view value,
                       Problem &problem) {
    std::vector<std::string> entries = split(list);
    const auto found = find(entries, endpoint);
    if (found == entries.end())
        return not_found(endpoint, problem);
    std::string_view rest = *found;
    std::string changed(cut(rest, is_space));
    while (!rest.empty()) {
        const std::string_view option = cut(rest, is_space);
        if (!option.empty() && option.substr(0, option.find('=')) != name)
            changed.append(" ").append(option);
    }
    if (!value.empty())
        changed.append(" ").append(name).append("=").append(value);
    *found = changed;
    list = joined(entries);
    return true;
}

// Makes an endpoint that parses to exactly these parts, and has no character with a meaning in the list.
bool compose(std::string_view host, long port, Endpoint &endpoint, Problem &problem) {
    if (!check_host(host, problem) || !check_port(port, false, problem))
        return false;
    const bool ipv6 = host.find(':') != std::string_view::npos;
    std::string text = ipv6 ? "tcp://[" : "tcp://";
    text.append(host).append(ipv6 ? "]:" : ":").append(std::to_string(port));
    if (!parse_endpoint(text, endpoint, problem))
        return false;
    return (endpoint.kind == EndpointKind::Tcp && endpoint.host == host && endpoint.port == port &&
            text.find_first_of(",\" ") == std::string::npos) ||
           problem.set(sqlstate::kInvalidParameterValue, "invalid address of a daemon");
}

bool is_tcp(std::string_view entry, Endpoint &endpoint) {
    Problem ignored;
    return parse_endpoint(cut(entry, is_space), endpoint, ignored) && endpoint.kind == EndpointKind::Tcp;
}

}  // namespace

bool set_first_daemon(std::string &list, const AddressParts &parts, Problem &problem) {
    std::vector<std::string> entries = split(list);
    Endpoint endpoint;
    auto first = entries.begin();
    while (first != entries.end() && !is_tcp(*first, endpoint))
        ++first;
    const bool found = first != entries.end();
    const std::string host(!parts.host.empty() ? parts.host : found ? endpoint.host : "localhost");
    const long port = parts.port != 0 ? parts.port : found ? endpoint.port : 5555;
    if (!compose(host, port, endpoint, problem))
        return false;
    if (found) {
        std::string_view options = *first;
        (void)cut(options, is_space);
        *first = options.empty() ? std::string(endpoint.text) : endpoint.text + (" " + std::string(options));
    } else {
        entries.insert(entries.begin(), endpoint.text);
    }
    list = joined(entries);
    return true;
}

bool has_daemon(std::string_view list, std::string_view endpoint) {
    std::vector<std::string> entries = split(list);
    return find(entries, endpoint) != entries.end();
}

std::string daemon_of_hash(std::string_view list, std::uint64_t hash) {
    for (const std::string &entry : split(list))
        if (std::string endpoint = endpoint_of(entry); stable_hash(endpoint) == hash)
            return endpoint;
    return {};
}

bool add_daemon(std::string &list, std::string_view endpoint, int weight, Problem &problem) {
    Endpoint parsed;
    if (!parse_endpoint(trimmed(endpoint), parsed, problem)) {
        if (problem.hint[0] == '\0')
            problem.with_hint("An endpoint is tcp://host:port, ipc:///path, http://host/path or https://host/path.");
        return false;
    }
    if (std::string_view(parsed.text).find_first_of(" \t\r\n,\"") != std::string_view::npos) {
        problem.set(sqlstate::kInvalidParameterValue, "invalid endpoint \"%.200s\"", PublicEndpoint(parsed.text).text);
        problem.with_hint("White space, commas and double quotes have a meaning in steadytext.daemons.");
        return false;
    }
    if (std::string_view(parsed.query).find("***") != std::string_view::npos)
        return not_found(endpoint, problem);  // the public name of a daemon that is gone
    if (!check_weight(weight, problem))
        return false;
    std::vector<std::string> entries = split(list);
    entries.push_back(parsed.text);
    if (weight != 1)
        entries.back().append(" weight=").append(std::to_string(weight));
    list = joined(entries);
    return true;
}

bool remove_daemon(std::string &list, std::string_view endpoint, Problem &problem) {
    std::vector<std::string> entries = split(list);
    const auto found = find(entries, endpoint);
    if (found == entries.end())
        return not_found(endpoint, problem);
    entries.erase(found);
    list = joined(entries);
    return true;
}

bool set_daemon_weight(std::string &list, std::string_view endpoint, int weight, Problem &problem) {
    return check_weight(weight, problem) &&
           set_daemon_option(list, endpoint, "weight", weight == 1 ? "" : std::to_string(weight), problem);
}

bool drain_daemon(std::string &list, std::string_view endpoint, bool drain, Problem &problem) {
    return set_daemon_option(list, endpoint, "drain", drain ? "on" : "", problem);
}

}  // namespace steadytext::core
