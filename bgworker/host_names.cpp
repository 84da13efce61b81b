// Decides when names are looked up, and keeps the results: see host_names.hpp. Regime: pure.
#include "bgworker/host_names.hpp"

#include <algorithm>

namespace steadytext::gateway {

namespace {

constexpr std::int64_t kAgainUs = 5'000'000;  // as fleets change
constexpr std::int64_t kAfterFailureUs = 1'000'000;

// Name servers rotate the addresses of a fleet.
bool same_but_for_order(std::vector<std::string> one, std::vector<std::string> other) {
    std::sort(one.begin(), one.end());
    std::sort(other.begin(), other.end());
    return one == other;
}

}  // namespace

void HostNames::want(const std::vector<std::string> &hosts) {
    for (auto &[host, name] : names_)
        name.is_wanted = false;
    for (const std::string &host : hosts)
        names_[host].is_wanted = true;
    std::erase_if(names_, [](const auto &entry) { return !entry.second.is_wanted; });
}

const Name *HostNames::find(const std::string &host) const {
    const auto found = names_.find(host);
    return found == names_.end() ? nullptr : &found->second;
}

void HostNames::tick(std::int64_t now_us) {
    for (auto &[host, name] : names_) {
        if (name.is_asked || now_us < name.due_us)
            continue;
        name.is_asked = true;
        resolver_.ask(host);
    }
}

std::vector<std::string> HostNames::take(std::int64_t now_us) {
    std::vector<std::string> changed;
    for (Resolution &resolution : resolver_.take()) {
        const auto found = names_.find(resolution.host);
        if (found == names_.end())
            continue;
        Name &name = found->second;
        name.is_asked = false;
        const bool good = !resolution.addresses.empty();
        name.due_us = now_us + (good ? kAgainUs : kAfterFailureUs);
        const bool is_news = !name.is_answered || name.reason != resolution.reason ||
                             (good && !same_but_for_order(name.addresses, resolution.addresses));
        name.is_answered = true;
        name.reason = std::move(resolution.reason);
        if (good && is_news)
            name.addresses = std::move(resolution.addresses);
        if (is_news)
            changed.push_back(resolution.host);
    }
    return changed;
}

}  // namespace steadytext::gateway
