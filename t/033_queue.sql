-- The async queue: what may be queued, by whom it is seen, how it ends, is waited for, cancelled, retried and given up.
BEGIN;
SELECT plan(94);
COMMIT;
CREATE ROLE queue_ann LOGIN;
CREATE ROLE queue_bob;

-- Each kind of request has the answer of the call it stands for.
SELECT steadytext_generate_async('a question', 7) AS id \gset
SELECT is(steadytext_get_async_result(:'id'), 'a question', 'a text');
SELECT is((status, request_type, result, error, embedding IS NULL, completed_at >= created_at)::text, '(completed,generate,"a question",,t,t)', 'is there to be read')
    FROM steadytext_check_async(:'id');
SELECT matches(session_id, '^[0-9a-f]+\.[0-9a-f]+$', 'the row says from which session it came') FROM steadytext_queue WHERE request_id = :'id';
SELECT is((params, priority, user_id, prompt)::text, ROW('{"seed": null, "use_cache": true, "max_tokens": 7}'::jsonb, 5, current_user, 'a question')::text, 'the row says what was asked')
    FROM steadytext_queue WHERE request_id = :'id';
SELECT is(cached, true, 'its answer is in the cache') FROM steadytext_generate_ex('a question', '{"max_tokens": 7}');
SELECT steadytext_embed_async('a text') AS id \gset
SELECT is(steadytext_get_async_result(:'id'), NULL, 'an embedding is no text');
SELECT is(embedding, steadytext_embed('a text'), 'but a vector, the same as asked for at once') FROM steadytext_check_async(:'id');
SELECT steadytext_generate_json_async('{"n": 1}', '{"type": "object"}') AS id \gset
SELECT is(steadytext_get_async_result(:'id'), '{"n": 1}', 'JSON');
SELECT steadytext_generate_regex_async('abc', '[a-c]+') AS id \gset
SELECT is(steadytext_get_async_result(:'id'), 'abc', 'a match');
SELECT steadytext_generate_choice_async('yes', ARRAY['yes', 'no']) AS id \gset
SELECT is(steadytext_get_async_result(:'id'), 'yes', 'a choice');
SELECT steadytext_rerank_async('cat', ARRAY['dog', 'cat']) AS id \gset
SELECT is(steadytext_get_async_result(:'id')::jsonb, (SELECT jsonb_agg(jsonb_build_array(document, score)) FROM steadytext_rerank('cat', ARRAY['dog', 'cat'])), 'a ranking');
SELECT steadytext_rerank_async('cat', ARRAY['dog', 'cat'], return_scores => false) AS id \gset
SELECT is(jsonb_array_length(steadytext_get_async_result(:'id')::jsonb), 2, 'and one without scores');
SELECT steadytext_generate_batch_async(ARRAY['one', 'two', 'three']) AS ids \gset
SELECT results_eq(format('SELECT status, result FROM steadytext_get_async_results(%L)', :'ids'),
    $$ VALUES ('completed', 'one'), ('completed', 'two'), ('completed', 'three') $$, 'a batch is a request each, in order');
SELECT steadytext_embed_batch_async(ARRAY['one', 'two']) AS ids \gset
SELECT is(count(*), 2::bigint, 'of embeddings too') FROM steadytext_get_async_results(:'ids') WHERE status = 'completed';
SELECT steadytext_rerank_batch_async(ARRAY['a', 'b'], ARRAY['a', 'b', 'c']) AS ids \gset
SELECT is(count(*), 2::bigint, 'of rankings too') FROM steadytext_get_async_results(:'ids') WHERE status = 'completed' AND jsonb_array_length(result::jsonb) = 3;
SELECT steadytext_enqueue('batch_embed', '{"texts": ["one", "two"]}') AS id \gset
SELECT steadytext_get_async_result(:'id') IS NULL AS done \gset
SELECT is(embeddings, ARRAY[steadytext_embed('one'), steadytext_embed('two')], 'several texts in one request') FROM steadytext_check_async(:'id');
SELECT steadytext_enqueue('batch_generate', '{"prompts": ["one", "two"]}', priority => 9, max_retries => 0) AS id \gset
SELECT steadytext_get_async_result(:'id') IS NULL AS done \gset
SELECT is(results, ARRAY['one', 'two'], 'several prompts too') FROM steadytext_check_async(:'id');
SELECT is((priority, max_retries)::text, '(9,0)', 'with a priority and retries of its own') FROM steadytext_queue WHERE request_id = :'id';

