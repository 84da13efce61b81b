// Start-up, decoding steps and endings: see generator.hpp. Regime: pure.
#include "daemon/generator.hpp"

#include <algorithm>
#include <functional>

#include "daemon/decode_check.hpp"
#include "daemon/log.hpp"

namespace steadytext::daemon {

namespace {

// Requests in the background that decode in a step beside others. The oldest: better that a few end than that all last.
constexpr std::size_t kMaxBeside = 4;

// The first of the greatest logits. Two passes, as the compiler turns the first pass into vector code.
llama_token greatest(const float *logits, int count) {
    constexpr int kLanes = 16;
    float lanes[kLanes];
    std::fill_n(lanes, kLanes, logits[0]);
    int i = 0;
    for (; i + kLanes <= count; i += kLanes)
        for (int lane = 0; lane < kLanes; lane++)
            lanes[lane] = logits[i + lane] > lanes[lane] ? logits[i + lane] : lanes[lane];
    float most = *std::max_element(lanes, lanes + kLanes);
    for (; i < count; i++)
        most = std::max(most, logits[i]);
    return static_cast<llama_token>(std::find(logits, logits + count, most) - logits) % count;
}

}  // namespace

Generator::Generator(const Options &options, ModelFile file, Outbox &outbox)
    : options_(options), file_(std::move(file)), outbox_(outbox), turns_(kChunk),
      prefixes_(static_cast<std::size_t>(options.prefix_memory) << 20), counter_(outbox), thread_([this] { run(); }) {}

Generator::~Generator() {
    stopping_.store(true, std::memory_order_relaxed);
    inbox_.close();
    thread_.join();
}

// --- start-up ---

std::string Generator::settings(const Options &options) {
    return "generation context=" + std::to_string(options.context) + " chunk=" + std::to_string(kChunk) +
           " flash_attention=" + std::to_string(static_cast<int>(options.flash_attention)) +
           (options.flash_attention ? " threads=" + std::to_string(options.threads) : "") + " user_text=plain";
}

bool Generator::load(core::Problem &problem) {
    ModelInfo info{.role = "generation", .name = file_.name, .context = options_.context};
    if (!fingerprint_of(file_, settings(options_), stopping_, info.fingerprint, problem))
        return false;
    model_ = load_model(file_.path, stopping_, problem);
    if (model_ == nullptr)
        return false;
    vocabulary_ = llama_model_get_vocab(model_.get());

    const auto slots = static_cast<std::uint32_t>(options_.slots);
    llama_context_params parameters = llama_context_default_params();
    parameters.n_ctx = slots * static_cast<std::uint32_t>(options_.context);
    parameters.n_seq_max = slots;
    parameters.kv_unified = false;
    parameters.n_batch = parameters.n_ubatch = std::max<std::uint32_t>(kChunk, slots);
    parameters.n_threads = parameters.n_threads_batch = options_.threads;
    parameters.flash_attn_type =
        options_.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    parameters.abort_callback_data = this;
    parameters.abort_callback = [](void *self) { return static_cast<const Generator *>(self)->is_in_vain(); };
    context_ = make_context(model_.get(), file_.path, parameters, problem);
    if (context_ == nullptr)
        return false;

    tokens_ = TokenTable(vocabulary_);
    template_ = ChatTemplate(model_.get());
    if (!template_.error().empty())
        log_line("%s", template_.error().c_str());
    plain_ = Tokenizer(model_.get());
    counter_.start(plain_);
    batch_.emplace(static_cast<int>(parameters.n_batch));
    slots_.resize(slots);
    const Invariance invariance =
        file_.invariance.has_value() ? *file_.invariance : check_invariance(context_.get(), options_.slots);
    info.invariance = invariance;
    usable_slots_ = invariance.batch ? slots : 1;
    in_pieces_ = invariance.pieces;
    parks_ = invariance.prefixes;
    shares_prefixes_ = info.shares_prefixes = invariance.prefixes && options_.prefix_memory > 0;
    if (!invariance.prefixes)
        log_line("this model's tokens would depend on whether a prefix was kept, so none is");
    if (usable_slots_ > 1 && !in_pieces_)
        log_line("this model's tokens would depend on how a prompt is cut, so a long one holds up others for %d tokens "
                 "at a time",
                 kChunk);
    preparing_.emplace(usable_slots_, WorkerPool::Tasks::Short);
    choosing_.emplace(usable_slots_, WorkerPool::Tasks::Long);
    outbox_.post(0, std::move(info));
    return true;
}

void Generator::run() {
    core::Problem problem;
    if (!load(problem)) {
        outbox_.post(0, LoadFailure{"generation", file_.name, problem});
        return;
    }
    while (take_arrivals()) {
        release_abandoned();
        admit();
        others_compute_ = std::any_of(slots_.begin(), slots_.end(), [](const auto &slot) {
            return slot.has_value() && !slot->is_background() && slot->is_computable();
        });
        was_broken_off_ = false;
        prefill();
        if (!was_broken_off_)
            decode();
    }
}

bool Generator::busy() const {
    return std::any_of(slots_.begin(), slots_.end(), [](const auto &slot) { return slot.has_value(); });
}

// True if there is work that does not wait for others.
bool Generator::has_work() const {
    if (fills_gaps() && free_slot().has_value())
        return true;
    return std::any_of(slots_.begin(), slots_.end(), [](const auto &slot) {
        return slot.has_value() && (slot->is_computable() || slot->job->is_abandoned());
    });
}

std::optional<std::size_t> Generator::slot_of(std::uint64_t serial) const {
    const auto found = std::find_if(slots_.begin(), slots_.end(),
                                    [&](const auto &slot) { return slot.has_value() && slot->job->serial == serial; });
    return found == slots_.end() ? std::nullopt : std::optional(static_cast<std::size_t>(found - slots_.begin()));
}

// --- taking on ---

void Generator::put(Arrival arrival, bool is_background) {
    inbox_.put(std::move(arrival));
    if (!is_background)
        yield_.raise();
}

bool Generator::take_arrivals() {
    yield_.lower();
    if (!inbox_.take(arrivals_, !has_work()))
        return false;
    for (; !arrivals_.empty(); arrivals_.pop_front()) {
        Arrival &arrival = arrivals_.front();
        if (auto *job = std::get_if<SharedJob>(&arrival))
            waiting_.put({(*job)->peer, (*job)->is_background, *job});
        else if (auto *prepared = std::get_if<Prepared>(&arrival))
            handle(std::move(*prepared));
        else
            handle(std::get<Chosen>(arrival));
    }
    return true;
}

void Generator::start(std::size_t slot, SharedJob job) {
    slots_[slot].emplace(Request{.job = job, .tail = TextTail({})});
    slots_in_use_.fetch_add(1, std::memory_order_relaxed);
    preparing_->submit([this, job = std::move(job)] {
        Prepared prepared{.serial = job->serial};
        prepare(*job, prepared);
        put(std::move(prepared), job->is_background);
    });
}

// --- computing ---

// llama.cpp calls this between the operations of a step. True if no request waits for the results any more.
bool Generator::is_in_vain() const noexcept {
    const bool abandoned =
        !computed_for_.empty() && std::all_of(computed_for_.begin(), computed_for_.end(),
                                              [](const Request *request) { return request->job->is_abandoned(); });
    return abandoned || stopping_.load(std::memory_order_relaxed) || yield_.breaks_off();
}

// Computes the batch, in which so many rows are in the background. If it is broken off, the cache is as it was before,
// but for sequences of which some may have been computed already.
Generator::Computed Generator::compute(std::size_t background) {
    yield_.begin_step(!others_compute_);
    const auto start = Clock::now();
    const int status = llama_decode(context_.get(), batch_->get());
    computed_for_.clear();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (others_compute_) {
        const double beside = seconds * static_cast<double>(background) / batch_->size();
        background_.computed_beside_others(beside);
        background_.others_computed(seconds - beside);
        last_other_ = Clock::now();
    }
    was_broken_off_ = status != 0 && yield_.breaks_off() && !stopping_.load(std::memory_order_relaxed);
    return status == 0 ? Computed::Yes : was_broken_off_ ? Computed::BrokenOff : Computed::Failed;
}

// In the order of slots. While others compute, of the background only if it is its turn, and a few.
std::vector<std::size_t> Generator::rows_to_decode() const {
    std::vector<std::size_t> rows, background;
    for (std::size_t slot = 0; slot < slots_.size(); slot++)
        if (slots_[slot].has_value() && slots_[slot]->phase == Phase::Decoding)
            (slots_[slot]->is_background() ? background : rows).push_back(slot);
    if (others_compute_) {
        std::sort(background.begin(), background.end(),
                  [&](std::size_t a, std::size_t b) { return slots_[a]->job->serial < slots_[b]->job->serial; });
        background.resize(background_.has_turn() ? std::min(background.size(), kMaxBeside) : 0);
    }
    rows.insert(rows.end(), background.begin(), background.end());
    std::sort(rows.begin(), rows.end());
    return rows;
}

void Generator::decode() {
    if (rows_to_decode().empty())
        return;
    close_gap();
    const std::vector<std::size_t> rows = rows_to_decode();
    batch_->clear();
    std::size_t background = 0;
    for (const std::size_t slot : rows) {
        batch_->add(slots_[slot]->next, slots_[slot]->position, static_cast<llama_seq_id>(slot), true);
        computed_for_.push_back(&*slots_[slot]);
        background += slots_[slot]->is_background();
    }
    const Computed computed = compute(background);
    for (std::size_t row = 0; row < rows.size(); row++) {
        Request &request = *slots_[rows[row]];
        if (computed == Computed::Yes) {
            request.position++;
            choose_next(rows[row], static_cast<int>(row));
        } else if (computed == Computed::Failed ||
                   !llama_memory_seq_rm(llama_get_memory(context_.get()), static_cast<llama_seq_id>(rows[row]),
                                        request.position, -1)) {
            fail(rows[row], "The engine could not decode");
        }
    }
}

void Generator::choose_next(std::size_t slot, int row) {
    Request &request = *slots_[slot];
    if (request.constrained != nullptr)
        return choose_constrained(slot, llama_get_logits_ith(context_.get(), row));
    if (request.sampler != nullptr)
        return accept(slot, llama_sampler_sample(request.sampler.get(), context_.get(), row));
    accept(slot, greatest(llama_get_logits_ith(context_.get(), row), llama_vocab_n_tokens(vocabulary_)));
}

// Chooses here if that is quick, else in the pool. Only this request decides which of the two.
void Generator::choose_constrained(std::size_t slot, const float *logits) {
    // A millisecond or two: a single walk through a vocabulary whose paths are known
    constexpr std::uint64_t kStepsHere = 400'000;
    Request &request = *slots_[slot];
    ConstrainedText &text = *request.constrained;
    if (!request.is_costly && !text.is_full()) {
        core::Work work(std::min(kStepsHere, text.allowance()));
        const ConstrainedText::Choice choice = text.next(logits, work);
        if (choice.kind != ConstrainedText::Choice::Kind::WorkEnded)
            return take_choice(slot, choice);
    }
    request.phase = Phase::Choosing;
    choosing_->submit([this, shared = request.constrained, serial = request.job->serial,
                       is_background = request.is_background(), abandoned = request.job->abandoned,
                       copy = std::vector<float>(logits, logits + tokens_.size())] {
        const std::function<bool()> given_up = [&] {
            return abandoned->load(std::memory_order_relaxed) || stopping_.load(std::memory_order_relaxed);
        };
        core::Work work(shared->allowance(), ask_whether, const_cast<std::function<bool()> *>(&given_up));
        const ConstrainedText::Choice choice = shared->next(copy.data(), work);
        put(Chosen{serial, choice, work.used()}, is_background);
    });
}

void Generator::handle(Chosen chosen) {
    constexpr std::uint64_t kCostly = 300'000;  // less than the limit for choosing here
    const std::optional<std::size_t> slot = slot_of(chosen.serial);
    if (!slot.has_value())
        return;
    slots_[*slot]->is_costly = chosen.steps > kCostly;
    take_choice(*slot, chosen.choice);
}

void Generator::take_choice(std::size_t slot, const ConstrainedText::Choice &choice) {
    switch (choice.kind) {
    case ConstrainedText::Choice::Kind::Token:
        slots_[slot]->produced += choice.rest_tokens;
        return accept(slot, choice.token, choice.is_complete, choice.rest);
    case ConstrainedText::Choice::Kind::End:
        return finish(slot, "stop");
    case ConstrainedText::Choice::Kind::WorkEnded:
        return fail(slot, std::string(core::constraint::kTooMuchWork) + ": finding the tokens that may follow, after " +
                              std::to_string(slots_[slot]->produced) + " of them");
    }
}

// `rest`: all that follows the token, known without the model.
void Generator::accept(std::size_t slot, llama_token token, bool is_complete, std::string_view rest) {
    Request &request = *slots_[slot];
    if (llama_vocab_is_eog(vocabulary_, token))
        return finish(slot, "stop");
    request.produced++;
    request.next = token;
    request.phase = Phase::Decoding;
    const int stop = request.tail.append(tokens_.piece(token));
    if (stop != TextTail::kNoStop)
        return finish(slot, stop < kDefaultStopCount ? "stop" : "eos");
    if (!rest.empty())
        (void)request.tail.append(rest);
    if (is_complete)
        return finish(slot, "stop");
    if (request.produced == request.limit)
        return finish(slot, "length");
    if (request.job->task.stream)
        if (std::string piece = request.tail.take_safe(false); !piece.empty())
            outbox_.post(request.job->serial, Piece{std::move(piece)});
}

// --- letting go ---

void Generator::finish(std::size_t slot, const char *reason) {
    Request &request = *slots_[slot];
    if (request.job->task.stream)
        if (std::string piece = request.tail.take_safe(true); !piece.empty())
            outbox_.post(request.job->serial, Piece{std::move(piece)});
    const std::chrono::duration<double, std::milli> elapsed = Clock::now() - request.started;
    const std::string &text = request.tail.text();
    outbox_.post(request.job->serial,
                 Generation{.text = std::string(request.constrained != nullptr ? text : strip(text)),
                            .prompt_tokens = static_cast<int>(request.prompt.size()),
                            .completion_tokens = request.produced,
                            .finish_reason = reason,
                            .engine_ms = elapsed.count()});
    release(slot);
}

void Generator::fail(std::size_t slot, std::string message) {
    outbox_.post(slots_[slot]->job->serial, Failure{std::move(message)});
    release(slot);
}

}  // namespace steadytext::daemon
