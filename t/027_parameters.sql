-- The validator table (src/core/parameters.cpp) against the functions and settings themselves: every argument has a rule, and every
-- bound of every rule is where the function refuses, with the table's words. Calls are made up from the table.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = error;
SET LOCAL steadytext.max_prompt_bytes = 20000;

-- ---- nothing without a rule ----------------------------------------------------------------------------------------------
CREATE TEMP TABLE arguments AS
SELECT p.oid, CASE WHEN p.pronamespace <> 'public'::regnamespace THEN p.pronamespace::regnamespace || '.' ELSE '' END || p.proname AS owner, a.name, a.type, a.position, p.proisstrict AS is_strict, p.provariadic <> 0 AS is_variadic,
       a.position > p.pronargs - p.pronargdefaults AS has_default
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
     JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_steadytext',
     LATERAL (SELECT row_number() OVER (ORDER BY i) AS position, p.proargnames[i] AS name,
                     coalesce(p.proallargtypes[i], p.proargtypes[i - 1]) AS type
              FROM generate_series(1, coalesce(cardinality(p.proallargtypes), p.pronargs)) i
              WHERE p.proargmodes IS NULL OR p.proargmodes[i] IN ('i', 'b', 'v')) a
WHERE p.prokind = 'f' AND NOT 'internal'::regtype = ANY (p.proargtypes);  -- of that type nobody has a value
-- Of a function that has several forms, such as one for each type of a schema, the first.
CREATE TEMP TABLE first_forms AS SELECT * FROM arguments a WHERE oid = (SELECT min(oid) FROM arguments b WHERE b.owner = a.owner);
CREATE TEMP TABLE rules AS SELECT row_number() OVER () AS row, * FROM _steadytext.parameters();

SELECT is_empty($$SELECT owner, name FROM arguments a WHERE NOT EXISTS (SELECT FROM rules r WHERE r.owner = a.owner AND r.name = a.name)$$,
    'every argument of every function has a rule');
SELECT is_empty($$SELECT owner, array_agg(name ORDER BY position) FROM arguments GROUP BY owner, oid
                  EXCEPT SELECT owner, array_agg(name ORDER BY row) FROM rules GROUP BY owner$$, 'in their order');
SELECT is_empty($$SELECT owner, name FROM rules r
                  WHERE owner ~ '^(steadytext_|st_|_steadytext\.)' AND owner NOT LIKE '%(%' AND owner <> 'steadytext_config' AND EXISTS (
                      SELECT FROM pg_proc WHERE owner = CASE pronamespace WHEN 'public'::regnamespace THEN '' ELSE pronamespace::regnamespace || '.' END || proname) AND NOT EXISTS (
                      SELECT FROM arguments a WHERE a.owner = r.owner AND a.name = r.name)$$, 'and no rule is for an argument that is gone');
SELECT is_empty($$SELECT owner FROM rules WHERE owner ~ '^(steadytext_|_steadytext\.)' AND owner NOT LIKE '%(%' AND owner <> 'steadytext_config'
                      AND replace(owner, '_steadytext.', 'steadytext_') NOT IN (SELECT replace(owner, '_steadytext.', '') FROM arguments WHERE owner ~ '^steadytext_')
                  EXCEPT SELECT owner FROM arguments$$, 'or a function that is gone');
SELECT set_eq($$SELECT name FROM pg_settings WHERE name LIKE 'steadytext.%'$$, $$SELECT name FROM rules WHERE owner = 'settings'$$,
    'every setting has a rule');
SELECT is_empty($$SELECT r.name FROM rules r LEFT JOIN pg_settings s ON s.name = r.setting WHERE r.setting IS NOT NULL AND s.name IS NULL$$,
    'keys of steadytext_config stand for settings that exist');
SELECT is_empty($$SELECT r.name, s.min_val, s.max_val, s.enumvals FROM rules r JOIN pg_settings s USING (name) WHERE owner = 'settings' AND (
                  kind = 'integer' AND (s.vartype <> 'integer' OR s.min_val <> lowest::text OR s.max_val <> highest::text)
                  OR kind = 'flag' AND s.vartype <> 'bool'
                  OR kind = 'text' AND words IS NOT NULL AND s.enumvals <> string_to_array(words, ' '))$$,
    'settings have the bounds of their rules');

