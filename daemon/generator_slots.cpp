// Who has the slots: taking on, making room, letting go: see generator.hpp. Regime: pure.
#include "daemon/generator.hpp"

#include <algorithm>

namespace steadytext::daemon {

void Generator::release_abandoned() {
    waiting_.erase_if([](const Waiting &waiting) { return waiting.job->is_abandoned(); });
    for (std::size_t slot = 0; slot < slots_.size(); slot++)
        if (slots_[slot].has_value() && slots_[slot]->job->is_abandoned())
            release(slot);
    std::erase_if(parked_, [&](Parked &parked) {
        if (!parked.request.job->is_abandoned())
            return false;
        discard(parked.request);
        return true;
    });
}

std::optional<std::size_t> Generator::free_slot() const {
    for (std::size_t slot = 0; slot < usable_slots_; slot++)
        if (!slots_[slot].has_value())
            return slot;
    return std::nullopt;
}

// A slot is left free for others that come as often as every second, if the background has another; and always, if
// there are several and a request cannot be parked.
bool Generator::may_take_background() const {
    constexpr auto kLately = std::chrono::seconds(1);
    const auto count = [&](bool is_background) {
        return static_cast<std::size_t>(std::count_if(slots_.begin(), slots_.end(), [&](const auto &slot) {
            return slot.has_value() && slot->is_background() == is_background;
        }));
    };
    const std::size_t mine = count(true), others = count(false);
    const bool keeps_one = others == 0 && (!parks_ || Clock::now() - last_other_ < kLately);
    return mine == 0 || mine + others + (keeps_one ? 1 : 0) < usable_slots_;
}

// True if there is a request that a free slot would go to.
bool Generator::fills_gaps() const {
    return waiting_.has_interactive() || ((!waiting_.empty() || !parked_.empty()) && may_take_background());
}

PeerLine<Generator::Waiting>::AtWork Generator::at_work() const {
    PeerLine<Waiting>::AtWork at_work;
    for (const auto &slot : slots_)
        if (slot.has_value())
            at_work[slot->job->peer]++;
    return at_work;
}

void Generator::admit() {
    if (waiting_.empty() && parked_.empty())
        return;
    PeerLine<Waiting>::AtWork at_work = this->at_work();
    while (fills_gaps()) {
        std::optional<std::size_t> slot = free_slot();
        if (!slot.has_value() && waiting_.has_interactive() && park_one())
            slot = free_slot();
        if (!slot.has_value())
            return;
        if (!waiting_.has_interactive() && !parked_.empty()) {
            unpark(*slot);
            continue;
        }
        Waiting next = waiting_.take(at_work);
        at_work[next.peer]++;
        start(*slot, std::move(next.job));
    }
}

// Takes the slot of the youngest request in the background. False if there is none.
bool Generator::park_one() {
    std::optional<Request> *youngest = nullptr;
    for (std::optional<Request> &slot : slots_)
        if (slot.has_value() && slot->is_background() && slot->is_computable() &&
            (youngest == nullptr || slot->job->serial > (*youngest)->job->serial))
            youngest = &slot;
    if (youngest == nullptr || !parks_)
        return false;
    const auto sequence = static_cast<llama_seq_id>(youngest - slots_.data());
    PrefixCache::Bytes cells;
    if ((*youngest)->prefilled > 0) {
        cells.resize(llama_state_seq_get_size(context_.get(), sequence));
        if (llama_state_seq_get_data(context_.get(), cells.data(), cells.size(), sequence) != cells.size())
            return false;
        llama_memory_seq_rm(llama_get_memory(context_.get()), sequence, -1, -1);
    }
    parked_.push_back({std::move(**youngest), std::move(cells)});
    youngest->reset();
    slots_in_use_.fetch_sub(1, std::memory_order_release);  // pairs with slots_in_use()
    return true;
}

// The oldest goes on.
void Generator::unpark(std::size_t slot) {
    const auto oldest = std::min_element(parked_.begin(), parked_.end(), [](const Parked &a, const Parked &b) {
        return a.request.job->serial < b.request.job->serial;
    });
    const PrefixCache::Bytes cells = std::move(oldest->cells);
    slots_[slot].emplace(std::move(oldest->request));
    parked_.erase(oldest);
    slots_in_use_.fetch_add(1, std::memory_order_relaxed);
    if (!cells.empty() && llama_state_seq_set_data(context_.get(), cells.data(), cells.size(),
                                                   static_cast<llama_seq_id>(slot)) != cells.size())
        fail(slot, "The engine could not go on with the request");
}

// llama.cpp decodes neighbouring sequences together, and scattered sequences one after the other. So if no request
// waits to fill a gap, the last sequence moves there. Called right before llama_decode() only: llama.cpp copies the cells
// there, so what is written into either sequence between this and that, such as a kept prefix, would be lost.
void Generator::close_gap() {
    const auto first_free = std::find_if(slots_.begin(), slots_.end(), [](const auto &slot) { return !slot; });
    const auto last_used =
        std::find_if(slots_.rbegin(), slots_.rend(), [](const auto &slot) { return slot.has_value(); });
    if (fills_gaps() || last_used == slots_.rend() || last_used.base() <= first_free)
        return;
    const auto from = static_cast<llama_seq_id>(slots_.rend() - last_used - 1);
    const auto to = static_cast<llama_seq_id>(first_free - slots_.begin());
    llama_memory_t memory = llama_get_memory(context_.get());
    llama_memory_seq_cp(memory, from, to, -1, -1);
    llama_memory_seq_rm(memory, from, -1, -1);
    first_free->swap(*last_used);
}

void Generator::release(std::size_t slot) {
    llama_memory_seq_rm(llama_get_memory(context_.get()), static_cast<llama_seq_id>(slot), -1, -1);
    discard(*slots_[slot]);
    slots_[slot].reset();
    if (!busy())
        idle_since_.store(Clock::now(), std::memory_order_relaxed);
    slots_in_use_.fetch_sub(1, std::memory_order_release);  // pairs with slots_in_use()
}

void Generator::discard(Request &request) {
    if (auto form = std::move(request.constrained); form != nullptr)
        choosing_->submit([form = std::move(form)] {});  // its memory can be a million pieces, which take time to free
}

}  // namespace steadytext::daemon
