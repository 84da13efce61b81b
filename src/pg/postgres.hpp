// PostgreSQL's headers, as C and without the macros that conflict with C++.
//
// Included first by every file that talks to PostgreSQL. Regime: pg.
#pragma once

extern "C" {
#include "postgres.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/elog.h"
#include "utils/expandeddatum.h"  // brings VARDATA_ANY and its kin, wherever the server's version keeps them
}

#undef Min
#undef Max
#undef Abs
#undef _
