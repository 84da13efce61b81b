// SHA-256 by OpenSSL, without a lookup of the algorithm at every call.
//
// Used for cache keys and other hashes of texts. Regime: pure. OpenSSL 3 fetches an algorithm anew in each one-shot
// call, which triples the time for short texts; here it is fetched once per process and the context is reused.
#pragma once

#include <cstddef>
#include <string_view>

struct evp_md_st;
struct evp_md_ctx_st;

namespace steadytext::core {

struct Digest {
    unsigned char bytes[32];
};

class Sha256 {
public:
    // The process's own instance, made at first use and never destroyed; null if OpenSSL has no SHA-256 (it always
    // has).
    [[nodiscard]] static Sha256 *instance() noexcept;

    void begin() noexcept;
    void add(std::string_view text) noexcept;
    [[nodiscard]] Digest finish() noexcept;

private:
    Sha256() = default;
    const evp_md_st *algorithm_ = nullptr;
    evp_md_ctx_st *context_ = nullptr;
};

inline constexpr std::size_t kHexBytes = 64;

// 64 lower-case hexadecimal digits, no NUL.
void to_hex(const Digest &digest, char *text) noexcept;

}  // namespace steadytext::core
