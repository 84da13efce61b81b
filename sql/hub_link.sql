-- The hub of independent nodes: servers of other clusters that log in here, share the cache of a database, and hear of its clears.

-- On a node: the hub whose clears this database has heard of, up to which number, and up to which of its own clears the hub has been told. No
-- row: this database is no node. Not in dumps: what is restored has heard of nothing.
CREATE TABLE _steadytext.hub_link (hub text NOT NULL, heard bigint NOT NULL, told bigint NOT NULL);
COMMENT ON TABLE _steadytext.hub_link IS 'On an independent node: the hub with which this database shares its cache. Written by the node worker.';

CREATE FUNCTION _steadytext.hub_number(format int, OUT system text, OUT server bigint, OUT clears bigint)
AS 'MODULE_PATHNAME', 'steadytext_hub_number' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION _steadytext.hub_number(int) FROM PUBLIC;

-- Whose numbers are these? Another timeline may have lost clears, and its numbers may stand for others. -1: the node shares nothing here.
CREATE FUNCTION _steadytext.hub_watch(format int, OUT hub text, OUT server bigint, OUT clears bigint)
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT n.system || '/' || left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8), n.server,
           CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles me JOIN _steadytext.hub_scopes s ON s.node = me.oid AND s.node_name = me.rolname AND s.shares
                             WHERE me.rolname = session_user) THEN n.clears ELSE -1 END
    INTO hub, server, clears
    FROM _steadytext.hub_number(hub_watch.format) n;
END
$$;
COMMENT ON FUNCTION _steadytext.hub_watch(int) IS 'Tells a node which hub this is, and how many clears of this database are committed.';
REVOKE ALL ON FUNCTION _steadytext.hub_watch(int) FROM PUBLIC;

CREATE FUNCTION _steadytext.hub_lease(role oid, key bytea, wish int) RETURNS int
AS 'MODULE_PATHNAME', 'steadytext_hub_lease' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION _steadytext.hub_lease(oid, bytea, int) FROM PUBLIC;

-- pgvector's own function, bound when this is created: a body of text would look it up by name.
CREATE FUNCTION _steadytext.vector_bytes(vector public.vector) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT public.vector_send(vector_bytes.vector);
END;
REVOKE ALL ON FUNCTION _steadytext.vector_bytes(public.vector) FROM PUBLIC;

-- Each key with the scope that it is of. Wishes: 0 to look only; 1 to compute the answer if nobody else does; 2 and 3, once that is over: without
-- an answer, and with one. Verdicts: 0 it is not there; 1 it is there; 2 compute it; 3 another node computes it. Rows of scopes that the node
-- may not share are not there.
CREATE FUNCTION _steadytext.hub_get(format int, scopes text[], keys bytea[], wishes int[])
RETURNS TABLE (place int, verdict int, response text, embedding bytea, prompt_tokens int, completion_tokens int, finish_reason text, expires_ms bigint)
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY WITH mine AS MATERIALIZED (
        SELECT s.role FROM pg_catalog.pg_roles me
        JOIN _steadytext.hub_scopes s ON s.node = me.oid AND s.node_name = me.rolname AND s.shares
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.role
        WHERE me.rolname = session_user AND (s.role = 0 OR r.rolname = s.role_name)),
    asked AS MATERIALIZED (
        SELECT a.place, a.scope, a.key, a.wish, CASE WHEN strpos(a.scope, '/') = 0 THEN 0::oid ELSE _steadytext.scope_role(a.scope) END AS role
        FROM unnest(hub_get.scopes, hub_get.keys, hub_get.wishes) WITH ORDINALITY a (scope, key, wish, place)
        WHERE a.place <= 256 AND octet_length(a.key) = 32),
    allowed AS MATERIALIZED (SELECT a.* FROM asked a WHERE EXISTS (SELECT FROM mine m WHERE m.role = a.role OR (m.role = 0 AND a.role IS NOT NULL)))
    SELECT a.place::int, CASE WHEN c.id IS NULL THEN _steadytext.hub_lease(a.role, a.key, a.wish) ELSE 1 END,
           c.response, _steadytext.vector_bytes(c.embedding), c.prompt_tokens, c.completion_tokens, c.finish_reason,
           (extract(epoch FROM c.expires_at - statement_timestamp()) * 1000)::bigint
    FROM allowed a LEFT JOIN LATERAL (
        SELECT r.id, r.response, r.embedding, r.prompt_tokens, r.completion_tokens, r.finish_reason, r.expires_at FROM public.steadytext_cache r
        WHERE a.wish < 2 AND r.cache_key = encode(a.key, 'hex') AND r.scope = a.scope AND coalesce(r.scope_role, 0::oid) = a.role
          AND (r.expires_at IS NULL OR r.expires_at > statement_timestamp() AND r.expires_at < 'infinity')
          AND r.fingerprint NOT IN ('legacy', 'untrusted') AND coalesce(octet_length(r.response), 0) <= 1048576) c ON true;
