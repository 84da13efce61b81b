// A child that runs `steadytextd --try`, and what it does: see model_trial.hpp. Regime: pure.
#include "daemon/model_trial.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>

#include "daemon/llama_model.hpp"
#include "daemon/model_file.hpp"

namespace steadytext::daemon {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::minutes(10);
constexpr int kLookEveryMs = 100;
constexpr std::size_t kMostSaid = 4'096;
constexpr std::string_view kOwnPrefix = "steadytextd: ";

// Between fork and exec only what is safe in a process with threads.
pid_t start_child(const std::string &path, int output) {
    const char *const arguments[] = {"steadytextd", "--try", path.c_str(), nullptr};
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child != 0)
        return child;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int nothing = open("/dev/null", O_RDWR);
    if (getppid() != parent || dup2(nothing, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(output, STDERR_FILENO) < 0)
        _exit(127);
    execv("/proc/self/exe", const_cast<char *const *>(arguments));
    _exit(127);
}

// The last line that it said, without this program's name before it.
std::string last_line(std::string said) {
    while (!said.empty() && (said.back() == '\n' || said.back() == ' '))
        said.pop_back();
    std::string line = said.substr(said.rfind('\n') + 1);
    if (line.starts_with(kOwnPrefix))
        line.erase(0, kOwnPrefix.size());
    return line;
}

class Descriptors {
public:
    Descriptors() { is_open_ = pipe2(ends_, O_CLOEXEC) == 0; }
    Descriptors(const Descriptors &) = delete;
    Descriptors &operator=(const Descriptors &) = delete;
    ~Descriptors() {
        if (is_open_)
            close(ends_[0]);
        close_writing();
    }
    void close_writing() {
        if (is_open_ && ends_[1] >= 0)
            close(ends_[1]);
        ends_[1] = -1;
    }
    [[nodiscard]] bool is_open() const { return is_open_; }
    [[nodiscard]] int reading() const { return ends_[0]; }
    [[nodiscard]] int writing() const { return ends_[1]; }

private:
    int ends_[2] = {-1, -1};
    bool is_open_;
};

// Reads until the child closes its end. False: it is not to be waited for any longer.
bool read_all(int descriptor, const std::atomic<bool> &stopping, std::string &said) {
    const auto end = Clock::now() + kPatience;
    char part[1'024];
    while (!stopping.load(std::memory_order_relaxed) && Clock::now() < end) {
        pollfd item = {descriptor, POLLIN, 0};
        if (poll(&item, 1, kLookEveryMs) <= 0)
            continue;
        const ssize_t got = read(descriptor, part, sizeof part);
        if (got <= 0)
            return true;
        said.append(part, static_cast<std::size_t>(got));
        if (said.size() > kMostSaid)
            said.erase(0, said.size() - kMostSaid);
    }
    return false;
}

}  // namespace

bool model_works(const std::string &path, const std::atomic<bool> &stopping, core::Problem &problem) {
    const auto refuse = [&](const char *what, const char *more) {
        return problem.set(core::sqlstate::kInvalidParameterValue, "%s%s", what, more);
    };
    Descriptors pipe;
    const pid_t child = pipe.is_open() ? start_child(path, pipe.writing()) : -1;
    if (child < 0)
        return refuse("it could not be tried: ", std::strerror(errno));
    pipe.close_writing();
    std::string said;
    const bool has_ended = read_all(pipe.reading(), stopping, said);
    if (!has_ended)
        kill(child, SIGKILL);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!has_ended)
        return refuse("loading it takes too long", "");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    const std::string line = last_line(said);
    if (WIFSIGNALED(status))
        return refuse("the engine breaks down over it: ", line.empty() ? strsignal(WTERMSIG(status)) : line.c_str());
    return refuse(line.empty() ? "it could not be tried" : line.c_str(), "");
}

bool try_model(const std::string &path, core::Problem &problem) {
    constexpr int kTokens = 4;
    if (!check_model_file(path, problem))
        return false;
    const std::atomic<bool> stopping = false;
    const Model model = load_model(path, stopping, problem);
    if (model == nullptr)
        return false;
    llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 64;
    parameters.n_threads = parameters.n_threads_batch = 1;
    parameters.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    const Context context = make_context(model.get(), path, parameters, problem);
    if (context == nullptr)
        return false;
    if (llama_vocab_n_tokens(llama_model_get_vocab(model.get())) < kTokens)
        return problem.set(core::sqlstate::kInvalidParameterValue, "model \"%s\" has no vocabulary", path.c_str());
    Batch batch(kTokens);
    for (int i = 0; i < kTokens; i++)
        batch.add(i, i, 0, i == kTokens - 1);
    const bool decodes = llama_get_memory(context.get()) != nullptr;
    if ((decodes ? llama_decode(context.get(), batch.get()) : llama_encode(context.get(), batch.get())) != 0)
        return problem.set(core::sqlstate::kInvalidParameterValue, "model \"%s\" does not compute", path.c_str());
    return true;
}

}  // namespace steadytext::daemon
