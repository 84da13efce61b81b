// Ensures that statements of steadytext_owner reach only relations of the extension and of PostgreSQL itself.
//
// The statements of workers, of SECURITY DEFINER functions and of begin_as_owner() name tables, and PostgreSQL looks up
// a name whenever it analyses a statement anew. Meanwhile the owner of a database may have renamed the schema public
// and put a view, or a table with a trigger, in a table's place; its code would then run as steadytext_owner. So every
// statement of this role is checked once its names are OIDs, before any part of it is planned or run: each relation
// must be a member of the extension or of the system, each function must belong to a superuser or to the role itself.
// The statement then runs with the OIDs that were checked. Functions that stand in no statement (functions of domains)
// are checked when they are about to run. Of utility statements, functions and workers may run only a few harmless
// kinds as this role.
//
// Installed once by _PG_init(). Regime: pg.
#pragma once

namespace steadytext::pg {

void install_owner_guard();

}  // namespace steadytext::pg
