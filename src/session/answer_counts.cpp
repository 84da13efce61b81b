// Questions by their digests: see answer_counts.hpp. Regime: pg.
#include "src/pg/tree_walk.hpp"
#include "src/session/answer_counts.hpp"
#include "shmem/segment.hpp"
#include "src/core/sha256.hpp"
#include "src/guc.hpp"
#include "src/session/cache_scope.hpp"
#include "src/session/observe.hpp"

extern "C" {
#include "nodes/nodeFuncs.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
}

#include <cstring>

namespace steadytext::session {

namespace {

using ahead::Function;

struct Hashed {
    core::Sha256 &sha;
    bool is_known = true;
    bool may_vary = false;  // the argument at hand
};

template <class Value>
void add_value(const Value &value, Hashed &hashed) {
    hashed.sha.add({reinterpret_cast<const char *>(&value), sizeof value});
}

// Preceded by its length: no two questions are the same bytes.
void add_bytes(std::string_view bytes, Hashed &hashed) {
    add_value(bytes.size(), hashed);
    hashed.sha.add(bytes);
}

void add(const Const &value, Hashed &hashed) {
    add_value(value.consttype, hashed);
    add_value(value.constisnull, hashed);
    if (value.constisnull)
        return;
    if (value.constbyval)
        return add_value(value.constvalue, hashed);
    if (value.constlen == -1) {
        const struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value.constvalue);
        return add_bytes({VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)}, hashed);
    }
    add_bytes({DatumGetPointer(value.constvalue), datumGetSize(value.constvalue, false, value.constlen)}, hashed);
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
    return !hashed.is_known || expression_tree_walker(node, pg::walker(add_constants), context);
}

using Key = shmem::AnswerCounts::Key;

// Short names, which lack the last argument, are the same functions. A digest of 0: not known.
Key question_of(const Function &function, const FuncExpr &call) {
    core::Sha256 *sha = core::Sha256::instance();
    if (sha == nullptr)
        return {};
    sha->begin();
    Hashed hashed{*sha};
    add_bytes(function.symbol, hashed);
    ListCell *cell;
    foreach (cell, call.args) {
        add_value(foreach_current_index(cell), hashed);
        hashed.may_vary = foreach_current_index(cell) == function.varying;
        (void)add_constants(static_cast<Node *>(lfirst(cell)), &hashed);
    }
    const core::Digest digest = sha->finish();
    Key key;
    if (hashed.is_known)
        std::memcpy(key.digest.data(), digest.bytes, sizeof key.digest);
    return key;
}

bool is_known(const Key &question) { return question.digest != Key{}.digest; }

Key in_scope(Key question) {
    question.owner = std::uint64_t{scope_role()} << 32 | MyDatabaseId;
    return question;
}

// Of the call as the statement has it, kept with it.
const Key &question_at(const Function &function, FmgrInfo &place) {
    if (place.fn_extra == nullptr) {
        auto *kept = static_cast<Key *>(MemoryContextAlloc(place.fn_mcxt, sizeof(Key)));
        *kept = question_of(function, *reinterpret_cast<const FuncExpr *>(place.fn_expr));
        place.fn_extra = kept;
    }
    return *static_cast<const Key *>(place.fn_extra);
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
    if (const Key &question = question_at(function, *place); is_known(question))
        shmem::answer_counts().add(in_scope(question), number_of(function, fcinfo, answer), observe::daemon_us());
}

shmem::AnswerCounts::Seen seen_answers(const Function &function, const FuncExpr &call) {
    if (function.answers == nullptr || !shmem::segment_attached())
        return {};
    const Key question = question_of(function, call);
    return is_known(question) ? shmem::answer_counts().seen(in_scope(question)) : shmem::AnswerCounts::Seen{};
}

}  // namespace steadytext::session
