// A prompt's way into the cache: prepared by the pool, computed in turns, its prefix kept for others: see generator.hpp.
// Regime: pure.
#include "daemon/generator.hpp"

#include <algorithm>
#include <functional>

namespace steadytext::daemon {

namespace {

// Tokens of a prefix that is worth keeping: fewer are computed about as fast as they are copied.
constexpr std::size_t kLeastShared = 16;

// Besides the model's own end tokens, these texts end an answer, should a model spell them out (as in the original
// daemon).
constexpr const char *kDefaultStops[] = {"<|im_end|>", "<|im_start|>", "</s>", "<|endoftext|>"};

// A constrained answer ends where its constraint says, and may contain any of these texts.
std::vector<std::string> stops_of(const GenerateTask &task) {
    if (task.constraint.kind != Constraint::Kind::None)
        return {};
    std::vector<std::string> stops(std::begin(kDefaultStops), std::end(kDefaultStops));
    if (!task.eos_string.empty())
        stops.push_back(task.eos_string);
    return stops;
}

Sampler make_sampler(const GenerateTask &task) {
    if (task.temperature <= 0 || task.constraint.kind != Constraint::Kind::None)
        return nullptr;
    Sampler chain(llama_sampler_chain_init(llama_sampler_chain_default_params()));
    llama_sampler_chain_add(chain.get(), llama_sampler_init_top_k(40));
    llama_sampler_chain_add(chain.get(), llama_sampler_init_top_p(0.95F, 1));
    llama_sampler_chain_add(chain.get(), llama_sampler_init_min_p(0.05F, 1));
    llama_sampler_chain_add(chain.get(), llama_sampler_init_temp(task.temperature));
    llama_sampler_chain_add(chain.get(), llama_sampler_init_dist(task.seed));
    return chain;
}

// Describes the form of a constrained answer: a model does better when it knows the form.
std::string description_of(const Constraint &constraint) {
    switch (constraint.kind) {
    case Constraint::Kind::Schema:
        return "Answer with JSON that satisfies this schema:\n" + constraint.text;
    case Constraint::Kind::Regex:
        return "Answer with a text that matches this regular expression: " + constraint.text;
    case Constraint::Kind::Choices: {
        std::string text = "Answer with one of these:";
        for (const std::string &choice : constraint.choices)
            text += "\n" + choice;
        return text;
    }
    case Constraint::Kind::None:
        break;
    }
    return {};
}

// The prompt with the description of its answer's form: behind it, or at the end of a prefix, as other requests want the
// same form.
struct ToldPrompt {
    std::string prefix;
    std::string input;
    bool is_cut;
};
ToldPrompt told_prompt(const GenerateTask &task) {
    constexpr std::string_view kBetween = "\n\n";
    const std::string description = description_of(task.constraint);
    const std::string_view prompt = task.prompt;
    if (!task.prefix_bytes.has_value())
        return {{}, task.prompt + (description.empty() ? "" : std::string(kBetween) + description), false};
    ToldPrompt told{std::string(prompt.substr(0, *task.prefix_bytes)), std::string(prompt.substr(*task.prefix_bytes)),
                    true};
    if (description.empty())
        return told;
    told.prefix.resize(told.prefix.find_last_not_of(" \n") + 1);
    told.prefix += (told.prefix.empty() ? "" : std::string(kBetween)) + description + std::string(kBetween);
    return told;
}

// Who may share a computed prefix: those who name the same scope, or else a client with itself.
std::string scope_of(const Job<GenerateTask> &job) {
    return job.task.scope.empty() ? "client " + std::to_string(job.peer) : "scope " + job.task.scope;
}

}  // namespace

// --- preparing, by the pool ---

// Runs on a thread of the pool. It only reads the model's vocabulary and templates.
void Generator::prepare(const Job<GenerateTask> &job, Prepared &prepared) const {
    const GenerateTask &task = job.task;
    if (is_given_up(job))
        return;
    if (!template_.error().empty()) {
        prepared.error = template_.error();
        return;
    }
    const ToldPrompt told = told_prompt(task);
    // The requested answer must fit too, but takes at most half of the context from the prompt.
    const int reserved = std::min(task.max_new_tokens, options_.context / 2);
    const int allowed = options_.context - reserved;
    const auto refuse = [&](const char *about, std::size_t tokens) {
        prepared.error = "Input is too long: " + std::string(about) + std::to_string(tokens) +
                         " tokens. Maximum allowed: " + std::to_string(allowed);
    };
    // If a text is too long for any allowed number of tokens, it is not tokenized: that takes seconds and cannot be
    // interrupted.
    constexpr std::size_t kLongestSpecial = 64;
    const std::size_t longest = std::max(tokens_.longest(), kLongestSpecial);
    const std::size_t bytes = told.prefix.size() + told.input.size();
    if (bytes > static_cast<std::size_t>(allowed) * longest)
        return refuse("at least ", bytes / longest);
    if (is_given_up(job))
        return;
    ChatTemplate::Tokens tokens = template_.tokens({told.prefix, told.input, told.is_cut});
    prepared.prompt = std::move(tokens.all);
    prepared.prefix = tokens.prefix < prepared.prompt.size() ? tokens.prefix : 0;
    const int length = static_cast<int>(prepared.prompt.size());
    if (length > allowed)
        return refuse("", prepared.prompt.size());
    prepared.limit = std::min(task.max_new_tokens, options_.context - length);
    if (task.constraint.kind == Constraint::Kind::None)
        return;
    auto constrained = std::make_shared<ConstrainedText>(tokens_);
    const std::function<bool()> given_up = [&] { return is_given_up(job); };
    core::Work work(core::constraint::kMaxCompilingSteps, ask_whether, const_cast<std::function<bool()> *>(&given_up));
    if (constrained->begin(task.constraint, prepared.limit, work, prepared.error))
        prepared.constrained = std::move(constrained);
}

void Generator::handle(Prepared prepared) {
    static_assert(std::size(kDefaultStops) == kDefaultStopCount);
    const std::optional<std::size_t> slot = slot_of(prepared.serial);
    if (!slot.has_value())
        return;
    if (!prepared.error.empty())
        return fail(*slot, std::move(prepared.error));
    Request &request = *slots_[*slot];
    request.prompt = std::move(prepared.prompt);
    request.prefix = prepared.prefix;
    if (shares_prefixes_ && request.prefix >= kLeastShared)
        request.prefix_key = PrefixCache::key(scope_of(*request.job), request.prompt.data(), request.prefix);
    request.limit = prepared.limit;
    request.constrained = std::move(prepared.constrained);
    request.sampler = make_sampler(request.job->task);
    request.tail = TextTail(stops_of(request.job->task));
    request.phase = Phase::Prefilling;
}

// --- computing ---

// Computes prompts until a turn's worth of tokens is done. Short prompts go in together. A long prompt delays the slots
// that decode, and the prompts that come meanwhile, by at most a turn.
void Generator::prefill() {
    const bool somebody_decodes = std::any_of(slots_.begin(), slots_.end(), [](const auto &slot) {
        return slot.has_value() && (slot->phase == Phase::Decoding || slot->phase == Phase::Choosing);
    });
    std::size_t left = in_pieces_ ? turns_.tokens(somebody_decodes) : kChunk;
    turns_.begin_turn();
    if (others_compute_)
        prefill_background_beside_others();
    while (left > 0 && !was_broken_off_) {
        const std::vector<PromptTurns::Prompt> open = prompts(!others_compute_);
        if (open.empty())
            return;
        left -= std::min(left, prefill_piece(turns_.next(open).slot, in_pieces_ ? left : kChunk));
    }
}

// A piece of a quarter of a turn.
void Generator::prefill_background_beside_others() {
    const std::vector<PromptTurns::Prompt> open = prompts(true);
    if (background_.has_turn() && !open.empty())
        (void)prefill_piece(turns_.next(open).slot, in_pieces_ ? turns_.tokens() / 4 : kChunk);
}

// The prompts of a class that are not completely in the cache.
std::vector<PromptTurns::Prompt> Generator::prompts(bool is_background) const {
    const auto at_work = this->at_work();
    std::vector<PromptTurns::Prompt> prompts;
    for (std::size_t slot = 0; slot < slots_.size(); slot++)
        if (const auto &request = slots_[slot]; request.has_value() && request->phase == Phase::Prefilling &&
                                                request->is_background() == is_background &&
                                                !waits_for_prefix(*request))
            prompts.push_back({slot, request->prompt.size() - request->prefilled, request->job->serial,
                               at_work.at(request->job->peer)});
    return prompts;
}

// True if an earlier request is computing the same prefix, which this one takes when it is kept.
bool Generator::waits_for_prefix(const Request &request) const {
    const auto computes_it = [&](const std::optional<Request> &other) {
        return other.has_value() && other->phase == Phase::Prefilling && other->job->serial < request.job->serial &&
               other->is_background() <= request.is_background() && other->prefilled < other->prefix &&
               other->prefix_key == request.prefix_key;
    };
    return !request.prefix_key.empty() && request.prefilled == 0 &&
           std::any_of(slots_.begin(), slots_.end(), computes_it);
}

// Takes the prefix from what is kept; false if it must be computed.
bool Generator::restore_prefix(std::size_t slot) {
    Request &request = *slots_[slot];
    if (request.prefix_key.empty() || request.prefilled > 0)
        return false;
    const PrefixCache::Bytes *bytes = prefixes_.find(request.prefix_key);
    const auto sequence = static_cast<llama_seq_id>(slot);
    if (bytes == nullptr)
        return false;
    if (llama_state_seq_set_data(context_.get(), bytes->data(), bytes->size(), sequence) != bytes->size()) {
        llama_memory_seq_rm(llama_get_memory(context_.get()), sequence, -1, -1);
        return false;
    }
    request.prefilled = request.prefix;
    return true;
}

void Generator::keep_prefix(std::size_t slot) {
    const auto sequence = static_cast<llama_seq_id>(slot);
    const std::size_t size = llama_state_seq_get_size(context_.get(), sequence);
    if (!prefixes_.has_room_for(size))
        return;
    PrefixCache::Bytes bytes(size);
    if (llama_state_seq_get_data(context_.get(), bytes.data(), size, sequence) == size)
        prefixes_.keep(slots_[slot]->prefix_key, std::move(bytes));
}

// Computes about `most` tokens, or the rest of a run: the prefix is one, the rest of the prompt is another. Returns how
// many.
std::size_t Generator::prefill_piece(std::size_t slot, std::size_t most) {
    Request &request = *slots_[slot];
    (void)restore_prefix(slot);
    const std::size_t begin = request.prefilled < request.prefix ? 0 : request.prefix;
    const std::size_t run = (begin == 0 && request.prefix > 0 ? request.prefix : request.prompt.size()) - begin;
    const std::size_t end = request.prefilled + PromptTurns::piece(request.prefilled - begin, run, kChunk, most);
    batch_->clear();
    for (std::size_t i = request.prefilled; i < end; i++)
        batch_->add(request.prompt[i], static_cast<llama_pos>(i), static_cast<llama_seq_id>(slot),
                    i + 1 == request.prompt.size());
    computed_for_.push_back(&request);
    const auto start = Clock::now();
    const Computed computed = compute(request.is_background() ? static_cast<std::size_t>(batch_->size()) : 0);
    const int count = batch_->size();
    if (computed == Computed::Failed)
        fail(slot, "The engine could not process the prompt");
    if (computed != Computed::Yes)
        return static_cast<std::size_t>(count);
    turns_.computed(static_cast<std::size_t>(count), std::chrono::duration<double>(Clock::now() - start).count());
    request.prefilled = end;
    request.position = static_cast<llama_pos>(end);
    if (end == request.prefix && !request.prefix_key.empty())
        keep_prefix(slot);
    if (request.prefilled == request.prompt.size())
        choose_next(slot, count - 1);
    return static_cast<std::size_t>(count);
}

}  // namespace steadytext::daemon
