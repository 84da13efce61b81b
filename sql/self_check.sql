-- steadytext_selfcheck(): reports risks that have come up since the installation.

CREATE FUNCTION _steadytext.selfcheck() RETURNS TABLE (check_name text, status text, details text, hint text)
AS 'MODULE_PATHNAME', 'steadytext_selfcheck' LANGUAGE C VOLATILE ROWS 4;
REVOKE ALL ON FUNCTION _steadytext.selfcheck() FROM PUBLIC;

CREATE FUNCTION public.steadytext_selfcheck()
RETURNS TABLE (check_name text, status text, details text, hint text)
LANGUAGE sql VOLATILE ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
    WITH extension AS (SELECT * FROM pg_extension WHERE extname = 'pg_steadytext'),
    members AS (
        SELECT d.classid, d.objid FROM pg_depend d JOIN extension e ON e.oid = d.refobjid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
    objects (classid, oid, name, acl, owner) AS (
        SELECT classid, p.oid, p.oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)), proowner
        FROM members JOIN pg_proc p ON p.oid = objid AND classid = 'pg_proc'::regclass
        UNION ALL
        SELECT classid, c.oid, c.oid::regclass::text, relacl, relowner
        FROM members JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass),
    public_grants AS (
        SELECT o.classid, o.oid, format('%s on %s', a.privilege_type, o.name) AS said, a.privilege_type
        FROM objects o, aclexplode(o.acl) a
        WHERE a.grantee = 0 AND a.privilege_type NOT IN (
            SELECT i.privilege_type FROM pg_init_privs p, aclexplode(p.initprivs) i
            WHERE p.classoid = o.classid AND p.objoid = o.oid AND p.objsubid = 0 AND i.grantee = 0)
          -- PUBLIC may execute a function from the start if its privileges were never touched.
          AND (o.classid <> 'pg_proc'::regclass OR EXISTS (SELECT FROM pg_init_privs p WHERE p.classoid = o.classid AND p.objoid = o.oid))),
    triggers AS (
        SELECT format('%s on %s', t.tgname, o.name) AS said FROM pg_trigger t JOIN objects o ON o.oid = t.tgrelid
        WHERE NOT t.tgisinternal AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_proc'::regclass AND objid = t.tgfoid)
        UNION ALL
        SELECT format('rule %s on %s', r.rulename, o.name) FROM pg_rewrite r JOIN objects o ON o.oid = r.ev_class WHERE r.rulename <> '_RETURN'),
    -- Triggers that do not fire: the extension's own check, audit and count rows.
    own_triggers AS (
        SELECT format('%s on %s', t.tgname, o.name) AS said FROM pg_trigger t JOIN objects o ON o.oid = t.tgrelid
        WHERE NOT t.tgisinternal
          AND CASE t.tgname WHEN 'queue_row_check' THEN t.tgenabled <> 'A' WHEN 'hold_replicated' THEN t.tgenabled <> 'R' ELSE t.tgenabled NOT IN ('O', 'A') END),
    trigger_grants AS (
        SELECT format('TRIGGER on %s to %s', o.name, a.grantee::regrole) AS said FROM objects o, aclexplode(o.acl) a
        WHERE a.privilege_type = 'TRIGGER' AND a.grantee NOT IN (o.owner, 0)),
    unpinned AS (
        SELECT o.name AS said FROM objects o JOIN pg_proc p ON p.oid = o.oid
        WHERE o.classid = 'pg_proc'::regclass AND p.prosecdef AND p.proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']),
    row_security AS (
        SELECT o.name AS said FROM objects o JOIN pg_class c ON c.oid = o.oid
        WHERE o.classid = 'pg_class'::regclass AND c.relname IN ('steadytext_audit_log', 'steadytext_queue') AND NOT c.relrowsecurity
        UNION ALL
        SELECT format('policy %s on %s', p.polname, o.name) FROM pg_policy p JOIN objects o ON o.oid = p.polrelid
        WHERE (o.name, p.polname) NOT IN (('public.steadytext_audit_log', 'own_rows'), ('public.steadytext_audit_log', 'own_name'),
                                          ('public.steadytext_queue', 'own_requests'))),
    -- Two roles that may do nothing else; the first has no members either.
    owner_role AS (
        SELECT format('role %s has attributes', rolname) AS said FROM pg_roles
        WHERE rolname IN ('steadytext_owner', 'steadytext_server_admin')
          AND (rolcanlogin OR rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)
        UNION ALL
        SELECT format('%s is a member of %s', m.member::regrole, m.roleid::regrole) FROM pg_auth_members m
        WHERE m.roleid = to_regrole('steadytext_owner') OR m.member IN (to_regrole('steadytext_owner'), to_regrole('steadytext_server_admin'))),
    owners AS (
        SELECT format('%s owns %s', o.owner::regrole, o.name) AS said
        FROM objects o LEFT JOIN pg_proc p ON p.oid = o.oid AND o.classid = 'pg_proc'::regclass JOIN pg_roles r ON r.oid = o.owner
        WHERE CASE WHEN (o.classid = 'pg_class'::regclass AND o.name <> '_steadytext.queue_callbacks') OR p.prosecdef
                   THEN r.rolname <> 'steadytext_owner' ELSE NOT r.rolsuper END
          AND EXISTS (SELECT FROM members m WHERE m.objid = '_steadytext'::regnamespace)
        UNION ALL
        SELECT format('%s owns schema %s', r.rolname, n.nspname) FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
        WHERE n.nspname = '_steadytext' AND NOT r.rolsuper),
    schema_internals AS (
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END || ' may create in schema _steadytext' AS said
        FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = '_steadytext' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
        UNION ALL
        SELECT format('%s is not the extension''s', p.oid::regprocedure) FROM pg_proc p
        WHERE p.pronamespace = '_steadytext'::regnamespace AND NOT EXISTS (SELECT FROM objects o WHERE o.oid = p.oid)),
    default_privileges AS (
        SELECT format('%s on new objects of %s to %s', a.privilege_type, d.defaclrole::regrole,
                      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END) AS said
        FROM pg_default_acl d, aclexplode(d.defaclacl) a
        WHERE (d.defaclnamespace = '_steadytext'::regnamespace OR d.defaclrole = to_regrole('steadytext_owner')) AND a.grantee <> d.defaclrole),
    -- Functions and tables that a session may take for the extension's. The extension itself calls none of them.
    namesakes AS (
        SELECT format('function %s', p.oid::regprocedure) AS said FROM pg_proc p
        WHERE p.pronamespace <> '_steadytext'::regnamespace AND NOT EXISTS (SELECT FROM objects o WHERE o.oid = p.oid)
          AND p.proname IN (SELECT f.proname FROM pg_proc f JOIN objects o ON o.oid = f.oid AND f.pronamespace = 'public'::regnamespace)
        UNION ALL
        SELECT format('relation %s', c.oid::regclass) FROM pg_class c
        WHERE NOT EXISTS (SELECT FROM objects o WHERE o.oid = c.oid) AND NOT pg_is_other_temp_schema(c.relnamespace)
          AND c.relname IN (SELECT t.relname FROM pg_class t JOIN objects o ON o.oid = t.oid AND t.relnamespace = 'public'::regnamespace)),
    -- Operators on built-in types, casts between them, and types with the name of a built-in type. A session may
    -- take them for PostgreSQL's own; for operators and types its search_path has the schema before pg_catalog.
    trojans AS (
        SELECT format('operator %s', p.oid::regoperator) AS said FROM pg_operator p
        WHERE p.oid >= 16384 AND 'pg_catalog'::regnamespace = ALL (SELECT t.typnamespace FROM pg_type t WHERE t.oid IN (p.oprleft, p.oprright))
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_operator'::regclass AND d.objid = p.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('cast from %s to %s', c.castsource::regtype, c.casttarget::regtype) FROM pg_cast c
        WHERE c.oid >= 16384 AND 'pg_catalog'::regnamespace = ALL (SELECT t.typnamespace FROM pg_type t WHERE t.oid IN (c.castsource, c.casttarget))
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('type %I.%I', n.nspname, t.typname) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE t.oid >= 16384 AND t.typelem = 0 AND EXISTS (SELECT FROM pg_type b WHERE b.typname = t.typname AND b.typnamespace = 'pg_catalog'::regnamespace)
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')),
    -- The columns are bound to the type itself, but a dump names the type with its schema.
    vectors AS (
        SELECT format('the type of embeddings is %I.%I', n.nspname, t.typname) AS said
        FROM pg_attribute a JOIN objects o ON o.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE o.name = 'public.steadytext_cache' AND a.attname = 'embedding' AND (n.nspname, t.typname) <> ('public', 'vector')
        UNION ALL
        SELECT 'type public.vector is not pgvector''s' FROM pg_type t
        WHERE t.typname = 'vector' AND t.typnamespace = to_regnamespace('public') AND NOT EXISTS (
            SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'vector'
            WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')),
    administrators AS (
        SELECT a.grantee::regrole::text AS said FROM objects o, aclexplode(o.acl) a
        WHERE o.oid = '_steadytext.config_set(text, text)'::regprocedure AND a.grantee NOT IN (o.owner, 0, 'steadytext_owner'::regrole)),
    findings (place, check_name, bad, said, good, hint) AS (
        SELECT 1, 'public_grants', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM public_grants),
               'PUBLIC has no more than at installation', 'REVOKE what PUBLIC need not have.'
        UNION ALL
        SELECT 2, 'trigger_grants', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM trigger_grants),
               'no role but the owner may add triggers', 'REVOKE TRIGGER: what a trigger says runs with the rights of steadytext_owner.'
        UNION ALL
        SELECT 3, 'triggers', 'warning', (SELECT string_agg(said, ', ' ORDER BY said) FROM triggers),
               'the tables have only their own triggers and no rules', 'Make sure of them: background workers run them as steadytext_owner.'
        UNION ALL
        SELECT 4, 'search_paths', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM unpinned),
               'all SECURITY DEFINER functions pin search_path', 'ALTER FUNCTION ... SET search_path = pg_catalog, pg_temp.'
        UNION ALL
        SELECT 5, 'row_security', 'error', (SELECT string_agg(said, ', ') FROM row_security),
               'rows of the audit log and the queue are visible as at installation',
               'ALTER TABLE ... ENABLE ROW LEVEL SECURITY; drop policies that were not there at installation.'
        UNION ALL
        SELECT 6, 'schema_public', 'warning', (SELECT 'PUBLIC may create objects in schema public' WHERE has_schema_privilege('public', 'public', 'CREATE')),
               'PUBLIC may not create objects in schema public', 'REVOKE CREATE ON SCHEMA public FROM PUBLIC.'
        UNION ALL
        SELECT 7, 'sql_version', 'error', (SELECT format('the SQL objects are of version %s, the library is %s', e.extversion, _steadytext.version())
                                           FROM extension e WHERE e.extversion <> _steadytext.version()),
               'SQL objects and library are of one version', 'ALTER EXTENSION pg_steadytext UPDATE, or restart the server with the library of that version.'
        UNION ALL
        SELECT 8, 'installed_version', 'warning', (SELECT format('version %s is installed, %s is running', a.default_version, _steadytext.version())
                                                   FROM pg_available_extensions a WHERE a.name = 'pg_steadytext' AND a.default_version <> _steadytext.version()),
               'the running library is the one installed', 'Restart the server.'
        UNION ALL
        SELECT 9, 'owner_role', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM owner_role),
               'steadytext_owner and steadytext_server_admin may do nothing else', 'Take these rights and memberships away.'
        UNION ALL
        SELECT 10, 'owners', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM owners),
               'steadytext_owner owns the tables and what runs with its rights, superusers the rest', 'ALTER ... OWNER TO.'
        UNION ALL
        SELECT 11, 'schema_internals', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM schema_internals),
               'nobody but a superuser creates in schema _steadytext', 'REVOKE CREATE ON SCHEMA _steadytext; drop what is not the extension''s.'
        UNION ALL
        SELECT 12, 'own_triggers', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM own_triggers),
               'the triggers that check, audit and count rows are enabled', 'ALTER TABLE ... ENABLE TRIGGER; of queue_row_check ENABLE ALWAYS TRIGGER, of hold_replicated ENABLE REPLICA TRIGGER.'
        UNION ALL
        SELECT 13, 'default_privileges', 'warning', (SELECT string_agg(said, ', ' ORDER BY said) FROM default_privileges),
               'new objects of the extension will be nobody else''s', 'ALTER DEFAULT PRIVILEGES ... REVOKE.'
        UNION ALL
        SELECT 14, 'namesakes', 'warning', (SELECT string_agg(said, ', ' ORDER BY said) FROM namesakes),
               'nothing else is called like a function or table of the extension',
               'A session may find them first, by its search_path or by the types of arguments: drop them, or make sure whose they are.'
        UNION ALL
        SELECT 15, 'trojans', 'warning', (SELECT string_agg(said, ', ' ORDER BY said) FROM trojans),
               'no operator, cast or type stands for one of PostgreSQL''s',
               'A session whose search_path has their schema before pg_catalog calls them: make sure whose they are.'
        UNION ALL
        SELECT 16, 'pgvector', 'warning', (SELECT string_agg(said, ', ' ORDER BY said) FROM vectors),
               'the type of embeddings is pgvector''s, in schema public',
               'ALTER EXTENSION vector SET SCHEMA public, or a dump of this database cannot be restored.'
        UNION ALL
        SELECT 17, 'held_calls', 'warning', (SELECT format('%s asynchronous calls or callbacks came with a restore or a copy, and are held', n)
                                             FROM _steadytext.queue_held() n WHERE n > 0),
               'no asynchronous call is held', 'If they are to be carried out in this database, run SELECT steadytext_queue_release().')
    SELECT f.check_name, CASE WHEN f.said IS NULL THEN 'ok' ELSE f.bad END, coalesce(f.said, f.good), CASE WHEN f.said IS NOT NULL THEN f.hint END
    FROM (SELECT * FROM findings ORDER BY place) f
    UNION ALL
    SELECT 'administrators', 'ok', coalesce((SELECT string_agg(said, ', ' ORDER BY said) FROM administrators), 'nobody but the owner'), NULL
    UNION ALL
    SELECT 'server_administrators', 'ok', coalesce((SELECT string_agg(m.member::regrole::text, ', ' ORDER BY m.member::regrole::text)
        FROM pg_auth_members m WHERE m.roleid = to_regrole('steadytext_server_admin')), 'nobody but superusers'), NULL
    UNION ALL
    SELECT * FROM _steadytext.selfcheck()
$$;
COMMENT ON FUNCTION public.steadytext_selfcheck() IS
    'Risky grants, triggers and settings, versions that differ between library, SQL and shared memory, daemons that mean different models, calls that are held: ok, warning or error.';
REVOKE ALL ON FUNCTION public.steadytext_selfcheck() FROM PUBLIC;
