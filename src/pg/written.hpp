// Texts that pure code writes for PostgreSQL code. Used by src/functions and src/session. Regime: boundary.
#pragma once

#include "src/pg/boundary.hpp"
#include "src/core/json_text.hpp"

#include <string>

namespace steadytext::pg {

// The text that `body(std::string &)` writes, until the next call from the same place: the buffer of each place lives as long as the
// process, so no longjmp can leak it.
template <class Body>
[[nodiscard]] std::string_view written(Body &&body) {
    static std::string *text = new std::string;
    guarded([&] {
        text->clear();
        body(*text);
    });
    return *text;
}

// The same for a JSON object, whose members `body(core::JsonObject &)` adds.
template <class Body>
[[nodiscard]] std::string_view written_json(core::Escape escape, Body &&body) {
    return written([&](std::string &out) {
        core::JsonObject json(out, escape);
        body(json);
        json.close();
    });
}

}  // namespace steadytext::pg
