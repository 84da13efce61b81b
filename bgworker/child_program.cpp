// fork, exec, pipes and wait. Regime: pure; see child_program.hpp.
#include "bgworker/child_program.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace steadytext::worker {

namespace {

constexpr std::size_t kLongestLine = 4096;

// In the child, between fork and exec: async-signal-safe calls only.
[[noreturn]] void become(char *const *arguments, int input, int log, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);  // the supervisor died before the tie was made
    setpgid(0, 0);   // a terminal's Ctrl-C is for the server, which then stops us
    dup2(input, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    for (int fd = 3; fd < 65536; fd++)
        if (close(fd) != 0 && fd > 1024)
            break;
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execv(arguments[0], arguments);
    _exit(127);
}

std::string describe(int status) {
    if (WIFSIGNALED(status))
        return "was ended by signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
    const int code = WEXITSTATUS(status);
    return code == 127 ? "could not be run" : "exited with code " + std::to_string(code);
}

}  // namespace

bool ChildProgram::start(const std::vector<std::string> &arguments, std::string &reason) {
    std::vector<char *> argv;
    for (const std::string &argument : arguments)
        argv.push_back(const_cast<char *>(argument.c_str()));
    argv.push_back(nullptr);

    int input[2] = {-1, -1};
    int log[2] = {-1, -1};
    if (pipe2(input, O_CLOEXEC) != 0 || pipe2(log, O_CLOEXEC) != 0) {
        reason = std::strerror(errno);
        for (int fd : {input[0], input[1]})
            if (fd >= 0)
                close(fd);
        return false;
    }
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0)
        become(argv.data(), input[0], log[1], parent);
    if (child < 0)
        reason = std::strerror(errno);
    close(input[0]);
    close(log[1]);
    if (child < 0) {
        close(input[1]);
        close(log[0]);
        return false;
    }
    fcntl(log[0], F_SETFL, O_NONBLOCK);
    pid_ = child;
    input_fd_ = input[1];
    log_fd_ = log[0];
    return true;
}

std::vector<std::string> ChildProgram::read_log() {
    std::vector<std::string> lines;
    char buffer[4096];
    for (ssize_t size; log_fd_ >= 0 && (size = read(log_fd_, buffer, sizeof buffer)) > 0;) {
        for (ssize_t i = 0; i < size; i++) {
            const bool full = partial_line_.size() >= kLongestLine;
            if (buffer[i] != '\n')
                partial_line_ += buffer[i];
            if ((buffer[i] == '\n' || full) && !partial_line_.empty()) {
                lines.push_back(std::move(partial_line_));
                partial_line_.clear();
            }
        }
    }
    return lines;
}

bool ChildProgram::has_ended(std::string &how) {
    int status;
    if (pid_ <= 0 || waitpid(pid_, &status, WNOHANG) != pid_)
        return false;
    how = describe(status);
    pid_ = 0;
    return true;
}

void ChildProgram::ask_to_stop() {
    if (pid_ > 0)
        ::kill(pid_, SIGTERM);
}

void ChildProgram::kill() {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        int status;
        while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        pid_ = 0;
    }
    forget();
}

void ChildProgram::forget() {
    for (int *fd : {&input_fd_, &log_fd_}) {
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
    }
    partial_line_.clear();
}

}  // namespace steadytext::worker
