// Questions by their hashes: see answer_counts.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/session/answer_counts.hpp"
#include "shmem/segment.hpp"
#include "src/guc.hpp"
#include "src/session/cache_scope.hpp"
#include "src/session/observe.hpp"

extern "C" {
#include "common/hashfn.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
}

#include <cstring>

namespace steadytext::session {

namespace {

using ahead::Function;

struct Hashed {
    std::uint64_t hash;
    bool is_known = true;
    bool may_vary = false;  // the argument at hand
};

std::uint64_t hash_of(std::string_view bytes, std::uint64_t seed) {
    return hash_bytes_extended(reinterpret_cast<const unsigned char *>(bytes.data()), static_cast<int>(bytes.size()),
                               seed);
}

void add(const Const &value, Hashed &hashed) {
    if (value.constisnull)
        return;
    if (value.constlen != -1) {
        if (value.constbyval)
            hashed.hash = hash_combine64(hashed.hash, value.constvalue);
        return;
    }
    const struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value.constvalue);
    hashed.hash = hash_of({VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)}, hashed.hash);
}

// C++ allows the cast only through another function type.
pg::tree_walker_type walker(bool (*function)(Node *, void *)) {
    return reinterpret_cast<pg::tree_walker_type>(reinterpret_cast<void (*)()>(function));
}

bool add_constants(Node *node, void *context) {
    auto &hashed = *static_cast<Hashed *>(context);
    if (node == nullptr)
        return false;
    if (IsA(node, Const)) {
        add(*reinterpret_cast<const Const *>(node), hashed);
        return false;
    }
    hashed.is_known &= hashed.may_vary || !IsA(node, Param);
    return !hashed.is_known || expression_tree_walker(node, walker(add_constants), context);
}

// Short names, which lack the last argument, are the same functions. 0: not known, or too much to look at for each call.
std::uint64_t question_of(const Function &function, const FuncExpr &call) {
    Hashed hashed{hash_of(function.symbol, 0)};
    ListCell *cell;
    foreach (cell, call.args) {
        hashed.may_vary = foreach_current_index(cell) == function.varying;
        (void)add_constants(static_cast<Node *>(lfirst(cell)), &hashed);
    }
    return hashed.is_known ? std::max<std::uint64_t>(hashed.hash, 1) : 0;
}

std::uint64_t in_scope(std::uint64_t question) {
    const std::uint64_t owner = std::uint64_t{scope_role()} << 32 | MyDatabaseId;
    return question == 0 ? 0 : std::max<std::uint64_t>(hash_combine64(question, hash_combine64(owner, 1)), 1);
}

// Of the call as the statement has it, kept with it.
std::uint64_t question_at(const Function &function, FmgrInfo &place) {
    if (place.fn_extra == nullptr) {
        auto *kept = static_cast<std::uint64_t *>(MemoryContextAlloc(place.fn_mcxt, sizeof(std::uint64_t)));
        *kept = question_of(function, *reinterpret_cast<const FuncExpr *>(place.fn_expr));
        place.fn_extra = kept;
    }
    return *static_cast<const std::uint64_t *>(place.fn_extra);
}

std::size_t number_of(const Function &function, FunctionCallInfo fcinfo, std::string_view answer) {
    const ahead::Answers answers = function.answers(fcinfo);
    std::size_t number = 0;
    while (number < answers.size() && answers[number].text != answer)
        number++;
    return number;
}

}  // namespace

void note_answer(const Function &function, FunctionCallInfo fcinfo, std::string_view answer) {
    FmgrInfo *place = fcinfo->flinfo;
    if (function.answers == nullptr || !guc::track_calls || place == nullptr || place->fn_retset ||
        place->fn_expr == nullptr || !IsA(place->fn_expr, FuncExpr) || !shmem::segment_attached())
        return;
    if (const std::uint64_t key = in_scope(question_at(function, *place)); key != 0)
        shmem::answer_counts().add(key, number_of(function, fcinfo, answer), observe::daemon_us());
}

shmem::AnswerCounts::Seen seen_answers(const Function &function, const FuncExpr &call) {
    const std::uint64_t key =
        function.answers != nullptr && shmem::segment_attached() ? in_scope(question_of(function, call)) : 0;
    return key != 0 ? shmem::answer_counts().seen(key) : shmem::AnswerCounts::Seen{};
}

}  // namespace steadytext::session
