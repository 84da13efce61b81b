// Chooses the transport and its settings: see open_channel.hpp. Regime: pure.
#include "bgworker/open_channel.hpp"

#include "bgworker/http_channel.hpp"
#include "bgworker/zmq_channel.hpp"
#include "src/core/key_file.hpp"

namespace steadytext::gateway {

namespace {

// Given a name, libzmq would look it up in the thread that serves all connections.
std::string numeric_endpoint(const core::Endpoint &endpoint, const std::string &address) {
    if (endpoint.kind == core::EndpointKind::Ipc)
        return endpoint.text;
    const bool is_ipv6 = address.find(':') != std::string::npos;
    return (is_ipv6 ? "tcp://[" + address + "]" : "tcp://" + address) + ":" + std::to_string(endpoint.port);
}

std::unique_ptr<Channel> open_zmq(const Services &services, const core::DaemonEntry &entry, const std::string &address,
                                  std::string &reason) {
    ZmqSettings settings{numeric_endpoint(entry.endpoint, address), services.settings.max_message_bytes, {}};
    core::Problem problem;
    if (entry.server_key_file[0] != '\0' &&
        !core::read_key_file(entry.server_key_file, core::KeyKind::Public, settings.server_key, problem)) {
        reason = std::string(problem.message) + ": " + problem.detail;
        return nullptr;
    }
    return ZmqChannel::open(services.zmq_context, settings, reason);
}

}  // namespace

std::unique_ptr<Channel> open_channel(const Services &services, const core::DaemonEntry &entry,
                                      const std::vector<std::string> &addresses, std::string &reason) {
    if (core::is_http(entry.endpoint))
        return HttpChannel::open(entry, addresses, static_cast<std::size_t>(services.settings.max_message_bytes),
                                 reason);
    return open_zmq(services, entry, addresses.front(), reason);
}

}  // namespace steadytext::gateway