-- ---- values at every bound -----------------------------------------------------------------------------------------------
-- `value` is SQL; `refusal` how the table says it is refused: SQLSTATE, space, message. NULL: it is accepted.
CREATE TEMP VIEW candidates AS
SELECT r.row, r.owner, r.name, c.value, c.refusal FROM rules r, LATERAL (
    SELECT 'NULL', on_null
    UNION ALL SELECT v, NULL FROM unnest(ARRAY['true', 'false']) v WHERE kind = 'flag'
    -- numbers
    UNION ALL SELECT v::text, CASE WHEN v < lowest THEN on_below WHEN v > highest THEN on_above END
        FROM unnest(ARRAY[lowest::numeric - 1, lowest, lowest::numeric + 1, highest::numeric - 1, highest, highest::numeric + 1]) v WHERE kind = 'integer'
    UNION ALL SELECT quote_literal(v), CASE WHEN v < lowest THEN on_below WHEN v > highest THEN on_above END
        FROM unnest(ARRAY[lowest - 1e-6, lowest, lowest + 1e-6, highest - 1e-6, highest, highest + 1e-6, 'Infinity', '-Infinity', 'NaN']::float8[]) v
        WHERE kind = 'real'
    UNION ALL SELECT format('%L::interval', v * interval '1 microsecond'), CASE WHEN v < lowest THEN on_below WHEN v > highest THEN on_above END
        FROM unnest(ARRAY[lowest - 1, lowest, lowest + 1, highest - 1, highest, highest + 1]) v WHERE kind = 'interval'
    -- texts
    UNION ALL SELECT format('repeat(%L, %s)', 'a', n), CASE WHEN n > highest THEN on_above END
        FROM unnest(ARRAY[highest - 1, highest, highest + 1]) n WHERE kind = 'text' AND highest <= 100000 AND words IS NULL AND bad_sample IS NULL
    UNION ALL SELECT format('repeat(%L, %s)', 'a', highest + 1), on_above WHERE kind = 'text' AND highest <= 100000 AND bad_sample IS NOT NULL
    UNION ALL SELECT v, on_below FROM unnest(ARRAY['''''', '''  ''', 'E''\n\t''', 'U&''\3000\00A0''']) v
        WHERE kind = 'text' AND lowest > 0 AND (form <> 'free' OR v = '''''')
    UNION ALL SELECT format('E''a\x%sb''', lpad(to_hex(code), 2, '0')), format('22023 %s contains a control character',
            (regexp_match(on_below, '^22023 (.*) cannot be empty$'))[1])
        FROM unnest(ARRAY[1, 9, 10, 27, 31, 127]) code WHERE kind = 'text' AND form = 'line' AND lowest > 0
    UNION ALL SELECT quote_literal(word), NULL FROM string_to_table(words, ' ') word
    UNION ALL SELECT quote_literal(v), on_malformed FROM unnest(ARRAY['no such word', split_part(words, ' ', 1) || ' ', '']) v WHERE words IS NOT NULL
    -- arrays
    UNION ALL SELECT format('ARRAY(SELECT ''d'' || i FROM generate_series(1, %s) i)', n),
               CASE WHEN n < lowest THEN coalesce(replace(on_below, 'must contain at least 2 options', CASE n WHEN 0 THEN 'cannot be empty'
                    ELSE 'must contain at least 2 options' END)) WHEN n > highest THEN on_above END
        FROM unnest(ARRAY[greatest(lowest - 1, 0), lowest, lowest + 1, highest - 1, highest, highest + 1]) n WHERE kind = 'texts' AND n <= 100000
    UNION ALL SELECT 'ARRAY[''a'', NULL]', '22004 ' || null_element WHERE null_element IS NOT NULL
    UNION ALL SELECT 'ARRAY[''a'', repeat(''b'', 20001)]', '54000' WHERE kind = 'texts'
    -- what has a grammar
    UNION ALL SELECT sample, NULL WHERE sample IS NOT NULL
    UNION ALL SELECT bad_sample, coalesce(on_malformed, '22023') WHERE bad_sample IS NOT NULL
    UNION ALL SELECT '''{"no_such": 1}''', '22023 invalid option "no_such"' WHERE kind = 'options'
) c (value, refusal);

