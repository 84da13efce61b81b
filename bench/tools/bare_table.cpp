// What a lookup costs that does nothing else: bare_table SIZE LOOKUPS prints the microseconds of one, in
// std::unordered_map.
//
// Used by the cached topic: keys of 32 bytes, values as large as the answers that the topic caches, looked up in the
// same order; a lookup copies the value out. Keys are made of a number by a few multiplications, so that making them
// touches no memory. Regime: pure.
#include "src/core/mix.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>

namespace {

using Key = std::array<std::uint64_t, 4>;
struct Hash {
    std::size_t operator()(const Key &key) const { return key[0]; }  // as random as a digest
};

constexpr std::size_t kValueBytes = 108;  // cached.py's PROMPT, which the echo daemon answers with itself

Key key_of(std::uint64_t number) {
    Key key;
    for (std::size_t i = 0; i < key.size(); i++)
        key[i] = steadytext::core::mix(number * key.size() + i + 1);
    return key;
}

}  // namespace

int main(int argc, char **argv) {
    const std::uint64_t size = argc == 3 ? std::strtoull(argv[1], nullptr, 10) : 0;
    const std::uint64_t lookups = argc == 3 ? std::strtoull(argv[2], nullptr, 10) : 0;
    if (size == 0 || lookups == 0)
        return std::fprintf(stderr, "usage: bare_table SIZE LOOKUPS\n"), 2;
    std::unordered_map<Key, std::string, Hash> table;
    for (std::uint64_t i = 0; i < size; i++)
        table.emplace(key_of(i), std::string(kValueBytes, static_cast<char>('a' + i % 26)));
    char copy[kValueBytes];
    std::uint64_t sum = 0;
    const auto began = std::chrono::steady_clock::now();
    for (std::uint64_t i = 1; i <= lookups; i++) {
        const std::string &value = table.find(key_of(i * 7919 % size))->second;
        std::memcpy(copy, value.data(), kValueBytes);
        sum += static_cast<unsigned char>(copy[i % kValueBytes]);
    }
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - began;
    if (sum == 0)
        return 1;
    std::printf("%.6f\n", took.count() / static_cast<double>(lookups));
}
