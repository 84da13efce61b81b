// Starts a thread for each look-up: see resolver.hpp. Regime: pure.
#include "bgworker/resolver.hpp"

#include "src/core/endpoint.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <csignal>
#include <mutex>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <system_error>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace steadytext::gateway {

struct Resolver::Box {
    std::mutex mutex;
    std::vector<Resolution> answers;
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    ~Box() { close(event); }

    void put(Resolution answer) {
        const std::lock_guard lock(mutex);
        answers.push_back(std::move(answer));
        eventfd_write(event, 1);
    }
};

namespace {

constexpr std::size_t kMostAddresses = 256;  // a name server may send thousands

// Appends the numeric address; an address that no daemon may have goes into `reason` instead.
void add_address(const sockaddr &address, Resolution &resolution) {
    const bool is_ipv6 = address.sa_family == AF_INET6;
    const void *bytes = is_ipv6 ? static_cast<const void *>(&reinterpret_cast<const sockaddr_in6 &>(address).sin6_addr)
                                : &reinterpret_cast<const sockaddr_in &>(address).sin_addr;
    char text[INET6_ADDRSTRLEN];
    if ((!is_ipv6 && address.sa_family != AF_INET) || inet_ntop(address.sa_family, bytes, text, sizeof text) == nullptr)
        return;
    if (core::address_is_forbidden(static_cast<const unsigned char *>(bytes), is_ipv6 ? 16 : 4))
        resolution.reason = std::string("the name leads to ") + text + ", which is not allowed";
    else if (resolution.addresses.size() < kMostAddresses &&
             std::find(resolution.addresses.begin(), resolution.addresses.end(), text) == resolution.addresses.end())
        resolution.addresses.emplace_back(text);
}

Resolution look_up(const std::string &host) {
    Resolution resolution{host, {}, {}};
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
    for (const addrinfo *item = found; error == 0 && item != nullptr; item = item->ai_next)
        add_address(*item->ai_addr, resolution);
    if (error == 0)
        freeaddrinfo(found);
    else
        resolution.reason = std::string("the name does not resolve: ") + gai_strerror(error);
    return resolution;
}

}  // namespace

Resolver::Resolver() : box_(std::make_shared<Box>()) {}

int Resolver::wait_fd() const { return box_->event; }

// If another thread took a signal meant for the main thread, a latch's wake-up would be lost.
void Resolver::ask(const std::string &host) {
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &previous);
    try {
        std::thread([box = box_, host] { box->put(look_up(host)); }).detach();
    } catch (const std::system_error &) {
        box_->put({host, {}, "no thread could be started to look up the name"});
    }
    pthread_sigmask(SIG_SETMASK, &previous, nullptr);
}

std::vector<Resolution> Resolver::take() {
    eventfd_t ignored;
    if (eventfd_read(box_->event, &ignored) != 0)
        return {};
    const std::lock_guard lock(box_->mutex);
    return std::move(box_->answers);
}

}  // namespace steadytext::gateway
