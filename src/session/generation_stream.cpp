// Rows from pieces: see generation_stream.hpp. Regime: pg; a stream has no destructor, its memory context's callback
// ends it.
#include "src/pg/compat.hpp"
#include "src/session/generation_stream.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/once.hpp"
#include "src/pg/text.hpp"
#include "src/session/observe.hpp"
#include "src/session/running_call.hpp"

extern "C" {
#include "access/xact.h"
#include "lib/stringinfo.h"
}

#include <algorithm>
#include <new>

namespace steadytext::session {

class GenerationStream {
public:
    enum class Stage {
        Whole,    // a single row, which is all: cached, limited, or instead of an answer
        Flowing,  // pieces come
        Over,
        Stopped,
    };

    GenerationStream *next;  // the next stream that this session has open
    MemoryContextCallback callback;
    SubTransactionId subtransaction;
    MemoryContext memory;

    Stage stage = Stage::Stopped;
    Generation generation;
    ModelCall *call = nullptr;
    CallGroup alone;
    RunningCall *running = nullptr;  // from its first step on
    observe::SavedCall saved;

    [[nodiscard]] PendingSlot &pending() const { return running->slot(); }

    StringInfoData text;  // all that came, without white space before it
    int given = 0;        // bytes of it that are rows already
    std::int64_t rows = 0;
    std::int64_t prompt_tokens = 0;  // estimated
    bool started = false;            // a piece has come
    bool trims = false;              // as daemons trim whole answers
};

namespace {

using Stage = GenerationStream::Stage;

GenerationStream *streams;  // that this session has open

constexpr std::string_view kSpaces = " \t\n\v\f\r\x1c\x1d\x1e\x1f";  // white space that steadytextd strips

// ---- the end before the end ----------------------------------------------------------------------------------------

// Raises nothing, and may be called again.
void stop(GenerationStream &stream) {
    if (stream.stage != Stage::Flowing)
        return;
    stream.stage = Stage::Stopped;
    stream.running->drop();
    observe::drop(stream.saved);
}

void forget(void *argument) {
    auto &stream = *static_cast<GenerationStream *>(argument);
    stop(stream);
    GenerationStream **link = &streams;
    while (*link != &stream)
        link = &(*link)->next;
    *link = stream.next;
}

// The memory of a statement that failed may live until ROLLBACK; its streams must not.
void at_transaction_end(XactEvent event, void *) {
    if (event != XACT_EVENT_ABORT && event != XACT_EVENT_PARALLEL_ABORT)
        return;
    for (GenerationStream *stream = streams; stream != nullptr; stream = stream->next)
        stop(*stream);
}

void at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *) {
    for (GenerationStream *stream = streams; stream != nullptr; stream = stream->next) {
        if (stream->subtransaction != mine)
            continue;
        if (event == SUBXACT_EVENT_ABORT_SUB)
            stop(*stream);
        else if (event == SUBXACT_EVENT_COMMIT_SUB)
            stream->subtransaction = parent;
    }
}

void watch(GenerationStream &stream) {
    pg::once([] {
        RegisterXactCallback(at_transaction_end, nullptr);
        RegisterSubXactCallback(at_subtransaction_end, nullptr);
    });
    stream.subtransaction = GetCurrentSubTransactionId();
    stream.next = streams;
    streams = &stream;
    stream.callback.func = forget;
    stream.callback.arg = &stream;
    MemoryContextRegisterResetCallback(stream.memory, &stream.callback);
}

// ---- the beginning -------------------------------------------------------------------------------------------------

// The stages of any call, as far as its slot. A call that ends before that is a single row.
void run(GenerationStream &stream) {
    stream.running->run();
    if (stream.running->has_ended())
        stream.call->finish();
    stream.stage = stream.running->has_ended() ? Stage::Whole : Stage::Flowing;
}

void begin(GenerationStream &stream) {
    stream.running = new (palloc(sizeof(RunningCall))) RunningCall(*stream.call, stream.alone);
    run(stream);
    if (stream.stage == Stage::Flowing)
        observe::save(stream.saved);
}

core::TextArgument kept(const core::TextArgument &argument) {
    return argument.is_null ? argument : core::TextArgument{false, pg::copy_text(argument.text)};
}

GenerationRequest kept(const GenerationRequest &request) {
    GenerationRequest copy = request;
    for (core::TextArgument GenerationRequest::*text :
         {&GenerationRequest::prompt, &GenerationRequest::eos_string, &GenerationRequest::model,
          &GenerationRequest::model_repo, &GenerationRequest::model_filename, &GenerationRequest::size})
        copy.*text = kept(request.*text);
    copy.streaming = true;
    return copy;
}

// ---- while it flows ------------------------------------------------------------------------------------------------

void note_start(GenerationStream &stream) {
    stream.started = true;
    shmem::DaemonIdentity identity;
    stream.trims = !shmem::segment().daemons->rows[stream.pending().slot().daemon].identity.load(identity) ||
                   identity.kind != shmem::DaemonKind::Http;
}

void append(GenerationStream &stream, std::string_view piece) {
    if (stream.trims && stream.text.len == 0)
        piece.remove_prefix(std::min(piece.find_first_not_of(kSpaces), piece.size()));
    appendBinaryStringInfo(&stream.text, piece.data(), static_cast<int>(piece.size()));
}

// Without white space at the end: the text may end there.
std::string_view whole(const GenerationStream &stream) {
    const std::string_view text{stream.text.data, static_cast<std::size_t>(stream.text.len)};
    return stream.trims ? text.substr(0, text.find_last_not_of(kSpaces) + 1) : text;
}

bool give_row(GenerationStream &stream, StreamRow &row) {
    const std::string_view text = whole(stream);
    row = {false, text.substr(static_cast<std::size_t>(stream.given))};
    if (row.text.empty())
        return false;
    stream.given = static_cast<int>(text.size());
    stream.rows++;
    stream.call->given_tokens = stream.prompt_tokens + stream.rows;
    return true;
}

// False if there is no piece now, or the stream is over.
bool take_piece(GenerationStream &stream) {
    if (!stream.pending().pin())
        return false;
    const shmem::Segment &segment = shmem::segment();
    auto *ring = static_cast<shmem::PieceRing *>(segment.payloads->memory_of(stream.pending().slot().pieces));
    char piece[shmem::PieceRing::kMaxPieceBytes];
    std::size_t bytes;
    const bool is_taken = ring != nullptr && ring->take(piece, bytes);
    const bool is_waited_for = is_taken && ring->producer_waits();
    if (is_taken && !stream.started)
        note_start(stream);
    stream.pending().unpin();
    if (is_waited_for)
        stream.pending().point_at();
    if (is_taken)
        append(stream, {piece, bytes});
    return is_taken;
}

// A failure after some rows: no fallback can take the place of the rest.
[[noreturn]] void break_off(ModelCall &call) {
    call.problem.with_hint("The answer broke off: the rows that came are only its beginning.");
    observe::failed(call.problem);
    (void)observe::end();
    pg::raise(call.problem);
}

bool next(GenerationStream &stream, StreamRow &row);

// The end of the stream, unless it begins again. In place of an answer there is a single row, as steadytext.on_failure
// or on_limit says.
bool end(GenerationStream &stream, const Answer &answer, StreamRow &row) {
    ModelCall &call = *stream.call;
    stream.stage = Stage::Over;
    stream.running->end_sent(answer);
    if (!stream.running->has_ended()) {
        stream.started = false;
        run(stream);
        return next(stream, row);
    }
    if (has_failed(call.result) && stream.rows > 0)
        break_off(call);
    call.finish();
    if (is_answered(call.result))
        return give_row(stream, row);
    row = {stream.generation.is_null, stream.generation.text};
    return true;
}

// The row has characters that the database's encoding lacks: the stream ends with it.
bool end_on_row(GenerationStream &stream, StreamRow &row, const core::Problem &problem) {
    stream.rows--;
    Answer answer;
    answer.was_sent = true;
    answer.problem = problem;
    return end(stream, answer, row);
}

// Takes the gateway's last word, and with it the last row.
bool end_done(GenerationStream &stream, StreamRow &row) {
    PendingSlot &pending = stream.pending();
    if (!pending.pin())
        return end(stream, pending.timed_out(), row);
    if (stream.started)
        observe::first_piece(pending.slot().first_piece_us - pending.slot().sent_us);
    else
        note_start(stream);
    Answer answer = pending.take_answer();
    append(stream, answer.rest);
    answer.streamed = true;
    answer.text = whole(stream);
    return end(stream, answer, row);
}

bool flow(GenerationStream &stream, StreamRow &row) {
    static pg::WaitEvent waiting("SteadytextReply");
    PendingSlot &pending = stream.pending();
    if (core::monotonic_us() >= pending.deadline_us() || !pending.extend())
        return end(stream, pending.timed_out(), row);  // nobody fetched for too long
    for (;;) {
        const bool is_done = pending.is_done();  // asked first: then the ring holds all there will be
        while (take_piece(stream)) {
            if (!give_row(stream, row))
                continue;
            core::Problem problem;
            return pg::check_encoding(row.text, problem) || end_on_row(stream, row, problem);
        }
        if (is_done)
            return end_done(stream, row);
        if (!pg::wait_until(pending.deadline_us(), waiting))
            return end(stream, pending.timed_out(), row);
    }
}

bool next(GenerationStream &stream, StreamRow &row) {
    switch (stream.stage) {
    case Stage::Whole:
        stream.stage = Stage::Over;
        row = {stream.generation.is_null, stream.generation.text};
        return true;
    case Stage::Over:
        return false;
    case Stage::Stopped:
        ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("the stream was stopped")));
    case Stage::Flowing:
        break;
    }
    return flow(stream, row);
}

}  // namespace

