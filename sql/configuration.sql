-- steadytext_config, the settings of a database, and the functions that read and change it.

CREATE TABLE public.steadytext_config (
    key text PRIMARY KEY,
    value jsonb NOT NULL,
    description text,
    updated_at timestamptz DEFAULT now(),
    updated_by text DEFAULT current_user
);
COMMENT ON TABLE public.steadytext_config IS
    'Settings of one database. A row overrides the setting of the same meaning in postgresql.conf if its value differs from the one seeded here.';

CREATE VIEW _steadytext.config_seed (key, value, description) AS
SELECT key, value::jsonb, description FROM (VALUES
    ('daemon_host', '"localhost"', 'host of the first daemon'),
    ('daemon_port', '5555', 'port of the first daemon'),
    ('cache_enabled', 'true', 'answer repeated calls from the cache (steadytext.cache_enabled)'),
    ('cache_eviction_enabled', 'true', 'evict cached answers on schedule'),
    ('cache_max_entries', '10000', 'cached answers kept'),
    ('cache_max_size_mb', '100', 'megabytes of cached answers kept'),
    ('default_max_tokens', '512', 'tokens generated when a call does not say (steadytext.default_max_tokens)'),
    ('default_seed', '42', 'seed used when a call passes NULL, or cannot pass one (steadytext.default_seed)'),
    ('daemon_auto_start', 'true', 'a call starts the embedded daemon again that steadytext_daemon_stop() stopped')) seed (key, value, description);
COMMENT ON VIEW _steadytext.config_seed IS 'The first values of steadytext_config.';
GRANT SELECT ON _steadytext.config_seed TO PUBLIC;
INSERT INTO public.steadytext_config (key, value, description) SELECT * FROM _steadytext.config_seed
    ON CONFLICT DO NOTHING;

SELECT pg_catalog.pg_extension_config_dump('public.steadytext_config', '');

