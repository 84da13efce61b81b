// A hash table of packed answers, the oldest of which go first: see equal_answers.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/equal_answers.hpp"
#include "src/session/statement.hpp"

extern "C" {
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
}

#include <new>

namespace steadytext::session {

namespace {

struct Key {
    core::Digest digest;
    Oid user;
};
static_assert(sizeof(Key) == sizeof(core::Digest) + sizeof(Oid));  // it is hashed as bytes

EqualAnswers *first = nullptr;  // of this process

Key key_of(const ModelCall &call) { return {call.query.key, GetUserId()}; }

}  // namespace

struct EqualAnswers::Entry {
    Key key;
    char *bytes;
    std::size_t size;
    Entry *newer;
};

EqualAnswers *EqualAnswers::make(MemoryContext memory) {
    MemoryContext own = AllocSetContextCreate(memory, "steadytext equal answers", ALLOCSET_DEFAULT_SIZES);
    auto *store = new (MemoryContextAlloc(own, sizeof(EqualAnswers))) EqualAnswers;
    HASHCTL control{};
    control.keysize = sizeof(Key);
    control.entrysize = sizeof(Entry);
    control.hcxt = own;
    store->memory_ = own;
    store->entries_ = hash_create("steadytext equal answers", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    store->join_run();
    store->next_ = first;
    first = store;
    return store;
}

void EqualAnswers::close() {
    for (EqualAnswers **link = &first; *link != nullptr; link = &(*link)->next_)
        if (*link == this) {
            *link = next_;
            break;
        }
    MemoryContextDelete(memory_);
}

void EqualAnswers::join_run() { run_ = statement::run_of_plan().number; }

EqualAnswers *EqualAnswers::of(std::uint64_t run) {
    EqualAnswers *store = run != 0 ? first : nullptr;
    while (store != nullptr && store->run_ != run)
        store = store->next_;
    return store;
}

std::uint64_t EqualAnswers::run_at_hand() {
    const std::uint64_t run = first != nullptr && statement::is_run_itself() ? statement::run_of_plan().number : 0;
    return of(run) != nullptr ? run : 0;
}

bool EqualAnswers::recall(const ModelCall &call, CachedAnswer &answer) {
    if (call.run == 0)
        return false;
    const Key key = key_of(call);
    for (const EqualAnswers *store = first; store != nullptr; store = store->next_) {
        const auto *entry = store->run_ == call.run
                                ? static_cast<const Entry *>(hash_search(store->entries_, &key, HASH_FIND, nullptr))
                                : nullptr;
        if (entry == nullptr)
            continue;
        char *copy = static_cast<char *>(palloc_extended(entry->size + 1, MCXT_ALLOC_HUGE));
        memcpy(copy, entry->bytes, entry->size);
        return unpack(call.query.kind, {copy, entry->size}, answer);
    }
    return false;
}

void EqualAnswers::keep(const ModelCall &call, const CachedAnswer &answer) {
    EqualAnswers *store = of(call.run);
    if (store == nullptr)
        return;
    const std::string_view bytes = pack(answer);
    const std::size_t room = static_cast<std::size_t>(work_mem) * 1024, needed = bytes.size() + sizeof(Entry);
    if (needed > room)
        return;
    const Key key = key_of(call);
    if (hash_search(store->entries_, &key, HASH_FIND, nullptr) != nullptr)
        return;
    while (store->bytes_ + needed > room)
        store->drop_oldest();
    char *copy = static_cast<char *>(MemoryContextAllocHuge(store->memory_, bytes.size() + 1));
    memcpy(copy, bytes.data(), bytes.size());
    auto *entry = static_cast<Entry *>(hash_search(store->entries_, &key, HASH_ENTER, nullptr));
    entry->bytes = copy;
    entry->size = bytes.size();
    entry->newer = nullptr;
    (store->newest_ != nullptr ? store->newest_->newer : store->oldest_) = entry;
    store->newest_ = entry;
    store->bytes_ += needed;
}

void EqualAnswers::drop_oldest() {
    Entry *gone = oldest_;
    oldest_ = gone->newer;
    if (oldest_ == nullptr)
        newest_ = nullptr;
    bytes_ -= gone->size + sizeof(Entry);
    pfree(gone->bytes);
    const Key key = gone->key;
    (void)hash_search(entries_, &key, HASH_REMOVE, nullptr);
}

}  // namespace steadytext::session
