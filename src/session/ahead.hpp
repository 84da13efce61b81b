// Calls begun before the executor makes them: src/planner/read_ahead_scan.cpp begins the calls of rows that it has read
// ahead, and the SQL function takes the call that was begun for its arguments.
//
//   node:      calls->begin(function, arguments, call)
//              calls->wait(), until has_ended(*call)
//              calls->offer(*call)        its row goes to the executor
//   function:  ahead::take(...)           the call ends, is counted and fails as if it had been made here
//   node:      calls->retire(*call)       the next row is asked for: a call that nobody took was begun in vain
//
// Regime: pg. The calls go through the state machine of running_call.hpp, many at once (concurrent_calls.hpp). What a
// call comes to is told only to the function that takes it, so answers, errors, warnings and counts come in the order
// of the plan. A call that would be refused on account of its row is not begun, and where limits bind the calls they are
// begun in the order of the plan, as far as nobody can tell (turn_of() in limits.hpp).
//
// The calls last as long as the memory context of the plan's execution. When it goes, however the statement ends, those
// that are under way are given up: their slots are free, and the daemons are told to stop.
//
// The calls may lead flights that other sessions follow (shmem/single_flight.hpp), so attend() looks after them
// wherever this session waits for another call.
#pragma once

#include "src/pg/postgres.hpp"
#include "shmem/call_stats.hpp"
#include "src/core/parameters.hpp"

#include <cstdint>
#include <span>
#include <string_view>

struct HTAB;

namespace steadytext::session {

class ConcurrentCalls;
class EqualAnswers;
class ModelCall;

namespace ahead {

// All that a function can be answered.
using Answers = std::span<const core::TextArgument>;

enum class Foreseen : std::uint8_t {
    Asks,
    AsksNothing,  // a NULL that gives NULL
    Raises,
};

// A C function of the extension whose calls can be begun ahead.
struct Function {
    const char *symbol;     // pg_proc.prosrc
    const char *arguments;  // a letter for each: 'v' by reference, 'd' by value; a short name may lack the last
    int varying;            // the argument that differs from row to row; the others are the same for the statement
    shmem::CallKind kind;
    // What the function does for the row, on account of that argument.
    Foreseen (*foresee)(FunctionCallInfo call);
    // Begins the call, in CurrentMemoryContext. The arguments are used until its end.
    ModelCall *(*begin)(FunctionCallInfo call);
    Datum (*value)(FunctionCallInfo call, std::string_view answer);
    bool has_plain_value;  // value() raises nothing, so other calls of the row may depend on it before their turn
    // In CurrentMemoryContext; null: they are not known before.
    Answers (*answers)(FunctionCallInfo call) = nullptr;
};

struct Begun;

struct Sums {
    std::uint64_t begun = 0;
    std::uint64_t taken = 0;
    std::uint64_t in_vain = 0;
    std::uint32_t most_at_once = 0;
};

// The calls of one plan node.
class Calls {
public:
    // As long as this memory context lasts, or until close(). `embeds`: all calls are embeddings. `are_all`: the statement
    // makes no other calls, so those begun here are charged in its order.
    [[nodiscard]] static Calls *make(MemoryContext context, bool embeds, bool are_all);
    // The node goes on in another run of the executor.
    void join_run();
    void close();

    // Whether calls may be begun ahead, as settings stand now.
    [[nodiscard]] static bool are_allowed();
    // Limits bind the calls: only those may be begun that are certain to be made.
    [[nodiscard]] bool are_limited() const { return are_limited_; }
    // How many calls may be under way at once, and how many are.
    [[nodiscard]] std::uint32_t room() const;
    [[nodiscard]] std::uint32_t under_way() const;

    enum class Beginning : std::uint8_t {
        Begun,
        AsksNothing,  // it gives NULL
        Needless,     // an equal call is under way, or was: the function will find its answer (equal_answers.hpp)
        Equal,        // an equal call is under way, and this call is to be begun when it has ended
        Refused,  // the function is to raise an error, in its turn: for a row that is wanted, after what fails before
        Later,    // a limit is in the way: perhaps when other calls have ended, else in its turn
        Never,    // nor any call after it, on account of a limit
    };
    struct Place {
        bool is_in_order = true;     // all calls that the plan makes before it have been begun
        bool awaits_equals = false;  // rows are not begun in their order, so an equal call may be one of a later row
        bool is_needed = false;      // other calls depend on its value, so it is begun if an equal call has ended
        bool is_proven = false;      // what it has beside its text is good, as of a call that was begun before
    };
    // With room for a call. Sets `call` if Begun, and to null when the call is taken or retired: it stays where it is.
    // Sets `equal_to` to a name for that call if Equal, else to 0.
    [[nodiscard]] Beginning begin(const Function &function, FunctionCallInfo arguments, const Place &place,
                                  Begun *&call, std::uint64_t &equal_to);
    [[nodiscard]] bool is_equal_under_way(std::uint64_t equal_to) const;
    [[nodiscard]] static bool has_ended(const Begun &call);
    [[nodiscard]] static bool was_recalled(const Begun &call);
    // What the function will give for a call that has ended, in CurrentMemoryContext. False if that is not known before
    // its turn: the call failed, or the value may not be computed early.
    [[nodiscard]] static bool has_value(const Begun &call, Datum &value, bool &is_null);

    // Between enter() and leave() the caller looks after the calls.
    void enter();
    void leave();
    // Another call of this session may have to stand in line for room in shared memory. leave() does it too.
    void leave_line();
    // Sees which calls have ended.
    void look();
    // Until a call may have ended, a second at most.
    void wait();

    void offer(Begun &call);
    // The call is freed, and given up if it is under way.
    void retire(Begun &call);

    [[nodiscard]] const Sums &sums() const { return sums_; }

private:
    friend bool take(const Function &function, FunctionCallInfo fcinfo, Datum &result, bool &is_null);
    friend void attend();

    [[nodiscard]] Beginning start(Begun &call, const Place &place);
    void add(Begun &call);
    void note_end(Begun &call);
    void remove(Begun &call);
    void end_all();

    MemoryContext memory_ = nullptr;  // of all that is here
    ConcurrentCalls *calls_ = nullptr;
    EqualAnswers *equal_answers_ = nullptr;
    HTAB *under_way_ = nullptr;  // calls that are neither taken nor retired, by the hash of their arguments
    bool are_all_ = false;
    bool are_limited_ = false;
    std::int64_t tokens_ = 0;  // as estimated, of calls that have not ended
    Begun *first_ = nullptr;
    Sums sums_;
    std::int64_t left_us_ = 0;      // when leave() was called
    std::int64_t answered_us_ = 0;  // when the last answer was seen
    Calls **keeper_ = nullptr;      // in the context: null once these calls are closed
    Calls *next_ = nullptr;
    Calls *previous_ = nullptr;
};

// True if this call was begun ahead; then `result` and `is_null` are its value. Raises what the call itself would
// raise.
[[nodiscard]] bool take(const Function &function, FunctionCallInfo fcinfo, Datum &result, bool &is_null);

// Looks after all calls begun ahead. A call that is being counted (observe.hpp) stays the one at hand.
void attend();

}  // namespace ahead
}  // namespace steadytext::session