END
$$;
COMMENT ON FUNCTION _steadytext.hub_get(int, text[], bytea[], int[]) IS
    'Gives a node the answers that it asks for by key and scope, where they are there and it may share them, and says who computes the others.';
REVOKE ALL ON FUNCTION _steadytext.hub_get(int, text[], bytea[], int[]) FROM PUBLIC;

CREATE FUNCTION _steadytext.hub_wish(format int, roles oid[]) RETURNS bigint
AS 'MODULE_PATHNAME', 'steadytext_hub_wish' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION _steadytext.hub_wish(int, oid[]) FROM PUBLIC;

-- The keeper deletes them: a node could hold the locks of a deletion as long as it likes.
CREATE FUNCTION _steadytext.hub_clear(format int) RETURNS bigint
LANGUAGE sql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT _steadytext.hub_wish(hub_clear.format, ARRAY(
        SELECT s.role FROM pg_catalog.pg_roles me
        JOIN _steadytext.hub_scopes s ON s.node = me.oid AND s.node_name = me.rolname AND s.shares
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.role
        WHERE me.rolname = session_user AND (s.role = 0 OR r.rolname = s.role_name)));
END;
COMMENT ON FUNCTION _steadytext.hub_clear(int) IS
    'A node has cleared its cache: clears the answers here that it may share, and returns the number of clears that are committed then.';
REVOKE ALL ON FUNCTION _steadytext.hub_clear(int) FROM PUBLIC;

-- The keeper's part of it.
CREATE FUNCTION _steadytext.hub_forget(every boolean, roles oid[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.cache_hold();
    DELETE FROM public.steadytext_cache c WHERE hub_forget.every OR c.scope_role = ANY (hub_forget.roles);
END
$$;
REVOKE ALL ON FUNCTION _steadytext.hub_forget(boolean, oid[]) FROM PUBLIC;

-- On a node, by its worker: the hub has cleared. All rows here may be older, so all go; and the hub is not told of this clear.
CREATE FUNCTION _steadytext.hub_obey(hub text, clears bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before bigint;
    after bigint;
BEGIN
    PERFORM _steadytext.cache_hold();  -- from here on nobody else clears; it has raised the number once
    before := (SELECT c.clears - 1 FROM _steadytext.cache_clears c);
    DELETE FROM public.steadytext_cache;
    after := (SELECT c.clears FROM _steadytext.cache_clears c);
    UPDATE _steadytext.hub_link l
    SET hub = hub_obey.hub, heard = hub_obey.clears, told = CASE WHEN l.told >= before THEN after ELSE l.told END;
    IF NOT FOUND THEN
        INSERT INTO _steadytext.hub_link VALUES (hub_obey.hub, hub_obey.clears, after);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.hub_obey(text, bigint) FROM PUBLIC;

CREATE FUNCTION _steadytext.hub_links()
RETURNS TABLE (standing text, age_ms float8, heard bigint, pending_writes int, asked bigint, found bigint, led bigint, late bigint, waited bigint, forgotten bigint,
               dropped bigint)
AS 'MODULE_PATHNAME', 'steadytext_hub_links' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1;
REVOKE ALL ON FUNCTION _steadytext.hub_links() FROM PUBLIC;

CREATE VIEW public.pg_stat_steadytext_node AS
SELECT l.standing, l.age_ms, l.heard, l.pending_writes, l.asked, l.found, l.led, l.late, l.waited, l.forgotten, l.dropped
FROM _steadytext.hub_links() l;
COMMENT ON VIEW public.pg_stat_steadytext_node IS
    'On an independent node, for this database: whether it shares the cache of a hub, how fresh it is, and what became of its lookups there.';
