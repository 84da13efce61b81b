// PostgreSQL's timestamps, counted from 2000, as microseconds since 1970, and back. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "utils/timestamp.h"
}

namespace steadytext::pg {

inline constexpr int64 kEpochOffsetUs = int64{POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE} * SECS_PER_DAY * USECS_PER_SEC;

inline int64 unix_us_of(TimestampTz time) { return time + kEpochOffsetUs; }
inline TimestampTz timestamp_of(int64 unix_us) { return unix_us - kEpochOffsetUs; }

}  // namespace steadytext::pg
