-- Tokens that roles have used, and may use.

-- Tokens and calls of each role. The keeper writes them every few seconds. Rows have names, so they can be read after
-- a role was dropped.
CREATE TABLE public.steadytext_usage (
    day date NOT NULL,
    role_name name NOT NULL,
    database_name name NOT NULL,
    model text NOT NULL,
    prompt_tokens bigint NOT NULL DEFAULT 0,
    completion_tokens bigint NOT NULL DEFAULT 0,
    saved_tokens bigint NOT NULL DEFAULT 0,
    calls bigint NOT NULL DEFAULT 0,
    hits bigint NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0,
    limited bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (day, role_name, database_name, model)
);
COMMENT ON TABLE public.steadytext_usage IS
    'Calls and tokens of each role by model and day (UTC), a few seconds old. Tokens are those daemons made; saved_tokens those the cache spared.';

SELECT pg_catalog.pg_extension_config_dump('public.steadytext_usage', '');

CREATE TABLE public.steadytext_budgets (
    role_name name NOT NULL,
    period interval NOT NULL CHECK (period BETWEEN '1 day' AND '366 days'),
    tokens bigint NOT NULL CHECK (tokens >= 0),
    mode text NOT NULL CHECK (mode IN ('warn', 'enforce')),
    updated_at timestamptz DEFAULT now(),
    updated_by text DEFAULT current_user,
    CONSTRAINT steadytext_budgets_pkey PRIMARY KEY (role_name, period)
);
COMMENT ON TABLE public.steadytext_budgets IS
    'Tokens that roles may use in any period; they last over restarts. Written by steadytext_budget_set().';

SELECT pg_catalog.pg_extension_config_dump('public.steadytext_budgets', '');

CREATE TRIGGER rate_limits_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.steadytext_budgets
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.rate_limits_changed();

CREATE TRIGGER check_row BEFORE INSERT OR UPDATE ON public.steadytext_budgets
    FOR EACH ROW EXECUTE FUNCTION _steadytext.rate_limit_check();

CREATE FUNCTION public.steadytext_budget_set(role name, period interval, tokens bigint, mode text DEFAULT 'enforce') RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_budget_set', role, period, tokens, mode);
    IF role NOT IN ('*', '@database') AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704',
            HINT = 'Use ''*'' for each role without limits of its own, ''@database'' for all calls in this database together.';
    END IF;
    INSERT INTO public.steadytext_budgets AS budget (role_name, period, tokens, mode)
        VALUES (role, steadytext_budget_set.period, steadytext_budget_set.tokens, steadytext_budget_set.mode)
        ON CONFLICT ON CONSTRAINT steadytext_budgets_pkey DO UPDATE
        SET tokens = excluded.tokens, mode = excluded.mode, updated_at = now(), updated_by = current_user;
END
$$;
COMMENT ON FUNCTION public.steadytext_budget_set(name, interval, bigint, text) IS
    'Gives a role (all its members together), ''*'' or ''@database'' so many tokens in any period; beyond them calls are warned of, or refused.';
REVOKE ALL ON FUNCTION public.steadytext_budget_set(name, interval, bigint, text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_budget_remove(role name, period interval DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    any_budget boolean;
BEGIN
    DELETE FROM public.steadytext_budgets b
        WHERE b.role_name = role AND (steadytext_budget_remove.period IS NULL OR b.period = steadytext_budget_remove.period);
    any_budget := FOUND;
    IF NOT any_budget THEN
        INSERT INTO public.steadytext_audit_log (event_type, details, success)
            VALUES ('budget_remove', jsonb_build_object('role', role, 'period', period), false);
    END IF;
    RETURN any_budget;
END
$$;
COMMENT ON FUNCTION public.steadytext_budget_remove(name, interval) IS
    'Removes a role''s budget of this period, or all it has; false if there was none.';
REVOKE ALL ON FUNCTION public.steadytext_budget_remove(name, interval) FROM PUBLIC;

-- Tokens used on the days that a budget's period touches, by all roles that the budget counts together.
CREATE FUNCTION _steadytext.budget_used(role name, period interval) RETURNS bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE counted AS (
        SELECT oid FROM pg_roles WHERE rolname = role
        UNION SELECT m.member FROM pg_auth_members m JOIN counted c ON m.roleid = c.oid)
    SELECT coalesce(sum(u.prompt_tokens + u.completion_tokens), 0)::bigint
    FROM public.steadytext_usage u
    WHERE u.day >= (now() AT TIME ZONE 'UTC' - period)::date
      AND (role = '@database' OR u.role_name IN (SELECT r.rolname FROM pg_roles r JOIN counted USING (oid)))
$$;
REVOKE ALL ON FUNCTION _steadytext.budget_used(name, interval) FROM PUBLIC;

CREATE FUNCTION _steadytext.budget_list()
RETURNS TABLE (role name, period interval, tokens bigint, mode text, used bigint, remaining bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.role_name, b.period, b.tokens, b.mode, u.used, greatest(b.tokens - u.used, 0)
    FROM public.steadytext_budgets b,
         LATERAL (SELECT CASE WHEN b.role_name <> '*' THEN _steadytext.budget_used(b.role_name, b.period) END) AS u (used)
    ORDER BY 1, 2
$$;
REVOKE ALL ON FUNCTION _steadytext.budget_list() FROM PUBLIC;

CREATE FUNCTION public.steadytext_budget_list()
RETURNS TABLE (role name, period interval, tokens bigint, mode text, used bigint, remaining bigint)
LANGUAGE sql STABLE
AS $$ SELECT * FROM _steadytext.budget_list() $$;
COMMENT ON FUNCTION public.steadytext_budget_list() IS
    'All budgets of this database with what steadytext_usage says was used; of ''*'', which each role has by itself, the view steadytext_rate_limit_status tells.';
REVOKE ALL ON FUNCTION public.steadytext_budget_list() FROM PUBLIC;

CREATE FUNCTION public.steadytext_budget_get(role name)
RETURNS TABLE (period interval, tokens bigint, mode text, used bigint, remaining bigint)
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.period, b.tokens, b.mode, b.used, b.remaining FROM _steadytext.budget_list() b
    WHERE b.role = steadytext_budget_get.role
$$;
COMMENT ON FUNCTION public.steadytext_budget_get(name) IS 'The budgets set for a role, ''*'' or ''@database''; those of roles it is a member of bind it too.';
REVOKE ALL ON FUNCTION public.steadytext_budget_get(name) FROM PUBLIC;
