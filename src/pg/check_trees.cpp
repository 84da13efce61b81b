// See check_trees.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/check_trees.hpp"
#include "src/pg/nodes.hpp"

extern "C" {
#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
}

#include <cmath>

namespace steadytext::pg {

namespace {

constexpr int kMaxValues = 1'000;  // of a list

// Removes casts that change no value: from integers to wider integers, and casts that only rename the type.
Node *without_casts(Node *tree) {
    for (;;) {
        if (IsA(tree, RelabelType)) {
            tree = reinterpret_cast<Node *>(reinterpret_cast<RelabelType *>(tree)->arg);
            continue;
        }
        if (IsA(tree, CollateExpr)) {
            tree = reinterpret_cast<Node *>(reinterpret_cast<CollateExpr *>(tree)->arg);
            continue;
        }
        if (!IsA(tree, FuncExpr))
            return tree;
        switch (reinterpret_cast<FuncExpr *>(tree)->funcid) {
        case F_INT4_INT2:
        case F_INT8_INT2:
        case F_INT8_INT4:
        case F_NUMERIC_INT2:
        case F_NUMERIC_INT4:
        case F_NUMERIC_INT8:
        case F_FLOAT8_INT2:
        case F_FLOAT8_INT4:
        case F_FLOAT8_FLOAT4:
            tree = static_cast<Node *>(linitial(reinterpret_cast<FuncExpr *>(tree)->args));
            continue;
        default:
            return tree;
        }
    }
}

Subject::Kind length_kind(Oid function) {
    switch (function) {
    case F_LENGTH_TEXT:
    case F_CHAR_LENGTH_TEXT:
    case F_CHARACTER_LENGTH_TEXT:
    case F_LENGTH_BPCHAR:
    case F_CHAR_LENGTH_BPCHAR:
    case F_CHARACTER_LENGTH_BPCHAR:
        return Subject::Kind::Length;
    case F_OCTET_LENGTH_TEXT:
        return Subject::Kind::Octets;
    default:
        return Subject::Kind::None;
    }
}

}  // namespace

Subject subject_of(Node *tree) {
    Subject subject{.kind = Subject::Kind::Value};
    tree = without_casts(tree);
    if (IsA(tree, FuncExpr))
        if (const Subject::Kind kind = length_kind(reinterpret_cast<FuncExpr *>(tree)->funcid);
            kind != Subject::Kind::None) {
            subject.kind = kind;
            tree = without_casts(static_cast<Node *>(linitial(reinterpret_cast<FuncExpr *>(tree)->args)));
        }
    while (IsA(tree, FuncExpr)) {
        const Oid function = reinterpret_cast<FuncExpr *>(tree)->funcid;
        if (function != F_BTRIM_TEXT && function != F_TEXT_BPCHAR)
            return {};
        subject.trimmed = true;
        tree = without_casts(static_cast<Node *>(linitial(reinterpret_cast<FuncExpr *>(tree)->args)));
    }
    if (!IsA(tree, Var) && !IsA(tree, CoerceToDomainValue))
        return {};
    subject.type = getBaseType(exprType(tree));
    subject.trimmed |= subject.type == BPCHAROID;  // padding counts for nothing
    if (subject.kind != Subject::Kind::Value && !subject.is_text())
        return {};
    return subject;
}

const Const *constant_of(Node *tree) {
    // In front of a constant this cast rounds to the number that the constant stands for.
    tree = without_casts(tree);
    if (IsA(tree, FuncExpr) && reinterpret_cast<FuncExpr *>(tree)->funcid == F_FLOAT8_NUMERIC)
        tree = without_casts(static_cast<Node *>(linitial(reinterpret_cast<FuncExpr *>(tree)->args)));
    if (!IsA(tree, Const) || reinterpret_cast<Const *>(tree)->constisnull)
        return nullptr;
    return reinterpret_cast<const Const *>(tree);
}

Numeric number_of(Oid type, Datum value) {
    switch (type) {
    case INT2OID:
        return int64_to_numeric(DatumGetInt16(value));
    case INT4OID:
        return int64_to_numeric(DatumGetInt32(value));
    case INT8OID:
        return int64_to_numeric(DatumGetInt64(value));
    case NUMERICOID: {
        Numeric number = DatumGetNumeric(value);
        return numeric_is_nan(number) || numeric_is_inf(number) ? nullptr : number;
    }
    case FLOAT8OID:
        if (!std::isfinite(DatumGetFloat8(value)))
            return nullptr;
        return DatumGetNumeric(DirectFunctionCall3(numeric_in,
                                                   CStringGetDatum(double_to_shortest_decimal(DatumGetFloat8(value))),
                                                   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
    default:
        return nullptr;
    }
}

char *json_of(Oid type, Datum value) {
    StringInfoData json;
    initStringInfo(&json);
    if (type == TEXTOID || type == VARCHAROID) {
        escape_json(&json, TextDatumGetCString(value));
    } else if (type == BPCHAROID) {
        escape_json(&json, TextDatumGetCString(DirectFunctionCall1(rtrim1, value)));
    } else if (get_typtype(type) == TYPTYPE_ENUM) {
        Oid output;
        bool is_varlena;
        getTypeOutputInfo(type, &output, &is_varlena);
        escape_json(&json, OidOutputFunctionCall(output, value));
    } else if (Numeric number = type == FLOAT8OID ? nullptr : number_of(type, value); number != nullptr) {
        appendStringInfoString(&json, DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number))));
    } else {
        return nullptr;
    }
    return json.data;
}

bool values_of(Node *tree, List **values) {
    for (;;) {
        tree = without_casts(tree);
        if (!IsA(tree, ArrayCoerceExpr))
            break;
        Node *each = without_casts(reinterpret_cast<Node *>(reinterpret_cast<ArrayCoerceExpr *>(tree)->elemexpr));
        if (!IsA(each, CaseTestExpr))
            return false;
        tree = reinterpret_cast<Node *>(reinterpret_cast<ArrayCoerceExpr *>(tree)->arg);
    }
    if (IsA(tree, ArrayExpr)) {
        if (reinterpret_cast<ArrayExpr *>(tree)->multidims ||
            list_length(reinterpret_cast<ArrayExpr *>(tree)->elements) > kMaxValues)
            return false;
        for (Node *each : pg::each<Node>(reinterpret_cast<ArrayExpr *>(tree)->elements)) {
            CHECK_FOR_INTERRUPTS();
            const Const *constant = constant_of(each);
            char *json = constant != nullptr ? json_of(constant->consttype, constant->constvalue) : nullptr;
            if (json == nullptr)
                return false;
            *values = lappend(*values, json);
        }
        return true;
    }
    const Const *constant = constant_of(tree);
    const Oid type = constant != nullptr ? get_element_type(constant->consttype) : InvalidOid;
    if (!OidIsValid(type))
        return false;
    int16 length;
    bool by_value;
    char alignment;
    get_typlenbyvalalign(type, &length, &by_value, &alignment);
    Datum *elements;
    bool *nulls;
    int count;
    deconstruct_array(DatumGetArrayTypeP(constant->constvalue), type, length, by_value, alignment, &elements, &nulls,
                      &count);
    if (count > kMaxValues)
        return false;
    for (int i = 0; i < count; i++) {
        CHECK_FOR_INTERRUPTS();
        char *json = nulls[i] ? nullptr : json_of(type, elements[i]);
        if (json == nullptr)
            return false;
        *values = lappend(*values, json);
    }
    return true;
}

}  // namespace steadytext::pg
