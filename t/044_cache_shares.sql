-- The scheduled eviction takes from roles that hold more than their share: no role's answers, however many they are and
-- however often they are hit, push out what another role has used today.
BEGIN;
SELECT plan(19);
COMMIT;
CREATE ROLE hog;
CREATE ROLE quiet;
CREATE ROLE third;

-- Answers of a role, each hit so often, last used so long ago.
CREATE FUNCTION pg_temp.answers(of_role text, numbers int4range, hits int, ago interval DEFAULT '0', bytes int DEFAULT 10) RETURNS void LANGUAGE sql
AS $$ INSERT INTO steadytext_cache (cache_key, prompt, response, scope, fingerprint, access_count, last_accessed, created_at)
      SELECT of_role || i, of_role, repeat('x', bytes), format('%s/%s', current_database(), of_role), 'echo:1', hits, now() - ago, now() - ago
      FROM generate_series(lower(numbers), upper(numbers) - 1) i $$;
CREATE FUNCTION pg_temp.kept() RETURNS text LANGUAGE sql
AS $$ SELECT string_agg(prompt || ' ' || n, ', ' ORDER BY prompt) FROM (SELECT prompt, count(*) AS n FROM steadytext_cache GROUP BY prompt) x $$;
CREATE FUNCTION pg_temp.evict(most_entries int, most_mb float8 DEFAULT 1000) RETURNS text LANGUAGE plpgsql
AS $$ BEGIN
    PERFORM steadytext_config_set('cache_max_entries', most_entries::text), steadytext_config_set('cache_max_size_mb', most_mb::text);
    CREATE TEMP TABLE first_to_go ON COMMIT DROP AS
        SELECT p.cache_key FROM steadytext_cache_preview_eviction(greatest((SELECT count(*) FROM steadytext_cache)::int - most_entries, 0)) p;
    PERFORM steadytext_cache_scheduled_eviction();
    RETURN pg_temp.kept() || CASE WHEN EXISTS (SELECT FROM first_to_go JOIN steadytext_cache USING (cache_key)) THEN ', not as previewed' ELSE '' END;
END $$;
SET client_min_messages = warning;
TRUNCATE steadytext_cache;

SELECT pg_temp.answers('hog', '[1,61)', 2147483647), pg_temp.answers('quiet', '[1,11)', 1) \gset
SELECT is(pg_temp.evict(20), 'hog 10, quiet 10', 'hits without end take no other role''s place');
SELECT pg_temp.answers('quiet', '[11,13)', 1) \gset
SELECT is(pg_temp.evict(20), 'hog 10, quiet 10', 'new answers find places of their own role');
SELECT is(count(*), 0::bigint, '  after its oldest') FROM steadytext_cache WHERE cache_key IN ('quiet1', 'quiet2');
SELECT pg_temp.answers('third', '[1,6)', 1) \gset
SELECT is(pg_temp.evict(20), 'hog 8, quiet 7, third 5', 'a third role keeps what it has, if that is less than an equal part');
SELECT is(pg_temp.evict(19), 'hog 7, quiet 7, third 5', 'the roles that hold most lose');
SELECT is(pg_temp.evict(3), 'hog 1, quiet 1, third 1', 'down to equal parts');
SELECT is(pg_temp.evict(0), NULL, 'down to nothing');

-- What nobody has used for a day has no share: then frecency decides, as between the answers of one role.
SELECT pg_temp.answers('hog', '[1,11)', 3), pg_temp.answers('quiet', '[1,11)', 1, '2 days') \gset
SELECT is(pg_temp.evict(12), 'hog 10, quiet 2', 'answers of the day before yesterday go first, of whichever role');
SELECT is(pg_temp.evict(8), 'hog 8', 'all of them');
TRUNCATE steadytext_cache;

-- Shares of bytes.
SELECT pg_temp.answers('hog', '[1,5)', 100, bytes => 500000), pg_temp.answers('quiet', '[1,11)', 1, bytes => 20000) \gset
SELECT is(pg_temp.evict(1000, 1), 'hog 1, quiet 10', 'the largest holding goes, though it has fewer rows');
TRUNCATE steadytext_cache;
SELECT pg_temp.answers('hog', '[1,5)', 100, bytes => 200000), pg_temp.answers('quiet', '[1,11)', 1, bytes => 20000), pg_temp.answers('third', '[1,2)', 1, bytes => 200000) \gset
SELECT is(pg_temp.evict(14, 1), 'hog 3, quiet 9, third 1', 'rows and bytes each have shares');
TRUNCATE steadytext_cache;

-- Rows that all roles find are one holding.
SELECT pg_temp.answers('hog', '[1,11)', 5) \gset
INSERT INTO steadytext_cache (cache_key, prompt, response, scope, fingerprint) SELECT 'all' || i, 'all', 'x', current_database(), 'echo:1' FROM generate_series(1, 4) i;
SELECT is(pg_temp.evict(8), 'all 4, hog 4', 'rows that all roles find count together');

-- The sizes of roles follow every change.
SELECT results_eq('SELECT role, entries, bytes FROM _steadytext.cache_sizes() WHERE entries > 0 ORDER BY 1',
                  'SELECT coalesce(scope_role, 0), count(*), sum(entry_bytes) FROM steadytext_cache GROUP BY 1 ORDER BY 1', 'sizes of roles');
UPDATE steadytext_cache SET scope = current_database() || '/quiet' WHERE cache_key IN (SELECT cache_key FROM steadytext_cache WHERE prompt = 'hog' LIMIT 2);
UPDATE steadytext_cache SET response = 'longer' WHERE prompt = 'all';
DELETE FROM steadytext_cache WHERE cache_key = 'all1';
SELECT results_eq('SELECT role, entries, bytes FROM _steadytext.cache_sizes() WHERE entries > 0 ORDER BY 1',
                  'SELECT coalesce(scope_role, 0), count(*), sum(entry_bytes) FROM steadytext_cache GROUP BY 1 ORDER BY 1', 'after changes of role, of size, and a deletion');
SELECT is(count(*), 3::bigint, '  of three holders') FROM _steadytext.cache_sizes() WHERE entries > 0;

-- By hand: the order asked for, whoever holds the rows.
TRUNCATE steadytext_cache;
SELECT pg_temp.answers('hog', '[1,11)', 100, '5 hours'), pg_temp.answers('quiet', '[1,3)', 1, '3 hours') \gset
SELECT is(evicted_count, 3, 'by frecency') FROM steadytext_cache_evict_by_frecency(9);
SELECT is(pg_temp.kept(), 'hog 9', '  the least frecent of all');
SELECT pg_temp.answers('quiet', '[1,3)', 1, '3 hours') \gset
SELECT is(evicted_count, 3, 'by age') FROM steadytext_cache_evict_by_age(8);
SELECT is(pg_temp.kept(), 'hog 6, quiet 2', '  the oldest of all');
SELECT * FROM finish();

TRUNCATE steadytext_cache;
DELETE FROM steadytext_config WHERE key IN ('cache_max_entries', 'cache_max_size_mb');
DROP ROLE hog, quiet, third;
