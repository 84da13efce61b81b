// Memory of a PostgreSQL context for C++ containers, so that an aggregate's state lives and is counted where the
// aggregate's memory is.
//
// Used by src/session/summaries.cpp. Regime: boundary. It is the exception to the rule that pure code never calls
// PostgreSQL: an allocation here cannot raise. Without memory it throws std::bad_alloc, which guarded() turns into an
// error. A container whose resource this is needs no destructor: its memory goes with the context.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "utils/memutils.h"
}

#include <memory_resource>
#include <new>

namespace steadytext::pg {

class ContextMemory final : public std::pmr::memory_resource {
public:
    explicit ContextMemory(MemoryContext context) : context_(context) {}

private:
    void *do_allocate(std::size_t bytes, std::size_t alignment) override {
        if (alignment > MAXIMUM_ALIGNOF || bytes > MaxAllocHugeSize)
            throw std::bad_alloc();
        void *memory = MemoryContextAllocExtended(context_, bytes > 0 ? bytes : 1, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
        if (memory == nullptr)
            throw std::bad_alloc();
        return memory;
    }
    void do_deallocate(void *memory, std::size_t, std::size_t) override { pfree(memory); }
    [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
        return this == &other;
    }

    MemoryContext context_;
};

}  // namespace steadytext::pg
