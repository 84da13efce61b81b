// Parses and checks endpoints: see endpoint.hpp. Regime: pure.
#include "src/core/endpoint.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <curl/curl.h>
#include <memory>

namespace steadytext::core {

namespace {

constexpr std::size_t kLongestHost = 253;  // RFC 1035
constexpr std::size_t kLongestLabel = 63;
constexpr std::size_t kLongestIpcPath = 107;  // sun_path

constexpr std::string_view kMetadataNames[] = {"metadata",
                                               "metadata.google.internal",
                                               "metadata.goog",
                                               "instance-data",
                                               "instance-data.ec2.internal",
                                               "metadata.azure.internal",
                                               "metadata.tencentyun.com"};

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool is_alphanumeric(char c) noexcept { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return a.size() == b.size() &&
           std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return lower(x) == lower(y); });
}

// A part of an IPv4 address as the C library reads it: decimal, 0octal or 0xhexadecimal.
bool parse_part(std::string_view part, std::uint64_t &value) noexcept {
    int base = 10;
    if (part.size() > 2 && part[0] == '0' && (part[1] == 'x' || part[1] == 'X')) {
        part.remove_prefix(2);
        base = 16;
    } else if (part.size() > 1 && part[0] == '0') {
        part.remove_prefix(1);
        base = 8;
    }
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value, base);
    return !part.empty() && error == std::errc{} && end == part.data() + part.size();
}

// The forms that inet_aton takes: a.b.c.d, a.b.c, a.b and a; the last part fills the remaining bytes.
bool parse_ipv4(std::string_view host, unsigned char address[4]) noexcept {
    std::uint64_t parts[4];
    std::size_t count = 0;
    for (std::string_view rest = host;;) {
        const std::size_t dot = rest.find('.');
        if (count == 4 || !parse_part(rest.substr(0, dot), parts[count]))
            return false;
        count++;
        if (dot == std::string_view::npos)
            break;
        rest.remove_prefix(dot + 1);
    }
    std::uint64_t whole = parts[count - 1];
    const int filled = static_cast<int>(count) - 1;
    if (whole >= std::uint64_t{1} << (8 * (4 - filled)))
        return false;
    for (int i = 0; i < filled; i++) {
        if (parts[i] > 255)
            return false;
        whole |= parts[i] << (8 * (3 - i));
    }
    for (int i = 0; i < 4; i++)
        address[i] = static_cast<unsigned char>(whole >> (8 * (3 - i)));
    return true;
}

bool parse_ipv6(std::string_view host, unsigned char address[16]) noexcept {
    char text[64];
    if (host.size() >= sizeof text)
        return false;
    host = host.substr(0, host.find('%'));  // a zone belongs to link-local addresses, which are refused anyway
    host.copy(text, host.size());
    text[host.size()] = '\0';
    return inet_pton(AF_INET6, text, address) == 1;
}

// Address parsers read a host that ends in a number as an address (WHATWG URL, "ends in a number").
bool ends_in_number(std::string_view host) noexcept {
    const std::string_view last = host.substr(host.rfind('.') + 1);
    std::uint64_t ignored;
    return std::all_of(last.begin(), last.end(), is_digit) || last.starts_with("0x") || last.starts_with("0X") ||
           parse_part(last, ignored);
}

bool is_name(std::string_view host) noexcept {
    if (!host.empty() && host.back() == '.')
        host.remove_suffix(1);
    while (!host.empty()) {
        const std::size_t dot = host.find('.');
        const std::string_view label = host.substr(0, dot);
        if (label.empty() || label.size() > kLongestLabel || !is_alphanumeric(label.front()) ||
            !is_alphanumeric(label.back()))
            return false;
        if (!std::all_of(label.begin(), label.end(), [](char c) { return is_alphanumeric(c) || c == '-'; }))
            return false;
        if (dot == std::string_view::npos)
            return true;
        host.remove_prefix(dot + 1);
    }
    return false;
}

bool refuse_forbidden(std::string_view host, Problem &problem) noexcept {
    problem.set(sqlstate::kInvalidParameterValue, "host \"%.*s\" is not allowed",
                static_cast<int>(std::min<std::size_t>(host.size(), 128)), host.data());
    problem.with_detail("Link-local and metadata addresses are refused.");
    return false;
}

