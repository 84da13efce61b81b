-- _steadytext.check() takes "any": whoever calls it by hand chooses the types. Every kind of rule is given a value of every type there is,
-- its array, a domain over it, and NULL. What a rule is not about is refused, with a SQLSTATE; a backend that crashed would end this test.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = error;

CREATE TEMP TABLE rules AS SELECT row_number() OVER () AS row, * FROM _steadytext.parameters();

-- ---- one function for each kind of rule ----------------------------------------------------------------------------------
-- The call has the function's other arguments as they should be; $1 is the argument that is tried.
CREATE FUNCTION pg_temp.good(rule rules) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce('(' || rule.sample || ')' || CASE rule.kind WHEN 'texts' THEN '::text[]' WHEN 'text' THEN '::text' ELSE '' END,
        CASE rule.kind WHEN 'flag' THEN 'false' WHEN 'integer' THEN greatest(rule.lowest, 1)::text WHEN 'real' THEN '1::float8'
            WHEN 'interval' THEN format('%L::interval', rule.lowest * interval '1 microsecond') WHEN 'texts' THEN 'ARRAY[''a'']'
            WHEN 'text' THEN quote_literal(coalesce(split_part(rule.words, ' ', 1), 'a')) || '::text' ELSE 'NULL' END)
$$;
CREATE TEMP TABLE calls AS
SELECT DISTINCT ON (r.kind, r.form, r.needed, r.words IS NULL, r.null_element IS NULL, r.is_distinct, r.sample IS NULL)
       r.kind, r.on_null, r.owner || ' ' || r.name AS said,
       (SELECT format('SELECT _steadytext.check(%L, %s)', r.owner,
                      string_agg(CASE WHEN o.row = r.row THEN '%1$s' ELSE replace(pg_temp.good(o), '%', '%%') END, ', ' ORDER BY o.row))
        FROM rules o WHERE o.owner = r.owner) AS statement
FROM rules r WHERE r.owner ~ '^(steadytext_|_steadytext\.)' AND r.owner NOT LIKE '%(%' AND r.owner NOT IN ('steadytext_config', '_steadytext.check')
ORDER BY r.kind, r.form, r.needed, r.words IS NULL, r.null_element IS NULL, r.is_distinct, r.sample IS NULL, r.row;
SELECT set_eq($$SELECT kind FROM calls$$, ARRAY['any', 'flag', 'integer', 'real', 'text', 'texts', 'interval', 'options'], 'every kind of rule has a call');

