// See arguments.hpp. Regime: pg.
#include "src/pg/postgres.hpp"
#include "src/session/arguments.hpp"
#include "src/guc.hpp"
#include "src/pg/boundary.hpp"

namespace steadytext::session {

void require(const core::Rule &rule, const char *name, const core::Value &value) {
    pg::guarded([&](core::Problem &problem) {
        return core::check(rule, name, value, static_cast<std::size_t>(guc::max_prompt_bytes), problem);
    });
}

void require(const core::Rule &rule, const core::Value &value) { require(rule, rule.name, value); }

}  // namespace steadytext::session
