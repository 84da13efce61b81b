// A buffer that stops growing at work_mem, then a BufFile: see answer_store.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/answer_store.hpp"

extern "C" {
#include "commands/tablespace.h"
#include "miscadmin.h"
}

#include <algorithm>
#include <new>

namespace steadytext::session {

AnswerStore *AnswerStore::make() {
    auto *store = new (palloc(sizeof(AnswerStore))) AnswerStore;
    store->context_ = CurrentMemoryContext;
    return store;
}

// False if that would be more than work_mem.
bool AnswerStore::grow(std::size_t size) {
    constexpr std::size_t kSmallest = 8192;
    const std::size_t most = static_cast<std::size_t>(work_mem) * 1024;
    if (used_ + size > most)
        return false;
    room_ = std::min(most, std::max({kSmallest, 2 * room_, used_ + size}));
    memory_ = static_cast<char *>(memory_ == nullptr ? MemoryContextAllocHuge(context_, room_)
                                                     : repalloc_huge(memory_, room_));
    return true;
}

AnswerStore::Place AnswerStore::put(std::string_view answer) {
    if (file_ != nullptr || (used_ + answer.size() > room_ && !grow(answer.size())))
        return put_in_file(answer);
    Place place;
    place.offset = static_cast<std::int64_t>(used_);
    place.size = static_cast<std::uint32_t>(answer.size());
    if (!answer.empty())
        answer.copy(memory_ + used_, answer.size());
    used_ += answer.size();
    return place;
}

AnswerStore::Place AnswerStore::put_in_file(std::string_view answer) {
    if (file_ == nullptr) {
        MemoryContext caller = MemoryContextSwitchTo(context_);
        PrepareTempTablespaces();
        file_ = BufFileCreateTemp(false);
        MemoryContextSwitchTo(caller);
    }
    int file;
    off_t offset;
    BufFileTell(file_, &file, &offset);
    BufFileWrite(file_, const_cast<char *>(answer.data()), answer.size());
    Place place;
    place.offset = offset;
    place.file = file;
    place.size = static_cast<std::uint32_t>(answer.size());
    return place;
}

std::string_view AnswerStore::fetch(const Place &place) {
    if (place.file == kMemory)
        return {memory_ + place.offset, place.size};
    char *answer = static_cast<char *>(palloc_extended(std::max<std::size_t>(place.size, 1), MCXT_ALLOC_HUGE));
    if (BufFileSeek(file_, place.file, place.offset, SEEK_SET) != 0 ||
        BufFileRead(file_, answer, place.size) != place.size)
        ereport(ERROR, (errcode_for_file_access(), errmsg("could not read an answer from its temporary file: %m")));
    return {answer, place.size};
}

// A file that is still open when its transaction ends well is a leak that the server warns of.
void AnswerStore::close() {
    if (file_ != nullptr)
        BufFileClose(file_);
    file_ = nullptr;
}

}  // namespace steadytext::session
