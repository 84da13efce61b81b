// A buffer that overflows into a file: see batch_answers.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/batch_answers.hpp"

extern "C" {
#include "utils/memutils.h"
}

#include <algorithm>
#include <new>

namespace steadytext::queue {

BatchAnswers *BatchAnswers::make() {
    auto *answers = new (palloc0(sizeof(BatchAnswers))) BatchAnswers;
    answers->memory_ = CurrentMemoryContext;
    answers->buffer_ = static_cast<char *>(palloc(kInMemory));
    answers->file_ = nullptr;
    answers->filled_ = answers->position_ = 0;
    answers->bytes_ = 0;
    answers->reading_ = false;
    answers->at_end_.func = close;
    answers->at_end_.arg = answers;
    MemoryContextRegisterResetCallback(CurrentMemoryContext, &answers->at_end_);
    return answers;
}

void BatchAnswers::close(void *answers) {
    auto *ending = static_cast<BatchAnswers *>(answers);
    if (ending->file_ != nullptr)
        BufFileClose(ending->file_);
    ending->file_ = nullptr;
}

// The file outlives the transaction that made it.
void BatchAnswers::flush() {
    if (file_ == nullptr) {
        MemoryContext caller = MemoryContextSwitchTo(memory_);
        file_ = BufFileCreateTemp(true);
        MemoryContextSwitchTo(caller);
    }
    BufFileWrite(file_, buffer_, filled_);
    filled_ = 0;
}

void BatchAnswers::write(const void *data, std::size_t size) {
    const char *from = static_cast<const char *>(data);
    while (size > 0) {
        if (filled_ == kInMemory)
            flush();
        const std::size_t some = std::min(size, kInMemory - filled_);
        memcpy(buffer_ + filled_, from, some);
        filled_ += some;
        from += some;
        size -= some;
    }
}

void BatchAnswers::add(bool is_null, std::string_view bytes) {
    const std::uint32_t length = is_null ? kNull : static_cast<std::uint32_t>(bytes.size());
    write(&length, sizeof length);
    if (!is_null)
        write(bytes.data(), bytes.size());
    bytes_ += static_cast<std::int64_t>(sizeof length + (is_null ? 0 : bytes.size()));
}

// Reading may begin again, as a failed recording is repeated.
void BatchAnswers::rewind() {
    if (file_ != nullptr && !reading_)
        flush();
    reading_ = true;
    position_ = 0;
    if (file_ == nullptr)
        return;
    filled_ = 0;
    if (BufFileSeek(file_, 0, 0, SEEK_SET) != 0)
        ereport(ERROR,
                (errcode_for_file_access(), errmsg("could not read a batch's answers from their temporary file")));
}

void BatchAnswers::read(void *data, std::size_t size) {
    char *to = static_cast<char *>(data);
    while (size > 0) {
        if (position_ == filled_ && file_ != nullptr) {
            filled_ = BufFileRead(file_, buffer_, kInMemory);
            position_ = 0;
        }
        if (position_ == filled_)
            elog(ERROR, "a batch has fewer answers than parts");
        const std::size_t some = std::min(size, filled_ - position_);
        memcpy(to, buffer_ + position_, some);
        position_ += some;
        to += some;
        size -= some;
    }
}

std::string_view BatchAnswers::next(bool &is_null) {
    std::uint32_t length;
    read(&length, sizeof length);
    is_null = length == kNull;
    if (is_null)
        return {};
    char *bytes = static_cast<char *>(palloc_extended(length + 1, MCXT_ALLOC_HUGE));
    read(bytes, length);
    bytes[length] = '\0';
    return {bytes, length};
}

}  // namespace steadytext::queue