// IPv6 addresses that contain an IPv4 address: 6to4, Teredo, ISATAP, IPv4-translated (RFC 3056, 4380, 5214, 2765).
bool carries_forbidden(const unsigned char *a) noexcept {
    if (a[0] == 0x20 && a[1] == 0x02)
        return address_is_forbidden(a + 2, 4);
    if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0 && a[3] == 0) {
        const unsigned char client[4] = {static_cast<unsigned char>(~a[12]), static_cast<unsigned char>(~a[13]),
                                         static_cast<unsigned char>(~a[14]), static_cast<unsigned char>(~a[15])};
        return address_is_forbidden(client, 4);
    }
    static constexpr unsigned char kTranslated[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0};
    const bool isatap = (a[8] == 0 || a[8] == 2) && a[9] == 0 && a[10] == 0x5E && a[11] == 0xFE;
    return (isatap || std::memcmp(a, kTranslated, 12) == 0) && address_is_forbidden(a + 12, 4);
}

bool copy(std::string_view from, char *to, std::size_t room) noexcept {
    if (from.size() >= room)
        return false;
    from.copy(to, from.size());
    to[from.size()] = '\0';
    return true;
}

bool invalid(Problem &problem, std::string_view text, const char *why) noexcept {
    problem.set(sqlstate::kInvalidParameterValue, "invalid endpoint \"%.200s\"", PublicEndpoint(text).text);
    problem.with_detail("%s", why);
    problem.with_hint("An endpoint is tcp://host:port, ipc:///path, http://host/path or https://host/path.");
    return false;
}

// host:port; the host may be in brackets.
bool parse_authority(std::string_view text, std::string_view authority, Endpoint &endpoint, Problem &problem) noexcept {
    std::string_view host = authority;
    std::string_view port;
    if (!authority.empty() && authority.front() == '[') {
        const std::size_t close = authority.find(']');
        if (close == std::string_view::npos)
            return invalid(problem, text, "An IPv6 address ends with \"]\".");
        host = authority.substr(1, close - 1);
        const std::string_view after = authority.substr(close + 1);
        if (!after.empty() && after.front() != ':')
            return invalid(problem, text, "A port follows \":\".");
        port = after.empty() ? after : after.substr(1);
    } else if (const std::size_t colon = authority.rfind(':'); colon != std::string_view::npos) {
        host = authority.substr(0, colon);
        port = authority.substr(colon + 1);
    }
    if (!check_host(host, problem))
        return false;
    long number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (port.empty() || error != std::errc{} || end != port.data() + port.size())
        return invalid(problem, text, "A port is a number.");
    if (!check_port(number, false, problem))
        return false;
    endpoint.port = static_cast<std::uint16_t>(number);
    return copy(host, endpoint.host, sizeof endpoint.host) || invalid(problem, text, "The host is too long.");
}

// A URL as libcurl reads it, part by part.
class Url {
public:
    [[nodiscard]] bool read(const char *text) noexcept {
        return url_ != nullptr && curl_url_set(url_.get(), CURLUPART_URL, text, CURLU_PATH_AS_IS) == CURLUE_OK;
    }
    // Valid until the next call; empty if the URL has no such part.
    [[nodiscard]] std::string_view part(CURLUPart which) noexcept {
        char *found = nullptr;
        const bool is_there =
            url_ != nullptr && curl_url_get(url_.get(), which, &found, 0) == CURLUE_OK && found != nullptr;
        part_.reset(is_there ? found : nullptr);
        return is_there ? std::string_view(found) : std::string_view();
    }

private:
    struct Free {
        void operator()(CURLU *url) const noexcept { curl_url_cleanup(url); }
        void operator()(char *text) const noexcept { curl_free(text); }
    };
    std::unique_ptr<CURLU, Free> url_{curl_url()};
    std::unique_ptr<char, Free> part_;
};

bool parse_http(std::string_view text, std::string_view rest, Endpoint &endpoint, Problem &problem) noexcept {
    Url url;
    // libcurl would skip a third slash, and take the next word for the host.
    if (rest.starts_with('/') || rest.find('\\') != std::string_view::npos || !url.read(endpoint.text))
        return invalid(problem, text, "It is no URL.");
    if (!url.part(CURLUPART_USER).empty() || !url.part(CURLUPART_PASSWORD).empty() ||
        rest.substr(0, rest.find_first_of("/?#")).find('@') != std::string_view::npos)
        return invalid(problem, text, "It has a user or a password, which would be shown to everybody: use key_file.");
    if (text.find('#') != std::string_view::npos)
        return invalid(problem, text, "It has a fragment, which means nothing to an engine.");
    if (!url.part(CURLUPART_ZONEID).empty())
        return problem.set(sqlstate::kInvalidParameterValue, "Invalid IP address");
    std::string_view host = url.part(CURLUPART_HOST);
    if (host.starts_with('[') && host.ends_with(']'))
        host = host.substr(1, host.size() - 2);
    if (!check_host(host, problem))
        return false;
    if (!copy(host, endpoint.host, sizeof endpoint.host))
        return invalid(problem, text, "The host is too long.");
    long number = endpoint.kind == EndpointKind::Https ? 443 : 80;
    if (const std::string_view port = url.part(CURLUPART_PORT); !port.empty())
        (void)std::from_chars(port.data(), port.data() + port.size(), number);
    if (!check_port(number, true, problem))
        return false;
    endpoint.port = static_cast<std::uint16_t>(number);
    return (copy(url.part(CURLUPART_PATH), endpoint.path, sizeof endpoint.path) &&
            copy(url.part(CURLUPART_QUERY), endpoint.query, sizeof endpoint.query)) ||
           invalid(problem, text, "The path is too long.");
}

