-- The cache of answers: its table, the count of its rows and bytes, and the functions that show and delete answers.

-- Declared IMMUTABLE, as a generated column needs, but it reads the catalog of roles. Its result is true when a row is
-- written, and the column is meant to keep that value.
CREATE FUNCTION _steadytext.scope_role(scope text) RETURNS oid
AS 'MODULE_PATHNAME', 'steadytext_scope_role' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION _steadytext.scope_role(text) IS 'The OID of the role that a scope ends with; NULL if it names none, or none that exists.';

-- Cached answers. Written by the keeper (a background worker) only; sessions read it by cache_key.
CREATE TABLE public.steadytext_cache (
    id bigserial PRIMARY KEY,
    cache_key text NOT NULL CONSTRAINT idx_steadytext_cache_key UNIQUE,
    prompt text NOT NULL,
    response text,
    embedding public.vector,
    access_count int DEFAULT 1,
    last_accessed timestamptz DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    steadytext_cache_hit boolean DEFAULT false,
    model_name text NOT NULL DEFAULT 'qwen3-1.7b',
    model_size text CHECK (model_size IN ('small', 'medium', 'large')),
    seed int DEFAULT 42,
    eos_string text,
    generation_params jsonb,
    response_size int,
    generation_time_ms int,
    operation text,
    scope text,
    fingerprint text,
    prompt_tokens int,
    completion_tokens int,
    finish_reason text,
    expires_at timestamptz,
    -- Bytes of the row, as eviction counts them.
    entry_bytes int GENERATED ALWAYS AS (least(
        160::bigint + octet_length(cache_key) + octet_length(prompt) + coalesce(octet_length(response), 0)
        + coalesce(8 + 4 * public.vector_dims(embedding), 0), 2147483647)) STORED,
    -- The frecency score without its dependence on now(): ln(count * exp(-age/86400)) = rank - now/86400.
    -- So its order is that of the score at any time, and an index keeps it.
    frecency_rank float8 GENERATED ALWAYS AS (
        CASE WHEN access_count > 0 AND last_accessed IS NOT NULL
             THEN ln(access_count::float8) + CASE WHEN isfinite(last_accessed)
                  THEN extract(epoch FROM last_accessed AT TIME ZONE 'UTC')::float8 / 86400 ELSE 0 END
             ELSE '-infinity' END) STORED
);
-- The OID of the role named in `scope` when the row was written or restored. A role made anew with that name has
-- another OID, so it finds nothing.
ALTER TABLE public.steadytext_cache ADD scope_role oid GENERATED ALWAYS AS (_steadytext.scope_role(scope)) STORED;
-- The last two columns let an eviction skip rows without reading the table.
CREATE INDEX idx_steadytext_cache_frecency ON public.steadytext_cache (frecency_rank, id, access_count, created_at);
CREATE INDEX idx_steadytext_cache_created_at ON public.steadytext_cache (created_at, id);
CREATE INDEX idx_steadytext_cache_expires_at ON public.steadytext_cache (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE public.steadytext_cache IS
    'Cached answers of this database, written by the keeper. cache_key is steadytext_cache_key() of the prompt and all parameters.';
COMMENT ON COLUMN public.steadytext_cache.embedding IS 'In the model''s own dimensions; steadytext_embed() pads or cuts it.';
COMMENT ON COLUMN public.steadytext_cache.scope IS 'Whose answer it is: database/role, or database; NULL or empty for rows of the original.';
COMMENT ON COLUMN public.steadytext_cache.scope_role IS 'The role in scope by its number, when the row was written: who finds it. NULL: all roles of the database, or none.';
COMMENT ON COLUMN public.steadytext_cache.entry_bytes IS 'Bytes of the row, as eviction counts them.';
COMMENT ON COLUMN public.steadytext_cache.frecency_rank IS 'ln(access_count) + last_accessed in days since 1970: the order of frecency_score at any time.';

-- The number of rows and bytes of steadytext_cache is the sum of all rows here. Every statement that changes the cache
-- adds rows, so no writer waits for another. The keeper sums the rows up now and then.
CREATE TABLE _steadytext.cache_ledger (role oid NOT NULL, entries bigint NOT NULL, bytes bigint NOT NULL);
COMMENT ON TABLE _steadytext.cache_ledger IS
    'Changes of the size of steadytext_cache by scope_role, 0 where that is NULL; their sum is its size.';

CREATE FUNCTION _steadytext.cache_count() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO _steadytext.cache_ledger SELECT coalesce(scope_role, 0), count(*), sum(entry_bytes) FROM new_rows GROUP BY 1;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO _steadytext.cache_ledger SELECT coalesce(scope_role, 0), -count(*), -sum(entry_bytes) FROM old_rows GROUP BY 1;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO _steadytext.cache_ledger
        VALUES (coalesce(OLD.scope_role, 0), -1, -OLD.entry_bytes), (coalesce(NEW.scope_role, 0), 1, NEW.entry_bytes);
    ELSE
        DELETE FROM _steadytext.cache_ledger;
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_count() FROM PUBLIC;
CREATE TRIGGER count_inserted AFTER INSERT ON public.steadytext_cache REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.cache_count();
CREATE TRIGGER count_deleted AFTER DELETE ON public.steadytext_cache REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.cache_count();
CREATE TRIGGER count_resized AFTER UPDATE ON public.steadytext_cache
    FOR EACH ROW WHEN (OLD.entry_bytes <> NEW.entry_bytes OR OLD.scope_role IS DISTINCT FROM NEW.scope_role)
    EXECUTE FUNCTION _steadytext.cache_count();
CREATE TRIGGER count_truncated AFTER TRUNCATE ON public.steadytext_cache
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.cache_count();

-- The row of an answer says which role finds the answer. Only the keeper, and superusers who restore dumps, may write a
-- row for another role or for all roles, whatever rights on the table have been granted.
CREATE FUNCTION _steadytext.cache_row_check() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- No query here: PostgreSQL would plan and start it for each row of a restore.
    IF NOT pg_has_role('steadytext_owner', 'USAGE')
       AND (NEW.fingerprint IS NULL OR _steadytext.scope_role(NEW.scope) IS DISTINCT FROM quote_ident(current_user)::regrole::oid
            OR TG_OP = 'UPDATE' AND OLD.scope IS DISTINCT FROM NEW.scope) THEN
        RAISE EXCEPTION 'cached answer for others than role "%" cannot be written', current_user USING ERRCODE = '42501',
            DETAIL = 'Its row needs a fingerprint, and a scope that ends with the role that writes it.',
            HINT = 'Cached answers are written by pg_steadytext.';
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_row_check() FROM PUBLIC;
CREATE TRIGGER check_row BEFORE INSERT OR UPDATE ON public.steadytext_cache FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner') EXECUTE FUNCTION _steadytext.cache_row_check();

-- After a row is changed or deleted by hand, shared memory does not answer with it any longer. The keeper's own
-- changes, and eviction, leave shared memory as it is.
CREATE FUNCTION _steadytext.cache_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_cache_changed' LANGUAGE C;
REVOKE ALL ON FUNCTION _steadytext.cache_changed() FROM PUBLIC;
CREATE TRIGGER hold_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON public.steadytext_cache
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.cache_changed();
CREATE TRIGGER forget_changed AFTER UPDATE OR DELETE OR TRUNCATE ON public.steadytext_cache
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.cache_changed();

-- Raised by each clear, so that standbys, which replay it, clear their shared memory as well.
CREATE TABLE _steadytext.cache_clears (clears bigint NOT NULL);
INSERT INTO _steadytext.cache_clears VALUES (0);
COMMENT ON TABLE _steadytext.cache_clears IS 'How often the cache was cleared or changed by hand: standbys read it after they have replayed a clear.';

CREATE FUNCTION _steadytext.cache_hold() RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_cache_hold' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION _steadytext.cache_hold() IS
    'Before a statement that deletes cached answers, for who may: until the transaction ends the keeper writes none, and none older after it.';
REVOKE ALL ON FUNCTION _steadytext.cache_hold() FROM PUBLIC;

-- A dump leaves out the answers of a role that was dropped or made anew: a restore finds roles by name.
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_cache',
    'WHERE scope_role IS NOT DISTINCT FROM _steadytext.scope_role(scope)');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_cache_id_seq', '');