-- Bad arguments.
SELECT throws_ok('SELECT steadytext_generate_async(NULL)', '22023', 'Prompt cannot be empty', 'no prompt');
SELECT throws_ok($$ SELECT steadytext_generate_async(E' \n ') $$, '22023', 'Prompt cannot be empty', 'a blank one');
SELECT throws_ok($$ SELECT steadytext_generate_async('x', 0) $$, '22023', 'max_tokens must be between 1 and 4096', 'no tokens');
SELECT throws_ok($$ SELECT steadytext_generate_batch_async(NULL) $$, '22023', 'Batch cannot be empty', 'no batch');
SELECT throws_ok($$ SELECT steadytext_generate_batch_async('{}') $$, '22023', 'Batch cannot be empty', 'an empty one');
SELECT throws_ok($$ SELECT steadytext_generate_batch_async(array_fill('x'::text, '{101}')) $$, '22023', 'Batch size exceeds maximum limit', 'too large a one');
SELECT throws_ok($$ SELECT steadytext_generate_batch_async(ARRAY['x', NULL]) $$, '22004', 'Prompt cannot be null', 'a NULL in it');
SELECT throws_ok($$ SELECT steadytext_embed_batch_async('{}') $$, '22023', 'texts array cannot be null or empty', 'no texts');
SELECT throws_ok($$ SELECT steadytext_generate_json_async('x', 'no JSON') $$, '22P02', 'the schema is not valid JSON', 'a schema that is no JSON is named');
SELECT steadytext_generate_json_async('x', '{"properties": {"b": {}, "a": {}}}') AS ordered \gset
SELECT is((SELECT params ->> 'schema' FROM steadytext_queue WHERE request_id = :'ordered'), '{"properties": {"b": {}, "a": {}}}',
    'a schema that is text keeps its order in the queue');
