// Maps the file: see work_mark.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/queue/work_mark.hpp"
#include "bgworker/worker_process.hpp"

extern "C" {
#include "storage/fd.h"
}

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace steadytext::queue {

namespace {

// The word is written, not only reserved by extending the file: on a full disk, a store into a page that the file
// lacks would kill the worker.
void *map(const char *path) {
    const int file = OpenTransientFile(path, O_RDWR | O_CREAT | PG_BINARY);
    if (file < 0)
        return nullptr;
    std::int64_t word = 0;
    void *memory = nullptr;
    const bool has_word = read(file, &word, sizeof word) == sizeof word;
    if (has_word || pwrite(file, &word, sizeof word, 0) == sizeof word) {
        memory = mmap(nullptr, sizeof word, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (memory == MAP_FAILED)
            memory = nullptr;
    }
    (void)CloseTransientFile(file);
    return memory;
}

}  // namespace

std::int64_t WorkMark::open(Oid database) {
    worker::make_directory();
    snprintf(path_, sizeof path_, "%s/queue.%u", worker::kDirectory, database);
    void *memory = map(path_);
    if (memory == nullptr) {
        ereport(LOG,
                (errcode_for_file_access(), errmsg("could not map file \"%s\": %m", path_),
                 errdetail("A job that kills the queue worker is carried out again until six workers have died.")));
        return 0;
    }
    word_ = static_cast<std::atomic<std::int64_t> *>(memory);
    return word_->load(std::memory_order_relaxed);
}

void WorkMark::remove() {
    clear();
    if (path_[0] != '\0')
        (void)unlink(path_);
}

}  // namespace steadytext::queue
