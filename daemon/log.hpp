// Writes a line to standard error, which the supervisor reads. Prompts and answers never go here.
//
// Called from every thread; a line is written by a single write(), so lines do not mix. Regime:
// pure.
#pragma once

#include <unistd.h>

#include <cstdarg>
#include <cstdio>

namespace steadytext::daemon {

__attribute__((format(printf, 1, 2))) inline void log_line(const char *format, ...) noexcept {
    char line[1024] = "steadytextd: ";
    constexpr int kPrefix = sizeof "steadytextd: " - 1;
    std::va_list arguments;
    va_start(arguments, format);
    int length = kPrefix + std::vsnprintf(line + kPrefix, sizeof line - kPrefix - 1, format, arguments);
    va_end(arguments);
    if (length > static_cast<int>(sizeof line) - 2)
        length = sizeof line - 2;
    line[length++] = '\n';
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, static_cast<std::size_t>(length));
}

}  // namespace steadytext::daemon