CREATE FUNCTION _steadytext.inspect(parameter text, name text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_inspect' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION _steadytext.inspect(text, text) IS
    'Logs and audits a name that looks like an attack, given as one of a few parameters.';
REVOKE ALL ON FUNCTION _steadytext.inspect(text, text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_validate_endpoint(host text, port int) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_validate_endpoint' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION public.steadytext_validate_endpoint(text, int) IS
    'Whether a daemon may be there: an address or name that is not link-local or a cloud''s metadata, and a port from 1024 on. Names are not looked up.';

CREATE FUNCTION public.steadytext_validate_table_name(name text) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_validate_table_name' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION public.steadytext_validate_table_name(text) IS
    'Whether it is table or schema.table in letters, digits and underscores, none of them reserved or the system''s own.';

CREATE FUNCTION public.steadytext_version() RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_version' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION public.steadytext_version() IS 'Version of the loaded library.';

CREATE FUNCTION _steadytext.version() RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_version' LANGUAGE C IMMUTABLE PARALLEL SAFE;
REVOKE ALL ON FUNCTION _steadytext.version() FROM PUBLIC;

CREATE FUNCTION _steadytext.config_get(config_key text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Bound to the table when the function is created, like cache_stats().
BEGIN ATOMIC
    SELECT _steadytext.check('steadytext_config_get', config_key);
    SELECT value #>> '{}' FROM public.steadytext_config WHERE key = config_key;
END;

CREATE FUNCTION public.steadytext_config_get(config_key text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
AS $$ SELECT _steadytext.config_get(config_key) $$;
COMMENT ON FUNCTION public.steadytext_config_get(text) IS 'A setting of this database as text, or NULL.';

CREATE FUNCTION _steadytext.config_set(config_key text, config_value text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := lower(config_key);
    typed jsonb;
    known record;
    counts boolean;
BEGIN
    PERFORM _steadytext.check('steadytext_config_set', config_key, config_value);
    PERFORM _steadytext.inspect('config_key', config_key);
    IF name ~ '(host|name)$' THEN
        PERFORM _steadytext.inspect(CASE name WHEN 'daemon_host' THEN name ELSE 'config_value' END, config_value);
    END IF;
    PERFORM _steadytext.check_config(config_key, config_value);
    IF name IN ('daemon_host', 'daemon_port') AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'must be superuser to set %', config_key USING ERRCODE = 'insufficient_privilege', DETAIL = 'It changes steadytext.daemons, for all databases.';
    END IF;
    -- A number stays a number and a boolean a boolean; all else is text.
    typed := CASE
        WHEN config_value ~ '^-?(0|[1-9][0-9]*)(\.[0-9]+)?$' OR config_value IN ('true', 'false') THEN config_value::jsonb
        ELSE to_jsonb(config_value)
    END;
    INSERT INTO public.steadytext_config (key, value) VALUES (config_key, typed)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now(), updated_by = current_user;
    IF NOT EXISTS (SELECT FROM _steadytext.config_seed s WHERE s.key = config_key) THEN
        -- It may be a setting of postgresql.conf that has no key here.
        SELECT s.name INTO known FROM pg_settings s WHERE s.name IN (lower(config_key), 'steadytext.' || lower(config_key)) AND s.name LIKE 'steadytext.%';
        IF FOUND THEN
            RAISE NOTICE '"%" is no key of steadytext_config: the row changes nothing', config_key
                USING HINT = format('Set %s itself: by ALTER DATABASE, ALTER ROLE, ALTER SYSTEM or in postgresql.conf.', known.name);
        ELSE
            RAISE NOTICE '"%" is no setting of pg_steadytext', config_key
                USING DETAIL = 'The row is kept for whoever reads it.', HINT = 'The view steadytext_config_settings has those there are.';
        END IF;
    END IF;
    -- A row with the value that was installed leaves the word to the setting of postgresql.conf, or to who has SET it.
    SELECT s.name, s.vartype, s.setting, CASE WHEN s.setting = '0' THEN '' ELSE coalesce(s.unit, '') END AS unit, seed.value #>> '{}' AS installed INTO known
    FROM _steadytext.parameters() p
         JOIN _steadytext.config_seed seed ON seed.key = p.name
         JOIN pg_settings s ON s.name = p.setting
    WHERE p.owner = 'steadytext_config' AND p.name = config_key AND s.vartype <> 'string';
    IF FOUND THEN
        IF known.vartype = 'bool' THEN
            counts := config_value::boolean <> known.installed::boolean OR config_value::boolean = known.setting::boolean;
        ELSE
            counts := config_value::numeric <> known.installed::numeric OR config_value::numeric = known.setting::numeric;
        END IF;
        IF NOT counts THEN
            RAISE NOTICE '"%" does not count, for % is %', config_key, known.name, known.setting || known.unit
                USING DETAIL = format('A row of the value that was installed, %s, overrides no setting.', known.installed),
                    HINT = format('Set %s itself: by ALTER DATABASE, ALTER ROLE or in postgresql.conf.', known.name);
        END IF;
    END IF;
    IF name IN ('daemon_host', 'daemon_port') THEN
        PERFORM _steadytext.follow_daemon_address(name, config_value);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.config_set(text, text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_config_set(config_key text, config_value text) RETURNS void
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.config_set(config_key, config_value) $$;
COMMENT ON FUNCTION public.steadytext_config_set(text, text) IS
    'Changes a setting of this database; daemon_host and daemon_port change steadytext.daemons for the whole server. The view steadytext_config_settings tells which setting a key stands for.';
REVOKE ALL ON FUNCTION public.steadytext_config_set(text, text) FROM PUBLIC;

CREATE FUNCTION _steadytext.follow_daemon_address(config_key text, config_value text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_follow_daemon_address' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION _steadytext.follow_daemon_address(text, text) IS
    'Makes this the host or the port of the first daemon of steadytext.daemons (superusers only); nothing else of the table gets there.';
REVOKE ALL ON FUNCTION _steadytext.follow_daemon_address(text, text) FROM PUBLIC;

-- Tells every session, at commit, that its copy of steadytext_config is stale.
CREATE FUNCTION _steadytext.config_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_config_changed' LANGUAGE C;
REVOKE ALL ON FUNCTION _steadytext.config_changed() FROM PUBLIC;
CREATE TRIGGER steadytext_config_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.steadytext_config
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.config_changed();

CREATE VIEW public.steadytext_config_settings AS
SELECT coalesce(c.key, known.name) AS key, c.value #>> '{}' AS value, known.setting,
       CASE WHEN known.setting = 'steadytext.daemons' THEN 'server' WHEN known.name IS NOT NULL THEN 'database' END AS scope,
       s.setting || CASE WHEN s.setting = '0' THEN '' ELSE coalesce(s.unit, '') END AS setting_value
FROM public.steadytext_config c
     FULL JOIN (SELECT name, setting FROM _steadytext.parameters()
                WHERE owner = 'steadytext_config' AND (setting IS NOT NULL OR name IN ('cache_eviction_enabled', 'daemon_auto_start'))) known
         ON known.name = c.key
     LEFT JOIN pg_settings s ON s.name = known.setting;
COMMENT ON VIEW public.steadytext_config_settings IS
    'Keys of steadytext_config with the setting in postgresql.conf of the same meaning. scope: ''database'': the row counts here, before the setting, if its value differs from the one installed; ''server'': steadytext_config_set() changes the setting for all databases; NULL: a key of your own.';

-- Runs for every changed row, whether a function, a statement or COPY changes it: the value must be valid for
-- steadytext_config_set(). The triggers in audit.sql audit the change.
CREATE FUNCTION _steadytext.config_check() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check_config(NEW.key, coalesce(NEW.value #>> '{}', 'null'));
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.config_check() FROM PUBLIC;
CREATE TRIGGER check_row BEFORE INSERT OR UPDATE OF key, value ON public.steadytext_config
    FOR EACH ROW EXECUTE FUNCTION _steadytext.config_check();