-- A good value for an argument that is not being tried.
CREATE FUNCTION pg_temp.good(rule rules) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(rule.sample, CASE rule.kind WHEN 'flag' THEN 'false' WHEN 'integer' THEN greatest(rule.lowest, 1)::text WHEN 'real' THEN '1'
        WHEN 'interval' THEN format('%L', rule.lowest * interval '1 microsecond') WHEN 'texts' THEN 'ARRAY[''a'']' WHEN 'text' THEN quote_literal(coalesce(split_part(rule.words, ' ', 1), 'a'))
        ELSE 'NULL' END)
$$;

-- The statement that tries a value.
CREATE FUNCTION pg_temp.call(form oid, name text, value text) RETURNS text LANGUAGE sql AS $$
    SELECT format('SELECT * FROM %s(%s)', min(a.owner), string_agg(format('%I => %s', a.name, CASE
               WHEN a.name = call.name AND a.type = 'anyelement'::regtype THEN CASE call.value WHEN 'NULL' THEN pg_temp.good(r) ELSE call.value END
               WHEN a.name = call.name THEN format('(%s)::%s', CASE WHEN (a.type = 'jsonb'::regtype OR a.name = 'schema') AND call.value LIKE 'repeat(%'
                   THEN format('jsonb_build_object(''title'', left(%s, -length(''{"title": ""}'')))', call.value) ELSE call.value END, a.type::regtype)
               ELSE pg_temp.good(r) || CASE a.type WHEN 'anyelement'::regtype THEN '' ELSE '::' || a.type::regtype END END), ', '))
    FROM arguments a JOIN rules r ON r.owner = a.owner AND r.name = a.name
    WHERE a.oid = call.form AND (NOT a.has_default OR a.name = call.name OR r.kind = 'integer' AND a.owner ~ 'rate_limit_set')
$$;

-- What became of it: NULL if it was accepted, else SQLSTATE, space, message. Everything it did is undone.
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE statement;
        RAISE EXCEPTION USING ERRCODE = 'TT000';
    EXCEPTION
        WHEN SQLSTATE 'TT000' THEN RETURN NULL;
        WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
    END;
END $$;

CREATE TEMP VIEW statements AS
-- arguments
SELECT c.*, CASE WHEN a.is_strict AND value = 'NULL' THEN NULL ELSE refusal END AS expected, pg_temp.call(a.oid, c.name, value) AS statement
FROM candidates c JOIN arguments a USING (owner, name) WHERE NOT a.is_variadic
    -- what its SQL type has no room for never gets to the function
    AND NOT (value ~ '^-?\d+$' AND (a.type = 'int4'::regtype AND value::numeric NOT BETWEEN -2147483648 AND 2147483647
                                 OR a.type = 'int8'::regtype AND value::numeric NOT BETWEEN -9223372036854775808 AND 9223372036854775807))
    AND NOT (a.type = 'name'::regtype AND value LIKE 'repeat%')
UNION ALL
-- what an asynchronous call is asked by: the arguments of the function that its type stands for
SELECT c.row, 'steadytext_enqueue(' || j.type || ')', c.name, c.value, c.refusal, c.refusal, format('SELECT steadytext_enqueue(%L, %s || jsonb_build_object(%L, %s))', j.type,
           (SELECT format('jsonb_build_object(%s)', string_agg(format('%L, %s::%s', r.name, pg_temp.good(r), b.type::regtype), ', '))
            FROM rules r JOIN first_forms b USING (owner, name) WHERE r.owner = j.function AND r.needed), c.name,
           CASE WHEN a.type = 'jsonb'::regtype AND c.value LIKE 'repeat(%' THEN format('jsonb_build_object(''title'', left(%s, -length(''{"title": ""}'')))', c.value)
                WHEN c.value ~ '^-?\d+$' THEN c.value ELSE format('(%s)::%s', c.value, a.type::regtype) END)
