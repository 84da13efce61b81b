// _steadytext.jinja_names() and jinja_render(): templates of the prompt registry. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/core/jinja/jinja.hpp"
#include "src/pg/interrupts.hpp"
#include "src/pg/jsonb.hpp"
#include "src/pg/text.hpp"
#include "src/session/arguments.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
}

namespace {

using namespace steadytext;

constexpr const char *kWork = "the template";

// Beyond this, what a call has left is freed by the next one.
constexpr std::size_t kKept = 64U << 10;

}  // namespace

STEADYTEXT_FUNCTION(steadytext_jinja_names) {
    const std::string_view source = pg::utf8_text(PG_GETARG_DATUM(0));
    session::require(core::arguments_of("_steadytext.jinja_names")[0].rule, "template", source);
    check_stack_depth();
    static std::vector<std::string> *names = new std::vector<std::string>;
    core::Work work = pg::interruptible(core::jinja::kMaxSteps);
    pg::worked(work, kWork, [&](core::Problem &problem) { return core::jinja::check(source, work, *names, problem); });
    Datum *elements = static_cast<Datum *>(palloc((names->size() + 1) * sizeof(Datum)));
    for (std::size_t i = 0; i < names->size(); i++)
        elements[i] = pg::text_datum((*names)[i]);
    PG_RETURN_ARRAYTYPE_P(construct_array(elements, static_cast<int>(names->size()), TEXTOID, -1, false, TYPALIGN_INT));
}

STEADYTEXT_FUNCTION(steadytext_jinja_render) {
    const core::TextArgument source = pg::text_argument(fcinfo, 0);
    session::require(core::arguments_of("_steadytext.jinja_render")[0].rule, "template", source);
    const std::string_view variables = PG_ARGISNULL(1) ? std::string_view("{}") : pg::json_text(PG_GETARG_JSONB_P(1));
    const bool strict = session::argument_is_true(fcinfo, 2);
    check_stack_depth();
    static std::string *rendered = new std::string;
    core::Work work = pg::interruptible(core::jinja::kMaxSteps);
    pg::worked(work, kWork, [&](core::Problem &problem) {
        if (rendered->capacity() > kKept)
            std::string().swap(*rendered);
        return core::jinja::render(source.text, variables, strict, work, *rendered, problem);
    });
    return pg::text_datum(*rendered);
}
