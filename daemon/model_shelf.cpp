// What models there are, their requests and their engines' news: see model_shelf.hpp. Regime: pure.
#include "daemon/model_shelf.hpp"

#include <unistd.h>

#include <algorithm>

#include "daemon/log.hpp"
#include "daemon/model_file.hpp"
#include "daemon/shelf_entry.hpp"

namespace steadytext::daemon {

namespace {

constexpr auto kRetryAfter = std::chrono::seconds(10);  // a model that could not be loaded, if its file is the same
constexpr auto kListAfter = std::chrono::seconds(1);
constexpr std::uint64_t kMegabyte = 1 << 20;

std::uint64_t half_of_the_machine() {
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size) / 2
                                 : UINT64_MAX;
}

// A reason is for those who ask: it names the model, not where it lies.
std::string without_path(std::string text, const std::string &path, const std::string &name) {
    for (std::size_t at = 0; !path.empty() && (at = text.find(path, at)) != std::string::npos; at += name.size())
        text.replace(at, path.size(), name);
    return text;
}

}  // namespace

ModelShelf::ModelShelf(const Options &options, Outbox &outbox)
    : options_(options), outbox_(outbox),
      memory_(options.memory > 0 ? static_cast<std::uint64_t>(options.memory) * kMegabyte : half_of_the_machine()) {}

// Errands that nobody runs any more may hold an entry, but no engine, which would want the outbox.
ModelShelf::~ModelShelf() {
    stopping_.store(true, std::memory_order_relaxed);
    library_.reset();
    trials_.reset();
    ends_.reset();
    for (const auto &entry : entries_)
        entry->engine = std::monostate();
}

bool ModelShelf::start(core::Problem &problem) {
    const bool has_directory = is_directory(options_.model);
    add_named(Role::Generation, has_directory ? std::string() : options_.model);
    add_named(Role::Embedding, options_.embedding_model);
    add_named(Role::Reranker, options_.reranker_model);
    if (!has_directory)
        return true;
    directory_ = options_.model;
    library_.emplace(1, WorkerPool::Tasks::Long);
    trials_.emplace(1, WorkerPool::Tasks::Short);
    ends_.emplace(1, WorkerPool::Tasks::Short);
    std::vector<FoundModel> found;
    if (!list_models(directory_, known_, found, problem))
        return false;
    take_listing(std::move(found));
    load_at_start();
    return true;
}

// The first that there is: whoever names none gets it.
void ModelShelf::load_at_start() {
    Entry *first = find(Role::Generation, {});
    at_start_ = first != nullptr && !first->is_named && first->why_not.empty() ? first : nullptr;
    if (at_start_ != nullptr)
        line_.push_back(at_start_);
}

void ModelShelf::add_named(Role role, const std::string &file) {
    if (file.empty())
        return;
    Entry &entry = *entries_.emplace_back(std::make_shared<Entry>());
    entry.role = role;
    entry.info.role = kRoleNames[static_cast<std::size_t>(role)];
    entry.info.name = entry.file.name = model_name_of(file);
    entry.file.path = file;
    entry.is_named = true;
    core::Problem ignored;
    GgufHeader header;
    if (read_gguf_header(file, header, ignored)) {
        header.role = role;
        entry.memory = memory_of(header, options_.slots, options_.context, options_.prefix_memory);
    }
    named_loading_++;
    start_engine(entry);
}

// ---- finding ---------------------------------------------------------------------------------------------------------

ModelShelf::Entry *ModelShelf::entry_of(std::string_view role, std::string_view name) const {
    for (const auto &entry : entries_)
        if (!entry->is_gone && role == entry->info.role && name == entry->info.name)
            return entry.get();
    return nullptr;
}

ModelShelf::Entry *ModelShelf::find(Role role, std::string_view name) {
    for (const auto &entry : entries_)
        if (entry->role == role && !entry->is_gone && (name.empty() || !has_directory() || entry->info.name == name))
            return entry.get();
    if (!name.empty())
        look_again();
    return nullptr;
}

const ModelInfo &ModelShelf::info_of(const Entry &entry) const noexcept { return entry.info; }

std::string ModelShelf::names_of(Role role) const {
    constexpr std::size_t kEnough = 1'000;
    std::string names;
    for (const auto &entry : entries_) {
        if (entry->role != role || entry->is_gone)
            continue;
        if (names.size() > kEnough)
            return names + ", ...";
        names.append(names.empty() ? "" : ", ").append(entry->info.name);
    }
    return names.empty() ? "none" : names;
}

// Those of the command line, then what can be used, then the rest; each in the order of names.
void ModelShelf::order() {
    std::stable_sort(entries_.begin(), entries_.end(), [](const auto &a, const auto &b) {
        const auto rank = [](const Entry &entry) { return entry.is_named ? 0 : entry.why_not.empty() ? 1 : 2; };
        if (rank(*a) != rank(*b))
            return rank(*a) < rank(*b);
        return !a->is_named && a->info.name < b->info.name;
    });
}

