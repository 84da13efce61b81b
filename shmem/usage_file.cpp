// Writing and reading the file of usage: see usage_file.hpp. Regime: pure.
#include "shmem/usage_file.hpp"

#include <cstdio>
#include <cstring>
#include <type_traits>
#include <unistd.h>

namespace steadytext::shmem {

namespace {

struct FileHead {
    char magic[8] = {'s', 't', 'u', 's', 'a', 'g', 'e', '1'};
    std::uint32_t entry_bytes = sizeof(Usage::Entry);
    std::uint32_t count = 0;
    std::uint64_t checksum = 0;
};
static_assert(std::is_trivially_copyable_v<FileHead> && std::is_trivially_copyable_v<Usage::Entry>);

std::uint64_t checksum(const Usage::Entry *entries, std::uint32_t count) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325;
    const auto *bytes = reinterpret_cast<const unsigned char *>(entries);
    for (std::size_t i = 0; i < count * sizeof(Usage::Entry); i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

}  // namespace

bool save_usage(const char *path, const Usage::Entry *entries, std::uint32_t count) noexcept {
    FileHead head;
    head.count = count;
    head.checksum = checksum(entries, count);
    char fresh[256];
    std::snprintf(fresh, sizeof fresh, "%s.new", path);
    std::FILE *file = std::fopen(fresh, "we");
    if (file == nullptr)
        return false;
    const bool written =
        std::fwrite(&head, sizeof head, 1, file) == 1 && std::fwrite(entries, sizeof *entries, count, file) == count;
    const bool closed = std::fclose(file) == 0;
    return written && closed && std::rename(fresh, path) == 0;
}

std::uint32_t load_usage(const char *path, Usage::Entry *entries) noexcept {
    std::FILE *file = std::fopen(path, "re");
    if (file == nullptr)
        return 0;
    FileHead head;
    const FileHead expected;
    const bool complete = std::fread(&head, sizeof head, 1, file) == 1 &&
                          std::memcmp(head.magic, expected.magic, sizeof head.magic) == 0 &&
                          head.entry_bytes == expected.entry_bytes && head.count <= Usage::kEntries &&
                          std::fread(entries, sizeof *entries, head.count, file) == head.count &&
                          head.checksum == checksum(entries, head.count);
    std::fclose(file);
    return complete ? head.count : 0;
}

}  // namespace steadytext::shmem
