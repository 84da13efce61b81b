// ALTER SYSTEM from a function: a durable, checked change of a setting that the workers see at once. Regime: pg.
#pragma once

namespace steadytext::pg {

// As `ALTER SYSTEM SET name = 'value'`, with its privilege check, followed by a reload. Not undone by ROLLBACK.
void alter_system(const char *name, const char *value);

}  // namespace steadytext::pg
