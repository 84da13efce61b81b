// Beginning, offering, taking, giving up: see ahead.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/ahead.hpp"
#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/guc.hpp"
#include "src/pg/caught.hpp"
#include "src/pg/once.hpp"
#include "src/session/answer_counts.hpp"
#include "src/session/concurrent_calls.hpp"
#include "src/session/equal_answers.hpp"
#include "src/session/settings.hpp"
#include "src/session/statement.hpp"
#include "src/session/statement_caps.hpp"

extern "C" {
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
}

#include <algorithm>
#include <new>

namespace steadytext::session::ahead {

namespace {

// What a call depends on besides its arguments.
struct Circumstances {
    Oid user;
    Settings settings;
    bool normalizes;
    int dimensions;
    int unknown_model;
    int most_bytes;

    [[nodiscard]] static Circumstances now() {
        return {GetUserId(),        session::settings(),  guc::normalize_prompts, guc::embedding_dimensions,
                guc::unknown_model, guc::max_prompt_bytes};
    }
    [[nodiscard]] bool operator==(const Circumstances &other) const {
        return user == other.user && settings.default_max_tokens == other.settings.default_max_tokens &&
               settings.default_seed == other.settings.default_seed &&
               settings.cache_enabled == other.settings.cache_enabled && normalizes == other.normalizes &&
               dimensions == other.dimensions && unknown_model == other.unknown_model && most_bytes == other.most_bytes;
    }
};

}  // namespace

struct Begun {
    Calls *owner;
    MemoryContext memory;  // of the call: its arguments, its answer, this
    const Function *function;
    FunctionCallInfo arguments;
    Circumstances circumstances;
    std::uint64_t hash;
    Begun **holder;  // null as soon as the call is taken or retired
    ModelCall *call = nullptr;
    std::int64_t since_us = 0;
    bool has_ended = false;
    bool was_neglected = false;  // nobody looked after it for a while, so its deadline may have passed unseen
    observe::SavedCall saved{};  // after its end
    Begun *next = nullptr;       // in the owner's list
    Begun *previous = nullptr;
    Begun *next_offered = nullptr;
    bool is_offered = false;
};

namespace {

Calls *first_calls = nullptr;    // of all nodes of this process
Begun *first_offered = nullptr;  // of the rows that the executor has in hand

void withdraw_offer(Begun &call) {
    if (!call.is_offered)
        return;
    call.is_offered = false;
    for (Begun **link = &first_offered; *link != nullptr; link = &(*link)->next_offered)
        if (*link == &call) {
            *link = call.next_offered;
            return;
        }
}

bool is_by_reference(const Function &function, int number) { return function.arguments[number] == 'v'; }

// Detoasted copies, in CurrentMemoryContext.
FunctionCallInfo copy_arguments(const Function &function, FunctionCallInfo from) {
    auto *to = static_cast<FunctionCallInfo>(palloc0(SizeForFunctionCallInfo(from->nargs)));
    to->nargs = from->nargs;
    for (int i = 0; i < from->nargs; i++) {
        to->args[i] = from->args[i];
        if (from->args[i].isnull || !is_by_reference(function, i))
            continue;
        const struct varlena *value = PG_DETOAST_DATUM_PACKED(from->args[i].value);
        void *copy = palloc(VARSIZE_ANY(value));
        memcpy(copy, value, VARSIZE_ANY(value));
        to->args[i].value = PointerGetDatum(copy);
    }
    return to;
}

std::string_view bytes_of(Datum detoasted) {
    const auto *value = reinterpret_cast<const struct varlena *>(DatumGetPointer(detoasted));
    return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

std::uint64_t hash_of(const Function &function, FunctionCallInfo arguments) {
    std::uint64_t hash = static_cast<std::uint64_t>(function.kind) + 1;
    for (int i = 0; i < arguments->nargs; i++) {
        const NullableDatum &argument = arguments->args[i];
        if (argument.isnull) {
            hash = hash_combine64(hash, 1);
        } else if (is_by_reference(function, i)) {
            const std::string_view bytes = bytes_of(argument.value);
            hash = hash_bytes_extended(reinterpret_cast<const unsigned char *>(bytes.data()),
                                       static_cast<int>(bytes.size()), hash);
        } else {
            hash = hash_combine64(hash, argument.value);
        }
    }
    return hash;
}

bool are_equal(const Function &function, FunctionCallInfo mine, FunctionCallInfo others) {
    if (mine->nargs != others->nargs)
        return false;
    for (int i = 0; i < mine->nargs; i++) {
        const NullableDatum &one = mine->args[i], &other = others->args[i];
        if (one.isnull != other.isnull)
            return false;
        if (one.isnull)
            continue;
        if (!is_by_reference(function, i)) {
            if (one.value != other.value)
                return false;
        } else if (bytes_of(one.value) != bytes_of(PointerGetDatum(PG_DETOAST_DATUM_PACKED(other.value)))) {
            return false;
        }
    }
    return true;
}

Begun *find_offered(const Function &function, FunctionCallInfo fcinfo) {
    for (Begun *call = first_offered; call != nullptr; call = call->next_offered)
        if (call->function == &function && are_equal(function, call->arguments, fcinfo))
            return call->circumstances == Circumstances::now() ? call : nullptr;
    return nullptr;
}

bool begin_proven(Begun &call) {
    call.call = call.function->begin(call.arguments);
    return true;
}

// It is not counted if it cannot be begun.
void begin_or_forget(Begun &call) {
    PG_TRY();
    { (void)begin_proven(call); }
    PG_CATCH();
    {
        observe::forget();
        PG_RE_THROW();
    }
    PG_END_TRY();
}

// The arguments that are the same for all rows are checked by the first call: false if they are refused. In a parallel
// plan, where no subtransaction may catch it, the error comes now.
bool begin_first(Begun &call) {
    if (IsInParallelMode())
        return begin_proven(call);
    ErrorData *error = pg::caught(true, [&] { begin_or_forget(call); });
    if (error != nullptr && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
        ReThrowError(error);
    return error == nullptr;
}

// Counts a call that has ended, and that nobody takes. One that was not admitted ahead is made in its turn.
void count(Begun &call) {
    observe::restore(call.saved);
    if (call.call->result == CallResult::Limited)
        return observe::forget();
    if (session::has_failed(call.call->result))
        observe::failed(call.call->problem);
    (void)observe::end();
}

// A call may be late for the sole reason that it was begun early: nobody looked after it, or it waited behind others that
// were answered meanwhile. Then the function asks anew.
bool is_late_for_being_early(const Begun &call, std::int64_t answered_us) {
    return call.call->result == CallResult::TimedOut && (call.was_neglected || answered_us > call.since_us);
}

// Of the memory context of a plan's execution.
void close_kept(void *keeper) {
    if (Calls *calls = *static_cast<Calls **>(keeper); calls != nullptr)
        calls->close();
}

void close_all(int, Datum) {
    while (first_calls != nullptr)
        first_calls->close();
}

// Calls with equal arguments. All but the last have ended.
struct Equals {
    std::uint64_t hash;
    std::uint32_t count;
    const Begun *last;  // null: gone
};

HTAB *make_table(MemoryContext memory) {
    HASHCTL control{};
    control.keysize = sizeof(std::uint64_t);
    control.entrysize = sizeof(Equals);
    control.hcxt = memory;
    return hash_create("steadytext calls ahead", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

}  // namespace

// ---- the calls of a node --------------------------------------------------------------------------------------------

// A context's callback runs after its children are gone. So the memory is nobody's child, and the callback frees it.
Calls *Calls::make(MemoryContext context, bool embeds, bool are_all) {
    pg::once([] { before_shmem_exit(close_all, 0); });
    auto **keeper = static_cast<Calls **>(MemoryContextAllocZero(context, sizeof(Calls *)));
    auto *callback =
        static_cast<MemoryContextCallback *>(MemoryContextAllocZero(context, sizeof(MemoryContextCallback)));
    callback->func = close_kept;
    callback->arg = keeper;
    MemoryContextRegisterResetCallback(context, callback);

    MemoryContext memory = AllocSetContextCreate(TopMemoryContext, "steadytext calls ahead", ALLOCSET_DEFAULT_SIZES);
    Calls *calls = new (MemoryContextAlloc(memory, sizeof(Calls))) Calls;
    calls->memory_ = memory;
    calls->keeper_ = keeper;
    calls->are_all_ = are_all;
    calls->next_ = first_calls;
    if (first_calls != nullptr)
        first_calls->previous_ = calls;
    first_calls = *keeper = calls;  // from here on an error closes them

    MemoryContext caller = MemoryContextSwitchTo(memory);
    calls->under_way_ = make_table(memory);
    calls->calls_ = ConcurrentCalls::make(UINT32_MAX, embeds);
    calls->calls_->ask_ahead();
    calls->equal_answers_ = EqualAnswers::make(memory);
    MemoryContextSwitchTo(caller);
    return calls;
}

void Calls::join_run() { equal_answers_->join_run(); }

void Calls::end_all() {
    while (first_ != nullptr) {
        withdraw_offer(*first_);
        if (first_->has_ended)
            count(*first_);
        first_ = first_->next;
    }
    if (calls_ != nullptr)
        calls_->give_up();
}

void Calls::close() {
    *keeper_ = nullptr;
    (previous_ != nullptr ? previous_->next_ : first_calls) = next_;
    if (next_ != nullptr)
        next_->previous_ = previous_;
    end_all();
    if (equal_answers_ != nullptr)
        equal_answers_->close();
    MemoryContextDelete(memory_);
}

// In a database in another encoding a conversion may fail, so the calls are made in their turn.
bool Calls::are_allowed() { return guc::read_ahead && shmem::segment_attached() && GetDatabaseEncoding() == PG_UTF8; }

std::uint32_t Calls::room() const { return calls_->room(); }
std::uint32_t Calls::under_way() const { return calls_->count(); }

void Calls::add(Begun &call) {
    call.next = first_;
    if (first_ != nullptr)
        first_->previous = &call;
    first_ = &call;
    tokens_ += call.call->spending.tokens;
    bool found;
    auto *equals = static_cast<Equals *>(hash_search(under_way_, &call.hash, HASH_ENTER, &found));
    equals->count = found ? equals->count + 1 : 1;
    equals->last = &call;
}

void Calls::remove(Begun &call) {
    withdraw_offer(call);
    *call.holder = nullptr;
    (call.previous != nullptr ? call.previous->next : first_) = call.next;
    if (call.next != nullptr)
        call.next->previous = call.previous;
    if (!call.has_ended)
        tokens_ -= call.call->spending.tokens;
    auto *equals = static_cast<Equals *>(hash_search(under_way_, &call.hash, HASH_FIND, nullptr));
    if (equals->last == &call)
        equals->last = nullptr;
    if (--equals->count == 0)
        (void)hash_search(under_way_, &call.hash, HASH_REMOVE, nullptr);
}

// Where limits bind the calls, one that equals another is begun too, so that it is charged in its order: after the other
// has ended, so that its answer is found.
Calls::Beginning Calls::begin(const Function &function, FunctionCallInfo arguments, const Place &place, Begun *&call,
                              std::uint64_t &equal_to) {
    MemoryContext memory = AllocSetContextCreate(memory_, "steadytext call ahead", ALLOCSET_SMALL_SIZES);
    MemoryContext caller = MemoryContextSwitchTo(memory);
    FunctionCallInfo copy = copy_arguments(function, arguments);
    const std::uint64_t hash = hash_of(function, copy);
    Beginning result = Beginning::Begun;
    const Foreseen foreseen = function.foresee(copy);
    const auto *equals = static_cast<const Equals *>(hash_search(under_way_, &hash, HASH_FIND, nullptr));
    if (foreseen == Foreseen::Raises)
        result = Beginning::Refused;
    else if (foreseen == Foreseen::AsksNothing)
        result = Beginning::AsksNothing;
    else if (place.awaits_equals && is_equal_under_way(hash))
        result = Beginning::Equal;
    else if (equals != nullptr && !are_limited_ && !place.is_needed)
        result = Beginning::Needless;
    else if (equals != nullptr && equals->last != nullptr && !equals->last->has_ended)
        result = Beginning::Later;
    if (result == Beginning::Begun) {
        call = new (palloc(sizeof(Begun))) Begun{this, memory, &function, copy, Circumstances::now(), hash, &call};
        result = start(*call, place);
    }
    MemoryContextSwitchTo(caller);
    equal_to = result == Beginning::Equal ? hash : 0;
    if (result == Beginning::Begun)
        return result;
    call = nullptr;
    MemoryContextDelete(memory);
    return result;
}

bool Calls::is_equal_under_way(std::uint64_t equal_to) const {
    const auto *equals = static_cast<const Equals *>(hash_search(under_way_, &equal_to, HASH_FIND, nullptr));
    return equals != nullptr && equals->last != nullptr && !equals->last->has_ended;
}

Calls::Beginning Calls::start(Begun &call, const Place &place) {
    call.since_us = core::monotonic_us();
    if (!(place.is_proven ? begin_proven(call) : begin_first(call)))
        return Beginning::Refused;
    const Spending &spending = call.call->spending;
    const Turn turn = std::max(turn_of(spending, tokens_), caps::turn_of(spending, tokens_));
    are_limited_ = turn != Turn::Any;
    if (turn == Turn::Own || turn == Turn::Later || (are_limited_ && !(are_all_ && place.is_in_order))) {
        observe::forget();
        return turn != Turn::Own && are_all_ ? Beginning::Later : Beginning::Never;
    }
    add(call);
    sums_.begun++;
    calls_->start(call.call);
    sums_.most_at_once = std::max(sums_.most_at_once, calls_->count());
    return Beginning::Begun;
}

bool Calls::has_ended(const Begun &call) { return call.has_ended; }
bool Calls::was_recalled(const Begun &call) { return call.has_ended && call.call->result == CallResult::Recalled; }

bool Calls::has_value(const Begun &call, Datum &value, bool &is_null) {
    if (!call.has_ended || !call.function->has_plain_value || !is_answered(call.call->result))
        return false;
    std::string_view answer;
    is_null = !call.call->bytes(answer);
    value = is_null ? static_cast<Datum>(0) : call.function->value(call.arguments, answer);
    return true;
}

void Calls::enter() {
    constexpr std::int64_t kNeglectUs = 1'000'000;
    if (left_us_ == 0 || core::monotonic_us() - left_us_ < kNeglectUs)
        return;
    for (Begun *call = first_; call != nullptr; call = call->next)
        call->was_neglected |= !call->has_ended;
}

void Calls::leave_line() { calls_->leave_line(); }

void Calls::leave() {
    leave_line();
    left_us_ = core::monotonic_us();
}

void Calls::look() {
    while (const ModelCall *ended = calls_->take_ended()) {
        for (Begun *call = first_; call != nullptr; call = call->next) {
            if (call->call != ended)
                continue;
            note_end(*call);
            break;
        }
    }
}

void Calls::note_end(Begun &call) {
    call.has_ended = true;
    tokens_ -= call.call->spending.tokens;
    observe::stop_clock();
    observe::save(call.saved);
    if (is_answered(call.call->result))
        answered_us_ = core::monotonic_us();
}

void Calls::wait() { calls_->wait(1'000'000); }

void Calls::offer(Begun &call) {
    call.is_offered = true;
    call.next_offered = first_offered;
    first_offered = &call;
}

void Calls::retire(Begun &call) {
    sums_.in_vain++;
    remove(call);
    if (call.has_ended)
        count(call);
    else
        calls_->give_up(call.call);
    MemoryContextDelete(call.memory);
}

// ---- the function's part --------------------------------------------------------------------------------------------

bool take(const Function &function, FunctionCallInfo fcinfo, Datum &result, bool &is_null) {
    Begun *mine = first_offered == nullptr ? nullptr : find_offered(function, fcinfo);
    if (mine == nullptr || !mine->has_ended || is_late_for_being_early(*mine, mine->owner->answered_us_) ||
        mine->call->result == CallResult::Limited)
        return false;
    ModelCall &call = *mine->call;
    MemoryContext memory = mine->memory;
    mine->owner->remove(*mine);
    mine->owner->sums_.taken++;
    MemoryContextSetParent(memory, CurrentMemoryContext);  // an error leaves it to the row
    observe::restore(mine->saved);
    if (is_answered(call.result))
        statement::note_answer();
    call.finish();
    std::string_view answer;
    is_null = !call.bytes(answer);
    if (!is_null)
        note_answer(function, fcinfo, answer);
    result = is_null ? static_cast<Datum>(0) : function.value(fcinfo, answer);
    MemoryContextDelete(memory);
    return true;
}

void attend() {
    if (first_calls == nullptr)
        return;
    observe::SavedCall at_hand;
    observe::save(at_hand);
    PG_TRY();
    {
        for (Calls *calls = first_calls; calls != nullptr; calls = calls->next_)
            if (calls->calls_ != nullptr && !calls->calls_->is_idle())
                calls->look();
    }
    PG_CATCH();
    {
        observe::drop(at_hand);
        PG_RE_THROW();
    }
    PG_END_TRY();
    observe::restore(at_hand);
}

}  // namespace steadytext::session::ahead
