-- Who may do what beside asking, and who owns what; last, when all objects are there.

-- Asking is for everyone; what changes the server, or shows what others did, is for the owner until granted. That holds whatever
-- ALTER DEFAULT PRIVILEGES gives on what the installing role creates: with TRIGGER on a table, CREATE in _steadytext or EXECUTE of
-- steadytext_config_set() a role would be more than an administrator.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        WITH members AS (
            SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e'),
        objects (kind, rights, name, owner) AS (
            SELECT CASE c.relkind WHEN 'S' THEN 'S' ELSE 'r' END,
                   CASE c.relkind WHEN 'S' THEN 'ALL ON SEQUENCE' ELSE 'ALL ON TABLE' END, c.oid::regclass::text, c.relowner
            FROM members JOIN pg_class c ON c.oid = objid WHERE classid = 'pg_class'::regclass AND c.relkind IN ('r', 'v', 'S')
            UNION ALL
            SELECT 'f', 'ALL ON ROUTINE', p.oid::regprocedure::text, p.proowner
            FROM members JOIN pg_proc p ON p.oid = objid WHERE classid = 'pg_proc'::regclass
            UNION ALL
            SELECT 'n', 'CREATE ON SCHEMA', nspname::text, nspowner FROM pg_namespace WHERE nspname = '_steadytext')
        SELECT DISTINCT format('REVOKE %s %s FROM %s', o.rights, o.name, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END)
        FROM pg_default_acl d, aclexplode(d.defaclacl) g, objects o
        WHERE d.defaclrole = current_user::regrole AND d.defaclobjtype::text = o.kind AND g.grantee <> o.owner
          AND d.defaclnamespace IN (0, 'public'::regnamespace) AND NOT (o.kind = 'f' AND g.grantee = 0)
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;

GRANT EXECUTE ON FUNCTION public.steadytext_frecency_status(), _steadytext.cache_stats(), public.steadytext_cache_stats(), public.st_cache_stats()
    TO pg_monitor;
GRANT EXECUTE ON FUNCTION public.steadytext_metrics(), public.steadytext_prometheus(), public.steadytext_response_times(),
    _steadytext.stat_statements(), _steadytext.daemons(), public.steadytext_health_check() TO pg_monitor;
GRANT SELECT ON public.steadytext_daemons, public.pg_stat_steadytext, public.steadytext_usage,
    public.steadytext_incidents TO pg_monitor;
GRANT EXECUTE ON FUNCTION _steadytext.selfcheck(), public.steadytext_selfcheck(), _steadytext.version() TO pg_monitor;
GRANT EXECUTE ON FUNCTION
    public.steadytext_daemon_start(), public.steadytext_daemon_stop(), public.st_daemon_start(), public.st_daemon_stop(),
    public.steadytext_daemon_register(text, int), public.steadytext_daemon_unregister(text),
    public.steadytext_daemon_set_weight(text, int), public.steadytext_daemon_drain(text), public.steadytext_daemon_undrain(text),
    public.steadytext_daemon_trip(text), public.steadytext_daemon_reset(text), public.steadytext_stat_reset(),
    _steadytext.follow_daemon_address(text, text), _steadytext.daemons()
    TO steadytext_server_admin;
GRANT SELECT ON public.steadytext_daemons TO steadytext_server_admin;
-- A role's own quota and batches are its own to see; the functions behind the views leave out what is not.
GRANT SELECT ON public.steadytext_rate_limit_status, public.steadytext_progress, public.steadytext_queue, public.steadytext_queue_dead TO PUBLIC;

-- Background workers write the tables, and read what they must, as steadytext_owner. That a role asked for a callback is nothing it can write.
GRANT SELECT, DELETE ON _steadytext.queue_callbacks TO steadytext_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA _steadytext TO steadytext_owner;
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        WITH members AS (
            SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e')
        SELECT format('ALTER %s %s OWNER TO steadytext_owner', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass)
        FROM members JOIN pg_class c ON c.oid = objid WHERE classid = 'pg_class'::regclass AND c.relkind IN ('r', 'v')
          AND c.oid <> '_steadytext.queue_callbacks'::regclass
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO steadytext_owner', p.oid::regprocedure)
        FROM members JOIN pg_proc p ON p.oid = objid WHERE classid = 'pg_proc'::regclass AND p.prosecdef
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;

-- Shared memory may have answers that an extension of this database had which was dropped since.
SELECT _steadytext.cache_hold();
