// Reads the addresses of daemons, and refuses addresses that must not be reached.
//
// Called for steadytext.daemons (at SET and by the gateway), by steadytext_validate_endpoint, and again after a name is
// resolved. Regime: pure.
//
// tcp://host:port · dns+tcp://host:port · ipc:///path · http(s)://host[:port]/path[?query]. libcurl takes HTTP
// endpoints apart, as libcurl will also connect there: so the check sees the same host as the connection. Hosts are
// IPv4, [IPv6] or RFC 1123 names of at most 253 characters. Link-local and metadata addresses are refused in every
// notation: through such an address a database could read a cloud machine's credentials.
#pragma once

#include "src/core/problem.hpp"

#include <cstdint>
#include <string_view>

namespace steadytext::core {

// The endpoint of the embedded daemon, relative to the data directory.
inline constexpr const char *kEmbeddedEndpoint = "ipc://pg_steadytext/steadytextd.sock";

enum class EndpointKind : std::uint8_t { Tcp, DnsTcp, Ipc, Http, Https };

struct Endpoint {
    EndpointKind kind = EndpointKind::Tcp;
    char text[256] = "";  // as written, or in the usual form
    char host[254] = "";  // without brackets; empty for ipc
    std::uint16_t port = 0;
    char path[256] = "";   // of ipc and http(s)
    char query[256] = "";  // of http(s), without the question mark
};

[[nodiscard]] inline bool is_http(const Endpoint &endpoint) noexcept {
    return endpoint.kind == EndpointKind::Http || endpoint.kind == EndpointKind::Https;
}

// The form of an endpoint that everybody may see, also of an invalid endpoint. In a query the names stay, and "***"
// replaces the values, which may be keys; "***" also replaces user and password. An endpoint that is already public
// does not change; "#2" at the end stays too, by which the gateway tells apart daemons with the same public name.
struct PublicEndpoint {
    explicit PublicEndpoint(std::string_view endpoint) noexcept;
    char text[256] = "";
};

[[nodiscard]] bool parse_endpoint(std::string_view text, Endpoint &endpoint, Problem &problem) noexcept;

[[nodiscard]] bool check_host(std::string_view host, Problem &problem) noexcept;
[[nodiscard]] bool check_port(long port, bool http, Problem &problem) noexcept;

// Checks an address in network byte order: 4 bytes (IPv4) or 16 (IPv6).
[[nodiscard]] bool address_is_forbidden(const unsigned char *address, std::size_t bytes) noexcept;
[[nodiscard]] bool address_is_loopback(const unsigned char *address, std::size_t bytes) noexcept;

// True for ipc, for a loopback address and for the name localhost.
[[nodiscard]] bool is_local(const Endpoint &endpoint) noexcept;

// True if the host is a name: its address is resolved elsewhere, and must be checked again there.
[[nodiscard]] bool has_host_name(const Endpoint &endpoint) noexcept;

}  // namespace steadytext::core
