-- Rate limits: whom they bind, what they say, how they are set, seen and taken away.
BEGIN;
SELECT plan(55);

CREATE ROLE lim_ann; CREATE ROLE lim_bob; CREATE ROLE lim_team; CREATE ROLE lim_new;
GRANT lim_team TO lim_ann;
-- Asks as a role that has connected; what it was refused with is undone by the caller's subtransaction.
CREATE FUNCTION ask(who name, what text DEFAULT 'x', tokens int DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
    EXECUTE format('SET LOCAL SESSION AUTHORIZATION %I', who);
    answer := public.steadytext_generate(what, tokens);
    RESET SESSION AUTHORIZATION;
    RETURN answer;
END $$;
CREATE FUNCTION ask_vector(who name, what text DEFAULT 'x') RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE good boolean;
BEGIN
    EXECUTE format('SET LOCAL SESSION AUTHORIZATION %I', who);
    good := public.steadytext_embed(what) IS NOT NULL;
    RESET SESSION AUTHORIZATION;
    RETURN good;
END $$;

SELECT is(ask('lim_bob'), 'x', 'nothing is limited until something is set');
SELECT is((SELECT count(*) FROM steadytext_rate_limit_status)::int, 0, 'and there is nothing to see');

-- One role.
SELECT lives_ok($$SELECT steadytext_rate_limit_set('lim_bob', requests => 60)$$, 'a limit is set');
SELECT is((SELECT count(ask('lim_bob')) FROM generate_series(1, 60))::int, 60, 'the whole limit may be used in one burst');
SELECT throws_ok($$SELECT ask('lim_bob')$$, '53400', 'Rate limit exceeded: 60 requests per 60s', 'and not one more');
SELECT is(ask('lim_ann'), 'x', 'other roles have no part in it');
SELECT results_eq($$SELECT role, operation, unit, per, most, used, remaining, refused FROM steadytext_rate_limit_status$$,
    $$VALUES ('lim_bob', '*', 'requests', interval '1 min', 60::bigint, 60::bigint, 0::bigint, 1::bigint)$$, 'the view shows what is left');
SELECT ok((SELECT retry_after_ms BETWEEN 1 AND 60000 FROM steadytext_rate_limit_status), 'and for how long');
SELECT is((SELECT used FROM steadytext_rate_limit_status), 60::bigint, 'looking uses nothing');
DO $$ DECLARE told text; BEGIN
    BEGIN PERFORM ask('lim_bob'); EXCEPTION WHEN configuration_limit_exceeded THEN GET STACKED DIAGNOSTICS told = PG_EXCEPTION_DETAIL; END;
    PERFORM set_config('test.detail', told, true);
END $$;
SELECT matches(current_setting('test.detail'), 'limit of role "lim_bob" for all operations has 0 of 60 requests left; retry after \d+ ms',
    'the DETAIL names the limit, what is left and when to retry');
SELECT is(steadytext_rate_limit_reset('lim_bob'), 1, 'what was used can be forgotten');
SELECT is(ask('lim_bob'), 'x', 'and counts no more');

-- Null instead of an error.
SELECT lives_ok($$SELECT steadytext_rate_limit_set('lim_bob', requests => 0, per => '1 s')$$, 'a new limit takes the place of the old one');
SET LOCAL client_min_messages = error;
SET LOCAL steadytext.on_limit = 'null';
SELECT is(ask('lim_bob'), NULL, 'on_limit = null gives NULL');
SELECT is(ask_vector('lim_bob'), false, 'for a vector too');
SET LOCAL steadytext.on_limit = 'wait';
SET LOCAL steadytext.request_timeout = '20s';
SELECT throws_ok($$SELECT ask('lim_bob')$$, '53400', 'Rate limit exceeded: 0 requests per 1s', 'on_limit = wait does not wait for what never comes');
SELECT steadytext_rate_limit_set('lim_bob', requests => 2, per => '0.2 s');
SELECT is((SELECT count(ask('lim_bob')) FROM generate_series(1, 5))::int, 5, 'but it does for what comes');
-- 0 forbids, whatever is counted, and is not waited for: it says so, and how to take it away.
CREATE FUNCTION words_of_refusal(who name) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text; hint text;
BEGIN
    PERFORM ask(who);
    RETURN 'an answer';
EXCEPTION WHEN configuration_limit_exceeded THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN format('%s / %s / %s', SQLERRM, detail, hint);
END $$;
SELECT steadytext_rate_limit_set('lim_bob', requests => 0, per => '1 s');
SELECT is(words_of_refusal('lim_bob'), 'Rate limit exceeded: 0 requests per 1s / The limit of role "lim_bob" for all operations is 0, which forbids every call. / '
    'steadytext_rate_limit_remove() takes a limit away; NULL is no limit.', 'no requests');
SELECT steadytext_rate_limit_set('lim_bob', tokens => 0);
SELECT matches(words_of_refusal('lim_bob'), '0 tokens per 60s / .* is 0, which forbids every call\. / steadytext_rate_limit_remove', 'no tokens');
SELECT steadytext_rate_limit_set('lim_bob', concurrency => 0);
SELECT matches(words_of_refusal('lim_bob'), '0 requests at once / .* is 0, which forbids every call\. / steadytext_rate_limit_remove', 'none at once');
SELECT clock_timestamp() AS before \gset
SELECT is(words_of_refusal('lim_bob') ~ 'forbids', true, 'and again');
SELECT cmp_ok(clock_timestamp() - :'before'::timestamptz, '<', current_setting('steadytext.request_timeout')::interval, 'at once, though on_limit = wait');
SELECT steadytext_rate_limit_remove('lim_bob');
RESET steadytext.on_limit;
SET LOCAL steadytext.limit_shadow_mode = on;
SELECT steadytext_rate_limit_set('lim_bob', requests => 0);
SELECT is(ask('lim_bob'), 'x', 'in shadow mode nothing is refused');
SELECT is((SELECT refused > 0 FROM steadytext_rate_limit_status), true, 'but counted');
SET LOCAL steadytext.limit_shadow_mode = off;

-- Operations.
SELECT steadytext_rate_limit_remove('lim_bob');
SELECT steadytext_rate_limit_set('lim_bob', 'embed', 1);
SELECT is(ask_vector('lim_bob'), true, 'an operation has a limit of its own');
SELECT throws_ok($$SELECT ask_vector('lim_bob')$$, '53400', 'Rate limit exceeded: 1 requests per 60s', 'which holds');
SELECT is(ask('lim_bob'), 'x', 'and is no concern of another operation');
SELECT throws_ok($$SELECT steadytext_rate_limit_set('lim_bob', 'fly', 1)$$, '22023', 'unknown operation', 'an operation there is not is refused');
SELECT throws_ok($$SELECT steadytext_rate_limit_set('lim_nobody', requests => 1)$$, '42704', 'role "lim_nobody" does not exist', 'and so is a role');
SELECT throws_ok($$SELECT steadytext_rate_limit_set('lim_bob')$$, '22023', NULL, 'and a limit of nothing');
SELECT is(steadytext_rate_limit_remove('lim_bob', 'embed'), true, 'a limit is removed');
SELECT is(steadytext_rate_limit_remove('lim_bob', 'embed'), false, 'once');

-- Everyone else, members, the database: all or nothing.
SELECT steadytext_rate_limit_set('*', requests => 2);
SELECT steadytext_rate_limit_set('lim_team', requests => 3);
SELECT is((SELECT count(ask('lim_new')) FROM generate_series(1, 2))::int, 2, 'a role nobody ever named is bound by "*"');
SELECT throws_ok($$SELECT ask('lim_new')$$, '53400', 'Rate limit exceeded: 2 requests per 60s', 'never unlimited');
SELECT is(ask('lim_bob'), 'x', 'each role has its own count');
SELECT is((SELECT count(ask('lim_ann')) FROM generate_series(1, 3))::int, 3, 'a member has the limit of its group, not that of "*"');
SELECT throws_ok($$SELECT ask('lim_team')$$, '53400', 'Rate limit exceeded: 3 requests per 60s', 'which counts all members together');
SELECT steadytext_rate_limit_reset('*');
SELECT steadytext_rate_limit_set('@database', requests => 1);
SELECT is(ask('lim_bob'), 'x', 'the database''s limit admits one');
SELECT throws_ok($$SELECT ask('lim_ann')$$, '53400', 'Rate limit exceeded: 1 requests per 60s', 'of whatever role');
SELECT is((SELECT used FROM steadytext_rate_limit_status WHERE role = 'lim_team'), 0::bigint, 'a call refused by one limit uses nothing of another');
SELECT steadytext_rate_limit_remove('@database');
SELECT steadytext_rate_limit_remove('*');
SELECT steadytext_rate_limit_remove('lim_team');

-- "*" counts who connected: a role has one allowance, whatever roles it may act as, and none is lent by a function's owner.
CREATE ROLE lim_many; CREATE ROLE lim_one; CREATE ROLE lim_two; CREATE ROLE lim_rich;
GRANT lim_one, lim_two TO lim_many;
CREATE FUNCTION ask_acting(who name, acts_as name, what text DEFAULT 'x') RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
    EXECUTE format('SET LOCAL SESSION AUTHORIZATION %I', who);
    EXECUTE format('SET LOCAL ROLE %I', acts_as);
    answer := public.steadytext_generate(what, 1);
    RESET SESSION AUTHORIZATION;
    RETURN answer;
END $$;
CREATE FUNCTION ask_richly(what text) RETURNS text SECURITY DEFINER LANGUAGE sql AS $$ SELECT public.steadytext_generate(what, 1) $$;
ALTER FUNCTION ask_richly(text) OWNER TO lim_rich;
CREATE FUNCTION ask_through(who name, what text DEFAULT 'x') RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
    EXECUTE format('SET LOCAL SESSION AUTHORIZATION %I', who);
    answer := public.ask_richly(what);
    RESET SESSION AUTHORIZATION;
    RETURN answer;
END $$;
SELECT steadytext_rate_limit_set('*', requests => 2);
SELECT steadytext_rate_limit_set('lim_rich', requests => 1000);
SELECT is(ask_acting('lim_many', 'lim_one'), 'x', 'a role acts as another');
SELECT is(ask_acting('lim_many', 'lim_two'), 'x', 'and as a third');
SELECT throws_ok($$SELECT ask_acting('lim_many', 'lim_one')$$, '53400', 'Rate limit exceeded: 2 requests per 60s', 'with one allowance in all');
SELECT is(ask('lim_one'), 'x', 'which is not that of the role it acted as');
SELECT is((SELECT count(ask_through('lim_new')) FROM generate_series(1, 2))::int, 2, 'a function of a role with a limit of its own');
SELECT throws_ok($$SELECT ask_through('lim_new')$$, '53400', 'Rate limit exceeded: 2 requests per 60s', 'lends none of it');
SELECT is((SELECT used FROM steadytext_rate_limit_status WHERE role = 'lim_rich'), 2::bigint, 'and is bound by it too');
SELECT steadytext_rate_limit_remove('*');
SELECT steadytext_rate_limit_remove('lim_rich');

-- The original's table.
INSERT INTO steadytext_rate_limits (user_id, requests_per_minute, requests_per_hour, requests_per_day) VALUES ('lim_bob', 5, 4, NULL);
SELECT results_eq($$SELECT requests, per FROM steadytext_rate_limit_get('lim_bob')$$,
    $$VALUES (5, interval '1 min'), (4, interval '1 hour')$$, 'its rows are limits');
SELECT is((SELECT count(ask('lim_bob')) FROM generate_series(1, 4))::int, 4, 'by the minute and the hour');
SELECT throws_ok($$SELECT ask('lim_bob')$$, '53400', 'Rate limit exceeded: 4 requests per 3600s', 'whichever is less');
UPDATE steadytext_rate_limits SET requests_per_hour = 1000 WHERE user_id = 'lim_bob';
SELECT is(ask('lim_bob'), 'x', 'a change counts at once and keeps what was used');
SELECT throws_ok($$SELECT ask('lim_bob')$$, '53400', 'Rate limit exceeded: 5 requests per 60s', 'by the minute now');
SELECT steadytext_rate_limit_remove('lim_bob');

-- Tokens; cached answers; superusers.
SELECT steadytext_rate_limit_set('lim_bob', tokens => 100);
SELECT throws_ok($$SELECT ask('lim_bob', 'x', 200)$$, '53400', 'Rate limit exceeded: 100 tokens per 60s', 'more tokens than the limit has are refused');
SELECT is((SELECT count(ask('lim_bob', 'x', 60)) FROM generate_series(1, 3))::int, 3, 'an estimate is settled with what was used');
SELECT steadytext_rate_limit_remove('lim_bob');
SELECT steadytext_rate_limit_set('lim_bob', requests => 0);
SET LOCAL steadytext.limit_cache_hits = off;
SELECT is(ask('lim_bob'), 'x', 'with limit_cache_hits off a cached answer does not count');

SELECT * FROM finish();
ROLLBACK;
