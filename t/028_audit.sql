-- Suspicious input in steadytext_audit_log: what is suspected in which argument, what is told of it, who sees it.
BEGIN;
SELECT plan(30);
-- pgTAP writes its counts in the statement that asks.
SET LOCAL steadytext.on_failure = fallback;

-- What was found in the arguments of a call since the last look, whether or not it was refused.
CREATE FUNCTION found_in(call text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE seen int := coalesce((SELECT max(id) FROM public.steadytext_audit_log), 0);
BEGIN
    BEGIN
        EXECUTE call;
        RAISE SQLSTATE 'STXXX';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    PERFORM public.steadytext_frecency_refresh();
    RETURN ARRAY(SELECT concat(details ->> 'parameter', ': ', details ->> 'kind') FROM public.steadytext_audit_log
                 WHERE id > seen AND event_type = 'suspicious_input' ORDER BY id);
END $$;

SELECT is(found_in($q$ SELECT steadytext_generate('Robert''); DROP TABLE students; --') $q$), '{}', 'a prompt may speak of SQL');
SELECT is(found_in($q$ SELECT steadytext_generate(E'two\r\n\tlines', model => 'Qwen/Qwen3-1.7B') $q$), '{}', 'and have lines');
SELECT is(found_in($q$ SELECT st_generate(E'\x01') $q$), '{"prompt: control_character"}', 'a control character in a prompt');
SELECT is(found_in($q$ SELECT steadytext_generate('x', eos_string => E'\x1b') $q$), '{"eos_string: control_character"}', 'in eos_string');
SELECT is(found_in($q$ SELECT steadytext_generate('x', model => 'a'' OR 1=1') $q$), '{"model: injection_pattern"}', 'SQL in a model');
SELECT is(found_in($q$ SELECT steadytext_generate('x', model_repo => 'a;b') $q$), '{"model_repo: injection_pattern"}', 'in model_repo');
SELECT is(found_in($q$ SELECT steadytext_generate('x', model_filename => '../../x') $q$), '{"model_filename: injection_pattern"}', 'in model_filename');
SELECT is(found_in($q$ SELECT steadytext_generate('x', size => 'x"') $q$), '{"size: injection_pattern"}', 'in size');
SELECT is(found_in($q$ SELECT steadytext_generate('x', model => repeat('m', 128)) $q$), '{"model: too_long"}', 'a model too long');
SELECT is(found_in($q$ SELECT steadytext_generate('x', model => repeat('m', 127)) $q$), '{}', 'and one just not');
SELECT is(found_in($q$ SELECT steadytext_generate_ex('x', '{"model": "a`b"}') $q$), '{"model: injection_pattern"}', 'in an option');
SELECT is(found_in($q$ SELECT steadytext_embed(E'\x7f', model => 'a|b') $q$), '{"text_input: control_character","model: injection_pattern"}', 'in steadytext_embed');
SELECT is(found_in($q$ SELECT steadytext_rerank(E'\x01', ARRAY[E'\x02', 'x'], E'\x03') $q$),
    '{"query: control_character","task: control_character","documents: control_character"}', 'in steadytext_rerank');
SELECT is(found_in($q$ SELECT steadytext_generate_choice(E'\x01', ARRAY['a', 'b'], model => 'a;') $q$),
    '{"prompt: control_character","model: injection_pattern"}', 'in steadytext_generate_choice');
CREATE TYPE pair AS (a text, b text);
SELECT is(found_in($q$ SELECT steadytext_extract(E'\x01', NULL::pair) $q$),
    '{"input: control_character","prompt: control_character"}', 'in steadytext_extract');
SELECT is(found_in($q$ SELECT steadytext_config_set('x'' --', 'y') $q$), '{"config_key: injection_pattern"}', 'in a key');
SELECT is(found_in($q$ SELECT steadytext_config_set('daemon_host', '$(id)') $q$), '{"daemon_host: injection_pattern"}', 'in a host');
SELECT is(found_in($q$ SELECT steadytext_rate_limit_set('a"b', 'x;y', 1) $q$), '{"role: injection_pattern","operation: injection_pattern"}', 'in a rate limit');
SELECT is(found_in($q$ SELECT steadytext_cache_invalidate(model => 'x''') $q$), '{"model: injection_pattern"}', 'in an invalidation');
SELECT is(found_in($q$ SELECT steadytext_daemon_register('tcp://169.254.169.254:5555') $q$), '{"endpoint: refused_endpoint"}', 'a metadata address');
SELECT is(found_in($q$ SELECT steadytext_daemon_register('tcp://0251.0376.0251.0376:5555') $q$), '{"endpoint: refused_endpoint"}', 'in octal');
SELECT is(found_in($q$ SELECT steadytext_daemon_register('file:///etc/passwd') $q$), '{"endpoint: refused_endpoint"}', 'no endpoint at all');

SELECT is((SELECT row(details - 'kind' - 'parameter' - 'not_logged_before', user_id, success)::text FROM steadytext_audit_log WHERE details ->> 'parameter' = 'prompt' ORDER BY id LIMIT 1),
    row(jsonb_build_object('bytes', 1, 'sha256', encode(sha256('\x01'), 'hex')), current_user, false)::text, 'a prompt is told by its hash and length');
SELECT is((SELECT details ->> 'value' FROM steadytext_audit_log WHERE details ->> 'parameter' = 'model' ORDER BY id LIMIT 1), 'a'' OR 1=1', 'a name as it is');
SELECT is((SELECT error_message FROM steadytext_audit_log WHERE details ->> 'parameter' = 'size'), 'a pattern of SQL injection in size', 'and what it is');

-- Who sees what.
CREATE ROLE audit_ann; CREATE ROLE audit_bob;
GRANT USAGE ON SCHEMA tap TO audit_ann;
INSERT INTO steadytext_audit_log (event_type, user_id) VALUES ('config_change', 'audit_ann'), ('config_change', 'audit_bob');
SET LOCAL ROLE audit_ann;
SELECT throws_ok('SELECT FROM public.steadytext_audit_log', '42501', NULL::text, 'nobody sees anything');
RESET ROLE;
GRANT SELECT, INSERT ON steadytext_audit_log TO audit_ann;
GRANT USAGE ON SEQUENCE steadytext_audit_log_id_seq TO audit_ann;
SET LOCAL ROLE audit_ann;
SELECT is(ARRAY(SELECT user_id FROM public.steadytext_audit_log), '{audit_ann}', 'but their own rows, where granted');
SELECT throws_ok($q$ INSERT INTO public.steadytext_audit_log (event_type, user_id) VALUES ('x', 'audit_bob') $q$, '42501', NULL::text, 'nor writes them in another''s name');
SELECT lives_ok($q$ INSERT INTO public.steadytext_audit_log (event_type) VALUES ('x') $q$, 'only in one''s own');
RESET ROLE;
SELECT cmp_ok((SELECT count(DISTINCT user_id) FROM steadytext_audit_log), '>=', 3::bigint, 'the owner sees all');

SELECT * FROM finish();
ROLLBACK;
