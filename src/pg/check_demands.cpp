// From trees to demands: see check_demands.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "src/pg/check_demands.hpp"
#include "src/core/constraint/day_range.hpp"
#include "src/core/constraint/limits.hpp"
#include "src/core/constraint/postgres_pattern.hpp"
#include "src/pg/boundary.hpp"
#include "src/pg/check_trees.hpp"
#include "src/pg/nodes.hpp"

extern "C" {
#include "access/stratnum.h"
#include "access/transam.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_opfamily_d.h"
#include "catalog/pg_type.h"
#include "nodes/execnodes.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
}

#include <algorithm>

namespace steadytext::pg {

namespace {

constexpr Oid kFloatFamily = 1970;  // btree float_ops, numeric_ops, enum_ops and datetime_ops, which have no names in C
constexpr Oid kNumericFamily = 1988;
constexpr Oid kEnumFamily = 3522;
constexpr Oid kDatetimeFamily = 434;              // date and both timestamps
constexpr std::int32_t kFirstWritten = -730'119;  // 0001-01-01 and 9999-12-31, since 2000-01-01: a year of four digits
constexpr std::int32_t kLastWritten = 2'921'939;

bool is_own(Oid object) { return object < FirstGenbkiObjectId; }

struct Condition {
    int column;  // 0: of a domain's value
    Node *tree;
};

bool is_among(const char *value, List *values) {
    for (const char *each : pg::each<const char>(values))
        if (strcmp(each, value) == 0)
            return true;
    return false;
}

// The value must be in this list, and in every list before.
void list(List *values, Demands &demands) {
    List *both = NIL;
    ListCell *cell;
    foreach (cell, values) {
        CHECK_FOR_INTERRUPTS();
        const char *value = static_cast<const char *>(lfirst(cell));
        if ((!demands.is_listed || is_among(value, demands.values)) && !is_among(value, both))
            both = lappend(both, lfirst(cell));
    }
    demands.values = both;
    demands.is_listed = true;
}

// ---- operators -----------------------------------------------------------------------------------------------------

// The place of an operator in the order of numbers (<, <=, =, >=, >), if it is PostgreSQL's own; 0: none.
int order_of_numbers(Oid op) {
    for (const Oid family : {static_cast<Oid>(INTEGER_BTREE_FAM_OID), kNumericFamily, kFloatFamily})
        if (const int strategy = is_own(op) ? get_op_opfamily_strategy(op, family) : 0; strategy != 0)
            return strategy;
    return 0;
}

// = of texts or enums, under a collation where equal values have the same bytes.
bool is_equality(Oid op, Oid collation) {
    if (!is_own(op))
        return false;
    if (get_op_opfamily_strategy(op, kEnumFamily) == BTEqualStrategyNumber)
        return true;
    return (get_op_opfamily_strategy(op, TEXT_BTREE_FAM_OID) == BTEqualStrategyNumber ||
            get_op_opfamily_strategy(op, BPCHAR_BTREE_FAM_OID) == BTEqualStrategyNumber) &&
           OidIsValid(collation) && get_collation_isdeterministic(collation);
}

bool is_unequal(Oid op) {
    const Oid equal = is_own(op) ? get_negator(op) : InvalidOid;
    return OidIsValid(equal) && (get_op_opfamily_strategy(equal, TEXT_BTREE_FAM_OID) == BTEqualStrategyNumber ||
                                 get_op_opfamily_strategy(equal, BPCHAR_BTREE_FAM_OID) == BTEqualStrategyNumber);
}

bool compare_length(const Subject &subject, int strategy, Numeric number, Demands &demands) {
    bool overflows = false;
    const Datum whole = DirectFunctionCall1(strategy <= BTLessEqualStrategyNumber ? numeric_floor : numeric_ceil,
                                            NumericGetDatum(number));
    const double value = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, whole));
    overflows = !(value > -1e9 && value < 1e9);
    if (overflows)
        return false;
    const int length = static_cast<int>(value);
    const bool is_whole = DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(number), whole)) == 0;
    // A trimmed text is no longer than before, and has no more characters than bytes.
    if (strategy >= BTEqualStrategyNumber && subject.kind == Subject::Kind::Length)
        demands.shortest =
            std::max(demands.shortest, length + (strategy == BTGreaterStrategyNumber && is_whole ? 1 : 0));
    if (strategy <= BTEqualStrategyNumber && !subject.trimmed) {
        const int most = std::max(length - (strategy == BTLessStrategyNumber && is_whole ? 1 : 0), 0);
        demands.longest = demands.longest < 0 ? most : std::min(demands.longest, most);
    }
    return true;
}