bool parse_ipc(std::string_view text, std::string_view path, Endpoint &endpoint, Problem &problem) noexcept {
    if (path.empty() || path.front() != '/')
        return invalid(problem, text, "The path of an ipc endpoint begins with \"/\".");
    if (path.size() > kLongestIpcPath)
        return invalid(problem, text, "The path of a Unix socket has at most 107 bytes.");
    return copy(path, endpoint.path, sizeof endpoint.path);
}

}  // namespace

PublicEndpoint::PublicEndpoint(std::string_view endpoint) noexcept {
    constexpr std::string_view kMask = "***", kScheme = "://";
    std::size_t length = 0;
    const auto put = [&](std::string_view part) {
        part = part.substr(0, sizeof text - 1 - length);
        part.copy(text + length, part.size());
        length += part.size();
    };
    if (endpoint.starts_with("ipc://")) {
        put(endpoint);
        return;
    }
    const std::size_t digits = endpoint.find_last_not_of("0123456789");
    const bool is_numbered =
        digits != std::string_view::npos && digits + 1 < endpoint.size() && endpoint[digits] == '#';
    const std::string_view number = is_numbered ? endpoint.substr(digits) : std::string_view();
    std::string_view rest = endpoint.substr(0, endpoint.size() - number.size());
    if (const std::size_t scheme = rest.find(kScheme); scheme != std::string_view::npos) {
        put(rest.substr(0, scheme + kScheme.size()));
        rest.remove_prefix(scheme + kScheme.size());
        if (const std::size_t at = rest.substr(0, rest.find_first_of("/?#")).rfind('@'); at != std::string_view::npos) {
            put(kMask);
            rest.remove_prefix(at);
        }
    }
    const std::size_t place = std::min(rest.find_first_of("?#"), rest.size());
    put(rest.substr(0, place));
    for (rest.remove_prefix(place); !rest.empty();) {
        put(rest.substr(0, 1));
        rest.remove_prefix(1);
        const std::size_t end = std::min(rest.find_first_of("&;#"), rest.size());
        const std::size_t equals = rest.substr(0, end).find('=');
        if (equals != std::string_view::npos)
            put(rest.substr(0, equals + 1));
        put(end > 0 ? kMask : std::string_view());
        rest.remove_prefix(end);
    }
    put(number);
}

bool parse_endpoint(std::string_view text, Endpoint &endpoint, Problem &problem) noexcept {
    endpoint = Endpoint{};
    if (!copy(text, endpoint.text, sizeof endpoint.text))
        return invalid(problem, text, "It is too long.");
    if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7F; }))
        return invalid(problem, text, "It contains white space or a control character.");
    constexpr struct {
        std::string_view scheme;
        EndpointKind kind;
    } kSchemes[] = {{"tcp://", EndpointKind::Tcp},
                    {"dns+tcp://", EndpointKind::DnsTcp},
                    {"ipc://", EndpointKind::Ipc},
                    {"http://", EndpointKind::Http},
                    {"https://", EndpointKind::Https}};
    for (const auto &[scheme, kind] : kSchemes) {
        if (!text.starts_with(scheme))
            continue;
        endpoint.kind = kind;
        const std::string_view rest = text.substr(scheme.size());
        if (is_http(endpoint))
            return parse_http(text, rest, endpoint, problem);
        return kind == EndpointKind::Ipc ? parse_ipc(text, rest, endpoint, problem)
                                         : parse_authority(text, rest, endpoint, problem);
    }
    return invalid(problem, text, "The scheme is unknown.");
}

