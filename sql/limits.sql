-- Rate limits of roles, databases, models and daemons.

-- The first table is the original's. The second table has limits that the first cannot express: by operation or
-- model, in any interval, of tokens, of concurrency. Both tables bind.
CREATE TABLE public.steadytext_rate_limits (
    user_id text PRIMARY KEY CHECK (octet_length(user_id) <= 63),
    requests_per_minute int DEFAULT 60 CHECK (requests_per_minute >= 0),
    requests_per_hour int DEFAULT 1000 CHECK (requests_per_hour >= 0),
    requests_per_day int DEFAULT 10000 CHECK (requests_per_day >= 0),
    current_minute_count int DEFAULT 0,
    current_hour_count int DEFAULT 0,
    current_day_count int DEFAULT 0,
    last_reset timestamptz DEFAULT now(),
    last_reset_minute timestamptz DEFAULT now(),
    last_reset_hour timestamptz DEFAULT now(),
    last_reset_day timestamptz DEFAULT now(),
    created_at timestamptz DEFAULT now()
);
COMMENT ON TABLE public.steadytext_rate_limits IS
    'Requests a role may make in any minute, hour and day; NULL is no limit. user_id is a role, ''*'' (each role without a row) or ''@database''.';

CREATE TABLE public.steadytext_rate_limit_rules (
    role_name name NOT NULL,
    operation text NOT NULL DEFAULT '*' CHECK (
        operation IN ('*', 'generate', 'embed', 'rerank', 'json', 'regex', 'choice', 'stream') OR operation ~ '^(model|daemon):.'),
    requests int CHECK (requests >= 0),
    per interval NOT NULL DEFAULT '1 min' CHECK (per BETWEEN '10 milliseconds' AND '366 days'),
    tokens bigint CHECK (tokens >= 0),
    concurrency int CHECK (concurrency >= 0),
    updated_at timestamptz DEFAULT now(),
    updated_by text DEFAULT current_user,
    CONSTRAINT steadytext_rate_limit_rules_pkey PRIMARY KEY (role_name, operation),
    CHECK (concurrency IS NULL OR operation !~ '^daemon:')
);
COMMENT ON TABLE public.steadytext_rate_limit_rules IS
    'Limits of roles by operation: ''*'', a kind of call (''generate'': all that generates text), ''model:NAME'' or ''daemon:ENDPOINT''. Written by steadytext_rate_limit_set().';
COMMENT ON COLUMN public.steadytext_rate_limit_rules.role_name IS
    'A role with all its members, ''*'' (each role no row speaks of, by itself), or ''@database'' (all calls in this database together).';

