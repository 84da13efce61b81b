// PostgreSQL's headers, as C and without the macros that fight C++.
//
// Included first by every file that talks to PostgreSQL. Regime: pg.
#pragma once

extern "C" {
#include "postgres.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/elog.h"
}

#undef Min
#undef Max
#undef Abs
#undef _
