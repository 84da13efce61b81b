-- Privileges and owners. This file comes last, when all objects exist.

-- Every role may ask for answers. A function that changes the server, or shows the doings of other roles, is for the
-- owner until it is granted. The block takes back whatever ALTER DEFAULT PRIVILEGES gives on objects that the
-- installing role creates: with TRIGGER on a table, CREATE in _steadytext or EXECUTE of steadytext_config_set() a role
-- would have an administrator's rights, or more.
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
    public.steadytext_incidents, public.steadytext_hub_nodes, public.pg_stat_steadytext_hub,
    public.pg_stat_steadytext_node TO pg_monitor;
GRANT EXECUTE ON FUNCTION _steadytext.hub_nodes(), _steadytext.hub_status(), _steadytext.hub_links() TO pg_monitor;
GRANT EXECUTE ON FUNCTION _steadytext.selfcheck(), public.steadytext_selfcheck(), _steadytext.version(), _steadytext.queue_held() TO pg_monitor;
GRANT EXECUTE ON FUNCTION
    public.steadytext_daemon_start(), public.steadytext_daemon_stop(), public.st_daemon_start(), public.st_daemon_stop(),
    public.steadytext_daemon_register(text, int), public.steadytext_daemon_unregister(text),
    public.steadytext_daemon_set_weight(text, int), public.steadytext_daemon_drain(text), public.steadytext_daemon_undrain(text),
    public.steadytext_daemon_trip(text), public.steadytext_daemon_reset(text), public.steadytext_stat_reset(),
    _steadytext.follow_daemon_address(text, text), _steadytext.daemons()
    TO steadytext_server_admin;
GRANT SELECT ON public.steadytext_daemons TO steadytext_server_admin;
-- A role sees its own quota, batches and calls. The views, and the row security of steadytext_queue, leave out the rows
-- of other roles.
GRANT SELECT ON public.steadytext_rate_limit_status, public.steadytext_progress, public.steadytext_queue, public.steadytext_queue_dead TO PUBLIC;

-- Background workers read and write the tables as steadytext_owner. This role adds nothing to queue_callbacks, the
-- proof that a role asked for a callback.
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

-- Shared memory may still have answers of an earlier installation in this database that was dropped.
SELECT _steadytext.cache_hold();