SELECT pg_catalog.pg_extension_config_dump('public.steadytext_rate_limits', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_rate_limit_rules', '');

-- Tells every session, at commit, that its copy of the limits is stale.
CREATE FUNCTION _steadytext.rate_limits_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_rate_limits_changed' LANGUAGE C;
REVOKE ALL ON FUNCTION _steadytext.rate_limits_changed() FROM PUBLIC;
CREATE TRIGGER rate_limits_changed AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF user_id, requests_per_minute, requests_per_hour, requests_per_day ON public.steadytext_rate_limits
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.rate_limits_changed();
CREATE TRIGGER rate_limits_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.steadytext_rate_limit_rules
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.rate_limits_changed();

CREATE FUNCTION _steadytext.rate_limit_check() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most int;
BEGIN
    IF TG_TABLE_NAME = 'steadytext_budgets' THEN
        PERFORM _steadytext.check('steadytext_budget_set', NEW.role_name, NEW.period, NEW.tokens, NEW.mode);
    ELSIF TG_TABLE_NAME = 'steadytext_rate_limit_rules' THEN
        PERFORM _steadytext.check('steadytext_rate_limit_set', NEW.role_name, NEW.operation, NEW.requests, NEW.per, NEW.tokens, NEW.concurrency);
    ELSE
        FOREACH most IN ARRAY ARRAY[NEW.requests_per_minute, NEW.requests_per_hour, NEW.requests_per_day] LOOP
            PERFORM _steadytext.check('steadytext_rate_limit_set', NEW.user_id::name, '*'::text, most, interval '1 min', NULL::bigint, NULL::int);
        END LOOP;
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.rate_limit_check() FROM PUBLIC;
CREATE TRIGGER check_row BEFORE INSERT OR UPDATE ON public.steadytext_rate_limit_rules
    FOR EACH ROW EXECUTE FUNCTION _steadytext.rate_limit_check();
CREATE TRIGGER check_row BEFORE INSERT OR UPDATE OF user_id, requests_per_minute, requests_per_hour, requests_per_day
    ON public.steadytext_rate_limits
    FOR EACH ROW EXECUTE FUNCTION _steadytext.rate_limit_check();

CREATE FUNCTION _steadytext.rate_limit_set(role name, operation text, requests int, per interval, tokens bigint, concurrency int) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.inspect('role', role), _steadytext.inspect('operation', operation);
    PERFORM _steadytext.check('steadytext_rate_limit_set', role, operation, requests, per, tokens, concurrency);
    IF num_nonnulls(requests, tokens, concurrency) = 0 THEN
        RAISE EXCEPTION 'a rate limit needs requests, tokens or concurrency' USING ERRCODE = '22023',
            HINT = 'steadytext_rate_limit_remove() takes a limit away.';
    END IF;
    IF concurrency IS NOT NULL AND operation ~ '^daemon:' THEN
        RAISE EXCEPTION 'the calls a daemon works on at once are not limited by role' USING ERRCODE = '22023',
            HINT = 'Limit requests or tokens there, or concurrency for another operation.';
    END IF;
    IF role NOT IN ('*', '@database') AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704',
            HINT = 'Use ''*'' for each role without limits of its own, ''@database'' for all calls in this database together.';
    END IF;
    INSERT INTO public.steadytext_rate_limit_rules AS rule (role_name, operation, requests, per, tokens, concurrency)
        VALUES (role, rate_limit_set.operation, rate_limit_set.requests, rate_limit_set.per,
                rate_limit_set.tokens, rate_limit_set.concurrency)
        ON CONFLICT ON CONSTRAINT steadytext_rate_limit_rules_pkey DO UPDATE
        SET requests = excluded.requests, per = excluded.per, tokens = excluded.tokens, concurrency = excluded.concurrency,
            updated_at = now(), updated_by = current_user;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.rate_limit_set(name, text, int, interval, bigint, int) FROM PUBLIC;

CREATE FUNCTION public.steadytext_rate_limit_set(
    role name, operation text DEFAULT '*', requests int DEFAULT NULL, per interval DEFAULT '1 min',
    tokens bigint DEFAULT NULL, concurrency int DEFAULT NULL
) RETURNS void
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.rate_limit_set(role, operation, requests, per, tokens, concurrency) $$;
COMMENT ON FUNCTION public.steadytext_rate_limit_set(name, text, int, interval, bigint, int) IS
    'Limits a role in this database to so many requests and tokens in any interval `per`, and calls at once; replaces what was set for the operation.';
REVOKE ALL ON FUNCTION public.steadytext_rate_limit_set(name, text, int, interval, bigint, int) FROM PUBLIC;

CREATE FUNCTION _steadytext.rate_limit_get(role name)
RETURNS TABLE (operation text, requests int, per interval, tokens bigint, concurrency int)
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT operation, requests, per, tokens, concurrency FROM public.steadytext_rate_limit_rules WHERE role_name = role
    UNION ALL
    SELECT '*', each.requests, each.per, NULL, NULL
    FROM public.steadytext_rate_limits,
         LATERAL (VALUES (requests_per_minute, interval '1 min'), (requests_per_hour, '1 hour'), (requests_per_day, '1 day'))
             AS each (requests, per)
    WHERE user_id = role::text AND each.requests IS NOT NULL
    ORDER BY 1, 3
$$;
REVOKE ALL ON FUNCTION _steadytext.rate_limit_get(name) FROM PUBLIC;

CREATE FUNCTION public.steadytext_rate_limit_get(role name)
RETURNS TABLE (operation text, requests int, per interval, tokens bigint, concurrency int)
LANGUAGE sql STABLE STRICT
AS $$ SELECT * FROM _steadytext.rate_limit_get(role) $$;
COMMENT ON FUNCTION public.steadytext_rate_limit_get(name) IS
    'The limits set for a role, ''*'' or ''@database'' in this database; those of roles it is a member of bind it too.';
REVOKE ALL ON FUNCTION public.steadytext_rate_limit_get(name) FROM PUBLIC;

CREATE FUNCTION _steadytext.rate_limit_remove(role name, operation text) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    any_rule boolean;
    any_row boolean;
BEGIN
    DELETE FROM public.steadytext_rate_limit_rules rule
        WHERE rule.role_name = role AND rule.operation = rate_limit_remove.operation;
    any_rule := FOUND;
    DELETE FROM public.steadytext_rate_limits WHERE user_id = role::text AND operation = '*';
    any_row := FOUND;
    -- The tables' triggers audit each removal. A call that removes nothing is audited here.
    IF NOT (any_rule OR any_row) THEN
        INSERT INTO public.steadytext_audit_log (event_type, details, success)
            VALUES ('rate_limit_remove', jsonb_build_object('role', role, 'operation', operation), false);
    END IF;
    RETURN any_rule OR any_row;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.rate_limit_remove(name, text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_rate_limit_remove(role name, operation text DEFAULT '*') RETURNS boolean
LANGUAGE sql VOLATILE STRICT
AS $$ SELECT _steadytext.rate_limit_remove(role, operation) $$;
COMMENT ON FUNCTION public.steadytext_rate_limit_remove(name, text) IS
    'Removes a role''s limits for an operation, for ''*'' its row of steadytext_rate_limits too; false if there were none.';
REVOKE ALL ON FUNCTION public.steadytext_rate_limit_remove(name, text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_rate_limit_reset(role name) RETURNS int
AS 'MODULE_PATHNAME', 'steadytext_rate_limit_reset' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_rate_limit_reset(name) IS
    'Forgets what a role (or ''@database'', or with ''*'' everyone) has used in this database; how many meters that were.';
REVOKE ALL ON FUNCTION public.steadytext_rate_limit_reset(name) FROM PUBLIC;

CREATE FUNCTION _steadytext.rate_limit_status()
RETURNS TABLE (role text, rule text, operation text, unit text, per interval, most bigint, used bigint, remaining bigint,
               retry_after_ms bigint, refused bigint)
AS 'MODULE_PATHNAME', 'steadytext_rate_limit_status' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 10;

CREATE VIEW public.steadytext_rate_limit_status AS SELECT * FROM _steadytext.rate_limit_status();
COMMENT ON VIEW public.steadytext_rate_limit_status IS
    'What is left of each limit now; looking uses nothing. Everyone sees their own, administrators and pg_read_all_stats all. `rule` is the row''s role.';
