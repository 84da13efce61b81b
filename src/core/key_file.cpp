// Opens the file first, then checks the opened file, so it cannot be exchanged in between: see
// key_file.hpp. Regime: pure.
#include "src/core/key_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace steadytext::core {

namespace {

constexpr std::size_t kMaxBytes = 8192;

struct File {
    int fd;
    ~File() {
        if (fd >= 0)
            close(fd);
    }
};

bool judge(const char *path, const struct stat &status, KeyKind kind, std::size_t most, Problem &problem) {
    problem.set(sqlstate::kPrerequisiteState, "file \"%s\" cannot be used", path);
    if (!S_ISREG(status.st_mode))
        problem.with_detail("It is not a regular file.");
    else if (kind == KeyKind::Secret && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        problem.with_detail("It can be read by others.").with_hint("Set its permissions to 0600.");
    else if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        problem.with_detail("It can be written by others.").with_hint("Set its permissions to 0644.");
    else if (static_cast<std::size_t>(status.st_size) > most)
        problem.with_detail("It has more than %zu bytes.", most);
    else
        problem = Problem{};
    return !problem.is_set();
}

bool read_file(const char *path, KeyKind kind, std::size_t most, std::string &text, Problem &problem) {
    const File file{open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)};
    struct stat status;
    if (file.fd < 0 || fstat(file.fd, &status) != 0) {
        problem.set(sqlstate::kPrerequisiteState, "file \"%s\" cannot be used", path);
        problem.with_detail("%s.", errno == ELOOP ? "It is a symbolic link" : std::strerror(errno));
        return false;
    }
    if (!judge(path, status, kind, most, problem))
        return false;
    text.resize(most);
    const ssize_t bytes = read(file.fd, text.data(), text.size());
    text.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
    return true;
}

}  // namespace

bool read_text_file(const char *path, std::size_t most, std::string &text, Problem &problem) {
    return read_file(path, KeyKind::Public, most, text, problem);
}

bool read_key_file(const char *path, KeyKind kind, std::string &key, Problem &problem) {
    if (!read_file(path, kind, kMaxBytes, key, problem))
        return false;
    constexpr const char *kSpace = " \t\r\n";
    key.erase(key.find_last_not_of(kSpace) + 1);
    key.erase(0, key.find_first_not_of(kSpace));
    if (key.empty())
        return problem.set(sqlstate::kPrerequisiteState, "key file \"%s\" is empty", path);
    // A line end in the key would let the file add headers to a request.
    if (!std::all_of(key.begin(), key.end(), [](char c) { return c >= ' ' && c <= '~'; })) {
        problem.set(sqlstate::kPrerequisiteState, "key file \"%s\" cannot be used", path);
        problem.with_detail("It must hold one line of ASCII characters.");
        return false;
    }
    return true;
}

}  // namespace steadytext::core
