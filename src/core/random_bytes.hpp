// Bytes that nobody can guess, from the kernel. Called by the gateway, steadytextd and the echo daemon. Regime: pure.
#pragma once

#include <sys/random.h>

#include <cerrno>
#include <cstddef>

namespace steadytext::core {

// False: the kernel gives none, and nothing may rest on what is in `bytes`.
[[nodiscard]] inline bool random_bytes(void *bytes, std::size_t count) noexcept {
    auto *next = static_cast<unsigned char *>(bytes);
    while (count > 0) {
        const ssize_t got = getrandom(next, count, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        next += got;
        count -= static_cast<std::size_t>(got);
    }
    return true;
}

// libzmq names a ROUTER's clients by a counter that begins at rand(), which nobody else seeds: whoever can connect would
// know the names of others. Call it before the ROUTER is made.
[[nodiscard]] inline bool seed_identities_of_clients() noexcept {
    unsigned seed;
    if (!random_bytes(&seed, sizeof seed))
        return false;
    std::srand(seed);
    return true;
}

}  // namespace steadytext::core
