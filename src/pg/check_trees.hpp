// What stands in the trees of CHECK constraints: the value that a condition is about, and constants. Regime: pg.
//
// Used by check_demands.cpp.
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "nodes/primnodes.h"
#include "utils/numeric.h"
}

namespace steadytext::pg {

// The subject of a condition: the value itself, or its length.
struct Subject {
    enum class Kind { None, Value, Length, Octets };
    Kind kind = Kind::None;
    bool trimmed = false;  // without its blanks
    Oid type = InvalidOid;
    [[nodiscard]] bool is_text() const { return type == TEXTOID || type == VARCHAROID || type == BPCHAROID; }
    [[nodiscard]] bool has_day() const { return type == DATEOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID; }
    [[nodiscard]] bool is_number() const {
        return type == INT2OID || type == INT4OID || type == INT8OID || type == NUMERICOID || type == FLOAT4OID ||
               type == FLOAT8OID;
    }
};

// Kind None if the tree is no such subject.
[[nodiscard]] Subject subject_of(Node *tree);
// Null if the tree is no constant, or is NULL.
[[nodiscard]] const Const *constant_of(Node *tree);

// Null if the value is no finite number.
[[nodiscard]] Numeric number_of(Oid type, Datum value);
// As JSON; null if the type is not known here.
[[nodiscard]] char *json_of(Oid type, Datum value);
// The constants of an array, as JSON. False if an element is unknown or NULL.
[[nodiscard]] bool values_of(Node *tree, List **values);

}  // namespace steadytext::pg
