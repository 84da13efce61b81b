// A text generation that comes in pieces: rows as the daemon makes them.
//
// Called by src/functions/generate.cpp. Regime: pg. The request is generation.hpp's, and it takes the way of every call
// to a slot (running_call.hpp), but no other session waits for its answer. A hit is a single row, and a stream that
// came to its end is cached. Until the first row, steadytext.on_failure decides about a failure, as for a whole answer.
// After the first row a failure is an ERROR, so that no answer is short without a word.
//
// A stream ends with the memory context in which it was opened, with its (sub)transaction if that aborts, and with an
// error while it waits. Then its slot is free and the daemon is told to stop, whatever ended it (LIMIT, CLOSE, cancel,
// ROLLBACK, termination). steadytext.request_timeout limits how long a row may take, and how long a row may wait to be
// fetched. A stream that is fetched no more ends then, by the gateway if its session does nothing, and gives back its
// slot, its memory and its place in the engine.
#pragma once

#include "src/session/generation.hpp"

namespace steadytext::session {

class GenerationStream;

// In CurrentMemoryContext. Raises as generate() does.
[[nodiscard]] GenerationStream *open_stream(const GenerationRequest &request);

struct StreamRow {
    bool is_null;
    std::string_view text;  // valid until the next row
};
// False if there are no more.
[[nodiscard]] bool next_row(GenerationStream &stream, StreamRow &row);

// Called before a stream is sent: raises if this session reads as many streams as it may.
void require_room_for_stream();

}  // namespace steadytext::session