std::vector<const ModelInfo *> ModelShelf::models() const {
    std::vector<const ModelInfo *> models;
    for (const auto &entry : entries_)
        if (!entry->is_gone && (entry->is_named || entry.get() == at_start_ || !entry->info.fingerprint.empty()))
            models.push_back(&entry->info);
    return models;
}

bool ModelShelf::has_more_models() const {
    return std::any_of(entries_.begin(), entries_.end(), [](const auto &entry) {
        return !entry->is_gone && !entry->is_named && entry->info.fingerprint.empty();
    });
}

bool ModelShelf::is_loading() const { return named_loading_ > 0 || at_start_ != nullptr; }

int ModelShelf::slots_in_use() const {
    int slots = 0;
    for (const auto &entry : entries_)
        if (const auto *generator = std::get_if<std::unique_ptr<Generator>>(&entry->engine))
            slots += (*generator)->slots_in_use();
    return slots;
}

ModelShelf::Clock::time_point ModelShelf::idle_since() const {
    Clock::time_point last = {};
    for (const auto &entry : entries_)
        if (const auto *generator = std::get_if<std::unique_ptr<Generator>>(&entry->engine))
            last = std::max(last, (*generator)->idle_since());
    return last == Clock::time_point{} ? Clock::now() : last;
}

// ---- the directory -----------------------------------------------------------------------------------------------------

void ModelShelf::look_again() {
    if (has_directory() && !is_listing_ && Clock::now() - listed_ >= kListAfter)
        list_in_background();
}

void ModelShelf::list_in_background() {
    is_listing_ = true;
    library_->submit([this, known = known_] {
        auto found = std::make_shared<std::vector<FoundModel>>();
        core::Problem problem;
        const bool is_good = list_models(directory_, known, *found, problem);
        if (!is_good)
            log_line("%s", problem.message);
        outbox_.post(0, Errand{[this, found, is_good] {
                         is_listing_ = false;
                         listed_ = Clock::now();
                         if (is_good)
                             take_listing(std::move(*found));
                     }});
    });
}

// What is no longer there, or is another file, is not found any more; what it answers it still answers.
void ModelShelf::take_listing(std::vector<FoundModel> found) {
    for (const auto &entry : entries_) {
        const bool stays = entry->is_named || std::any_of(found.begin(), found.end(), [&](const FoundModel &model) {
                               return model.name == entry->info.name && model.identity == entry->identity &&
                                      model.path == entry->file.path;
                           });
        if (!stays && !entry->is_gone)
            log_line("model %s is gone", entry->info.name.c_str());
        entry->is_gone |= !stays;
    }
    for (const FoundModel &model : found) {
        const char *role = kRoleNames[static_cast<std::size_t>(model.header.role)];
        if (entry_of(role, model.name) != nullptr)
            continue;
        Entry &entry = *entries_.emplace_back(std::make_shared<Entry>());
        entry.role = model.header.role;
        entry.info.role = role;
        entry.info.name = entry.file.name = model.name;
        entry.info.context = entry.role == Role::Generation ? options_.context : static_cast<int>(model.header.window);
        entry.info.dimensions = entry.role == Role::Embedding ? static_cast<int>(model.header.width) : 0;
        entry.file.path = model.path;
        entry.identity = model.identity;
        entry.memory = memory_of(model.header, options_.slots, options_.context, options_.prefix_memory);
        entry.why_not = model.why_not;
        entry.why_not_until = model.why_not.empty() ? Clock::time_point{} : kNever;
        if (!model.why_not.empty())
            log_line("model %s cannot be used: %s", model.name.c_str(), model.why_not.c_str());
    }
    known_ = std::move(found);
    listed_ = Clock::now();
    order();
    drop_gone();
    fingerprint_next();
}

std::string ModelShelf::settings_of(Role role) const {
    return role == Role::Generation  ? Generator::settings(options_)
           : role == Role::Embedding ? Embedder::settings(options_)
                                     : Reranker::settings(options_);
}

// One after the other, while there is nothing else to do: it reads all of the file.
void ModelShelf::fingerprint_next() {
    const auto next = std::find_if(entries_.begin(), entries_.end(), [this](const auto &entry) {
        return !entry->is_named && !entry->is_gone && entry->info.fingerprint.empty() && entry.get() != loading_ &&
               entry.get() != at_start_;
    });
    if (!has_directory() || is_fingerprinting_ || next == entries_.end())
        return;
    is_fingerprinting_ = true;
    library_->submit([this, entry = *next, path = (*next)->file.path, settings = settings_of((*next)->role)] {
        core::Problem problem;
        std::string weights;
        const bool is_good = digest_of(path, stopping_, weights, problem);
        const std::string fingerprint = fingerprint_of(is_good ? weights : path, settings);
        outbox_.post(0, Errand{[this, entry, is_good, fingerprint, reason = std::string(problem.message)] {
                         is_fingerprinting_ = false;
                         if (entry->info.fingerprint.empty())
                             entry->info.fingerprint = entry->file.fingerprint = fingerprint;
                         if (!is_good)
                             fail(*entry, reason);
                         fingerprint_next();
                     }});
    });
}

