-- The hub: what the nodes of a cluster may have it write, and how they are doing. A node is another server, a standby of
-- this one, that logs in as a role and calls _steadytext.hub_put().

-- Whose answers, hits and usage a node may bring. Both role and OID must match, as a name may be given again.
CREATE TABLE _steadytext.hub_scopes (
    node oid NOT NULL,
    node_name name NOT NULL,
    role oid NOT NULL,
    role_name name,
    shares boolean NOT NULL DEFAULT false,  -- it is an independent node, which also reads and clears these answers: hub_link.sql
    PRIMARY KEY (node, role)
);
COMMENT ON TABLE _steadytext.hub_scopes IS 'The roles whose records a node may bring: steadytext_hub_allow(). Role 0 stands for all.';

CREATE FUNCTION _steadytext.hub_take(
    format int, node bigint, batch bigint, clears bigint, records bytea[], node_role oid, roles oid[], OUT taken int, OUT refused int
) AS 'MODULE_PATHNAME', 'steadytext_hub_take' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION _steadytext.hub_take(int, bigint, bigint, bigint, bytea[], oid, oid[]) FROM PUBLIC;

-- The only function that a node calls. It trusts session_user alone: the role that logged in, whatever it has become.
CREATE FUNCTION _steadytext.hub_put(
    format int, node bigint, batch bigint, clears bigint, records bytea[], OUT taken int, OUT refused int
)
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER  -- which plans once a session, not once a call
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT t.taken, t.refused INTO taken, refused
    FROM pg_catalog.pg_roles me,
         _steadytext.hub_take(hub_put.format, hub_put.node, hub_put.batch, hub_put.clears, hub_put.records, me.oid, ARRAY(
             SELECT s.role FROM _steadytext.hub_scopes s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.role
             WHERE s.node = me.oid AND s.node_name = me.rolname AND (s.role = 0 OR r.rolname = s.role_name))) t
    WHERE me.rolname = session_user;
END
$$;
COMMENT ON FUNCTION _steadytext.hub_put(int, bigint, bigint, bigint, bytea[]) IS
    'Takes a batch of records from a node: how many of them are dealt with, in their order, and how many of these were refused.';
REVOKE ALL ON FUNCTION _steadytext.hub_put(int, bigint, bigint, bigint, bytea[]) FROM PUBLIC;

CREATE FUNCTION _steadytext.hub_role(role name) RETURNS oid
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found oid := (SELECT oid FROM pg_roles WHERE rolname = role);
BEGIN
    PERFORM _steadytext.inspect('role', role);
    IF found IS NULL THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704';
    END IF;
    RETURN found;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.hub_role(name) FROM PUBLIC;

CREATE FUNCTION public.steadytext_hub_allow(node name, role name DEFAULT NULL, shares boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_hub_allow', node::text, role::text, shares);
    INSERT INTO _steadytext.hub_scopes AS s VALUES (_steadytext.hub_role(node), node, coalesce(_steadytext.hub_role(role), 0), role, coalesce(shares, false))
    ON CONFLICT ON CONSTRAINT hub_scopes_pkey
    DO UPDATE SET (node_name, role_name, shares) = (excluded.node_name, excluded.role_name, excluded.shares);
    -- By hub_watch() a hub that is named in its own setting, too, finds that it is the hub.
    EXECUTE format('GRANT EXECUTE ON FUNCTION _steadytext.hub_put(int, bigint, bigint, bigint, bytea[]), _steadytext.hub_watch(int) TO %I', node);
    IF shares THEN
        EXECUTE format('GRANT EXECUTE ON FUNCTION _steadytext.hub_get(int, text[], bytea[], int[]), _steadytext.hub_clear(int) TO %I', node);
    END IF;
    INSERT INTO public.steadytext_audit_log (event_type, details)
    VALUES ('hub_allow', jsonb_build_object('node', node, 'role', role, 'shares', coalesce(shares, false)));
END
$$;
COMMENT ON FUNCTION public.steadytext_hub_allow(name, name, boolean) IS
    'Lets a node, by the role as which it logs in here, bring the answers, hits, usage and audit rows of a role, or of all roles; and with shares, as an independent node, read and clear these answers.';
REVOKE ALL ON FUNCTION public.steadytext_hub_allow(name, name, boolean) FROM PUBLIC;

CREATE FUNCTION public.steadytext_hub_disallow(node name, role name DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_hub_disallow', node::text, role::text);
    DELETE FROM _steadytext.hub_scopes s WHERE s.node_name = steadytext_hub_disallow.node
        AND s.role_name IS NOT DISTINCT FROM steadytext_hub_disallow.role;
    IF NOT EXISTS (SELECT FROM _steadytext.hub_scopes s WHERE s.node_name = steadytext_hub_disallow.node)
       AND EXISTS (SELECT FROM pg_roles WHERE rolname = steadytext_hub_disallow.node) THEN
        EXECUTE format('REVOKE EXECUTE ON FUNCTION _steadytext.hub_put(int, bigint, bigint, bigint, bytea[]), _steadytext.hub_watch(int), '
                       '_steadytext.hub_get(int, text[], bytea[], int[]), _steadytext.hub_clear(int) FROM %I', node);
    END IF;
    INSERT INTO public.steadytext_audit_log (event_type, details) VALUES ('hub_disallow', jsonb_build_object('node', node, 'role', role));
END
$$;
COMMENT ON FUNCTION public.steadytext_hub_disallow(name, name) IS 'Takes back what steadytext_hub_allow() allowed with the same arguments.';
REVOKE ALL ON FUNCTION public.steadytext_hub_disallow(name, name) FROM PUBLIC;

CREATE FUNCTION _steadytext.hub_nodes()
RETURNS TABLE (node text, node_role oid, batches bigint, last_seen timestamptz, taken bigint, refused bigint)
AS 'MODULE_PATHNAME', 'steadytext_hub_nodes' LANGUAGE C VOLATILE PARALLEL SAFE;
REVOKE ALL ON FUNCTION _steadytext.hub_nodes() FROM PUBLIC;

CREATE VIEW public.steadytext_hub_nodes AS
SELECT n.node, coalesce(r.rolname::text, n.node_role::text) AS role_name, n.batches, n.last_seen, n.taken, n.refused
FROM _steadytext.hub_nodes() n LEFT JOIN pg_catalog.pg_roles r ON r.oid = n.node_role;
COMMENT ON VIEW public.steadytext_hub_nodes IS
    'On a hub: the nodes that have brought records for this database since the server started, and how many were taken and refused.';

CREATE FUNCTION _steadytext.hub_status()
RETURNS TABLE (configured boolean, connected boolean, last_answer timestamptz, away_seconds float8, reason text, pending_writes int,
               sent bigint, refused bigint, retries bigint, dropped bigint)
AS 'MODULE_PATHNAME', 'steadytext_hub_status' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1;
REVOKE ALL ON FUNCTION _steadytext.hub_status() FROM PUBLIC;

CREATE VIEW public.pg_stat_steadytext_hub AS
SELECT s.configured, s.connected, s.last_answer, s.away_seconds, s.reason, s.pending_writes, s.sent, s.refused, s.retries, s.dropped
FROM _steadytext.hub_status() s;
COMMENT ON VIEW public.pg_stat_steadytext_hub IS
    'On a standby: its way to the hub for this database, and the whole server''s records sent, refused, sent again and dropped.';
