// The elements of a text[] argument, in UTF-8. Regime: pg.
//
// Called by src/functions and src/session.
#pragma once

#include "src/pg/text.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
}

#include <algorithm>
#include <span>

namespace steadytext::pg {

// In CurrentMemoryContext; all dimensions in a row.
inline std::span<const core::TextArgument> texts_of(ArrayType *array) {
    Datum *elements;
    bool *nulls;
    int count;
    deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
    auto *texts = static_cast<core::TextArgument *>(
        palloc(static_cast<std::size_t>(std::max(count, 1)) * sizeof(core::TextArgument)));
    for (int i = 0; i < count; i++)
        texts[i] = {nulls[i], nulls[i] ? std::string_view() : utf8_text(elements[i])};
    return {texts, static_cast<std::size_t>(count)};
}

}  // namespace steadytext::pg
