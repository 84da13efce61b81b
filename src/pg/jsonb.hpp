// Values in a jsonb as texts in UTF-8 and as numbers. Regime: pg.
//
// Used by src/functions, src/session and src/queue.
#pragma once

#include "src/pg/text.hpp"

extern "C" {
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
}

#include <cstdint>
#include <span>

namespace steadytext::pg {

// The whole jsonb as JSON.
[[nodiscard]] inline std::string_view json_text(Jsonb *json) {
    return utf8_text(CStringGetTextDatum(JsonbToCString(nullptr, &json->root, VARSIZE(json))));
}

// A string as it is, any other value as JSON; a JSON null gives null. In CurrentMemoryContext.
[[nodiscard]] inline core::TextArgument jsonb_text(JsonbValue &value) {
    if (value.type == jbvNull)
        return {};
    if (value.type == jbvString)
        return {false,
                utf8_text(PointerGetDatum(cstring_to_text_with_len(value.val.string.val, value.val.string.len)))};
    return {false, json_text(JsonbValueToJsonb(&value))};
}

// The value of a number.
[[nodiscard]] inline double jsonb_number(const JsonbValue &value) {
    return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value.val.numeric)));
}

// False if the number is not whole, or too large for a double to hold it exactly.
[[nodiscard]] inline bool to_integer(double number, std::int64_t &integer) {
    if (!(number >= -1e15 && number <= 1e15))
        return false;
    integer = static_cast<std::int64_t>(number);
    return number == static_cast<double>(integer);
}

[[nodiscard]] inline bool is_jsonb_array(const JsonbValue &value) {
    return value.type == jbvBinary && JsonContainerIsArray(value.val.binary.data);
}

// The elements of an array, each as jsonb_text() gives it.
[[nodiscard]] inline std::span<const core::TextArgument> jsonb_texts(const JsonbValue &array) {
    auto *texts = static_cast<core::TextArgument *>(
        palloc((JsonContainerSize(array.val.binary.data) + 1) * sizeof(core::TextArgument)));
    std::size_t count = 0;
    JsonbIterator *iterator = JsonbIteratorInit(array.val.binary.data);
    JsonbValue token;
    for (JsonbIteratorToken kind; (kind = JsonbIteratorNext(&iterator, &token, true)) != WJB_DONE;)
        if (kind == WJB_ELEM)
            texts[count++] = jsonb_text(token);
    return {texts, count};
}

// Calls take(name, value) for each member of an object.
template <class Take>
void for_each_member(Jsonb *object, Take take) {
    JsonbIterator *iterator = JsonbIteratorInit(&object->root);
    JsonbValue token;
    std::string_view name;
    for (JsonbIteratorToken kind; (kind = JsonbIteratorNext(&iterator, &token, true)) != WJB_DONE;) {
        if (kind == WJB_KEY)
            name = {token.val.string.val, static_cast<std::size_t>(token.val.string.len)};
        else if (kind == WJB_VALUE)
            take(name, token);
    }
}

}  // namespace steadytext::pg
