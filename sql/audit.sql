-- The audit log, and its triggers. They record each change of settings and limits, whether a function, a statement or
-- COPY makes it.

CREATE TABLE public.steadytext_audit_log (
    id bigserial PRIMARY KEY,
    event_id uuid DEFAULT gen_random_uuid(),
    event_type text NOT NULL,
    user_id text DEFAULT current_user,
    request_id uuid,
    details jsonb,
    created_at timestamptz DEFAULT now(),
    ip_address inet,
    success boolean DEFAULT true,
    error_message text
);
CREATE INDEX idx_steadytext_audit_timestamp ON public.steadytext_audit_log (created_at DESC);
CREATE INDEX idx_steadytext_audit_user ON public.steadytext_audit_log (user_id, created_at DESC);
COMMENT ON TABLE public.steadytext_audit_log IS
    'Changes of settings and limits, evictions, and suspicious input. Whoever may SELECT from it sees its own rows, an administrator all.';
ALTER TABLE public.steadytext_audit_log ENABLE ROW LEVEL SECURITY;
-- A role that may change settings is an administrator and sees all rows. Only the owner changes rows, or writes rows in
-- another role's name.
CREATE POLICY own_rows ON public.steadytext_audit_log FOR SELECT
    USING (user_id = current_user::text OR (SELECT has_function_privilege('_steadytext.config_set(pg_catalog.text, pg_catalog.text)', 'EXECUTE')));
CREATE POLICY own_name ON public.steadytext_audit_log FOR INSERT WITH CHECK (user_id = current_user::text);

CREATE FUNCTION _steadytext.audit_change() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_audit_change' LANGUAGE C;
COMMENT ON FUNCTION _steadytext.audit_change() IS
    'Writes who changed which rows to steadytext_audit_log, as the owner of that table; of more than a hundred rows how many.';
REVOKE ALL ON FUNCTION _steadytext.audit_change() FROM PUBLIC;

-- Who wrote a row, and when, is what happened and not what the row's writer says. A superuser restores rows as they were.
CREATE FUNCTION _steadytext.name_writer() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        NEW.updated_at := now();
        NEW.updated_by := current_user;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION _steadytext.name_writer() IS 'Puts the time and the current role into updated_at and updated_by, unless a superuser writes.';
REVOKE ALL ON FUNCTION _steadytext.name_writer() FROM PUBLIC;
DO $$
DECLARE
    name text;
    event text[];
BEGIN
    FOREACH name IN ARRAY ARRAY['steadytext_config', 'steadytext_rate_limits', 'steadytext_rate_limit_rules', 'steadytext_budgets', 'steadytext_prices'] LOOP
        FOREACH event SLICE 1 IN ARRAY ARRAY[
            ['audit_inserted', 'INSERT', 'REFERENCING NEW TABLE AS new_rows'],
            ['audit_updated', 'UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'],
            ['audit_deleted', 'DELETE', 'REFERENCING OLD TABLE AS old_rows'],
            ['audit_truncated', 'TRUNCATE', '']] LOOP
            EXECUTE format('CREATE TRIGGER %I AFTER %s ON public.%I %s FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.audit_change()',
                           event[1], event[2], name, event[3]);
        END LOOP;
        IF name <> 'steadytext_rate_limits' THEN  -- has no such columns
            EXECUTE format('CREATE TRIGGER name_writer BEFORE INSERT OR UPDATE ON public.%I FOR EACH ROW EXECUTE FUNCTION _steadytext.name_writer()', name);
        END IF;
    END LOOP;
END
$$;
