// What runs as steadytext_owner reaches nothing but the extension's relations and PostgreSQL's own.
//
// The statements of workers, of SECURITY DEFINER functions and of begin_as_owner() name tables, and a name is looked up whenever a statement
// is analysed anew: the owner of a database may have renamed the schema public meanwhile, and put a view or a table with a trigger in a
// table's place, whose code would then run as steadytext_owner. So every statement of that role is looked at once its names are OIDs, before
// anything of it is planned or run: each relation must be a member of the extension or the system's, each function a superuser's or the role's
// own. What it was checked with is what it runs with. Functions that no statement shows (those of domains) are looked at when they are about to run;
// of the statements that are no queries, functions and workers run only a few harmless ones as that role.
//
// Installed once by _PG_init(). Regime: pg.
#pragma once

namespace steadytext::pg {

void install_owner_guard();

}  // namespace steadytext::pg
