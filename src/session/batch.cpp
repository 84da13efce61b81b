// First all rows that differ, many at once, then all rows in their order: see batch.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/batch.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/ahead.hpp"
#include "src/session/answer_store.hpp"
#include "src/session/concurrent_calls.hpp"
#include "src/session/progress.hpp"

extern "C" {
#include "utils/hsearch.h"
#include "utils/memutils.h"
}

#include <new>

namespace steadytext::session {

namespace {

struct Row {
    std::uint32_t first;  // the row that asked for it: this row, or an equal row before it
    bool is_null = true;
    CallResult result = CallResult::Limited;
    char sqlstate[6] = "";  // of a failure
    std::int32_t took_ms = 0;
    AnswerStore::Place place;
};

struct Seen {
    core::Digest key;
    std::uint32_t row;
};

// A batch under way.
struct Run {
    const Batch &batch;
    Row *rows;
    AnswerStore *answers;
    HTAB *seen;
    ConcurrentCalls *calls;
};

MemoryContext make_context() {
    return AllocSetContextCreate(CurrentMemoryContext, "steadytext batch row", ALLOCSET_SMALL_SIZES);
}

// Checks all texts before anything is spent on the first.
void check_texts(const Batch &batch) {
    MemoryContext context = make_context();
    MemoryContext caller = MemoryContextSwitchTo(context);
    for (std::size_t i = 0; i < batch.texts.size(); i++) {
        core::Problem problem;
        CHECK_FOR_INTERRUPTS();
        if (batch.nulls[i] || core::check(*batch.each, batch.each->name, pg::utf8_text(batch.texts[i]),
                                          static_cast<std::size_t>(guc::max_prompt_bytes), problem)) {
            MemoryContextReset(context);
            continue;
        }
        problem.with_detail("It is element %zu of the array.", i + 1);
        pg::raise(problem);
    }
    MemoryContextSwitchTo(caller);
    MemoryContextDelete(context);
}

HTAB *make_seen() {
    HASHCTL control{};
    control.keysize = sizeof(core::Digest);
    control.entrysize = sizeof(Seen);
    control.hcxt = CurrentMemoryContext;
    return hash_create("steadytext batch", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

// Asks about the row, unless an equal row was asked about.
void start(Run &run, std::uint32_t index) {
    Row &row = *new (&run.rows[index]) Row{};
    row.first = index;
    if (run.batch.nulls[index]) {
        progress::step(false, false);
        return;
    }
    MemoryContext context = make_context();
    MemoryContext caller = MemoryContextSwitchTo(context);
    ModelCall *call = run.batch.begin(run.batch.context, pg::utf8_text(run.batch.texts[index]));
    bool found;
    auto *seen = static_cast<Seen *>(hash_search(run.seen, &call->query.key, HASH_ENTER, &found));
    if (found) {
        observe::forget();  // it is counted with its row
        row.first = seen->row;
    } else {
        seen->row = index;
        call->tag = index;
        run.calls->start(call);
    }
    MemoryContextSwitchTo(caller);
    if (found)
        MemoryContextDelete(context);
}

void take(Run &run, ModelCall &call) {
    Row &row = run.rows[call.tag];
    call.finish();
    std::string_view answer;
    row.is_null = !call.bytes(answer);
    row.result = call.result;
    row.took_ms = static_cast<std::int32_t>(call.took_us / 1000);
    if (has_failed(call.result))
        strlcpy(row.sqlstate, call.problem.sqlstate, sizeof row.sqlstate);
    if (!row.is_null)
        row.place = run.answers->put(answer);
    progress::step(call.result == CallResult::Recalled, has_failed(call.result));
    MemoryContextDelete(GetMemoryChunkContext(&call));
}

void ask_all(Run &run) {
    const auto count = static_cast<std::uint32_t>(run.batch.texts.size());
    std::uint32_t next = 0;
    while (next < count || !run.calls->is_idle()) {
        while (next < count && run.calls->has_room()) {
            start(run, next++);
            CHECK_FOR_INTERRUPTS();
        }
        bool any = false;
        while (ModelCall *ended = run.calls->take_ended()) {
            take(run, *ended);
            any = true;
        }
        ahead::attend();
        if (!any && !run.calls->is_idle())
            run.calls->wait(1'000'000);
    }
}

// A row equal to an earlier row is charged to the limits and counted, as if the answer had been in the cache.
bool repeat(const Run &run, std::uint32_t index, const Row &first) {
    ModelCall *call = run.batch.begin(run.batch.context, pg::utf8_text(run.batch.texts[index]));
    if (has_failed(first.result))
        call->problem.set(first.sqlstate, "as row %u", run.rows[index].first);
    run_repeated(*call, first.result);
    progress::step(!has_failed(call->result) && call->result != CallResult::Limited, has_failed(call->result));
    return call->result != CallResult::Limited;
}

void emit_all(const Run &run, void (*emit)(void *, const BatchRow &), void *emit_context) {
    MemoryContext context = make_context();
    MemoryContext caller = MemoryContextSwitchTo(context);
    for (std::uint32_t i = 0; i < run.batch.texts.size(); i++) {
        const Row &first = run.rows[run.rows[i].first];
        const bool is_repeated = run.rows[i].first != i;
        const bool is_null = first.is_null || (is_repeated && !repeat(run, i, first));
        const bool is_cached =
            !is_null && !has_failed(first.result) && (is_repeated || first.result == CallResult::Recalled);
        emit(emit_context, {i, is_null, is_null ? std::string_view() : run.answers->fetch(first.place), is_cached,
                            is_repeated ? 0 : first.took_ms});
        MemoryContextReset(context);
        CHECK_FOR_INTERRUPTS();
    }
    MemoryContextSwitchTo(caller);
    MemoryContextDelete(context);
}

void stop_on_error(int code, Datum calls) {
    ConcurrentCalls::give_up_on_error(code, calls);
    progress::end();
}

}  // namespace

void run_batch(const Batch &batch, void (*emit)(void *, const BatchRow &), void *emit_context) {
    check_texts(batch);
    auto *rows = static_cast<Row *>(
        palloc_extended(std::max<std::size_t>(batch.texts.size(), 1) * sizeof(Row), MCXT_ALLOC_HUGE));
    Run run{batch, rows, AnswerStore::make(), make_seen(),
            ConcurrentCalls::make(UINT32_MAX, batch.kind == shmem::CallKind::Embed)};
    progress::begin(batch.kind, static_cast<std::int64_t>(batch.texts.size()));
    PG_ENSURE_ERROR_CLEANUP(stop_on_error, PointerGetDatum(run.calls));
    {
        ask_all(run);
        emit_all(run, emit, emit_context);
    }
    PG_END_ENSURE_ERROR_CLEANUP(stop_on_error, PointerGetDatum(run.calls));
    run.answers->close();
    progress::end();
}

}  // namespace steadytext::session