// Each open stream holds a slot for as long as its reader takes.
void require_room_for_stream() {
    constexpr int kMaxOpen = 16;
    int open = 0;
    for (const GenerationStream *stream = streams; stream != nullptr; stream = stream->next)
        open += stream->stage == Stage::Flowing;
    if (open >= kMaxOpen)
        ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("too many streams open in this session"),
                        errdetail("%d streams are being read.", open),
                        errhint("Read them to their end, or close their cursors.")));
}

GenerationStream *open_stream(const GenerationRequest &request) {
    auto *stream = new (palloc0(sizeof(GenerationStream))) GenerationStream;
    stream->memory = CurrentMemoryContext;
    stream->prompt_tokens = estimated_tokens(request.prompt.text);
    initStringInfo(&stream->text);
    watch(*stream);
    stream->call = begin_generation(kept(request), stream->generation);
    begin(*stream);
    return stream;
}

bool next_row(GenerationStream &stream, StreamRow &row) {
    if (stream.stage != Stage::Flowing)
        return next(stream, row);
    MemoryContext caller = MemoryContextSwitchTo(stream.memory);
    bool given = false;
    observe::restore(stream.saved);
    PG_TRY();
    { given = next(stream, row); }
    PG_CATCH();
    {
        stop(stream);  // counted with the error that ends it
        PG_RE_THROW();
    }
    PG_END_TRY();
    if (stream.stage == Stage::Flowing)
        observe::save(stream.saved);
    MemoryContextSwitchTo(caller);
    return given;
}

}  // namespace steadytext::session
