-- Eviction from steadytext_cache, by age and by frecency, by hand and by the keeper.

-- How much of the cache each role has beyond its share, if so much is to stay. Shares are max-min fair: no role has less
-- than it holds or than the role with the largest share. Roles that hold no more than that are not in the result. Role 0
-- stands for the rows that all roles find, or none.
CREATE FUNCTION _steadytext.cache_excess(target_entries bigint, target_bytes bigint)
RETURNS TABLE (role oid, entries bigint, bytes bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.check('_steadytext.cache_excess', target_entries, target_bytes);
    -- From the least holding to the most, each role is offered an equal part of what the roles before it left. The
    -- first role that holds more than its part has the largest share, and so have all after it.
    WITH offers AS (
        SELECT s.role, s.entries, s.bytes,
               (target_entries - sum(s.entries) OVER e + s.entries) / (count(*) OVER () - row_number() OVER e + 1) AS most_entries,
               (target_bytes - sum(s.bytes) OVER b + s.bytes) / (count(*) OVER () - row_number() OVER b + 1) AS most_bytes
        FROM _steadytext.cache_sizes() s
        WINDOW e AS (ORDER BY s.entries, s.role ROWS UNBOUNDED PRECEDING), b AS (ORDER BY s.bytes, s.role ROWS UNBOUNDED PRECEDING)),
    largest AS (
        SELECT max(o.most_entries) FILTER (WHERE o.entries > o.most_entries) AS entries,
               max(o.most_bytes) FILTER (WHERE o.bytes > o.most_bytes) AS bytes FROM offers o)
    SELECT o.role, coalesce(greatest(ceil(o.entries - l.entries), 0), 0)::bigint, coalesce(greatest(ceil(o.bytes - l.bytes), 0), 0)::bigint
    FROM offers o, largest l WHERE o.entries > l.entries OR o.bytes > l.bytes
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_excess(bigint, bigint) FROM PUBLIC;

-- Deletes rows in the given order until both targets are met, exact to the row. It sweeps along an index in the order
-- of its keys, so it looks at no row twice. A row that another transaction changes meanwhile stays; the next row in
-- order goes instead. The order is 'age', 'frecency', or 'share': by frecency, but a row that was used within a day goes
-- only if its role holds more than its share. However often a role's answers are hit, they then take no other role's place.
CREATE FUNCTION _steadytext.cache_evict(
    by text, target_entries bigint, target_bytes bigint, batch_size int, below_count bigint, older_than timestamptz,
    INOUT evicted bigint, INOUT freed bigint
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    entries bigint;
    bytes bigint;
    chosen tid[];
    last_id bigint := '-9223372036854775808';
    last_rank float8 := '-infinity';
    last_time timestamptz := '-infinity';
    looked int;
    gone bigint;
    gone_bytes bigint;
BEGIN
    PERFORM _steadytext.check('_steadytext.cache_evict', by, target_entries, target_bytes, batch_size, below_count, older_than,
                                     evicted, freed);
    SELECT s.entries, s.bytes INTO entries, bytes FROM _steadytext.cache_size() s;
    LOOP
        EXIT WHEN entries <= target_entries AND bytes <= target_bytes;
        IF by <> 'age' THEN
            SELECT array_agg(c.ctid) FILTER (WHERE c.goes AND (c.n <= entries - target_entries OR c.before < bytes - target_bytes)),
                   count(*), max(c.frecency_rank), (array_agg(c.id))[count(*)]
            INTO chosen, looked, last_rank, last_id
            FROM (SELECT g.*, count(*) FILTER (WHERE g.goes) OVER w AS n,
                         sum(g.entry_bytes) FILTER (WHERE g.goes) OVER w - g.entry_bytes AS before
                  FROM (SELECT r.ctid, r.id, r.frecency_rank, r.entry_bytes,
                               r.is_idle OR row_number() OVER of_role <= x.entries
                                         OR sum(r.entry_bytes) OVER of_role - r.entry_bytes < x.bytes AS goes
                        FROM (SELECT t.ctid, t.id, t.frecency_rank, t.entry_bytes, t.scope_role,
                                     by = 'frecency' OR t.last_accessed < now() - interval '1 day' AS is_idle
                              FROM public.steadytext_cache t
                              WHERE (t.frecency_rank, t.id) > (last_rank, last_id)
                                AND t.created_at < older_than AND t.access_count < below_count
                              ORDER BY t.frecency_rank, t.id LIMIT batch_size) r
                        LEFT JOIN _steadytext.cache_excess(target_entries, target_bytes) x ON by = 'share' AND x.role = coalesce(r.scope_role, 0)
                        WINDOW of_role AS (PARTITION BY r.scope_role ORDER BY r.frecency_rank, r.id ROWS UNBOUNDED PRECEDING)) g
                  WINDOW w AS (ORDER BY g.frecency_rank, g.id ROWS UNBOUNDED PRECEDING)) c;
        ELSE
            SELECT array_agg(c.ctid) FILTER (WHERE c.n <= entries - target_entries OR c.before < bytes - target_bytes),
                   count(*), max(c.created_at), (array_agg(c.id))[count(*)]
            INTO chosen, looked, last_time, last_id
            FROM (SELECT r.*, row_number() OVER w AS n, sum(r.entry_bytes) OVER w - r.entry_bytes AS before
                  FROM (SELECT t.ctid, t.id, t.created_at, t.entry_bytes FROM public.steadytext_cache t
                        WHERE (t.created_at, t.id) > (last_time, last_id) AND t.created_at < older_than
                        ORDER BY t.created_at, t.id LIMIT batch_size) r
                  WINDOW w AS (ORDER BY r.created_at, r.id ROWS UNBOUNDED PRECEDING)) c;
        END IF;
        EXIT WHEN looked = 0;
        WITH deleted AS (DELETE FROM public.steadytext_cache WHERE ctid = ANY (chosen) RETURNING entry_bytes)
        SELECT count(*), coalesce(sum(entry_bytes), 0) INTO gone, gone_bytes FROM deleted;
        evicted := evicted + gone;
        freed := freed + gone_bytes;
        entries := entries - gone;
        bytes := bytes - gone_bytes;
        EXIT WHEN looked < batch_size;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_evict(text, bigint, bigint, int, bigint, timestamptz, bigint, bigint) FROM PUBLIC;

-- The common part of the keeper and both public functions. Each target comes from the arguments, else from
-- steadytext_config, else from postgresql.conf.
CREATE FUNCTION _steadytext.cache_evict_to(
    by text, target_entries int, target_size_mb float8, batch_size int, min_access_count int, min_age_hours int,
    OUT evicted_count int, OUT freed_size_mb float8, OUT remaining_entries bigint, OUT remaining_size_mb float8
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most_entries bigint := coalesce(target_entries, _steadytext.cache_limit('cache_max_entries', 10000, 'steadytext.cache_max_entries'));
    most_bytes bigint;
    older_than timestamptz := 'infinity';
    batch int := coalesce(batch_size, 100);
    evicted bigint := 0;
    freed bigint := 0;
BEGIN
    PERFORM _steadytext.check('_steadytext.cache_evict_to', by, target_entries, target_size_mb, batch_size, min_access_count,
                                     min_age_hours);
    most_bytes := coalesce(target_size_mb, _steadytext.cache_limit('cache_max_size_mb', 100, 'steadytext.cache_max_size')) * 1048576;
    IF min_age_hours > 0 THEN
        older_than := now() - make_interval(hours => min_age_hours);
    END IF;
    PERFORM _steadytext.cache_quietly(true);
    IF by <> 'age' AND min_access_count > 0 THEN
        SELECT e.evicted, e.freed INTO evicted, freed
        FROM _steadytext.cache_evict(by, most_entries, most_bytes, batch, min_access_count, older_than, evicted, freed) e;
    END IF;
    SELECT e.evicted, e.freed INTO evicted, freed
    FROM _steadytext.cache_evict(by, most_entries, most_bytes, batch, 2147483648, older_than, evicted, freed) e;
    PERFORM _steadytext.cache_quietly(false);
    evicted_count := evicted;
    freed_size_mb := freed / 1048576.0::float8;
    SELECT s.entries, s.bytes / 1048576.0::float8 INTO remaining_entries, remaining_size_mb FROM _steadytext.cache_size() s;
    IF min_age_hours > 0 AND (remaining_entries > most_entries OR remaining_size_mb > most_bytes / 1048576.0::float8) THEN
        RAISE NOTICE 'the target is not met: answers younger than % hour(s) stay', min_age_hours
            USING HINT = 'Pass min_age_hours => 0 to evict them too.';
    END IF;
    IF evicted > 0 THEN
        INSERT INTO public.steadytext_audit_log (event_type, details) VALUES ('cache_eviction', jsonb_build_object(
            'evicted_count', evicted, 'freed_size_mb', freed_size_mb,
            'eviction_type', CASE by WHEN 'age' THEN 'age_based' ELSE 'frecency_based' END));
    END IF;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_evict_to(text, int, float8, int, int, int) FROM PUBLIC;

-- A limit of this database: the value in steadytext_config if it differs from the seeded value, else the setting in
-- postgresql.conf, where 0 means no limit.
CREATE FUNCTION _steadytext.cache_limit(config_key text, seeded float8, setting text) RETURNS float8
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.check('_steadytext.cache_limit', config_key, seeded, setting);
    SELECT coalesce(
        (SELECT nullif((CASE WHEN value #>> '{}' ~ '^[0-9]{1,15}(\.[0-9]{1,15})?$' THEN value #>> '{}' END)::float8, seeded)
         FROM public.steadytext_config WHERE key = config_key),
        (SELECT nullif(s.setting, '0')::float8 FROM pg_settings s WHERE s.name = cache_limit.setting),
        1e12)
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_limit(text, float8, text) FROM PUBLIC;

CREATE FUNCTION _steadytext.cache_quietly(quietly boolean) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_cache_quietly' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION _steadytext.cache_quietly(boolean) IS
    'While on, and at most until the transaction ends, deleted rows may go on being answered from shared memory.';
REVOKE ALL ON FUNCTION _steadytext.cache_quietly(boolean) FROM PUBLIC;

CREATE FUNCTION public.steadytext_cache_evict_by_age(
    target_entries int DEFAULT NULL, target_size_mb float8 DEFAULT NULL, batch_size int DEFAULT 100, min_age_hours int DEFAULT 1
) RETURNS TABLE (evicted_count int, freed_size_mb float8, remaining_entries bigint, remaining_size_mb float8)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM _steadytext.cache_evict_to('age', target_entries, target_size_mb, batch_size, 0, min_age_hours) $$;
COMMENT ON FUNCTION public.steadytext_cache_evict_by_age(int, float8, int, int) IS
    'Deletes the oldest cached answers, older than min_age_hours, until both targets are met, exact to the row.';
REVOKE ALL ON FUNCTION public.steadytext_cache_evict_by_age(int, float8, int, int) FROM PUBLIC;

CREATE FUNCTION public.steadytext_cache_evict_by_frecency(
    target_entries int DEFAULT NULL, target_size_mb float8 DEFAULT NULL, batch_size int DEFAULT 100,
    min_access_count int DEFAULT 2, min_age_hours int DEFAULT 1
) RETURNS TABLE (evicted_count int, freed_size_mb float8, remaining_entries bigint, remaining_size_mb float8)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM _steadytext.cache_evict_to('frecency', target_entries, target_size_mb, batch_size, min_access_count, min_age_hours) $$;
COMMENT ON FUNCTION public.steadytext_cache_evict_by_frecency(int, float8, int, int, int) IS
    'Deletes the cached answers of the lowest frecency until both targets are met; those read min_access_count times or more go last.';
REVOKE ALL ON FUNCTION public.steadytext_cache_evict_by_frecency(int, float8, int, int, int) FROM PUBLIC;

CREATE FUNCTION _steadytext.cache_scheduled_eviction() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    done record;
    size bigint := (SELECT s.bytes FROM _steadytext.cache_size() s);
    takes bigint := pg_relation_size('public.steadytext_cache');
BEGIN
    IF takes > greatest(8 * size, 16 * 1048576) THEN
        RAISE WARNING 'table public.steadytext_cache takes % for % of answers', pg_size_pretty(takes), pg_size_pretty(size)
            USING HINT = 'VACUUM FULL public.steadytext_cache gives the room back; calls do not wait for it.';
    END IF;
    DELETE FROM public.steadytext_cache WHERE expires_at <= now();
    IF (SELECT value #>> '{}' FROM public.steadytext_config WHERE key = 'cache_eviction_enabled') IN ('false', 'off', 'no', '0') THEN
        RETURN;
    END IF;
    SELECT * INTO done FROM _steadytext.cache_evict_to('share', NULL, NULL, 1000, 2, 0);
    IF done.evicted_count > 0 THEN
        RAISE NOTICE 'evicted % cached answers (% MB); % remain', done.evicted_count, round(done.freed_size_mb::numeric, 1), done.remaining_entries;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_scheduled_eviction() FROM PUBLIC;

CREATE FUNCTION public.steadytext_cache_scheduled_eviction() RETURNS void
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.cache_scheduled_eviction() $$;
COMMENT ON FUNCTION public.steadytext_cache_scheduled_eviction() IS
    'What the keeper runs after each refresh: expired answers go, then those of the lowest frecency until cache_max_entries and cache_max_size hold.';
REVOKE ALL ON FUNCTION public.steadytext_cache_scheduled_eviction() FROM PUBLIC;

-- In the order of the scheduled eviction, as if so many rows had to go: what has expired, what was read once, the rest; and
-- last the rows that it would spare.
CREATE FUNCTION _steadytext.cache_preview_eviction(preview_count int)
RETURNS TABLE (cache_key text, prompt text, access_count int, last_accessed timestamptz, created_at timestamptz,
               age_days float8, size_bytes bigint)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.check('steadytext_cache_preview_eviction', preview_count);
    SELECT c.cache_key, CASE WHEN length(c.prompt) > 50 THEN left(c.prompt, 50) || '...' ELSE c.prompt END,
           c.access_count, c.last_accessed, c.created_at,
           CASE c.created_at WHEN '-infinity' THEN 'infinity' WHEN 'infinity' THEN '-infinity'
                ELSE extract(epoch FROM now() - c.created_at)::float8 / 86400 END, c.entry_bytes::bigint
    FROM (
        SELECT p.id, p.frecency_rank,
               CASE WHEN p.is_expired THEN 1
                    WHEN p.last_accessed >= now() - interval '1 day' AND p.n > coalesce(x.entries, 0) THEN 4
                    WHEN p.access_count < 2 THEN 2 ELSE 3 END AS turn
        FROM (SELECT e.id, e.frecency_rank, e.access_count, e.last_accessed, e.scope_role, e.expires_at <= now() AS is_expired,
                     row_number() OVER (PARTITION BY e.scope_role ORDER BY e.expires_at <= now() DESC NULLS LAST, e.access_count >= 2,
                                                                           e.frecency_rank, e.id) AS n
              FROM public.steadytext_cache e) p
        LEFT JOIN (SELECT x.role, x.entries FROM _steadytext.cache_size() s, _steadytext.cache_excess(greatest(s.entries - preview_count, 0), s.bytes) x) x
            ON x.role = coalesce(p.scope_role, 0)
        ORDER BY turn, p.frecency_rank, p.id LIMIT preview_count) t
    JOIN public.steadytext_cache c USING (id)
    ORDER BY t.turn, t.frecency_rank, t.id
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_preview_eviction(int) FROM PUBLIC;

CREATE FUNCTION public.steadytext_cache_preview_eviction(preview_count int DEFAULT 10)
RETURNS TABLE (cache_key text, prompt text, access_count int, last_accessed timestamptz, created_at timestamptz,
               age_days float8, size_bytes bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT * FROM _steadytext.cache_preview_eviction(preview_count) $$;
COMMENT ON FUNCTION public.steadytext_cache_preview_eviction(int) IS
    'The answers that the scheduled eviction would delete first, in its order: expired answers, answers read once, the others, each by frecency; of roles that hold more than their share, and answers unused for a day.';
REVOKE ALL ON FUNCTION public.steadytext_cache_preview_eviction(int) FROM PUBLIC;

CREATE FUNCTION _steadytext.cache_analyze_usage()
RETURNS TABLE (age_bucket text, entry_count bigint, avg_access_count float8, total_size_mb float8, percentage_of_cache float8)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH buckets (position, bucket, behind, until) AS (VALUES
        (1, '< 1 hour', now() - interval '1 hour', now()), (2, '1 hour - 1 day', now() - interval '24 hours', now() - interval '1 hour'),
        (3, '1 day - 7 days', now() - interval '168 hours', now() - interval '24 hours'),
        (4, '7 days - 30 days', now() - interval '720 hours', now() - interval '168 hours'),
        (5, '> 30 days', NULL, now() - interval '720 hours')),
    found AS (
        SELECT b.position, b.bucket, count(*) AS entries, avg(c.access_count)::float8 AS average,
               sum(c.entry_bytes) / 1048576.0::float8 AS megabytes
        FROM public.steadytext_cache c JOIN buckets b
          ON c.created_at <= b.until AND (b.behind IS NULL OR c.created_at > b.behind)
        GROUP BY b.position, b.bucket)
    SELECT bucket, entries, average, megabytes, 100 * entries / sum(entries) OVER ()::float8 FROM found ORDER BY position
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_analyze_usage() FROM PUBLIC;

CREATE FUNCTION public.steadytext_cache_analyze_usage()
RETURNS TABLE (age_bucket text, entry_count bigint, avg_access_count float8, total_size_mb float8, percentage_of_cache float8)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT * FROM _steadytext.cache_analyze_usage() $$;
COMMENT ON FUNCTION public.steadytext_cache_analyze_usage() IS 'Cached answers by age: how many, how often read, how large.';
REVOKE ALL ON FUNCTION public.steadytext_cache_analyze_usage() FROM PUBLIC;