// ---- requests ----------------------------------------------------------------------------------------------------------

void ModelShelf::submit(Entry &entry, AnyJob job) {
    entry.users++;
    entry.last_used = Clock::now();
    const bool has_engine = entry.state == Entry::State::Loading || entry.state == Entry::State::Loaded;
    if (entry.engine.index() != 0 && has_engine && !entry.takes_no_more)
        return hand_over(entry, std::move(job));
    entry.waiting.push_back(std::move(job));
    if (entry.state == Entry::State::Loading)
        return;  // it is being tried
    if (!entry.why_not.empty() && Clock::now() < entry.why_not_until)
        refuse(entry);
    else if (std::find(line_.begin(), line_.end(), &entry) == line_.end())
        line_.push_back(&entry);
}

void ModelShelf::hand_over(Entry &entry, AnyJob job) {
    std::visit(
        [&](auto &engine) {
            if constexpr (!std::is_same_v<std::decay_t<decltype(engine)>, std::monostate>)
                std::visit(
                    [&](auto &task) {
                        if constexpr (requires { engine->submit(std::move(task)); })
                            engine->submit(std::move(task));
                    },
                    job);
        },
        entry.engine);
}

void ModelShelf::release(Entry &entry) {
    entry.users--;
    entry.last_used = Clock::now();
}

// ---- news of engines ---------------------------------------------------------------------------------------------------

// Whose news it is: of two with this name one may be gone.
ModelShelf::Entry *ModelShelf::loading_entry(std::string_view role, std::string_view name) const {
    if (loading_ != nullptr && role == loading_->info.role && name == loading_->info.name)
        return loading_;
    return entry_of(role, name);
}

void ModelShelf::note(ModelInfo info) {
    Entry *entry = loading_entry(info.role, info.name);
    if (entry == nullptr)
        return;
    log_line("%s model %s is ready, fingerprint %.16s...", info.role, info.name.c_str(), info.fingerprint.c_str());
    if (info.invariance.has_value() && !info.invariance->batch)
        log_line("this model's tokens would depend on batching, so requests are served one at a time");
    entry->info = std::move(info);
    entry->info.is_loaded = true;
    entry->file.fingerprint = entry->info.fingerprint;
    entry->file.invariance = entry->info.invariance;
    entry->state = Entry::State::Loaded;
    entry->loaded = entry->last_used = Clock::now();
    entry->why_not.clear();
    if (entry->is_named)
        named_loading_--;
    if (entry == loading_)
        loading_ = nullptr;
    if (entry == at_start_)
        at_start_ = nullptr;
    order();
    if (!is_loading() && !std::exchange(was_ready_, true))
        log_line("ready");
    fingerprint_next();
}

void ModelShelf::note(const LoadFailure &failure) {
    Entry *entry = loading_entry(failure.role, failure.name);
    const core::Problem &problem = failure.problem;
    const std::string reason = std::string(problem.message) + (problem.detail[0] != '\0' ? ": " : "") + problem.detail;
    if (entry != nullptr && !entry->is_named)
        return fail(*entry, reason);
    log_line("%s", reason.c_str());
    has_failed_ = true;
}

void ModelShelf::fail(Entry &entry, const std::string &reason) {
    entry.why_not = without_path(reason, entry.file.path, entry.info.name);
    entry.why_not_until = std::max(entry.why_not_until, Clock::now() + kRetryAfter);
    log_line("model %s cannot be used: %s", entry.info.name.c_str(), entry.why_not.c_str());
    if (&entry == loading_)
        loading_ = nullptr;
    if (entry.engine.index() != 0)
        give_up(entry);
    else if (entry.state == Entry::State::Loading)
        entry.state = Entry::State::Unloaded;
    refuse(entry);
    order();
    if (&entry == at_start_) {
        load_at_start();
        if (!is_loading() && !std::exchange(was_ready_, true))
            log_line("ready");
    }
    fingerprint_next();
}

// Its requests are answered with the reason.
void ModelShelf::refuse(Entry &entry) {
    entry.waiting.clear();
    if (entry.users > 0)
        failures_.emplace_back(&entry, "Model \"" + entry.info.name + "\" cannot be used: " + entry.why_not);
}

std::vector<std::pair<const ModelShelf::Entry *, std::string>> ModelShelf::take_failures() {
    return std::exchange(failures_, {});
}

std::shared_ptr<ModelShelf::Entry> ModelShelf::shared(const Entry &entry) const {
    return *std::find_if(entries_.begin(), entries_.end(),
                         [&](const auto &candidate) { return candidate.get() == &entry; });
}

}  // namespace steadytext::daemon