bool compare_number(const Subject &subject, int strategy, const Const *constant, Demands &demands) {
    Numeric number = number_of(constant->consttype, constant->constvalue);
    if (number == nullptr)
        return false;
    if (subject.kind != Subject::Kind::Value)
        return compare_length(subject, strategy, number, demands);
    if (!subject.is_number())
        return false;
    if (strategy >= BTEqualStrategyNumber)
        demands.at_least(number, strategy == BTGreaterStrategyNumber);
    if (strategy <= BTEqualStrategyNumber)
        demands.at_most(number, strategy == BTLessStrategyNumber);
    return true;
}

// The day of a constant, and whether the constant is the day's midnight. False for a constant without a day.
// `is_infinite`: 1 or -1.
bool day_of(const Const *constant, std::int64_t &day, bool &is_midnight, int &is_infinite) {
    if (constant->consttype == DATEOID) {
        const DateADT date = DatumGetDateADT(constant->constvalue);
        is_infinite = DATE_IS_NOEND(date) ? 1 : DATE_IS_NOBEGIN(date) ? -1 : 0;
        day = date;
        is_midnight = true;
        return true;
    }
    if (constant->consttype != TIMESTAMPOID && constant->consttype != TIMESTAMPTZOID)
        return false;
    const Timestamp time = DatumGetTimestamp(constant->constvalue);
    is_infinite = TIMESTAMP_IS_NOEND(time) ? 1 : TIMESTAMP_IS_NOBEGIN(time) ? -1 : 0;
    day = time / USECS_PER_DAY - (time % USECS_PER_DAY < 0);
    is_midnight = time % USECS_PER_DAY == 0;
    return true;
}

// In another time zone the same time may be of the day before or after.
bool compare_day(const Subject &subject, int strategy, const Const *constant, Demands &demands) {
    std::int64_t day = 0;
    bool is_midnight = false;
    int is_infinite = 0;
    if (!subject.has_day() || !day_of(constant, day, is_midnight, is_infinite))
        return false;
    const bool is_lower = strategy >= BTEqualStrategyNumber, is_upper = strategy <= BTEqualStrategyNumber;
    if (is_infinite != 0)
        return is_lower != is_upper && is_upper == (is_infinite > 0);  // infinity demands nothing, or refuses every day
    const bool has_zone = subject.type == TIMESTAMPTZOID || constant->consttype == TIMESTAMPTZOID;
    const auto clamped = [](std::int64_t value) {
        return static_cast<std::int32_t>(std::clamp<std::int64_t>(value, INT32_MIN + 1, INT32_MAX - 1));
    };
    if (is_lower) {
        // A date counts as its midnight.
        const bool is_later = subject.type == DATEOID && (strategy == BTGreaterStrategyNumber || !is_midnight);
        demands.first_day = std::max(demands.first_day, clamped(day + is_later - has_zone));
    }
    if (is_upper) {
        const bool is_earlier = strategy == BTLessStrategyNumber && is_midnight;
        demands.last_day = std::min(demands.last_day, clamped(day - is_earlier + has_zone));
    }
    return true;
}

