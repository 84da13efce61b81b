// Writing and reading the counters' file: see stats_file.hpp. Regime: pure.
#include "shmem/stats_file.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <type_traits>
#include <unistd.h>

namespace steadytext::shmem {

namespace {

// The layout of the file. Only the machine that wrote it reads it.
struct File {
    char magic[8] = {'s', 't', 's', 't', 'a', 't', 's', '1'};
    std::uint64_t layout = 0;
    SavedStats saved;
    std::uint64_t checksum = 0;
};
static_assert(std::is_trivially_copyable_v<File>);

std::uint64_t fnv(std::uint64_t hash, const void *bytes, std::size_t size) noexcept {
    for (std::size_t i = 0; i < size; i++)
        hash = (hash ^ static_cast<const unsigned char *>(bytes)[i]) * 0x100000001b3;
    return hash;
}

template <std::size_t Count>
std::uint64_t fnv(std::uint64_t hash, const char *const (&names)[Count]) noexcept {
    for (const char *name : names)
        hash = fnv(hash, name, std::strlen(name) + 1);
    return hash;
}

// A hash of the names of everything counted, in order: numbers of another version of the library are
// not mistaken for ours.
std::uint64_t layout() noexcept {
    std::uint64_t hash = fnv(fnv(fnv(0xcbf29ce484222325, kCallKindNames), kCallOutcomeNames), kFailureCauseNames);
    hash = fnv(fnv(hash, kCacheLevelNames), kCallStageNames);
    hash = fnv(hash, kTimeBounds.data(), sizeof kTimeBounds);
    for (const CounterText &counter : kCounterTexts)
        hash = fnv(hash, counter.name, std::strlen(counter.name) + 1);
    return hash;
}

std::uint64_t checksum(const File &file) noexcept { return fnv(0xcbf29ce484222325, &file, offsetof(File, checksum)); }

bool write_all(int fd, const void *bytes, std::size_t size) noexcept {
    for (std::size_t done = 0; done < size;) {
        const ssize_t written = write(fd, static_cast<const char *>(bytes) + done, size - done);
        if (written < 0 && errno != EINTR)
            return false;
        done += written > 0 ? static_cast<std::size_t>(written) : 0;
    }
    return true;
}

bool read_all(int fd, void *bytes, std::size_t size) noexcept {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t got = read(fd, static_cast<char *>(bytes) + done, size - done);
        if (got == 0 || (got < 0 && errno != EINTR))
            return false;
        done += got > 0 ? static_cast<std::size_t>(got) : 0;
    }
    return true;
}

}  // namespace

SavedStats take_stats(const CallStats &calls, const Counters &counters) noexcept {
    SavedStats saved;
    saved.calls = calls.totals();
    for (std::size_t i = 0; i < kCounterCount; i++)
        saved.counters[i] = counters.sum(static_cast<Counter>(i));
    return saved;
}

void restore_stats(const SavedStats &saved, CallStats &calls, Counters &counters) noexcept {
    calls.restore(saved.calls);
    for (std::size_t i = 0; i < kCounterCount; i++)
        counters.add(0, static_cast<Counter>(i), saved.counters[i]);
}

bool save_stats(const char *path, const SavedStats &saved) noexcept {
    File file;
    file.layout = layout();
    file.saved = saved;
    file.checksum = checksum(file);
    char fresh[256];
    std::snprintf(fresh, sizeof fresh, "%s.new", path);
    const int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    const bool written = write_all(fd, &file, sizeof file);
    const bool closed = close(fd) == 0;
    return written && closed && rename(fresh, path) == 0;
}

bool load_stats(const char *path, SavedStats &saved) noexcept {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    File file;
    const bool complete = read_all(fd, &file, sizeof file);
    close(fd);
    const File expected;
    if (!complete || std::memcmp(file.magic, expected.magic, sizeof file.magic) != 0 || file.layout != layout() ||
        file.checksum != checksum(file))
        return false;
    saved = file.saved;
    return true;
}

}  // namespace steadytext::shmem
