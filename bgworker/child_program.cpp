// fork, exec, pipes and wait: see child_program.hpp. Regime: pure.
#include "bgworker/child_program.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <initializer_list>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace steadytext::worker {

namespace {

constexpr std::size_t kLongestLine = 4096;

constexpr int kFailureFd = 3;

// Runs in the child, between fork and exec: async-signal-safe calls only. If exec fails, the reason goes to `failure`,
// which a successful exec closes.
[[noreturn]] void become(char *const *arguments, int input, int log, int failure, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);  // the supervisor died before the death signal was set
    setpgid(0, 0);   // a terminal's Ctrl-C is meant for the server, which then stops this program
    dup2(input, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    dup2(failure, kFailureFd);
    fcntl(kFailureFd, F_SETFD, FD_CLOEXEC);
    for (int fd = kFailureFd + 1; fd < 65536; fd++)
        if (close(fd) != 0 && fd > 1024)
            break;
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execv(arguments[0], arguments);
    const int why = errno;
    (void)!write(kFailureFd, &why, sizeof why);
    _exit(127);
}

void close_all(std::initializer_list<int> fds) {
    for (const int fd : fds)
        if (fd >= 0)
            close(fd);
}

// Waits until the child has become the program (returns 0), or has failed.
int failure_of(int fd) {
    int why = 0;
    ssize_t size;
    while ((size = read(fd, &why, sizeof why)) < 0 && errno == EINTR) {
    }
    return size == sizeof why ? why : 0;
}

void reap(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
}

std::string describe(int status) {
    if (WIFSIGNALED(status))
        return "was ended by signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
    return "exited with code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

bool ChildProgram::start(const std::vector<std::string> &arguments, std::string &reason) {
    std::vector<char *> argv;
    for (const std::string &argument : arguments)
        argv.push_back(const_cast<char *>(argument.c_str()));
    argv.push_back(nullptr);

    int input[2] = {-1, -1};
    int log[2] = {-1, -1};
    int failure[2] = {-1, -1};
    if (pipe2(input, O_CLOEXEC) != 0 || pipe2(log, O_CLOEXEC) != 0 || pipe2(failure, O_CLOEXEC) != 0) {
        reason = std::strerror(errno);
        close_all({input[0], input[1], log[0], log[1]});
        return false;
    }
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0)
        become(argv.data(), input[0], log[1], failure[1], parent);
    if (child < 0)
        reason = std::strerror(errno);
    close_all({input[0], log[1], failure[1]});
    const int why = child < 0 ? 0 : failure_of(failure[0]);
    close(failure[0]);
    if (why != 0) {
        reap(child);
        reason = "could not execute \"" + arguments[0] + "\": " + std::strerror(why);
    }
    if (child < 0 || why != 0) {
        close_all({input[1], log[0]});
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
        reap(pid_);
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
