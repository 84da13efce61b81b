// A program run beside the server that cannot outlive its supervisor: start, log lines, end.
//
// Used by the launcher for steadytextd. Regime: pure (POSIX only; safe in a process without threads).
//
// Three things tie it to its supervisor: its standard input is a pipe whose other end only the supervisor holds (it
// exits at end of file), Linux kills it when the supervisor's thread dies (PR_SET_PDEATHSIG), and ask_to_stop() and
// kill() end it.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

namespace steadytext::worker {

class ChildProgram {
public:
    // Starts `arguments[0]`; false with `reason` if the process could not be made or the program could not be executed.
    [[nodiscard]] bool start(const std::vector<std::string> &arguments, std::string &reason);

    [[nodiscard]] bool is_running() const { return pid_ > 0; }
    [[nodiscard]] pid_t pid() const { return pid_; }
    // Readable when the program wrote a line or ended; -1 when there is none.
    [[nodiscard]] int log_fd() const { return log_fd_; }

    // Takes complete lines the program wrote to its standard error.
    [[nodiscard]] std::vector<std::string> read_log();
    // True if the program has ended since the last call; `how` says how, in words.
    [[nodiscard]] bool has_ended(std::string &how);

    void ask_to_stop();  // SIGTERM
    void kill();         // SIGKILL, and waits for the end

private:
    void forget();

    pid_t pid_ = 0;
    int input_fd_ = -1;  // held open for as long as the child may live
    int log_fd_ = -1;
    std::string partial_line_;
};

}  // namespace steadytext::worker
