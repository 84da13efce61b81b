// draft-bench: what would be gained by guessing the next tokens from the prompt (docs/decisions/speculation.md).
//
//     draft-bench MODEL < prompts      one prompt a line, \n for a line end within it
//
// Answers each prompt greedily, a token at a step. Then computes the same tokens several at a step, and says how long that takes, and how many of the logits have
// the bits of single steps; and how many of the tokens a look-up of the last three or two in all that stands before would have proposed. One thread. Regime: pure; any
// failure ends it.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "daemon/llama_model.hpp"

namespace {

using namespace steadytext::daemon;
using Clock = std::chrono::steady_clock;
using Tokens = std::vector<llama_token>;

constexpr int kContext = 2'048;
constexpr int kChunk = 512;
constexpr std::size_t kMostTokens = 48;  // of an answer
constexpr int kSteps[] = {2, 3, 4, 5, 8};

[[noreturn]] void fail(const char *what) {
    std::fprintf(stderr, "draft-bench: %s\n", what);
    std::exit(1);
}

struct StepCount {
    double seconds = 0;
    int steps = 0, logits = 0, same_bits = 0, same_token = 0;
};

struct DraftCount {
    int steps_without = 0, steps_with = 0, proposed = 0, accepted = 0;
};

// What followed where the last three tokens, else the last two, stood last.
Tokens proposal(const Tokens &all, std::size_t most) {
    for (std::size_t length = 3; length >= 2; length--)
        for (std::size_t at = all.size() - std::min(all.size(), length); at-- > 0;)
            if (std::equal(all.end() - static_cast<long>(length), all.end(), all.begin() + static_cast<long>(at))) {
                const std::size_t begin = at + length, end = std::min(begin + most, all.size());
                return {all.begin() + static_cast<long>(begin), all.begin() + static_cast<long>(end)};
            }
    return {};
}

class Bench {
public:
    Bench(llama_model *model, llama_context *context)
        : vocabulary_(llama_model_get_vocab(model)), size_(llama_vocab_n_tokens(vocabulary_)), context_(context),
          memory_(llama_get_memory(context)), batch_(kChunk) {}

    void answer(const std::string &prompt) {
        const Tokens tokens = tokens_of("<|im_start|>user\n" + prompt + "<|im_end|>\n<|im_start|>assistant\n");
        llama_memory_clear(memory_, true);
        for (std::size_t i = 0; i < tokens.size(); i += kChunk)
            step({tokens.begin() + static_cast<long>(i),
                  tokens.begin() + static_cast<long>(std::min(i + kChunk, tokens.size()))},
                 i);
        Tokens answer;
        std::vector<std::vector<float>> logits;
        for (llama_token next = greatest(llama_get_logits_ith(context_, -1));
             answer.size() < kMostTokens && !llama_vocab_is_eog(vocabulary_, next);
             next = greatest(logits.back().data())) {
            answer.push_back(next);
            single_seconds_ += step({next}, tokens.size() + answer.size() - 1);
            const float *row = llama_get_logits_ith(context_, 0);
            logits.emplace_back(row, row + size_);
        }
        tokens_ += static_cast<int>(answer.size());
        for (const int width : kSteps) {
            compare(static_cast<std::size_t>(width), tokens.size(), answer, logits);
            look_up(static_cast<std::size_t>(width) - 1, tokens, answer);
        }
    }

    void report() {
        const double single = single_seconds_ / tokens_;
        std::printf("%d tokens, %.2f ms for each\n", tokens_, single * 1e3);
        for (const int width : kSteps) {
            const StepCount &step = steps_[width];
            const DraftCount &draft = drafts_[width];
            const double cost = step.seconds / step.steps / single;
            std::printf("%d at a step: %.2f of a single step's time, %d of %d logits have its bits, %d another greedy "
                        "token; %d proposed: "
                        "%d of %d accepted, tokens/s %.3f of those without\n",
                        width, cost, step.same_bits, step.logits, step.logits - step.same_token, width - 1,
                        draft.accepted, draft.proposed, tokens_ / (draft.steps_without + draft.steps_with * cost));
        }
    }

private:
    Tokens tokens_of(const std::string &text) const {
        Tokens tokens(text.size() + 8);
        const int count = llama_tokenize(vocabulary_, text.data(), static_cast<int>(text.size()), tokens.data(),
                                         static_cast<int>(tokens.size()), true, true);
        if (count < 1 || count + static_cast<int>(kMostTokens) > kContext)
            fail("a prompt is empty or too long");
        tokens.resize(static_cast<std::size_t>(count));
        return tokens;
    }

