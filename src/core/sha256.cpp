// Uses OpenSSL's EVP interface: see sha256.hpp. Regime: pure.
#include "src/core/sha256.hpp"

#include <new>
#include <openssl/evp.h>

namespace steadytext::core {

Sha256 *Sha256::instance() noexcept {
    static Sha256 *made = nullptr;
    if (made != nullptr)
        return made;
    auto *sha = new (std::nothrow) Sha256;
    if (sha == nullptr)
        return nullptr;
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    sha->algorithm_ = EVP_MD_fetch(nullptr, "SHA256", nullptr);
#else
    sha->algorithm_ = EVP_sha256();
#endif
    sha->context_ = EVP_MD_CTX_new();
    if (sha->algorithm_ == nullptr || sha->context_ == nullptr) {
        delete sha;
        return nullptr;
    }
    return made = sha;
}

void Sha256::begin() noexcept { EVP_DigestInit_ex(context_, algorithm_, nullptr); }

void Sha256::add(std::string_view text) noexcept { EVP_DigestUpdate(context_, text.data(), text.size()); }

Digest Sha256::finish() noexcept {
    Digest digest;
    EVP_DigestFinal_ex(context_, digest.bytes, nullptr);
    return digest;
}

void to_hex(const Digest &digest, char *text) noexcept {
    constexpr char kDigits[] = "0123456789abcdef";
    for (const unsigned char byte : digest.bytes) {
        *text++ = kDigits[byte >> 4];
        *text++ = kDigits[byte & 15];
    }
}

}  // namespace steadytext::core
