-- Roles that administer the extension in a database, beside its owner.

-- The grants of an administrator. Functions: EXECUTE on every function that PUBLIC may not call, except trigger
-- functions, functions that make administrators or let nodes write, and functions that act on the whole server (daemons() only shows, so
-- it is granted). Tables: an administrator reads and writes the tables of these functions, but does not change the
-- audit log, does not add or change answers, and only reads tables in _steadytext. Sequences: an administrator may use
-- a sequence where rows may be added, but never sets it. Every sequence is a bigint, so nobody reaches its end.
CREATE FUNCTION _steadytext.admin_grants() RETURNS SETOF text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH members AS (
        SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e')
    SELECT format('EXECUTE ON FUNCTION %s', p.oid::regprocedure)
    FROM members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    WHERE p.prorettype <> 'trigger'::regtype AND p.proname !~ '^(steadytext_)?(admin_|hub_(put|take|role|allow|disallow|number|watch|lease|get|wish|clear|forget|obey)$)' AND NOT has_function_privilege('public', p.oid, 'EXECUTE')
      AND (p.oid = '_steadytext.daemons()'::regprocedure
           OR NOT EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 'steadytext_server_admin'::regrole))
    UNION ALL
    SELECT format(CASE WHEN c.relkind = 'S' AND c.relname = 'steadytext_cache_id_seq' THEN 'SELECT ON SEQUENCE %s'
                       WHEN c.relkind = 'S' THEN 'USAGE, SELECT ON SEQUENCE %s'
                       WHEN c.relkind = 'v' OR c.relnamespace <> 'public'::regnamespace THEN 'SELECT ON %s'
                       WHEN c.relname = 'steadytext_audit_log'
                           THEN 'SELECT, INSERT (event_type, user_id, request_id, details, ip_address, success, error_message) ON %s'
                       WHEN c.relname = 'steadytext_cache' THEN 'SELECT, DELETE ON %s' ELSE 'SELECT, INSERT, UPDATE, DELETE ON %s' END,
                  c.oid::regclass)
    FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
    WHERE c.relkind IN ('r', 'p', 'v') AND c.relname <> 'queue_callbacks'
       OR c.relkind = 'S' AND EXISTS (SELECT FROM members owner JOIN pg_depend d ON d.refobjid = owner.objid WHERE d.objid = c.oid)
$$;
REVOKE ALL ON FUNCTION _steadytext.admin_grants() FROM PUBLIC;

-- The role must exist. GRANT accepts more names (public, however it is quoted): they are refused.
CREATE FUNCTION _steadytext.admin_check(role name) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.inspect('role', role);
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704';
    ELSIF role IN ('steadytext_owner', 'steadytext_server_admin') THEN
        RAISE EXCEPTION 'role "%" is not for administrators', role USING ERRCODE = '42501',
            HINT = 'Grant to a role of your own.';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.admin_check(name) FROM PUBLIC;

CREATE FUNCTION public.steadytext_admin_grant(role name) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    each text;
BEGIN
    PERFORM _steadytext.admin_check(role);
    FOR each IN SELECT * FROM _steadytext.admin_grants() LOOP
        EXECUTE format('GRANT %s TO %I', each, role);
    END LOOP;
    INSERT INTO public.steadytext_audit_log (event_type, details) VALUES ('admin_grant', jsonb_build_object('role', role));
END
$$;
COMMENT ON FUNCTION public.steadytext_admin_grant(name) IS
    'Lets a role and its members administer pg_steadytext in this database, beside the owner. Daemons remain the superuser''s.';
REVOKE ALL ON FUNCTION public.steadytext_admin_grant(name) FROM PUBLIC;

CREATE FUNCTION public.steadytext_admin_revoke(role name) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    each text;
BEGIN
    PERFORM _steadytext.admin_check(role);
    FOR each IN SELECT * FROM _steadytext.admin_grants() LOOP
        EXECUTE format('REVOKE %s FROM %I', each, role);
    END LOOP;
    INSERT INTO public.steadytext_audit_log (event_type, details) VALUES ('admin_revoke', jsonb_build_object('role', role));
END
$$;
COMMENT ON FUNCTION public.steadytext_admin_revoke(name) IS 'Takes back what steadytext_admin_grant() granted.';
REVOKE ALL ON FUNCTION public.steadytext_admin_revoke(name) FROM PUBLIC;