-- ---- a value of every type -----------------------------------------------------------------------------------------------
CREATE DOMAIN pg_temp.word AS text;
CREATE DOMAIN pg_temp.words AS text[];
CREATE TYPE pg_temp.pair AS (a int, b text);
CREATE TYPE pg_temp.mood AS ENUM ('1', 'calm');
CREATE TYPE pg_temp.span AS RANGE (subtype = text);
-- The first of these that the type's input function takes.
CREATE FUNCTION pg_temp.literal(type oid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    text text;
BEGIN
    FOREACH text IN ARRAY ARRAY['1', 'a', '{1}', '{a}', '(1,2)', '((1,2),(3,4))', '<(1,2),3>', '{1,2,3}', '[1,2]', '{[1,2]}', '1 day', 'now', '10:00',
            '127.0.0.1', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '{"a": 1}', '00000000-0000-0000-0000-000000000000', '<a/>', 'pg_class',
            'steadytext_version()', 'pg_catalog.int4pl', '=(int4,int4)', '!~~*', 'public', 'english', 'simple', '0/0', '1:1:', '()', '(1,a)', '(a,b)', '{"(1,a)"}', '1:1'] LOOP
        BEGIN
            EXECUTE format('SELECT %L::%s', text, format_type(type, NULL));
            RETURN text;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TEMP TABLE given AS
SELECT format_type(t.oid, NULL) AS type, format('%L::%s', pg_temp.literal(t.oid), format_type(t.oid, NULL)) AS value
FROM pg_type t
WHERE t.typtype <> 'p' AND t.typname !~ '^_?(pg_toast|pg_|gtrgm|gbtree)' AND pg_temp.literal(t.oid) IS NOT NULL
  AND (t.typtype <> 'c' OR t.typname = 'pair') AND t.typnamespace <> 'information_schema'::regnamespace;
INSERT INTO given SELECT type || ' NULL', format('NULL::%s', type) FROM given;
INSERT INTO given VALUES ('record', 'ROW(1, ''a'')'), ('pg_class', '(SELECT c FROM pg_class c LIMIT 1)'), ('unknown', '''a'''), ('unknown NULL', 'NULL'),
    ('text', '''age''::text'), ('text[][]', 'ARRAY[[''a'', ''b''], [''c'', ''d'']]'), ('text[] of nothing', 'ARRAY[]::text[]'), ('long text', 'repeat(''a'', 3000000)'), ('huge array', 'array_fill(''a''::text, ARRAY[100000])'),
    ('text[] with a gap', 'ARRAY[NULL, ''a'']'), ('text[] from 0', '''[0:1]={a,b}''::text[]');
SELECT cmp_ok((SELECT count(*) FROM given), '>', 200::bigint, 'values of many types');
SELECT is_empty($$SELECT unnest(ARRAY['integer', 'text[]', 'int4range', 'int4multirange', 'jsonb', 'vector', 'regprocedure', 'word', 'words', 'pair', 'pair[]', 'mood', 'span', '"char"', 'name[]'])
                  EXCEPT SELECT type FROM given WHERE current_setting('server_version_num')::int >= 140000$$, 'of base types, arrays, ranges, composites, domains, enums among them');

-- ---- what becomes of each ------------------------------------------------------------------------------------------------
-- As a role that has no rights; NULL: as the tester.
CREATE ROLE value_types;
CREATE FUNCTION pg_temp.outcome(statement text, as_role text DEFAULT 'value_types') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('role', coalesce(as_role, 'none'), true);
    EXECUTE statement;
    PERFORM set_config('role', 'none', true);
    RETURN '';
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SET LOCAL steadytext.on_failure = 'error';
CREATE TEMP TABLE outcomes AS SELECT kind, on_null, said, type, pg_temp.outcome(format(statement, value)) AS found FROM calls, given;
SELECT is_empty($$SELECT said, type, found FROM outcomes WHERE found ~ '^(XX|57|58|53)'$$, 'no crash, and no error that is PostgreSQL''s own');
-- Which types a kind of rule is about.
SELECT is_empty($$SELECT kind, said, type, found FROM outcomes
    WHERE found = '' AND kind <> 'any' AND type NOT LIKE '% NULL' AND type NOT IN (
        SELECT unnest(CASE kind WHEN 'flag' THEN '{boolean}' WHEN 'integer' THEN '{integer,bigint,interval,double precision}' WHEN 'real' THEN '{integer,bigint,interval,double precision}'
            WHEN 'text' THEN '{text,name,jsonb,long text}' WHEN 'texts' THEN '{text[],text[][],text[] of nothing,huge array,text[] with a gap,text[] from 0}'
            WHEN 'interval' THEN '{interval,integer,bigint}' WHEN 'options' THEN '{jsonb,text,name,long text}' END::text[]))$$, 'a value of a type that the rule is not about is refused');
SELECT is_empty($$SELECT said, type, found FROM outcomes WHERE type LIKE '% NULL' AND found <> coalesce(on_null, '')$$, 'NULL of any type is refused where a value is needed, and only there');
SELECT is_empty($$SELECT kind, said FROM calls WHERE NOT EXISTS (SELECT FROM outcomes o WHERE o.said = calls.said AND o.found = '')$$, 'each call has a value that it takes');

-- ---- and of the call itself ----------------------------------------------------------------------------------------------
SELECT is(pg_temp.outcome(statement) ~ '^(22004|22023|42883|42804|42725) ', true, statement) FROM unnest(ARRAY[
    'SELECT _steadytext.check(NULL, 1)', 'SELECT _steadytext.check(NULL::text, NULL)', 'SELECT _steadytext.check(NULL, VARIADIC ARRAY[1])',
    'SELECT _steadytext.check(''steadytext_cache_top'', VARIADIC ARRAY[1])', 'SELECT _steadytext.check(''steadytext_cache_top'', VARIADIC NULL::int[])',
    'SELECT _steadytext.check(''steadytext_generate_batch'', VARIADIC ARRAY[''a'', ''b'', ''c''])', 'SELECT _steadytext.check(''steadytext_cache_top'', 1, 2)',
    'SELECT _steadytext.check(''no_such_function'', 1)', 'SELECT _steadytext.check('''', 1)', 'SELECT _steadytext.check(repeat(''a'', 100000), 1)',
    'SELECT _steadytext.check(''steadytext_cache_top'')', 'SELECT _steadytext.check(''steadytext_version'', 1)',
    'SELECT _steadytext.check(''settings'', 1)', 'SELECT _steadytext.check(''steadytext_config'', 1)']) statement;

-- ---- siblings: polymorphic arguments, and functions that are not to be called by hand ------------------------------------
-- A row of any type: what has no columns is refused.
SELECT is_empty($$SELECT type, outcome FROM given, pg_temp.outcome(format('SELECT public.steadytext_extract(''a'', %s)', CASE type WHEN 'unknown' THEN 'NULL' ELSE value END)) AS outcome
    WHERE type NOT IN ('record', 'pg_class') AND type !~ '^pair( NULL)?$' AND outcome !~ '^(42804|22023|22004|42P18|42883|0A000) '$$,
    'steadytext_extract() refuses types that are no rows');
SELECT is_empty($$SELECT oid, outcome FROM (SELECT oid FROM pg_type UNION SELECT oid FROM pg_class UNION VALUES (0::oid), (1), (4294967295)) t,
        pg_temp.outcome(format('SELECT _steadytext.extract_json(''a'', %s::oid, 5, true, 42, false, NULL)', oid)) AS outcome
    WHERE outcome ~ '^(XX|57P|58)'$$, 'extract_json() takes the OID of anything for what it is');
-- All functions of the extension that are triggers, called as if they were functions.
SELECT is_empty($$SELECT p.oid::regprocedure, outcome FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_steadytext', pg_temp.outcome(format('SELECT %s', p.oid::regprocedure)) AS outcome
    WHERE p.prorettype = 'trigger'::regtype AND outcome !~ '^(42501|0A000|39P01|55000) '$$, 'trigger functions are refused unless a trigger calls them');
SELECT is_empty($$SELECT p.oid::regprocedure, outcome FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_steadytext', pg_temp.outcome(format('SELECT %s', p.oid::regprocedure), NULL) AS outcome
    WHERE p.prorettype = 'trigger'::regtype AND outcome !~ '^(42501|0A000|39P01|55000) '$$, 'also to a superuser');
-- Each of them on a table, and at an event, that is not its own.
CREATE TEMP TABLE other (a int, cache_key text, id int);
SELECT is_empty($$SELECT name, shape, outcome FROM (SELECT p.oid::regproc AS name FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_steadytext' WHERE p.prorettype = 'trigger'::regtype) f,
        unnest(ARRAY['BEFORE INSERT ON other FOR EACH ROW', 'AFTER DELETE ON other FOR EACH ROW', 'BEFORE UPDATE ON other FOR EACH STATEMENT', 'AFTER TRUNCATE ON other',
                     'AFTER INSERT ON other FOR EACH STATEMENT']) shape,
        pg_temp.outcome(format('DO $d$ BEGIN CREATE TRIGGER t %s EXECUTE FUNCTION %s(); INSERT INTO other VALUES (1); UPDATE other SET a = 2; DELETE FROM other; TRUNCATE other; DROP TRIGGER t ON other; END $d$', shape, name), NULL) AS outcome
    WHERE outcome ~ '^(XX|57P|58)'$$, 'on another table, at another event: no crash');

SELECT * FROM finish();
ROLLBACK;