    llama_token greatest(const float *logits) const {
        return static_cast<llama_token>(std::max_element(logits, logits + size_) - logits);
    }

    double step(const Tokens &tokens, std::size_t position) {
        batch_.clear();
        for (std::size_t i = 0; i < tokens.size(); i++)
            batch_.add(tokens[i], static_cast<llama_pos>(position + i), 0, true);
        const auto start = Clock::now();
        if (llama_decode(context_, batch_.get()) != 0)
            fail("the engine could not decode");
        return std::chrono::duration<double>(Clock::now() - start).count();
    }

    // Each step has before it what single steps left.
    void compare(std::size_t width, std::size_t begin, const Tokens &answer,
                 const std::vector<std::vector<float>> &logits) {
        StepCount &count = steps_[static_cast<int>(width)];
        llama_memory_seq_rm(memory_, 0, static_cast<llama_pos>(begin), -1);
        for (std::size_t at = 0; at + width <= answer.size(); at += width) {
            const Tokens tokens(answer.begin() + static_cast<long>(at), answer.begin() + static_cast<long>(at + width));
            count.seconds += step(tokens, begin + at);
            count.steps++;
            for (std::size_t i = 0; i < width; i++) {
                const float *row = llama_get_logits_ith(context_, static_cast<int>(i));
                const std::vector<float> &alone = logits[at + i];
                count.logits++;
                count.same_bits += std::memcmp(row, alone.data(), alone.size() * sizeof *row) == 0;
                count.same_token += greatest(row) == greatest(alone.data());
            }
            llama_memory_seq_rm(memory_, 0, static_cast<llama_pos>(begin + at), -1);
            for (std::size_t i = 0; i < width; i++)
                step({tokens[i]}, begin + at + i);
        }
    }

    void look_up(std::size_t most, const Tokens &prompt, const Tokens &answer) {
        DraftCount &count = drafts_[static_cast<int>(most) + 1];
        for (std::size_t done = 1; done <= answer.size();) {  // tokens that are known
            Tokens all = prompt;
            all.insert(all.end(), answer.begin(), answer.begin() + static_cast<long>(done));
            const Tokens draft = proposal(all, most);
            std::size_t right = 0;
            while (right < draft.size() && done + right < answer.size() && draft[right] == answer[done + right])
                right++;
            (draft.empty() ? count.steps_without : count.steps_with)++;
            count.proposed += static_cast<int>(draft.size());
            count.accepted += static_cast<int>(right);
            done += right + 1;
        }
    }

    const llama_vocab *vocabulary_;
    int size_;
    llama_context *context_;
    llama_memory_t memory_;
    Batch batch_;
    int tokens_ = 0;
    double single_seconds_ = 0;
    std::map<int, StepCount> steps_;
    std::map<int, DraftCount> drafts_;
};

}  // namespace

int main(int argc, char **argv) {
    if (argc != 2)
        fail("usage: draft-bench MODEL < prompts");
    const std::atomic<bool> stopping = false;
    steadytext::core::Problem problem;
    if (!prepare_llama(0, problem))
        fail(problem.message);
    const Model model = load_model(argv[1], stopping, problem);
    if (model == nullptr)
        fail(problem.message);
    llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = kContext;
    parameters.n_batch = parameters.n_ubatch = kChunk;
    parameters.n_threads = parameters.n_threads_batch = 1;
    parameters.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    const Context context = make_context(model.get(), argv[1], parameters, problem);
    if (context == nullptr)
        fail(problem.message);
    Bench bench(model.get(), context.get());
    for (std::string line; std::getline(std::cin, line);) {
        std::string prompt;
        for (std::size_t i = 0; i < line.size(); i++) {
            const bool is_end = line.compare(i, 2, "\\n") == 0;
            prompt += is_end ? '\n' : line[i];
            i += is_end;
        }
        bench.answer(prompt);
    }
    bench.report();
    return 0;
}
