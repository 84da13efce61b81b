// The function a job names, called once the job has ended. Regime: pg.
//
// Called by src/queue/queue_sql.cpp in the transaction that records the result, so that what the function does and the result
// become visible together, or neither.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "utils/uuid.h"
}

#include <cstdint>

namespace steadytext::queue {

// As the role `user`, in a security-restricted operation with a search_path of pg_catalog alone, steadytext.request_timeout at
// most. What it raises is recorded in callback_error, and costs the job nothing.
void run_callback(std::int64_t id, const pg_uuid_t &request, const char *callback, const char *user);

}  // namespace steadytext::queue