bool check_host(std::string_view host, Problem &problem) noexcept {
    if (host.empty() || host.size() > kLongestHost)
        return problem.set(sqlstate::kInvalidParameterValue, "Invalid host length");
    unsigned char address[16];
    if (host.find(':') != std::string_view::npos) {
        if (!parse_ipv6(host, address))
            return problem.set(sqlstate::kInvalidParameterValue, "Invalid IP address");
        if (address_is_forbidden(address, 16))
            return refuse_forbidden(host, problem);
        return host.find('%') == std::string_view::npos ||
               problem.set(sqlstate::kInvalidParameterValue, "Invalid IP address");
    }
    if (parse_ipv4(host, address))
        return !address_is_forbidden(address, 4) || refuse_forbidden(host, problem);
    std::string_view name = host;
    if (name.back() == '.')
        name.remove_suffix(1);
    if (ends_in_number(name))
        return problem.set(sqlstate::kInvalidParameterValue, "Invalid IP address");
    if (!is_name(host))
        return problem.set(sqlstate::kInvalidParameterValue, "Invalid hostname format");
    const bool metadata = std::any_of(std::begin(kMetadataNames), std::end(kMetadataNames),
                                      [&](std::string_view known) { return equals_ignoring_case(name, known); });
    return !metadata || refuse_forbidden(host, problem);
}

bool check_port(long port, bool http, Problem &problem) noexcept {
    if ((port >= 1024 && port <= 65535) || (http && (port == 80 || port == 443)))
        return true;
    problem.set(sqlstate::kInvalidParameterValue, "Port must be between 1024 and 65535");
    problem.with_detail("The port is %ld.", port);
    problem.with_hint("%s", http ? "Engines over HTTP may also use ports 80 and 443."
                                 : "Let the daemon listen on a port that needs no privileges.");
    return false;
}

bool address_is_forbidden(const unsigned char *a, std::size_t bytes) noexcept {
    if (bytes == 4)
        return (a[0] == 169 && a[1] == 254) || a[0] == 0 || a[0] >= 224 ||    // link-local, this network, multicast
               (a[0] == 100 && a[1] == 100 && a[2] == 100 && a[3] == 200) ||  // Alibaba's metadata
               (a[0] == 168 && a[1] == 63 && a[2] == 129 && a[3] == 16) ||    // Azure's
               (a[0] == 192 && a[1] == 0 && a[2] == 0 && a[3] == 192);        // Oracle's
    static constexpr unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    static constexpr unsigned char kCompatible[12] = {};
    static constexpr unsigned char kNat64[12] = {0, 0x64, 0xFF, 0x9B};
    const bool loopback_or_any = std::memcmp(a, kCompatible, 12) == 0 && a[12] == 0 && a[13] == 0 && a[14] == 0;
    if (loopback_or_any)
        return a[15] == 0;
    if (std::memcmp(a, kMapped, 12) == 0 || std::memcmp(a, kCompatible, 12) == 0 || std::memcmp(a, kNat64, 12) == 0)
        return address_is_forbidden(a + 12, 4);
    if (carries_forbidden(a))
        return true;
    static constexpr unsigned char kAmazon[4] = {0xFD, 0, 0x0E, 0xC2};
    static constexpr unsigned char kGoogle[4] = {0xFD, 0x20, 0, 0xCE};
    return (a[0] == 0xFE && (a[1] & 0xC0) == 0x80) || a[0] == 0xFF || std::memcmp(a, kAmazon, 4) == 0 ||
           std::memcmp(a, kGoogle, 4) == 0;
}

bool address_is_loopback(const unsigned char *a, std::size_t bytes) noexcept {
    if (bytes == 4)
        return a[0] == 127;
    static constexpr unsigned char kLoopback[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    static constexpr unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
    return std::memcmp(a, kLoopback, 16) == 0 || (std::memcmp(a, kMapped, 12) == 0 && a[12] == 127);
}

bool is_local(const Endpoint &endpoint) noexcept {
    if (endpoint.kind == EndpointKind::Ipc || equals_ignoring_case(endpoint.host, "localhost"))
        return true;
    unsigned char address[16];
    if (parse_ipv4(endpoint.host, address))
        return address_is_loopback(address, 4);
    return parse_ipv6(endpoint.host, address) && address_is_loopback(address, 16);
}

bool has_host_name(const Endpoint &endpoint) noexcept {
    unsigned char address[16];
    return endpoint.kind != EndpointKind::Ipc && !parse_ipv4(endpoint.host, address) &&
           !parse_ipv6(endpoint.host, address);
}

}  // namespace steadytext::core
