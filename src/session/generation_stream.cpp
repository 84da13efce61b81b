// Rows from pieces: see generation_stream.hpp. Regime: pg; a stream has no destructor, its memory context's callback ends it.
#include "src/pg/compat.hpp"
#include "src/session/generation_stream.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/text.hpp"
#include "src/session/inquiry.hpp"
#include "src/session/observe.hpp"

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
        Whole,    // one row, which is all: cached, limited, or instead of an answer
        Flowing,  // pieces come
        Over,
        Stopped,
    };

    GenerationStream *next;   // of those that this session has open
    MemoryContextCallback callback;
    SubTransactionId subtransaction;
    MemoryContext memory;

    Stage stage = Stage::Stopped;
    Generation generation;
    Inquiry *inquiry = nullptr;
    Held held;
    observe::Aside aside;

    StringInfoData text;      // all that came, without white space before it
    int given = 0;            // bytes of it that are rows already
    std::int64_t rows = 0;
    std::int64_t prompt_tokens = 0;  // estimated
    bool started = false;     // a piece has come
    bool trims = false;       // as daemons trim whole answers
};

namespace {

using Stage = GenerationStream::Stage;

GenerationStream *streams;  // that this session has open

constexpr std::string_view kSpaces = " \t\n\v\f\r\x1c\x1d\x1e\x1f";  // what steadytextd strips

// ---- the end before the end ------------------------------------------------------------------------------------------

// Tokens, as far as they are known. One that was left before its first row has cost the daemon something too.
std::int64_t used_so_far(const GenerationStream &stream) {
    return stream.rows > 0 ? stream.prompt_tokens + stream.rows : stream.inquiry->used_in_vain();
}

// Raises nothing, and may be called again.
void stop(GenerationStream &stream) {
    if (stream.stage != Stage::Flowing)
        return;
    stream.stage = Stage::Stopped;
    stream.inquiry->was_sent |= was_sent(stream.held);
    let_go(stream.held, shmem::Abandon::Cancelled);
    settle(stream.inquiry->quota, used_so_far(stream));
    observe::drop(stream.aside);
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
    static bool registered = false;
    if (!registered) {
        RegisterXactCallback(at_transaction_end, nullptr);
        RegisterSubXactCallback(at_subtransaction_end, nullptr);
        registered = true;
    }
    stream.subtransaction = GetCurrentSubTransactionId();
    stream.next = streams;
    streams = &stream;
    stream.callback.func = forget;
    stream.callback.arg = &stream;
    MemoryContextRegisterResetCallback(stream.memory, &stream.callback);
}

// ---- the beginning ----------------------------------------------------------------------------------------------------

void end_whole(GenerationStream &stream, Ended ended) {
    stream.inquiry->ended = ended;
    stream.inquiry->finish();
    stream.stage = Stage::Whole;
}

// Each holds a slot for as long as its reader takes.
void require_room() {
    constexpr int kMostOpen = 16;
    int open = 0;
    for (const GenerationStream *stream = streams; stream != nullptr; stream = stream->next)
        open += stream->stage == Stage::Flowing;
    if (open >= kMostOpen)
        ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("too many streams open in this session"),
                        errdetail("%d streams are being read.", open), errhint("Read them to their end, or close their cursors.")));
}

// As serve(), but that each stream asks for itself: who waits for another's would see it only whole.
void begin(GenerationStream &stream) {
    Inquiry &inquiry = *stream.inquiry;
    if (!admit_lookup(inquiry.spending, inquiry.quota, inquiry.deadline))
        return end_whole(stream, Ended::Limited);
    if (inquiry.use_cache && inquiry.recall()) {
        settle(inquiry.quota, inquiry.used_tokens());
        return end_whole(stream, Ended::Recalled);
    }
    inquiry.before_asking();
    if (!admit_miss(inquiry.spending, inquiry.quota, inquiry.deadline))
        return end_whole(stream, Ended::Limited);
    require_room();
    if (!submit(inquiry.limited_call(), stream.held, inquiry.problem)) {
        settle(inquiry.quota, 0);
        return end_whole(stream, Ended::Failed);
    }
    stream.stage = Stage::Flowing;
    observe::lay_aside(stream.aside);
}

core::TextArgument kept(const core::TextArgument &argument) {
    return argument.is_null ? argument : core::TextArgument{false, pg::copy_text(argument.text)};
}

GenerationRequest kept(const GenerationRequest &request) {
    GenerationRequest copy = request;
    for (core::TextArgument GenerationRequest::*text :
         {&GenerationRequest::prompt, &GenerationRequest::eos_string, &GenerationRequest::model, &GenerationRequest::model_repo,
          &GenerationRequest::model_filename, &GenerationRequest::size})
        copy.*text = kept(request.*text);
    copy.streaming = true;
    return copy;
}

// ---- while it flows -----------------------------------------------------------------------------------------------------

shmem::Slot &slot_of(const GenerationStream &stream) { return (*shmem::segment().slots)[stream.held.id.index]; }

void note_start(GenerationStream &stream) {
    stream.started = true;
    shmem::DaemonIdentity identity;
    stream.trims = !shmem::segment().daemons->rows[slot_of(stream).daemon].identity.load(identity) ||
                   identity.kind != shmem::DaemonKind::Http;
}