SELECT throws_ok($$ SELECT steadytext_generate_json_async('x', NULL) $$, '22004', 'Schema cannot be null', 'no schema');
SELECT throws_ok($$ SELECT steadytext_generate_regex_async('x', '') $$, '22023', 'Pattern cannot be empty', 'no pattern');
SELECT throws_ok($$ SELECT steadytext_generate_choice_async('x', ARRAY['one']) $$, '22023', 'Must provide at least 2 choices', 'no choice');
SELECT throws_ok($$ SELECT steadytext_enqueue('dance', '{}') $$, '22023', 'Unknown request type', 'an unknown type');
SELECT throws_ok($$ SELECT steadytext_enqueue('generate', '{"prompt": "x", "colour": 1}') $$, '22023', 'request type generate has no parameter "colour"', 'an unknown parameter');
SELECT throws_ok($$ SELECT steadytext_enqueue('generate', '{"prompt": 1}') $$, '22023', 'prompt must be a string', 'a parameter of another type');
SELECT throws_ok($$ SELECT steadytext_enqueue('generate', '{"prompt": "x", "max_tokens": 1.5}') $$, '22023', 'max_tokens must be an integer', 'a fraction');
SELECT throws_ok($$ SELECT steadytext_enqueue('generate', '{"prompt": "x", "max_tokens": 0}') $$, '22023', 'max_tokens must be at least 1', 'a number out of its bounds');
SELECT throws_ok($$ SELECT steadytext_enqueue('batch_embed', '{"texts": ["x", 1]}') $$, '22023', 'texts must be an array of strings', 'an element of another type');
SELECT throws_ok($$ SELECT steadytext_enqueue('generate', '{"seed": 1}') $$, '22004', 'Prompt cannot be null', 'no text');
SELECT throws_ok($$ SELECT steadytext_enqueue('generate_json', '{"prompt": "x"}') $$, '22004', 'Schema cannot be empty', 'no schema among them');
SELECT throws_ok($$ SELECT steadytext_enqueue('rerank', '[]') $$, '22023', 'params must be a JSON object', 'no parameters but a list');
SELECT throws_ok($$ SELECT steadytext_enqueue('generate', '{"prompt": "x", "model": "a:b"}') $$, '22023', $$Remote models (containing ':' ) require unsafe_mode=TRUE$$, 'a remote model');
SELECT throws_ok($$ SELECT steadytext_embed_async('x', model => 'a:b') $$, '22023', $$Remote models (containing ':' ) require unsafe_mode=TRUE$$, 'for embeddings too');
-- What no answer could ever satisfy is not queued: its caller would not hear of it.
SELECT throws_ok(format('SELECT steadytext_enqueue(%L, %L)', type, params), state, message, type || ': ' || params)
FROM (VALUES ('generate_json', '{"prompt": "x", "schema": "nope"}', '22P02', 'the schema is not valid JSON'),
             ('generate_json', '{"prompt": "x", "schema": ""}', '22P02', 'the schema is not valid JSON'),
             ('generate_json', '{"prompt": "x", "schema": 5}', '22023', 'a schema must be a JSON object'),
             ('generate_json', '{"prompt": "x", "schema": false}', '22023', 'schema cannot be used'),
             ('generate_json', '{"prompt": "x", "schema": {"$ref": "#/nowhere"}}', '22023', 'schema reference "#/nowhere" cannot be followed'),
             ('generate_json', '{"prompt": "x", "schema": {"type": "string", "pattern": "("}}', '2201B', 'invalid regular expression'),
             ('generate_json', '{"prompt": "x", "schema": {}, "unsafe_mode": true}', '22023', 'unsafe_mode=TRUE requires a model parameter'),
             ('generate_regex', '{"prompt": "x", "pattern": "("}', '2201B', 'invalid regular expression'),
             ('batch_generate', '{"prompts": ["x"], "unsafe_mode": true}', '22023', 'unsafe_mode=TRUE requires a model parameter'),
             ('generate', '{"prompt": "x", "unsafe_mode": true}', '22023', 'unsafe_mode=TRUE requires a model parameter')) c (type, params, state, message);
SELECT throws_ok($$ SELECT steadytext_generate_regex_async('x', '(') $$, '2201B', 'invalid regular expression', 'nor by the functions for one kind of call');
SELECT throws_ok($$ SELECT steadytext_generate_json_async('x', '{"$ref": "#/nowhere"}'::jsonb) $$, '22023', 'schema reference "#/nowhere" cannot be followed', 'a schema that is jsonb');
SELECT throws_ok($$ SELECT steadytext_generate_json_async('x', '{"$ref": "#/nowhere"}'::json) $$, '22023', 'schema reference "#/nowhere" cannot be followed', 'and one that is json');
SELECT throws_ok($$ SELECT steadytext_generate_json_async('x', '5') $$, '22023', 'a schema must be a JSON object', 'and one that is text');
SELECT count(steadytext_enqueue('generate_json', jsonb_build_object('prompt', 'x', 'schema', s))) AS n FROM unnest(ARRAY['{"type": "object"}', 'true']::jsonb[]) s \gset
SELECT is(:'n'::text, '2', 'a schema that can be used is queued, true among them');
SET steadytext.queue_priority = 8;
SELECT steadytext_enqueue('generate', '{"prompt": "of no priority"}') AS id \gset
SELECT is(priority, 8, 'what names no priority has that of the session') FROM steadytext_queue WHERE request_id = :'id';
RESET steadytext.queue_priority;
SELECT throws_ok($$ SELECT steadytext_enqueue('generate', '{"prompt": "x"}', 11) $$, '22023', 'priority must be at most 10', 'a priority beyond 10');
SELECT throws_ok($$ SELECT steadytext_enqueue('generate', '{"prompt": "x"}', callback => 'now()'::regprocedure) $$, '42883', NULL, 'a callback of other arguments');