bool match(const Subject &subject, const Const *pattern, bool is_like, Oid collation, Demands &demands) {
    if (subject.kind != Subject::Kind::Value || !subject.is_text() || (subject.trimmed && subject.type != BPCHAROID) ||
        demands.pattern != nullptr)
        return false;
    if (!OidIsValid(collation) || !get_collation_isdeterministic(collation))
        return false;
    const bool ascii = has_ctype_c(collation);
    const char *written = TextDatumGetCString(pattern->constvalue);
    const std::size_t length = strlen(written);
    static auto *translated = new core::constraint::SchemaPattern;
    bool good = false;
    guarded([&] {
        good = length <= core::constraint::kMaxPatternBytes &&
               (is_like ? core::constraint::schema_pattern_of_like({written, length}, *translated)
                        : core::constraint::schema_pattern({written, length}, ascii, *translated)) &&
               translated->text.size() <= core::constraint::kMaxPatternBytes;
    });
    // The regex sees padding, but the schema does not.
    if (!good || (subject.type == BPCHAROID && translated->matches_blank))
        return false;
    demands.pattern = pnstrdup(translated->text.data(), translated->text.size());
    demands.longest_match = translated->longest > 1'000'000 ? -1 : static_cast<int>(translated->longest);
    return true;
}

bool take_operator(const OpExpr *expression, Demands &demands) {
    if (list_length(expression->args) != 2)
        return false;
    Node *left = static_cast<Node *>(linitial(expression->args)),
         *right = static_cast<Node *>(lsecond(expression->args));
    Oid op = expression->opno;
    Subject subject = subject_of(left);
    const Const *constant = constant_of(right);
    if (subject.kind == Subject::Kind::None && is_own(op)) {
        op = get_commutator(op);
        subject = subject_of(right);
        constant = constant_of(left);
    }
    if (subject.kind == Subject::Kind::None || constant == nullptr || !OidIsValid(op))
        return false;
    if (const int strategy = order_of_numbers(op); strategy != 0)
        return compare_number(subject, strategy, constant, demands);
    if (subject.kind != Subject::Kind::Value)
        return false;
    if (const int strategy = is_own(op) ? get_op_opfamily_strategy(op, kDatetimeFamily) : 0; strategy != 0)
        return compare_day(subject, strategy, constant, demands);
    const bool is_like = op == OID_TEXT_LIKE_OP || op == OID_BPCHAR_LIKE_OP;
    if (is_like || op == OID_TEXT_REGEXEQ_OP || op == OID_BPCHAR_REGEXEQ_OP)
        return match(subject, constant, is_like, expression->inputcollid, demands);
    const bool is_text =
        constant->consttype == TEXTOID || constant->consttype == VARCHAROID || constant->consttype == BPCHAROID;
    if (is_unequal(op) && is_text && subject.is_text() && *TextDatumGetCString(constant->constvalue) == '\0') {
        demands.shortest = std::max(demands.shortest, 1);
        return true;
    }
    if (!is_equality(op, expression->inputcollid) || (subject.trimmed && subject.type != BPCHAROID))
        return false;
    char *json = json_of(constant->consttype, constant->constvalue);
    if (json != nullptr)
        list(list_make1(json), demands);
    return json != nullptr;
}

bool take_listing(const ScalarArrayOpExpr *expression, Demands &demands) {
    const Subject subject = subject_of(static_cast<Node *>(linitial(expression->args)));
    if (!expression->useOr || subject.kind != Subject::Kind::Value || (subject.trimmed && subject.type != BPCHAROID))
        return false;
    const bool of_numbers = order_of_numbers(expression->opno) == BTEqualStrategyNumber && subject.is_number();
    if (!of_numbers && !is_equality(expression->opno, expression->inputcollid))
        return false;
    List *values = NIL;
    if (!values_of(static_cast<Node *>(lsecond(expression->args)), &values))
        return false;
    list(values, demands);
    return true;
}

// False if the condition was left out.
bool take(Node *tree, Demands &demands) {
    if (IsA(tree, NullTest)) {
        const auto *test = reinterpret_cast<const NullTest *>(tree);
        if (test->nulltesttype != IS_NOT_NULL || test->argisrow ||
            subject_of(reinterpret_cast<Node *>(test->arg)).kind != Subject::Kind::Value)
            return false;
        demands.refuses_null = true;
        return true;
    }
    if (IsA(tree, OpExpr))
        return take_operator(reinterpret_cast<const OpExpr *>(tree), demands);
    return IsA(tree, ScalarArrayOpExpr) && take_listing(reinterpret_cast<const ScalarArrayOpExpr *>(tree), demands);
}

