// What steadytextd's own way to structured output does and costs, without a model's computing: the side of it in
// bench/masks.
//
//     mask_bench MODEL vocabulary            > one line: {"tokens": [bytes as hex, ...], "end": N}
//     mask_bench MODEL masks        < CASES  > a line for each case: what compiling it took, what became of each text,
//     what each token took mask_bench MODEL finish COUNT < CASES  > a line for each case: a text of at most COUNT
//     tokens, chosen by chance, or why there is none
//
// A case is a line {"schema": "...", "tokens": [[...], ...]}. MODEL is a GGUF file, of which only the vocabulary is
// read. A text is taken if each of its tokens is the one that is chosen when it is the likeliest but one that may not
// stand there at all: so all tokens are looked at, as a mask over the vocabulary would be made ("us"). "favourite_us"
// is what the same token takes when it is the likeliest, which is how it is most of the time when a model speaks.
// Regime: pure.
#include "daemon/constrained_text.hpp"

#include <llama.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <random>
#include <string>
#include <vector>

namespace {

using nlohmann::json;
using steadytext::core::Work;
using namespace steadytext::daemon;

constexpr int kMaxTokens = 100'000;  // of a text that is only read: its end is not what is measured

double us_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

std::string as_hex(const std::string &bytes) {
    std::string hex;
    char digits[3];
    for (const char byte : bytes) {
        std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(byte));
        hex += digits;
    }
    return hex;
}

class Bench {
public:
    explicit Bench(const llama_vocab *vocabulary)
        : vocabulary_(vocabulary), table_(vocabulary), logits_(static_cast<std::size_t>(table_.size())) {
        while (silent_ < table_.size() && !table_.piece(silent_).empty())
            silent_++;
    }

    [[nodiscard]] json vocabulary() const {
        json tokens = json::array();
        for (llama_token token = 0; token < table_.size(); token++)
            tokens.push_back(as_hex(table_.piece(token)));
        return {{"tokens", tokens}, {"end", llama_vocab_eos(vocabulary_)}};
    }

    [[nodiscard]] json masks(const json &bench_case) {
        json result{{"texts", json::array()}, {"compile_us", 0.0}};
        {
            const auto start = std::chrono::steady_clock::now();
            ConstrainedText text(table_);
            if (!begin(text, bench_case, kMaxTokens, result))
                return result;
            result["compile_us"] = us_since(start);
        }
        for (const auto &tokens : bench_case["tokens"]) {
            ConstrainedText looked(table_), liked(table_);
            if (!begin(looked, bench_case, kMaxTokens, result) || !begin(liked, bench_case, kMaxTokens, result))
                return result;
            json one = walk(looked, tokens, 2);
            one["favourite_us"] = walk(liked, tokens, 0)["us"];
            result["texts"].push_back(one);
        }
        return result;
    }

    [[nodiscard]] json finish(const json &bench_case, int count) {
        json result = json::object();
        ConstrainedText text(table_);
        if (!begin(text, bench_case, count, result))
            return result;
        std::mt19937 chance(1);
        std::string answer;
        for (int i = 0; i <= count; i++) {
            for (float &logit : logits_)
                logit = static_cast<float>(chance());
            Work work(text.allowance());
            const ConstrainedText::Choice choice = text.next(logits_.data(), work);
            if (choice.kind == ConstrainedText::Choice::Kind::WorkEnded)
                return {{"error", "too much work"}};
            if (choice.kind == ConstrainedText::Choice::Kind::Token)
                answer += table_.piece(choice.token);
            if (choice.kind == ConstrainedText::Choice::Kind::End || choice.is_complete)
                return {{"text", answer}};
        }
        return {{"unfinished", answer}};
    }

private:
    [[nodiscard]] static bool begin(ConstrainedText &text, const json &bench_case, int most, json &result) {
        Work work(steadytext::core::constraint::kMaxCompilingSteps);
        std::string error;
        if (text.begin(
                {.kind = Constraint::Kind::Schema, .text = bench_case["schema"].get<std::string>(), .choices = {}},
                most, work, error))
            return true;
        result["error"] = error;
        return false;
    }

    // `rival`: how likely the token that may not stand there is; those of the text are 1.
    [[nodiscard]] json walk(ConstrainedText &text, const json &tokens, float rival) {
        json one{{"us", json::array()}, {"taken", true}};
        std::fill(logits_.begin(), logits_.end(), 0.0F);
        logits_[static_cast<std::size_t>(silent_)] = rival;
        for (const auto &item : tokens) {
            const auto token = item.get<llama_token>();
            logits_[static_cast<std::size_t>(token)] = 1;
            Work work(text.allowance());
            const auto start = std::chrono::steady_clock::now();
            const ConstrainedText::Choice choice = text.next(logits_.data(), work);
            one["us"].push_back(us_since(start));
            logits_[static_cast<std::size_t>(token)] = 0;
            one["taken"] = choice.kind == ConstrainedText::Choice::Kind::Token && choice.token == token;
            if (choice.kind == ConstrainedText::Choice::Kind::WorkEnded)
                one["error"] = "too much work";
            if (!one["taken"].get<bool>())
                break;
        }
        return one;
    }

    const llama_vocab *vocabulary_;
    TokenTable table_;
    std::vector<float> logits_;
    llama_token silent_ = 0;  // writes nothing, so it may never stand in an answer
};

}  // namespace

int main(int count, char **arguments) {
    const std::string what = count > 2 ? arguments[2] : "";
    if (count != (what == "finish" ? 4 : 3))
        return 2;
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_model_params parameters = llama_model_default_params();
    parameters.vocab_only = true;
    llama_model *model = llama_model_load_from_file(arguments[1], parameters);
    if (model == nullptr)
        return 1;
    Bench bench(llama_model_get_vocab(model));
    if (what == "vocabulary") {
        std::cout << bench.vocabulary() << "\n";
        return 0;
    }
    for (std::string line; std::getline(std::cin, line);) {
        const json bench_case = json::parse(line);
        if (what == "masks")
            std::cout << bench.masks(bench_case) << std::endl;
        else
            std::cout << bench.finish(bench_case, std::atoi(arguments[3])) << std::endl;
    }
    return 0;
}
