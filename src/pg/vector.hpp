// pgvector's type as it lies in memory, so no copy through text is needed. Regime: pg.
//
// The layout of `Vector` in pgvector's vector.h, unchanged since its first release; the extension requires
// pgvector.
#pragma once

#include "src/pg/postgres.hpp"

#include <span>
#include <string_view>

namespace steadytext::pg {

struct Vector {
    int32 length;  // varlena header
    int16 dimensions;
    int16 unused;
    float values[FLEXIBLE_ARRAY_MEMBER];
};

inline Datum vector_datum(std::span<const float> values) {
    const Size bytes = offsetof(Vector, values) + values.size() * sizeof(float);
    auto *vector = static_cast<Vector *>(palloc0(bytes));
    SET_VARSIZE(vector, bytes);
    vector->dimensions = static_cast<int16>(values.size());
    memcpy(vector->values, values.data(), values.size() * sizeof(float));
    return PointerGetDatum(vector);
}

// The numbers of a vector value as bytes, detoasted; valid in CurrentMemoryContext.
inline std::string_view vector_bytes(Datum value) {
    const auto *vector = reinterpret_cast<const Vector *>(PG_DETOAST_DATUM(value));
    return {reinterpret_cast<const char *>(vector->values),
            static_cast<std::size_t>(vector->dimensions) * sizeof(float)};
}

}  // namespace steadytext::pg
