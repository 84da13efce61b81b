// Loads the model as the engines do, looks and measures: see model_report.hpp. Regime: pure.
#include "daemon/model_report.hpp"

#include <strings.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <string>
#include <string_view>

#include <ggml-backend.h>

#include "daemon/chat_template.hpp"
#include "daemon/decode_check.hpp"
#include "daemon/kernel_speed.hpp"
#include "daemon/llama_model.hpp"
#include "daemon/model_file.hpp"

namespace steadytext::daemon {

namespace {

using Clock = std::chrono::steady_clock;

__attribute__((format(printf, 2, 3))) void say(const char *what, const char *format, ...) {
    std::printf("%-12s ", what);
    va_list arguments;
    va_start(arguments, format);
    std::vprintf(format, arguments);
    va_end(arguments);
    std::puts("");
    std::fflush(stdout);
}

const char *yes_or_no(bool value) { return value ? "yes" : "no"; }

// What llama.cpp makes use of. The kernels may be a library that was loaded, so they are asked by name.
std::string processor() {
    constexpr std::string_view kWorthTelling[] = {"AVX2",        "FMA",         "AVX_VNNI", "AVX512",
                                                  "AVX512_VNNI", "AVX512_BF16", "AMX_INT8", "NEON",
                                                  "DOTPROD",     "MATMUL_INT8", "SVE"};
    const ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    const auto features_of = reinterpret_cast<ggml_backend_get_features_t>(
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_get_features"));
    std::string text;
    for (const ggml_backend_feature *feature =
             features_of == nullptr ? nullptr : features_of(ggml_backend_dev_backend_reg(device));
         feature != nullptr && feature->name != nullptr; feature++)
        if (std::find(std::begin(kWorthTelling), std::end(kWorthTelling), feature->name) != std::end(kWorthTelling) &&
            std::string_view(feature->value) != "0")
            text.append(text.empty() ? "" : " ").append(feature->name);
    return (text.empty() ? "none that llama.cpp makes use of" : text) + device_settings();
}

// "Q4_1" of "Q4_1", "Q4_K" of "Q4_K - Medium".
std::string quantisation_of(const llama_model *model) {
    const std::string name = llama_ftype_name(llama_model_ftype(model));
    return name.substr(0, name.find(' '));
}

// Tokens a second of a step, the best of three.
double rate(llama_context *context, Batch &batch, int tokens, int sequences) {
    double best = 0;
    for (int run = 0; run < 3; run++) {
        batch.clear();
        llama_memory_clear(llama_get_memory(context), false);
        for (int i = 0; i < tokens; i++)
            batch.add(i % 100 + 100, i / sequences, i % sequences, i >= tokens - sequences);
        const auto start = Clock::now();
        if (llama_decode(context, batch.get()) != 0)
            return 0;
        best = std::max(best, tokens / std::chrono::duration<double>(Clock::now() - start).count());
    }
    return best;
}

class Report {
public:
    Report(const Options &options, llama_model *model) : options_(options), model_(model) {}

    bool write(core::Problem &problem) {
        describe();
        if (is_generator())
            return write_of_generator(problem) && (write_kernels(), true);
        write_kernels();
        return true;
    }

private:
    [[nodiscard]] std::string property(const char *name) const {
        char architecture[128] = "", value[16] = "";
        llama_model_meta_val_str(model_, "general.architecture", architecture, sizeof architecture);
        llama_model_meta_val_str(model_, (std::string(architecture) + "." + name).c_str(), value, sizeof value);
        return value;
    }
    [[nodiscard]] bool is_reranker() const {
        return property("pooling_type") == std::to_string(LLAMA_POOLING_TYPE_RANK);
    }
    // A model whose file names a way to pool embeds.
    [[nodiscard]] bool is_generator() const {
        const std::string pooling = property("pooling_type");
        return property("attention.causal") != "false" &&
               (pooling.empty() || pooling == std::to_string(LLAMA_POOLING_TYPE_NONE));
    }

    void describe() const {
        char text[256] = "";
        llama_model_desc(model_, text, sizeof text);
        say("model", "%s, %.0f million parameters, %.0f MB", text,
            static_cast<double>(llama_model_n_params(model_)) / 1e6,
            static_cast<double>(llama_model_size(model_)) / 1e6);
        say("window", "%d tokens", llama_model_n_ctx_train(model_));
        if (is_reranker())
            say("use", "--reranker-model: scores a document for a query");
        else if (is_generator())
            say("use", "--model: generates");
        else
            say("use", "--embedding-model: vectors of %d numbers", llama_model_n_embd_out(model_));
    }

    bool write_of_generator(core::Problem &problem) {
        const ChatTemplate chat(model_);
        if (!chat.error().empty())
            return problem.set(core::sqlstate::kInvalidParameterValue, "%s", chat.error().c_str());
        say("template", "works, %zu tokens around a prompt",
            chat.tokens({{}, "prompt"}).all.size() - static_cast<std::size_t>(chat.tokenizer().count("prompt")));

        llama_context_params parameters = llama_context_default_params();
        const int context_tokens = std::min(options_.context, llama_model_n_ctx_train(model_));
        parameters.n_ctx = static_cast<std::uint32_t>(options_.slots) * static_cast<std::uint32_t>(context_tokens);
        parameters.n_seq_max = static_cast<std::uint32_t>(options_.slots);
        parameters.kv_unified = false;
        parameters.n_batch = parameters.n_ubatch = std::max<std::uint32_t>(512, parameters.n_seq_max);
        parameters.n_threads = parameters.n_threads_batch = options_.threads;
        parameters.flash_attn_type =
            options_.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
        const Context context = make_context(model_, options_.check, parameters, problem);
        if (context == nullptr)
            return false;
        const auto start = Clock::now();
        const Invariance invariance = check_invariance(context.get(), options_.slots);
        const double took = std::chrono::duration<double>(Clock::now() - start).count();
        say("same bits", "in full batches: %s; prompts in pieces: %s; kept prefixes: %s (checked in %.1f s)",
            yes_or_no(invariance.batch), yes_or_no(invariance.pieces), yes_or_no(invariance.prefixes), took);
        if (!invariance.batch)
            say("", "so requests are served one at a time");

        Batch batch(static_cast<int>(parameters.n_batch));
        say("tokens/s", "prompt: %.0f; decoding alone: %.0f; decoding for %d at once: %.0f (threads: %d)",
            rate(context.get(), batch, std::min(128, context_tokens - 1), 1), rate(context.get(), batch, 1, 1),
            options_.slots, rate(context.get(), batch, options_.slots, options_.slots), options_.threads);
        return true;
    }

    void write_kernels() const {
        constexpr std::int64_t kMaxNumbers = 8 << 20;
        const auto size = std::min<std::int64_t>(kMaxNumbers, static_cast<std::int64_t>(llama_model_n_params(model_)));
        const std::string own = quantisation_of(model_);
        const std::vector<KernelSpeed> speeds = measure_kernels(llama_model_n_embd(model_), size, options_.threads);
        const auto mine = std::find_if(speeds.begin(), speeds.end(), [&](const KernelSpeed &speed) {
            return strcasecmp(ggml_type_name(speed.type), own.c_str()) == 0;
        });
        say("processor", "%s", processor().c_str());
        if (mine == speeds.end()) {
            say("kernels", "%s is not among those that are measured", own.c_str());
            return;
        }
        say("kernels", "as fast as %s on this processor, prompts / decoding:", own.c_str());
        // Of both speeds, as a request has a prompt and an answer
        const auto gain = [&](const KernelSpeed &speed) {
            return std::sqrt(mine->prompt / speed.prompt * mine->decoded / speed.decoded);
        };
        const KernelSpeed *fastest = &*mine;
        for (const KernelSpeed &speed : speeds) {
            say("", "%-8s %5.2f / %5.2f", ggml_type_name(speed.type), mine->prompt / speed.prompt,
                mine->decoded / speed.decoded);
            if (gain(speed) > gain(*fastest))
                fastest = &speed;
        }
        constexpr double kWorthIt = 1.1;
        if (gain(*fastest) >= kWorthIt)
            say("faster", "%s; its answers are another model's, so judge them first", ggml_type_name(fastest->type));
        else
            say("faster", "none by a tenth");
    }

    const Options &options_;
    llama_model *model_;
};

}  // namespace

bool report_model(const Options &options, core::Problem &problem) {
    const std::atomic<bool> stopping = false;
    const Model model = load_model(options.check, stopping, problem);
    return model != nullptr && Report(options, model.get()).write(problem);
}

}  // namespace steadytext::daemon