-- A row is seen by nobody but its submitter, and by no worker, before it is committed.
BEGIN;
SELECT steadytext_generate_async('in a transaction') AS id \gset
SELECT is(status, 'pending', 'pending until the commit') FROM steadytext_check_async(:'id');
SAVEPOINT before_waiting;
SELECT throws_ok(format('SELECT steadytext_get_async_result(%L)', :'id'), '25001', NULL, 'waiting for it here is an error at once');
SAVEPOINT inner_one;
SELECT steadytext_generate_async('rolled back') AS gone \gset
ROLLBACK TO inner_one;
COMMIT;
SELECT is(steadytext_get_async_result(:'id'), 'in a transaction', 'done after it');
SELECT is(count(*), 0::bigint, 'what was rolled back is gone') FROM steadytext_check_async(:'gone');
SELECT throws_ok(format('SELECT steadytext_get_async_result(%L)', :'gone'), 'P0002', NULL, 'and not found');
SELECT throws_ok($$ SELECT steadytext_get_async_result(gen_random_uuid(), -1) $$, '22023', 'Timeout cannot be negative', 'no waiting backwards');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(steadytext_get_async_result(:'id'), 'in a transaction', 'what has ended is read under any isolation');
COMMIT;

-- Rows belong to roles.
SET ROLE queue_ann;
SELECT steadytext_generate_async('of ann') AS id \gset
SELECT steadytext_get_async_result(:'id') AS result \gset
SELECT user_id FROM steadytext_queue WHERE request_id = :'id' \gset
SET ROLE queue_bob;
SELECT count(*) AS seen FROM steadytext_queue \gset
SELECT steadytext_cancel_async(:'id') AS cancelled, steadytext_queue_requeue(ARRAY[:'id'::uuid]) AS requeued \gset
RESET ROLE;
SELECT is(:'result'::text, 'of ann', 'a plain role may queue and wait');
SELECT is(:'user_id'::text, 'queue_ann', 'as itself');
SELECT is(has_table_privilege('queue_ann', 'steadytext_queue', 'INSERT, UPDATE, DELETE, TRUNCATE'), false, 'but write nothing itself');
SELECT is(:'seen'::text, '0', 'another role does not see it');
SELECT is(:'cancelled'::text, 'f', 'nor cancels it');
SELECT is(:'requeued'::text, '0', 'nor queues it again');
SELECT steadytext_frecency_refresh() IS NOT NULL AS done \gset
SELECT is(scope, current_database() || '/queue_ann', 'its answer is that role''s') FROM steadytext_cache WHERE prompt = 'of ann';

