// Reading an address: see listen_address.hpp. Regime: pure, noexcept.
#include "src/core/listen_address.hpp"

#include <arpa/inet.h>
#include <charconv>
#include <cstdint>

namespace steadytext::core {

namespace {

bool parse_port(std::string_view text, std::uint16_t &port) noexcept {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    return error == std::errc() && end == text.data() + text.size() && port >= 1024;
}

template <class Address>
void *place(ListenAddress &address, sa_family_t family) noexcept {
    auto *place = reinterpret_cast<Address *>(&address.address);
    address.address.ss_family = family;
    address.length = sizeof(Address);
    return place;
}

bool parse_host(std::string_view text, std::uint16_t port, ListenAddress &address) noexcept {
    char host[INET6_ADDRSTRLEN];
    const bool bracketed = text.size() > 2 && text.front() == '[' && text.back() == ']';
    if (bracketed)
        text = text.substr(1, text.size() - 2);
    if (text.size() >= sizeof host)
        return false;
    text.copy(host, text.size());
    host[text.size()] = '\0';
    if (bracketed) {
        auto *v6 = static_cast<sockaddr_in6 *>(place<sockaddr_in6>(address, AF_INET6));
        v6->sin6_port = htons(port);
        return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
    }
    auto *v4 = static_cast<sockaddr_in *>(place<sockaddr_in>(address, AF_INET));
    v4->sin_port = htons(port);
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

}  // namespace

bool parse_listen_address(std::string_view text, ListenAddress &address, Problem &problem) noexcept {
    address = ListenAddress{};
    if (text.empty() || text == "off")
        return true;
    const std::size_t colon = text.rfind(':');
    std::uint16_t port = 0;
    if (colon != std::string_view::npos && parse_port(text.substr(colon + 1), port) &&
        parse_host(text.substr(0, colon), port, address)) {
        address.is_off = false;
        return true;
    }
    problem.set(sqlstate::kInvalidParameterValue, "invalid address \"%.*s\"",
                static_cast<int>(text.size() < 200 ? text.size() : 200), text.data());
    problem.with_hint("Give an IP address and a port from 1024 on, as in 127.0.0.1:9188 or [::1]:9188, or off.");
    return false;
}

}  // namespace steadytext::core