FROM (VALUES ('generate', 'steadytext_generate'), ('generate_json', 'steadytext_generate_json'), ('generate_regex', 'steadytext_generate_regex'),
             ('generate_choice', 'steadytext_generate_choice'), ('batch_generate', 'steadytext_generate_batch'), ('embed', 'steadytext_embed'),
             ('batch_embed', 'steadytext_embed_batch'), ('rerank', 'steadytext_rerank'), ('batch_rerank', 'steadytext_rerank')) j (type, function)
     JOIN candidates c ON c.owner = j.function JOIN first_forms a ON a.owner = c.owner AND a.name = c.name
UNION ALL
-- options
SELECT c.*, CASE WHEN value <> 'NULL' THEN refusal END,
       pg_temp.call((SELECT min(oid) FROM arguments WHERE owner = split_part(c.owner, '(', 1)), rtrim(split_part(c.owner, '(', 2), ')'), format('jsonb_build_object(%L, %s)', c.name,
           CASE WHEN value LIKE '''%' OR value LIKE 'E''%' OR value LIKE 'U&%' THEN value || CASE WHEN c.name = 'temperature' THEN '::float8' ELSE '::text' END
                ELSE value END))
FROM candidates c WHERE c.owner LIKE '%(%' AND value !~ 'NaN|Infinity'
UNION ALL
-- keys of steadytext_config
SELECT c.*, CASE WHEN value <> 'NULL' THEN refusal ELSE '22004 config_value cannot be null' END, format('SELECT steadytext_config_set(%L, (%s)::text)', replace(c.name, '*', 'some_'), value)
FROM candidates c WHERE c.owner = 'steadytext_config' AND value !~ 'NaN|Infinity'
    AND NOT (c.name IN ('daemon_host', 'daemon_port') AND refusal IS NULL)  -- these change the server's settings
UNION ALL
-- settings that a session may change; the bounds of the others are compared above
SELECT c.*, CASE WHEN refusal IS NOT NULL THEN '22023' END, format('SELECT set_config(%L, (%s)::text, true)', c.name, value)
FROM candidates c JOIN pg_settings s USING (name) WHERE c.owner = 'settings' AND s.context IN ('user', 'superuser') AND value <> 'NULL';

-- Accepted is what gets beyond the checks: what happens then depends on what there is.
CREATE TEMP TABLE outcomes AS SELECT *, pg_temp.outcome(statement) AS found FROM statements;
SELECT ok(CASE WHEN expected IS NULL THEN found IS NULL OR found ~ '^(42704|55000|53300|08...|2201B|42804|P0002|22004 (nothing to invalidate|per_million_\w+ cannot be null|Schema cannot be empty|Pattern cannot be empty|Choices cannot be null)|22023 unsafe_mode=TRUE requires a model|22023 request type \S+ has no parameter)'
               WHEN expected ~ '^.{5}$' THEN left(found, 5) IN (expected, CASE expected WHEN '22023' THEN '54000' ELSE expected END)
               ELSE found = expected END,
          format('%s: %s = %s is %s', owner, name, left(value, 60), CASE WHEN expected IS NULL THEN 'good' ELSE 'refused' END))
       || CASE WHEN found IS DISTINCT FROM expected AND NOT (expected IS NULL AND found ~ '^(42704|55000|53300|08...)') AND coalesce(expected, '') !~ '^.{5}$'
               THEN E'\n' || diag('found: ', coalesce(found, 'nothing wrong'), E'\nexpected: ', expected, E'\n', left(statement, 200)) ELSE '' END
FROM outcomes ORDER BY row;

SELECT cmp_ok((SELECT count(*) FROM outcomes), '>', 800::bigint, 'there are hundreds of calls');
SELECT is_empty($$SELECT owner, name FROM arguments WHERE NOT is_variadic EXCEPT SELECT owner, name FROM outcomes$$, 'every argument was tried');

SELECT * FROM finish();
ROLLBACK;
-- Registering wrote to the server's settings, which no rollback undoes.
DO $$ BEGIN PERFORM steadytext_daemon_unregister('tcp://127.0.0.1:5999'); END $$;
