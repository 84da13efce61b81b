// The demands of CHECK constraints on a value, as far as a JSON schema can express them.
//
// Called by src/pg/row_schema.cpp. Regime: pg. Constraints are read as the catalogs have them, in trees. Nothing of a
// tree is evaluated; for a domain, PostgreSQL's planner has simplified the tree before.
//
// A closed list of shapes is known, of PostgreSQL's own operators and functions, told by their OIDs: =, IN, <, <=, >,
// >=, <> '', ~, LIKE, length(), IS NOT NULL, and AND of these. All other parts of a constraint are left to PostgreSQL.
// The demands let in every value that the constraint lets in, but for the spelling of numbers that round
// (0.99999999999999999 is 1 to a float).
#pragma once

#include "src/pg/postgres.hpp"

extern "C" {
#include "access/tupdesc.h"
#include "nodes/pg_list.h"
#include "utils/numeric.h"
}

#include <cstdint>

namespace steadytext::pg {

struct NumberBound {
    bool is_set = false;
    bool exclusive = false;
    Numeric value = nullptr;
};

// Palloc'd in CurrentMemoryContext, texts in the server's encoding.
struct Demands {
    bool refuses_null = false;
    bool is_all = true;  // no part of a domain's constraints was left out: NULL is taken unless refuses_null
    bool is_listed = false;
    List *values = NIL;  // as JSON, if it is listed
    NumberBound least{}, most{};
    int shortest = 0;
    int longest = -1;                    // -1: as long as it likes
    const char *pattern = nullptr;       // of a schema
    int longest_match = -1;              // of the pattern; -1: there is none
    bool is_of_any_length = false;       // whatever the type and the CHECKs say
    std::int32_t first_day = INT32_MIN;  // since 2000-01-01, in whatever time zone: of dates, and of times with a date
    std::int32_t last_day = INT32_MAX;

    // Any demand but on NULL.
    [[nodiscard]] bool has_any() const {
        return is_listed || least.is_set || most.is_set || shortest > 0 || longest >= 0 || pattern != nullptr ||
               has_days();
    }
    [[nodiscard]] bool has_days() const { return first_day != INT32_MIN || last_day != INT32_MAX; }
    // A pattern of the days from first_day to last_day, YYYY-MM-DD, palloc'd.
    [[nodiscard]] const char *days() const;
    // The same, of a pattern that is too dear beside a length.
    [[nodiscard]] Demands without_length() const {
        Demands rest = *this;
        rest.is_of_any_length = true;
        return rest;
    }
    void at_least(Numeric value, bool exclusive);
    void at_most(Numeric value, bool exclusive);
    // Whether it is plain that no value meets the demands.
    [[nodiscard]] bool is_impossible() const;
};

// The conditions in the CHECKs of a row type's table, apart; empty for a type without a table.
[[nodiscard]] List *row_conditions(TupleDesc row);
// Adds the conditions on this column only.
void add_column_demands(List *conditions, Form_pg_attribute column, Demands &demands);
// Adds the conditions of the domain and of the domains that it is made of; nothing for a type that is no domain.
void add_domain_demands(Oid type, Demands &demands);

}  // namespace steadytext::pg
