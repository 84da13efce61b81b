// Which models have the memory: loading, and giving up those that others need it of: see model_shelf.hpp. Regime: pure.
#include <algorithm>

#include "daemon/log.hpp"
#include "daemon/model_shelf.hpp"
#include "daemon/model_trial.hpp"
#include "daemon/shelf_entry.hpp"

namespace steadytext::daemon {

namespace {

constexpr int kStay = 1;  // times the time that loading took

std::string megabytes(std::uint64_t bytes) {
    constexpr std::uint64_t kMegabyte = 1 << 20;
    return std::to_string((bytes + kMegabyte - 1) / kMegabyte) + " MB";
}

}  // namespace

// ---- loading -----------------------------------------------------------------------------------------------------------

void ModelShelf::advance() {
    next_time_ = kNever;
    for (const auto &entry : entries_)
        std::erase_if(entry->waiting, [](const AnyJob &job) {
            return std::visit([](const auto &waiting) { return waiting.is_abandoned(); }, job);
        });
    std::erase_if(line_, [this](const Entry *entry) { return entry->waiting.empty() && entry != at_start_; });
    while (loading_ == nullptr && !line_.empty() && line_.front()->state != Entry::State::Leaving) {
        Entry &next = *line_.front();
        if (next.state == Entry::State::Loaded)  // it was to make room for others, which came before
            resume(next);
        else if (next.is_gone)
            fail(next, "its file is gone");
        else if (taken_for_good() + next.memory > memory_)
            fail(next, "it takes about " + megabytes(next.memory) + ", and there are " + megabytes(memory_) +
                           " for all models");
        else if (!make_room(next))
            break;
        else
            load(next);
        std::erase(line_, &next);
    }
    if (line_.empty())
        resume_all();
    drop_gone();
}

// It takes requests again.
void ModelShelf::resume(Entry &entry) {
    entry.takes_no_more = false;
    for (AnyJob &job : std::exchange(entry.waiting, {}))
        hand_over(entry, std::move(job));
}

void ModelShelf::resume_all() {
    for (const auto &entry : entries_)
        if (entry->state == Entry::State::Loaded && entry->takes_no_more) {
            std::erase(line_, entry.get());
            resume(*entry);
        }
}

std::uint64_t ModelShelf::taken() const {
    std::uint64_t bytes = 0;
    for (const auto &entry : entries_)
        if (entry->is_named || entry->state != Entry::State::Unloaded)
            bytes += entry->memory;
    return bytes;
}

std::uint64_t ModelShelf::taken_for_good() const {
    std::uint64_t bytes = 0;
    for (const auto &entry : entries_)
        if (entry->is_named)
            bytes += entry->memory;
    return bytes;
}

bool ModelShelf::may_go(const Entry &entry, Clock::time_point now) const {
    return entry.is_gone || now >= entry.loaded + kStay * (entry.loaded - entry.began);
}

// True if there is memory for this model. Else something is done about it, and advance() is called again when it is.
bool ModelShelf::make_room(const Entry &entry) {
    if (taken() + entry.memory <= memory_)
        return true;
    if (std::any_of(entries_.begin(), entries_.end(),
                    [](const auto &other) { return other->state == Entry::State::Leaving; }))
        return false;
    const Clock::time_point now = Clock::now();
    Entry *idle = nullptr, *busy = nullptr;
    bool is_one_asked = false;
    for (const auto &other : entries_) {
        if (other->is_named || other->state != Entry::State::Loaded)
            continue;
        const bool is_at_work = other->users > static_cast<int>(other->waiting.size());
        is_one_asked |= other->takes_no_more;
        if (!may_go(*other, now))
            next_time_ = std::min(next_time_, other->loaded + kStay * (other->loaded - other->began));
        else if (is_at_work && (busy == nullptr || other->loaded < busy->loaded))
            busy = other.get();
        else if (!is_at_work && (idle == nullptr || other->takes_no_more || other->last_used < idle->last_used))
            idle = other.get();
    }
    if (idle != nullptr)
        give_up(*idle);
    else if (busy != nullptr && !is_one_asked)
        busy->takes_no_more = true;
    return false;
}

void ModelShelf::load(Entry &entry) {
    loading_ = &entry;
    entry.state = Entry::State::Loading;
    resume_all();  // their memory was not needed after all
    if (entry.was_tried)
        start_engine(entry);
    else
        try_first(entry);
}

void ModelShelf::try_first(Entry &entry) {
    trials_->submit([this, tried = shared(entry), path = entry.file.path] {
        core::Problem problem;
        const bool works = model_works(path, stopping_, problem);
        outbox_.post(0, Errand{[this, tried, works, reason = std::string(problem.message)] {
                         if (!works)
                             return fail(*tried, reason);
                         tried->was_tried = true;
                         start_engine(*tried);
                     }});
    });
}

void ModelShelf::start_engine(Entry &entry) {
    entry.state = Entry::State::Loading;
    entry.began = Clock::now();
    if (entry.role == Role::Generation)
        entry.engine = std::make_unique<Generator>(options_, entry.file, outbox_);
    else if (entry.role == Role::Embedding)
        entry.engine = std::make_unique<Embedder>(options_, entry.file, outbox_);
    else
        entry.engine = std::make_unique<Reranker>(options_, entry.file, outbox_);
    for (AnyJob &job : std::exchange(entry.waiting, {}))
        hand_over(entry, std::move(job));
}

// ---- giving up ---------------------------------------------------------------------------------------------------------

void ModelShelf::give_up(Entry &entry) {
    if (entry.info.is_loaded)
        log_line("model %s is given up", entry.info.name.c_str());
    entry.state = Entry::State::Leaving;
    entry.takes_no_more = entry.info.is_loaded = false;
    const auto engine = std::make_shared<Engine>(std::exchange(entry.engine, std::monostate()));
    ends_->submit([this, entry = shared(entry), engine] {
        *engine = std::monostate();
        outbox_.post(0, Errand{[entry] { entry->state = Entry::State::Unloaded; }});
    });
}

// Those whose files are gone: once nobody waits for their answers.
void ModelShelf::drop_gone() {
    for (const auto &entry : entries_)
        if (entry->is_gone && entry->state == Entry::State::Loaded && entry->users == 0)
            give_up(*entry);
    std::erase_if(entries_, [this](const auto &entry) {
        return entry->is_gone && entry->state == Entry::State::Unloaded && entry->users == 0 &&
               entry.get() != at_start_ && std::find(line_.begin(), line_.end(), entry.get()) == line_.end();
    });
}

}  // namespace steadytext::daemon
