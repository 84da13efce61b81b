-- Tokens that roles have used, and may use, and what they cost.

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

-- What tokens cost, in whatever currency: for steadytext_explain().
CREATE TABLE public.steadytext_prices (
    model text NOT NULL,
    per_million_prompt numeric NOT NULL CHECK (per_million_prompt BETWEEN 0 AND 1000000000000),  -- NaN and infinity are more
    per_million_completion numeric NOT NULL CHECK (per_million_completion BETWEEN 0 AND 1000000000000),
    updated_at timestamptz DEFAULT now(),
    updated_by text DEFAULT current_user,
    CONSTRAINT steadytext_prices_pkey PRIMARY KEY (model)
);
COMMENT ON TABLE public.steadytext_prices IS
    'What a million tokens of each model cost, for steadytext_explain(). Written by steadytext_price_set().';

SELECT pg_catalog.pg_extension_config_dump('public.steadytext_prices', '');

-- Who sets a price by hand is who is named, except when a superuser restores a dump.
CREATE FUNCTION _steadytext.price_check() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_price_set', NEW.model,
        (CASE WHEN NEW.per_million_prompt > 1e13 THEN 1e13 WHEN NEW.per_million_prompt < -1 THEN -1 ELSE NEW.per_million_prompt END)::float8,
        (CASE WHEN NEW.per_million_completion > 1e13 THEN 1e13 WHEN NEW.per_million_completion < -1 THEN -1 ELSE NEW.per_million_completion END)::float8);
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.price_check() FROM PUBLIC;
CREATE TRIGGER check_row BEFORE INSERT OR UPDATE ON public.steadytext_prices
    FOR EACH ROW EXECUTE FUNCTION _steadytext.price_check();

CREATE FUNCTION public.steadytext_price_set(model text, per_million_prompt numeric, per_million_completion numeric) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_price_set', model,
        (CASE WHEN per_million_prompt > 1e13 THEN 1e13 WHEN per_million_prompt < -1 THEN -1 ELSE per_million_prompt END)::float8,
        (CASE WHEN per_million_completion > 1e13 THEN 1e13 WHEN per_million_completion < -1 THEN -1 ELSE per_million_completion END)::float8);
    IF per_million_prompt IS NULL <> (per_million_completion IS NULL) THEN
        RAISE EXCEPTION '% cannot be null', CASE WHEN per_million_prompt IS NULL THEN 'per_million_prompt' ELSE 'per_million_completion' END
            USING ERRCODE = '22004', HINT = 'What costs nothing has a price of 0. NULL for both takes the price away.';
    END IF;
    IF per_million_prompt IS NULL THEN
        DELETE FROM public.steadytext_prices p WHERE p.model = steadytext_price_set.model;
        RETURN;
    END IF;
    INSERT INTO public.steadytext_prices AS price (model, per_million_prompt, per_million_completion)
        VALUES (steadytext_price_set.model, steadytext_price_set.per_million_prompt, steadytext_price_set.per_million_completion)
        ON CONFLICT ON CONSTRAINT steadytext_prices_pkey DO UPDATE
        SET per_million_prompt = excluded.per_million_prompt, per_million_completion = excluded.per_million_completion,
            updated_at = now(), updated_by = current_user;
END
$$;
COMMENT ON FUNCTION public.steadytext_price_set(text, numeric, numeric) IS
    'What a million tokens of prompts and of answers of a model cost, in whatever currency; NULL for both: no price.';
REVOKE ALL ON FUNCTION public.steadytext_price_set(text, numeric, numeric) FROM PUBLIC;

CREATE FUNCTION _steadytext.explain(query text)
RETURNS TABLE (call text, model text, row_count bigint, calls bigint, distinct_calls bigint, cached_share float8,
               prompt_tokens bigint, completion_tokens bigint, seconds float8, cost numeric, row_by_row text)
AS 'MODULE_PATHNAME', 'steadytext_explain' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 2 COST 100000;

CREATE FUNCTION public.steadytext_explain(query text)
RETURNS TABLE (call text, model text, row_count bigint, calls bigint, distinct_calls bigint, cached_share float8,
               prompt_tokens bigint, completion_tokens bigint, seconds float8, cost numeric, row_by_row text)
LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE
AS $$ SELECT * FROM _steadytext.explain(query) $$;
COMMENT ON FUNCTION public.steadytext_explain(text) IS
    'What a statement would ask for, without running it: calls, how many of them differ or are cached, tokens, time and, where steadytext_price_set() gave a price, cost.';
