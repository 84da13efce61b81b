// The handler of SIGBUS: see lost_file.hpp. Regime: pure; async-signal-safe.
#include "daemon/lost_file.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "daemon/server.hpp"

namespace steadytext::daemon {

namespace {

// Of /proc/self/maps: `begin-end perms offset device inode   path`, in hexadecimal digits. The path may have 4,096 bytes, and what it
// has in place of a line's end is written as "\012".
constexpr std::size_t kLongestLine = 4096 + 128;

bool read_hex(const char *&next, const char *end, std::uintptr_t &value) noexcept {
    const char *begin = next;
    for (value = 0; next < end; next++) {
        const char c = *next;
        if (c >= '0' && c <= '9')
            value = value << 4 | static_cast<std::uintptr_t>(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | static_cast<std::uintptr_t>(c - 'a' + 10);
        else
            break;
    }
    return next > begin;
}

// The path that a line names, if the address is in its range; else empty.
std::string_view path_in(std::string_view line, std::uintptr_t address) noexcept {
    const char *next = line.data(), *end = line.data() + line.size();
    std::uintptr_t from = 0, to = 0;
    if (!read_hex(next, end, from) || next == end || *next++ != '-' || !read_hex(next, end, to) || address < from ||
        address >= to)
        return {};
    const std::size_t slash = line.find('/');
    return slash == std::string_view::npos ? std::string_view{} : line.substr(slash);
}

// The file that is mapped at the address, in `line`; empty: none is.
std::string_view file_at(std::uintptr_t address, std::array<char, kLongestLine> &line) noexcept {
    const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (maps < 0)
        return {};
    std::string_view found;
    std::size_t size = 0;
    char c = 0;
    while (found.empty() && read(maps, &c, 1) == 1) {
        if (c != '\n' && size < line.size())
            line[size++] = c;
        if (c != '\n')
            continue;
        found = path_in({line.data(), size}, address);
        size = 0;
    }
    close(maps);
    return found;
}

void say(std::string_view path) noexcept {
    std::array<char, kLongestLine + 256> text{};
    std::size_t size = 0;
    for (const std::string_view part :
         {std::string_view("steadytextd: a file was cut short while it was in use, and the daemon ends: "), path,
          std::string_view(" (replace a model by renaming another file to its name)\n")}) {
        std::memcpy(text.data() + size, part.data(), part.size());
        size += part.size();
    }
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), size);
}

// A second thread that comes here waits for the end that the first one brings.
void on_bus_error(int, siginfo_t *info, void *) {
    static std::atomic_flag is_told = ATOMIC_FLAG_INIT;
    if (is_told.test_and_set())
        for (;;)
            pause();
    std::array<char, kLongestLine> line;
    const std::string_view path = file_at(reinterpret_cast<std::uintptr_t>(info->si_addr), line);
    if (path.empty()) {  // not a file's doing: the instruction is run again, and the process ends as if nobody handled it
        signal(SIGBUS, SIG_DFL);
        return;
    }
    say(path);
    _exit(static_cast<int>(ExitStatus::BadModel));
}

}  // namespace

void end_when_a_file_is_lost() noexcept {
    struct sigaction action = {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, nullptr);
}

}  // namespace steadytext::daemon