// The conditions that AND joins, apart.
List *apart(Node *tree) {
    List *open = list_make1(tree), *parts = NIL;
    while (open != NIL) {
        CHECK_FOR_INTERRUPTS();
        Node *next = static_cast<Node *>(llast(open));
        open = list_delete_last(open);
        if (is_andclause(next))
            open = list_concat(open, reinterpret_cast<BoolExpr *>(next)->args);
        else
            parts = lappend(parts, next);
    }
    return parts;
}

}  // namespace

const char *Demands::days() const {
    core::constraint::Day first{}, last{};
    j2date(std::max(first_day, kFirstWritten) + POSTGRES_EPOCH_JDATE, &first.year, &first.month, &first.day);
    j2date(std::min(last_day, kLastWritten) + POSTGRES_EPOCH_JDATE, &last.year, &last.month, &last.day);
    static auto *written = new std::string;
    guarded([&] { *written = core::constraint::day_range_pattern(first, last); });
    return pstrdup(written->c_str());
}

void Demands::at_least(Numeric value, bool exclusive) {
    const int order =
        least.is_set
            ? DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(value), NumericGetDatum(least.value)))
            : 1;
    if (order > 0 || (order == 0 && exclusive))
        least = {true, exclusive, value};
}

void Demands::at_most(Numeric value, bool exclusive) {
    const int order =
        most.is_set
            ? DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(value), NumericGetDatum(most.value)))
            : -1;
    if (order < 0 || (order == 0 && exclusive))
        most = {true, exclusive, value};
}

bool Demands::is_impossible() const {
    if ((is_listed && values == NIL) || (longest >= 0 && shortest > longest))
        return true;
    if (first_day > last_day || first_day > kLastWritten || last_day < kFirstWritten)
        return true;
    if (!least.is_set || !most.is_set)
        return false;
    const int order =
        DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(least.value), NumericGetDatum(most.value)));
    return order > 0 || (order == 0 && (least.exclusive || most.exclusive));
}

List *row_conditions(TupleDesc row) {
    List *conditions = NIL;
    const TupleConstr *constraints = row->constr;
    for (int i = 0; constraints != nullptr && i < constraints->num_check; i++) {
        if (!is_enforced(constraints->check[i]))
            continue;
        for (Node *tree : pg::each<Node>(apart(static_cast<Node *>(stringToNode(constraints->check[i].ccbin))))) {
            Bitmapset *columns = nullptr;
            pull_varattnos(tree, 1, &columns);
            int member;
            if (!bms_get_singleton_member(columns, &member))
                continue;
            auto *condition = static_cast<Condition *>(palloc(sizeof(Condition)));
            *condition = {member + FirstLowInvalidHeapAttributeNumber, tree};
            conditions = lappend(conditions, condition);
        }
    }
    return conditions;
}

void add_column_demands(List *conditions, Form_pg_attribute column, Demands &demands) {
    for (const Condition *condition : pg::each<const Condition>(conditions))
        if (condition->column == column->attnum)
            (void)take(condition->tree, demands);
    demands.refuses_null |= column->attnotnull;
}

void add_domain_demands(Oid type, Demands &demands) {
    if (get_typtype(type) != TYPTYPE_DOMAIN)
        return;
    // Lives as long as the context: with the context PostgreSQL frees the data that it refers to.
    auto *reference = static_cast<DomainConstraintRef *>(palloc0(sizeof(DomainConstraintRef)));
    InitDomainConstraintRef(type, reference, CurrentMemoryContext, false);
    for (const DomainConstraintState *constraint : pg::each<const DomainConstraintState>(reference->constraints)) {
        if (constraint->constrainttype == DOM_CONSTRAINT_NOTNULL) {
            demands.refuses_null = true;
            continue;
        }
        for (Node *each : pg::each<Node>(apart(reinterpret_cast<Node *>(constraint->check_expr))))
            demands.is_all &= take(each, demands);
    }
}

}  // namespace steadytext::pg
