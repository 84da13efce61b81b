// steadytext_cache_key(): the key that any tool can compute too. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/core/cache_key.hpp"
#include "src/core/canonical_json.hpp"
#include "src/core/nfc.hpp"
#include "src/guc.hpp"
#include "src/pg/interrupts.hpp"
#include "src/pg/jsonb.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"

namespace {

using namespace steadytext;

// NULL and {} are the same, and the usual case.
bool is_empty(FunctionCallInfo fcinfo, int number) {
    if (PG_ARGISNULL(number))
        return true;
    const Jsonb *params = PG_GETARG_JSONB_P(number);
    return JB_ROOT_IS_OBJECT(params) && JB_ROOT_COUNT(params) == 0;
}

// The JSON as text in UTF-8, with room behind it for the parser.
core::PaddedText padded_text(Jsonb *params) {
    const std::string_view text = pg::json_text(params);
    char *padded = static_cast<char *>(palloc_extended(text.size() + core::PaddedText::kPadding, MCXT_ALLOC_HUGE));
    text.copy(padded, text.size());
    memset(padded + text.size(), 0, core::PaddedText::kPadding);
    return {{padded, text.size()}};
}

}  // namespace

STEADYTEXT_FUNCTION(steadytext_cache_key) {
    if (PG_ARGISNULL(0))
        PG_RETURN_NULL();
    const std::string_view prompt = pg::utf8_text(PG_GETARG_DATUM(0));
    const std::string_view prefix = pg::text_argument(fcinfo, 2).or_else("");
    const std::span<const core::Parameter> rows = core::arguments_of("steadytext_cache_key");
    session::require(rows[0].rule, rows[0].shown(), prompt);
    session::require(rows[2].rule, rows[2].shown(), prefix);
    const bool bare = is_empty(fcinfo, 1);
    core::PaddedText params{};
    if (!bare) {
        params = padded_text(PG_GETARG_JSONB_P(1));
        session::require(rows[1].rule, rows[1].shown(), params.text);
    }
    static std::string *canonical = new std::string;
    static std::string *normal = new std::string;
    core::Digest key;
    core::Work work = pg::interruptible();
    pg::worked(work, "the prompt", [&](core::Problem &problem) {
        if (bare)
            *canonical = "{}";
        else if (!core::canonical_json(params, *canonical, problem))
            return false;
        const std::string_view keyed = guc::normalize_prompts ? core::nfc(prompt, *normal, work) : prompt;
        return core::cache_key(prefix, keyed, *canonical, key, problem);
    });
    char hex[core::kHexBytes];
    core::to_hex(key, hex);
    PG_RETURN_TEXT_P(cstring_to_text_with_len(hex, sizeof hex));
}