void append(GenerationStream &stream, std::string_view piece) {
    if (stream.trims && stream.text.len == 0)
        piece.remove_prefix(std::min(piece.find_first_not_of(kSpaces), piece.size()));
    appendBinaryStringInfo(&stream.text, piece.data(), static_cast<int>(piece.size()));
}

// Without the white space that may turn out to be the last of it.
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
    return true;
}

// False if there is none now, or the stream is over.
bool take_piece(GenerationStream &stream) {
    if (!pin(stream.held))
        return false;
    const shmem::Segment &segment = shmem::segment();
    auto *ring = static_cast<shmem::PieceRing *>(segment.payloads->memory_of(slot_of(stream).pieces));
    char piece[shmem::PieceRing::kMaxPieceBytes];
    std::size_t bytes;
    const bool is_taken = ring != nullptr && ring->take(piece, bytes);
    const bool is_waited_for = is_taken && ring->producer_waits();
    if (is_taken && !stream.started)
        note_start(stream);
    unpin(stream.held);
    if (is_waited_for)
        point_at(stream.held);
    if (is_taken)
        append(stream, {piece, bytes});
    return is_taken;
}

// It failed: as on_failure says if no row was given, else an error.
bool fail(GenerationStream &stream, StreamRow &row) {
    core::Problem &problem = stream.inquiry->problem;
    settle(stream.inquiry->quota, used_so_far(stream));
    stream.stage = Stage::Over;
    if (stream.rows > 0) {
        problem.with_hint("The answer broke off: the rows that came are only its beginning.");
        observe::failed(problem);
        (void)observe::end();
        pg::raise(problem);
    }
    stream.inquiry->ended = Ended::Failed;
    stream.inquiry->finish();
    row = {stream.generation.is_null, stream.generation.text};
    return true;
}

// No daemon had room for it: as on_limit says, an error or one row of NULL.
bool limit(GenerationStream &stream, const core::Problem &problem, StreamRow &row) {
    stream.stage = Stage::Over;
    refuse_after_all(stream.inquiry->quota, problem);
    stream.inquiry->ended = Ended::Limited;
    stream.inquiry->finish();
    row = {stream.generation.is_null, stream.generation.text};
    return true;
}

// The row has characters that the database's encoding lacks: the stream ends with it.
bool fail_on_row(GenerationStream &stream, StreamRow &row) {
    stream.rows--;
    let_go(stream.held, shmem::Abandon::Cancelled);
    return fail(stream, row);
}

// Takes the gateway's last word, and with it the last row.
bool end(GenerationStream &stream, StreamRow &row, bool in_time) {
    Inquiry &inquiry = *stream.inquiry;
    Answer answer;
    if (in_time && pin(stream.held)) {
        if (stream.started)
            observe::first_piece(slot_of(stream).first_piece_us - slot_of(stream).sent_us);
        else
            note_start(stream);
        take_answer(stream.held, answer);
        append(stream, answer.rest);
    } else {
        set_timed_out(stream.held, answer);
    }
    inquiry.was_sent |= answer.was_sent;
    let_go(stream.held, shmem::Abandon::TimedOut);
    if (answer.limited)
        return limit(stream, answer.problem, row);
    answer.streamed = true;
    answer.text = whole(stream);
    CachedAnswer told;
    const Asked asked = inquiry.take(answer, told);
    if (asked != Asked::Answered && asked != Asked::Private)
        return fail(stream, row);
    settle(inquiry.quota, inquiry.used_tokens());
    inquiry.ended = Ended::Answered;
    inquiry.finish();
    stream.stage = Stage::Over;
    return give_row(stream, row);
}

bool flow(GenerationStream &stream, StreamRow &row) {
    if (core::monotonic_us() >= stream.held.deadline_us || !extend(stream.held))
        return end(stream, row, false);  // nobody fetched for too long
    for (;;) {
        const bool done = is_done(stream.held);  // asked first: then the ring holds all there will be
        while (take_piece(stream))
            if (give_row(stream, row))
                return pg::check_encoding(row.text, stream.inquiry->problem) || fail_on_row(stream, row);
        if (done)
            return end(stream, row, true);
        if (!sleep_until_woken(stream.held.deadline_us))
            return end(stream, row, false);
    }
}

}  // namespace

GenerationStream *open_stream(const GenerationRequest &request) {
    auto *stream = new (palloc0(sizeof(GenerationStream))) GenerationStream;
    stream->memory = CurrentMemoryContext;
    stream->prompt_tokens = estimated_tokens(request.prompt.text);
    initStringInfo(&stream->text);
    watch(*stream);
    stream->inquiry = begin_generation(kept(request), stream->generation);
    begin(*stream);
    return stream;
}

bool next_row(GenerationStream &stream, StreamRow &row) {
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
    MemoryContext caller = MemoryContextSwitchTo(stream.memory);
    bool given = false;
    observe::take_up(stream.aside);
    PG_TRY();
    {
        given = flow(stream, row);
    }
    PG_CATCH();
    {
        stop(stream);  // counted with the error that ends it
        PG_RE_THROW();
    }
    PG_END_TRY();
    if (stream.stage == Stage::Flowing)
        observe::lay_aside(stream.aside);
    MemoryContextSwitchTo(caller);
    return given;
}

}  // namespace steadytext::session