-- Not IMMUTABLE: it obeys steadytext.normalize_prompts.
CREATE FUNCTION public.steadytext_cache_key(prompt text, params jsonb DEFAULT '{}', prefix text DEFAULT '') RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_cache_key' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION public.steadytext_cache_key(text, jsonb, text) IS
    'SHA-256 of prefix, prompt (in NFC), ''|'' and params as Python''s json.dumps(params, sort_keys=True) writes them, in hexadecimal.';

CREATE FUNCTION _steadytext.cache_key(prompt text, params jsonb, prefix text) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_cache_key' LANGUAGE C STABLE PARALLEL SAFE;
REVOKE ALL ON FUNCTION _steadytext.cache_key(text, jsonb, text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_generate_cached(prompt text, max_tokens int DEFAULT NULL, seed int DEFAULT 42) RETURNS text
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$ SELECT _steadytext.generate(prompt, max_tokens, true, seed, '[EOS]', NULL, NULL, NULL, NULL, false) $$;
COMMENT ON FUNCTION public.steadytext_generate_cached(text, int, int) IS
    'steadytext_generate() by its old name: every call is cached.';

CREATE FUNCTION public.steadytext_embed_cached(
    text_input text, seed int DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS public.vector
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$ SELECT _steadytext.embed(text_input, true, seed, model, unsafe_mode) $$;
COMMENT ON FUNCTION public.steadytext_embed_cached(text, int, text, boolean) IS
    'steadytext_embed() by its old name: every call is cached.';

CREATE VIEW public.steadytext_cache_with_frecency AS
SELECT c.*,
       -- exp() of less than -700 is an underflow, an error in PostgreSQL; the score is 0 long before.
       CASE WHEN isfinite(c.last_accessed) AND c.last_accessed > now() - interval '700 days' AND c.access_count > 0
            THEN c.access_count * exp(-greatest(extract(epoch FROM now() - c.last_accessed)::float8, 0) / 86400)
            ELSE 0 END AS frecency_score
FROM public.steadytext_cache c;
COMMENT ON VIEW public.steadytext_cache_with_frecency IS
    'frecency_score = access_count * exp(-seconds since last_accessed / 86400). ORDER BY frecency_rank gives the same order by index.';

CREATE FUNCTION public.steadytext_cache_top(n int DEFAULT 10) RETURNS SETOF public.steadytext_cache_with_frecency
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.check('steadytext_cache_top', n);
    SELECT * FROM public.steadytext_cache_with_frecency ORDER BY frecency_rank DESC, id DESC LIMIT n
$$;
COMMENT ON FUNCTION public.steadytext_cache_top(int) IS 'The n cached answers of the highest frecency.';
REVOKE ALL ON FUNCTION public.steadytext_cache_top(int) FROM PUBLIC;

CREATE FUNCTION public.steadytext_frecency_refresh() RETURNS bigint
AS 'MODULE_PATHNAME', 'steadytext_frecency_refresh' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_frecency_refresh() IS
    'Has the keeper write what waits and fold in all hits now, and waits for it; returns the rows whose hits were folded in.';
REVOKE ALL ON FUNCTION public.steadytext_frecency_refresh() FROM PUBLIC;

CREATE FUNCTION public.steadytext_frecency_status()
RETURNS TABLE (refreshed_at timestamptz, lag_seconds float8, duration_ms float8, rows_refreshed bigint, pending_hits bigint,
               pending_writes int)
AS 'MODULE_PATHNAME', 'steadytext_frecency_status' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION public.steadytext_frecency_status() IS
    'The last refresh of this database: when, how long it took; and what the next will fold in. NULLs: there was none yet.';
REVOKE ALL ON FUNCTION public.steadytext_frecency_status() FROM PUBLIC;

-- Whether the ledger's sums are possible for a table: every row has at least 160 bytes, and entry_bytes is an int.
CREATE FUNCTION _steadytext.cache_ledger_holds(entries numeric, bytes numeric) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(entries BETWEEN 0 AND 4294967296 AND bytes BETWEEN 160 * entries AND 2147483647 * entries, false) $$;
REVOKE ALL ON FUNCTION _steadytext.cache_ledger_holds(numeric, numeric) FROM PUBLIC;

-- Sums up the ledger for each role. If its sums are not possible, counts the table's rows instead.
CREATE FUNCTION _steadytext.cache_sizes()
RETURNS TABLE (role oid, entries bigint, bytes bigint)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH told AS (SELECT l.role, sum(l.entries) AS entries, sum(l.bytes) AS bytes FROM _steadytext.cache_ledger l GROUP BY l.role),
         ledger AS (SELECT coalesce(bool_and(_steadytext.cache_ledger_holds(t.entries, t.bytes)), true) AS holds FROM told t)
    SELECT t.role, t.entries::bigint, t.bytes::bigint FROM told t WHERE (SELECT holds FROM ledger)
    UNION ALL
    SELECT coalesce(c.scope_role, 0), count(*), sum(c.entry_bytes) FROM public.steadytext_cache c
    WHERE NOT (SELECT holds FROM ledger) GROUP BY 1
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_sizes() FROM PUBLIC;

CREATE FUNCTION _steadytext.cache_size(OUT entries bigint, OUT bytes bigint)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(sum(s.entries), 0)::bigint, coalesce(sum(s.bytes), 0)::bigint FROM _steadytext.cache_sizes() s $$;
REVOKE ALL ON FUNCTION _steadytext.cache_size() FROM PUBLIC;

CREATE FUNCTION _steadytext.cache_lookups(OUT hits bigint, OUT misses bigint)
AS 'MODULE_PATHNAME', 'steadytext_cache_lookups' LANGUAGE C VOLATILE PARALLEL SAFE;
REVOKE ALL ON FUNCTION _steadytext.cache_lookups() FROM PUBLIC;

CREATE FUNCTION _steadytext.cache_stats()
RETURNS TABLE (total_entries bigint, total_size_mb float8, cache_hit_rate float8, avg_access_count float8,
               oldest_entry timestamptz, newest_entry timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- BEGIN ATOMIC binds the body to the table itself when the function is created. The name could lead elsewhere: public
-- belongs to the owner of the database, who may rename the table and put another in its place.
BEGIN ATOMIC
    SELECT size.entries, size.bytes / 1048576.0::float8,
           coalesce(lookups.hits::float8 / nullif(lookups.hits + lookups.misses, 0), 0),
           coalesce((SELECT avg(access_count)::float8 FROM public.steadytext_cache), 0),
           (SELECT min(created_at) FROM public.steadytext_cache), (SELECT max(created_at) FROM public.steadytext_cache)
    FROM _steadytext.cache_size() size, _steadytext.cache_lookups() lookups;
END;
REVOKE ALL ON FUNCTION _steadytext.cache_stats() FROM PUBLIC;

CREATE FUNCTION public.steadytext_cache_stats()
RETURNS TABLE (total_entries bigint, total_size_mb float8, cache_hit_rate float8, avg_access_count float8,
               oldest_entry timestamptz, newest_entry timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT * FROM _steadytext.cache_stats() $$;
COMMENT ON FUNCTION public.steadytext_cache_stats() IS
    'The cache of this database; cache_hit_rate is that of all lookups since the server started.';
REVOKE ALL ON FUNCTION public.steadytext_cache_stats() FROM PUBLIC;

CREATE FUNCTION _steadytext.cache_clear() RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.cache_hold();
    WITH gone AS (DELETE FROM public.steadytext_cache RETURNING 1) SELECT count(*) FROM gone
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_clear() FROM PUBLIC;

CREATE FUNCTION public.steadytext_cache_clear() RETURNS bigint
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.cache_clear() $$;
COMMENT ON FUNCTION public.steadytext_cache_clear() IS 'Deletes all cached answers of this database; returns how many.';
REVOKE ALL ON FUNCTION public.steadytext_cache_clear() FROM PUBLIC;

CREATE FUNCTION public.steadytext_cache_invalidate(
    cache_key text DEFAULT NULL, prompt text DEFAULT NULL, model text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    PERFORM _steadytext.inspect('model', model);
    PERFORM _steadytext.check('steadytext_cache_invalidate', cache_key, prompt, model);
    IF cache_key IS NULL AND prompt IS NULL AND model IS NULL THEN
        RAISE EXCEPTION 'nothing to invalidate'
            USING ERRCODE = '22004', HINT = 'Give a cache_key, a prompt or a model; steadytext_cache_clear() deletes all.';
    END IF;
    PERFORM _steadytext.cache_hold();
    DELETE FROM public.steadytext_cache c
    WHERE (steadytext_cache_invalidate.cache_key IS NULL OR c.cache_key = steadytext_cache_invalidate.cache_key)
      AND (steadytext_cache_invalidate.prompt IS NULL OR c.prompt = steadytext_cache_invalidate.prompt)
      AND (steadytext_cache_invalidate.model IS NULL OR c.model_name = steadytext_cache_invalidate.model);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
COMMENT ON FUNCTION public.steadytext_cache_invalidate(text, text, text) IS
    'Deletes the cached answers that meet all conditions given; returns how many.';
REVOKE ALL ON FUNCTION public.steadytext_cache_invalidate(text, text, text) FROM PUBLIC;
