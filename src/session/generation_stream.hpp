// One text generation that comes in pieces: rows as the daemon makes them.
//
// Called by src/functions/generate.cpp. Regime: pg. What is asked is generation.hpp's, and the way to a slot is that of every call
// (running_call.hpp), but that no other session waits for it; a hit is one row, and a stream that came to its end is cached. Until the first row steadytext.on_failure rules, as for a whole answer; after it a
// failure is an ERROR, so that no answer is short without a word.
//
// A stream ends with the memory context it was opened in, with its (sub)transaction if that aborts, and with an error while it
// waits: then its slot is free and the daemon told to stop, whatever ended it (LIMIT, CLOSE, cancel, ROLLBACK, termination).
// steadytext.request_timeout is how long a row may take, and how long one may wait to be fetched: a stream that is fetched no more
// ends then, by the gateway if its session does nothing, and gives back its slot, its memory and its place in the engine.
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

// Before one is sent: raises if this session is reading as many as it may.
void require_room_for_stream();

}  // namespace steadytext::session
