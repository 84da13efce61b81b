-- Keys of answers that the PL/Python original left.

-- The standard key of a row that the original left. NULL if the row does not say enough, or if the original did not
-- write it.
CREATE FUNCTION _steadytext.cache_migrated_key(entry public.steadytext_cache) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    model text := CASE WHEN entry.model_name IN ('steadytext-default', 'steadytext-embedding', 'qwen3-1.7b') THEN '' ELSE entry.model_name END;
BEGIN
    IF entry.fingerprint IS NOT NULL THEN
        RETURN NULL;
    END IF;
    IF entry.embedding IS NOT NULL THEN
        RETURN _steadytext.cache_key(entry.prompt, jsonb_build_object(
            'fingerprint', 'legacy', 'model', model, 'scope', '', 'seed', coalesce(entry.seed, 42)), 'embed:');
    END IF;
    IF entry.cache_key IN (entry.prompt, entry.prompt || '::EOS::' || entry.eos_string)
       AND entry.generation_params ->> 'max_tokens' ~ '^[0-9]{1,9}$' THEN
        RETURN _steadytext.cache_key(entry.prompt, jsonb_build_object(
            'eos_string', coalesce(entry.eos_string, '[EOS]'), 'fingerprint', 'legacy',
            'max_tokens', (entry.generation_params ->> 'max_tokens')::int, 'model', model, 'scope', '',
            'seed', coalesce(entry.seed, 42), 'size', '', 'temperature', 0.0), 'generate:');
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_migrated_key(public.steadytext_cache) FROM PUBLIC;

-- Only the owner of the cache may change answers, so administrators call these functions, which run as the owner. Of
-- several rows that get the same key, the first stays.
CREATE FUNCTION _steadytext.cache_migrate(most int, OUT migrated bigint, OUT merged bigint, OUT skipped bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Bound to the table when the function is created, like cache_stats().
BEGIN ATOMIC
    SELECT _steadytext.check('_steadytext.cache_migrate', most);
    WITH batch AS MATERIALIZED (
        SELECT c.id, _steadytext.cache_migrated_key(c) AS key FROM public.steadytext_cache c
        WHERE c.fingerprint IS NULL ORDER BY c.id LIMIT most FOR UPDATE SKIP LOCKED),
    ranked AS MATERIALIZED (
        SELECT b.id, b.key, b.key IS NOT NULL AND (row_number() OVER (PARTITION BY b.key ORDER BY b.id) > 1
               OR EXISTS (SELECT FROM public.steadytext_cache c WHERE c.cache_key = b.key)) AS is_there
        FROM batch b),
    gone AS (DELETE FROM public.steadytext_cache c USING ranked r WHERE c.id = r.id AND r.is_there RETURNING 1),
    kept AS (
        UPDATE public.steadytext_cache c
        SET cache_key = coalesce(r.key, c.cache_key), fingerprint = CASE WHEN r.key IS NULL THEN 'unknown' ELSE 'legacy' END,
            scope = CASE WHEN r.key IS NULL THEN c.scope ELSE '' END,
            operation = CASE WHEN r.key IS NULL THEN c.operation WHEN c.embedding IS NULL THEN 'generate' ELSE 'embed' END
        FROM ranked r WHERE c.id = r.id AND NOT r.is_there RETURNING r.key)
    SELECT (SELECT count(key) FROM kept), (SELECT count(*) FROM gone), (SELECT count(*) FROM kept WHERE key IS NULL);
END;
REVOKE ALL ON FUNCTION _steadytext.cache_migrate(int) FROM PUBLIC;
CREATE FUNCTION _steadytext.cache_trust() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH trusted AS (UPDATE public.steadytext_cache SET fingerprint = NULL WHERE fingerprint = 'untrusted' RETURNING 1)
    SELECT count(*) FROM trusted;
END;
REVOKE ALL ON FUNCTION _steadytext.cache_trust() FROM PUBLIC;

CREATE FUNCTION public.steadytext_cache_migrate_keys(batch_size int DEFAULT 1000)
RETURNS TABLE (migrated bigint, merged bigint, skipped bigint, remaining bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_cache_migrate_keys', batch_size);
    PERFORM _steadytext.cache_quietly(true);
    SELECT m.migrated, m.merged, m.skipped INTO migrated, merged, skipped FROM _steadytext.cache_migrate(coalesce(batch_size, 1000)) m;
    PERFORM _steadytext.cache_quietly(false);
    SELECT count(*) INTO remaining FROM public.steadytext_cache WHERE fingerprint IS NULL;
    IF remaining > 0 THEN
        RAISE NOTICE '% rows have new keys, % remain', migrated + merged, remaining USING HINT = 'Call steadytext_cache_migrate_keys() again.';
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION public.steadytext_cache_migrate_keys(int) IS
    'Gives up to batch_size rows of the original their standard keys; call it, each time in a transaction of its own, until remaining is 0.';
REVOKE ALL ON FUNCTION public.steadytext_cache_migrate_keys(int) FROM PUBLIC;

CREATE FUNCTION public.steadytext_cache_clear_legacy() RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.cache_hold();
    WITH gone AS (DELETE FROM public.steadytext_cache
                  WHERE fingerprint IS NULL OR fingerprint IN ('legacy', 'unknown', 'untrusted') RETURNING 1)
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION public.steadytext_cache_clear_legacy() IS
    'Deletes all answers that the original left. Afterwards steadytext.legacy_cache_keys = off saves a look for them.';
REVOKE ALL ON FUNCTION public.steadytext_cache_clear_legacy() FROM PUBLIC;

CREATE FUNCTION public.steadytext_cache_trust_legacy() RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trusted bigint := _steadytext.cache_trust();
BEGIN
    INSERT INTO public.steadytext_audit_log (event_type, details)
        VALUES ('cache_trust_legacy', jsonb_build_object('answers', trusted));
    RETURN trusted;
END
$$;
COMMENT ON FUNCTION public.steadytext_cache_trust_legacy() IS
    'Lets answers of the original be served which everybody could have written (fingerprint ''untrusted''), to every role; returns how many.';
REVOKE ALL ON FUNCTION public.steadytext_cache_trust_legacy() FROM PUBLIC;
