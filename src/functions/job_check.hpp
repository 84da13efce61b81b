// Whether an asynchronous call could end well at all, so that its caller hears of it and not the server's log.
//
// Called by src/functions/queue.cpp before a row is added. Regime: pg.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "utils/jsonb.h"
}

namespace steadytext::functions {

// Raises if no answer can have the form that the params ask for, or if they ask for an unsafe model and name none.
void require_possible(const char *request_type, Jsonb *params);

}  // namespace steadytext::functions
