-- The first part of the installation script (the Makefile has the order of the parts): checks of the database, the
-- schema for internals, and the two roles of the extension. Tables in public have the names and columns of the original
-- (pg_steadytext 2025.11.25).
\echo Use "CREATE EXTENSION pg_steadytext CASCADE" to load this file. \quit

-- A name without a schema below is PostgreSQL's own, whatever lies in public.
SET LOCAL search_path TO pg_catalog, pg_temp;

-- The tables have columns of pgvector's type, and pgvector's functions compute with them. The owner of the database
-- owns public, and may have put another type or function there: so both are checked.
DO $$
DECLARE
    vector CONSTANT oid := (
        SELECT t.oid FROM pg_type t JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
        JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'vector'
        JOIN pg_roles r ON r.oid = t.typowner AND r.rolsuper
        WHERE t.typname = 'vector' AND t.typnamespace = 'public'::regnamespace AND t.typtype = 'b');
BEGIN
    IF vector IS NULL
       OR NOT EXISTS (SELECT FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner AND r.rolsuper JOIN pg_language l ON l.oid = p.prolang
                      WHERE p.pronamespace = 'public'::regnamespace AND p.proname = 'vector_dims' AND p.pronargs = 1 AND p.proargtypes[0] = vector
                        AND l.lanname = 'c') THEN
        RAISE EXCEPTION 'the type "vector" in schema public is not that of the extension vector' USING ERRCODE = '55000',
            HINT = 'Install it there: CREATE EXTENSION vector SCHEMA public, or ALTER EXTENSION vector SET SCHEMA public.';
    END IF;
END
$$;

-- A function that runs with more rights than its caller names only PostgreSQL's schema, this schema and the extension's
-- own tables. Only the installing superuser may create here, and the statement fails if the schema exists. So every
-- object in it is the extension's.
CREATE SCHEMA _steadytext;
COMMENT ON SCHEMA _steadytext IS 'What pg_steadytext is made of: not to be called by hand.';
GRANT USAGE ON SCHEMA _steadytext TO PUBLIC;

-- steadytext_owner owns the tables and every function that runs as their owner. It can do nothing else: an existing
-- role of this name with more rights is refused.
DO $$
DECLARE
    owner pg_roles;
BEGIN
    SELECT * INTO owner FROM pg_roles WHERE rolname = 'steadytext_owner';
    IF NOT FOUND THEN
        CREATE ROLE steadytext_owner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        COMMENT ON ROLE steadytext_owner IS 'Owns the tables of pg_steadytext; its background workers are this role.';
    ELSIF owner.rolcanlogin OR owner.rolsuper OR owner.rolcreatedb OR owner.rolcreaterole OR owner.rolreplication OR owner.rolbypassrls
          OR EXISTS (SELECT FROM pg_auth_members m WHERE owner.oid IN (m.roleid, m.member)) THEN
        RAISE EXCEPTION 'role "steadytext_owner" may do more than own the tables of pg_steadytext' USING ERRCODE = '42710',
            DETAIL = 'It may log in, has an attribute, is a member of a role, or has members.',
            HINT = 'Rename that role, or take these rights away: pg_steadytext makes the role it needs by itself.';
    END IF;
    IF NOT has_schema_privilege('steadytext_owner', 'public', 'USAGE') THEN
        GRANT USAGE ON SCHEMA public TO steadytext_owner;
    END IF;
END
$$;

-- Superusers and members of this role may call functions that act on the whole server. Administrators of a database may
-- not.
DO $$
DECLARE
    admin pg_roles;
BEGIN
    SELECT * INTO admin FROM pg_roles WHERE rolname = 'steadytext_server_admin';
    IF NOT FOUND THEN
        CREATE ROLE steadytext_server_admin NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        COMMENT ON ROLE steadytext_server_admin IS 'Its members may do in every database what acts on the whole server: stop the daemon, trip breakers, reset statistics.';
    ELSIF admin.rolcanlogin OR admin.rolsuper OR admin.rolcreatedb OR admin.rolcreaterole OR admin.rolreplication OR admin.rolbypassrls THEN
        RAISE EXCEPTION 'role "steadytext_server_admin" may do more than administer pg_steadytext' USING ERRCODE = '42710',
            DETAIL = 'It may log in or has an attribute.', HINT = 'Rename that role: pg_steadytext makes the role it needs by itself.';
    END IF;
END
$$;