-- Failure: an engine's error is tried again, a bad argument is not.
SELECT steadytext_enqueue('generate', '{"prompt": "!fault:error failing"}', max_retries => 0) AS id \gset
SELECT throws_ok(format('SELECT steadytext_get_async_result(%L)', :'id'), '38000', NULL, 'a job that failed says so');
SELECT is((status, retry_count, error IS NOT NULL)::text, '(failed,0,t)', 'no retries, no second attempt') FROM steadytext_queue WHERE request_id = :'id';
SELECT is(count(*), 1::bigint, 'it is among the dead') FROM steadytext_queue_dead WHERE request_id = :'id';
SELECT is(steadytext_queue_requeue(ARRAY[:'id'::uuid]), 1, 'and may be queued again');
SELECT throws_ok(format('SELECT steadytext_get_async_result(%L)', :'id'), '38000', NULL, 'to fail again');
SELECT steadytext_enqueue('generate', '{"prompt": "!fault:error failing"}', max_retries => 1) AS id \gset
SELECT throws_ok(format('SELECT steadytext_get_async_result(%L)', :'id'), '38000', NULL, 'with a retry it fails later');
SELECT is((status, retry_count, completed_at - created_at > '700 ms')::text, '(failed,1,t)', 'after a pause') FROM steadytext_queue WHERE request_id = :'id';
INSERT INTO steadytext_queue (request_type, prompt, params) VALUES ('generate_regex', 'x', '{"pattern": "("}') RETURNING request_id AS id \gset
SELECT throws_ok(format('SELECT steadytext_get_async_result(%L)', :'id'), '38000', NULL, 'a pattern of no use that was written by hand fails');
SELECT is(retry_count, 0, 'at once') FROM steadytext_queue WHERE request_id = :'id';
SELECT steadytext_enqueue('batch_generate', '{"prompts": ["good", "!fault:error"]}', max_retries => 0) AS id \gset
SELECT throws_ok(format('SELECT steadytext_get_async_result(%L)', :'id'), '38000', NULL, 'a batch fails with one of its parts');

-- Cancelling, before and while it is carried out.
SELECT steadytext_generate_async('!fault:hold forever') AS id \gset
SELECT throws_ok(format('SELECT steadytext_get_async_result(%L, 0)', :'id'), 'HYT00', 'Timeout waiting for async result (0 seconds)', 'waiting has an end');
SELECT is(steadytext_cancel_async(:'id'), true, 'cancelled');
SELECT is(steadytext_cancel_async(:'id'), false, 'once');
SELECT throws_ok(format('SELECT steadytext_get_async_result(%L)', :'id'), '38000', 'Async request was cancelled', 'which ends the waiting');
SELECT is(steadytext_cancel_async(gen_random_uuid()), false, 'nothing to cancel');

-- Callbacks run as the submitter, once, after the result.
CREATE PROCEDURE queue_until_called() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 3000 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM public.steadytext_queue WHERE callback_state IN ('due', 'running'));
        COMMIT;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
CREATE TABLE queue_heard (request_id uuid, status text, heard_by text, path text);
GRANT INSERT ON queue_heard TO queue_ann;
CREATE FUNCTION queue_hear(id uuid) RETURNS void LANGUAGE sql AS $$
    INSERT INTO public.queue_heard SELECT id, status, current_user, current_setting('search_path') FROM public.steadytext_check_async(id) $$;
CREATE FUNCTION queue_complain(id uuid) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no, thanks'; END $$;
SET ROLE queue_ann;
SELECT steadytext_enqueue('generate', '{"prompt": "tell me"}', callback => 'queue_hear(uuid)') AS id \gset
SELECT steadytext_get_async_result(:'id') AS first \gset
SELECT steadytext_enqueue('generate', '{"prompt": "do not tell me"}', callback => 'queue_complain(uuid)') AS complaint \gset
SELECT steadytext_get_async_result(:'complaint') AS second \gset
RESET ROLE;
CALL queue_until_called();
SELECT is(:'first'::text, 'tell me', 'done');
SELECT is(:'second'::text, 'do not tell me', 'a callback that fails costs nothing');
SELECT is((status, heard_by, path)::text, '(completed,queue_ann,"pg_catalog, pg_temp")', 'heard') FROM queue_heard WHERE request_id = :'id';
SELECT is((callback_state, callback_error)::text, '(failed,"P0001: no, thanks")', 'its error is kept') FROM steadytext_queue WHERE request_id = :'complaint';
SELECT is((callback_state, callback_tries, callback_pid)::text, '(done,1,)', 'the other is done') FROM steadytext_queue WHERE request_id = :'id';

SELECT * FROM finish();
DROP PROCEDURE queue_until_called;
DROP TABLE queue_heard;
DROP OWNED BY queue_ann, queue_bob;
DROP ROLE queue_ann, queue_bob;
