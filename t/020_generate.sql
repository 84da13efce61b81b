-- steadytext_generate: what it answers, what it refuses, and with which words.
BEGIN;
SELECT plan(32);

SELECT is(steadytext_generate('hello world'), 'hello world', 'the daemon''s answer comes back');
SELECT is(st_generate('hello world'), 'hello world', 'the short name is the same function');
SELECT is(steadytext_generate('größer 日本語 🙂'), 'größer 日本語 🙂', 'text beyond ASCII survives both ways');
SELECT is(steadytext_generate(E'tab\t"quote" \\ line\nend'), E'tab\t"quote" \\ line\nend', 'so do characters JSON escapes');
SELECT is(length(steadytext_generate(repeat('x', 1000000))), 1000000, 'so does a prompt of a million characters');

SELECT throws_ok($$SELECT steadytext_generate(NULL)$$, '22004', 'Prompt cannot be null');
SELECT throws_ok($$SELECT steadytext_generate('')$$, '22023', 'Prompt cannot be empty');
SELECT throws_ok($$SELECT steadytext_generate(E' \n\t\u3000')$$, '22023', 'Prompt cannot be empty', 'blank in Unicode''s sense is empty');
SELECT throws_ok($$SELECT steadytext_generate('x', seed => -1)$$, '22023', 'seed must be non-negative');
SELECT throws_ok($$SELECT steadytext_generate('x', max_tokens => 0)$$, '22023', 'max_tokens must be at least 1');
SELECT throws_ok($$SELECT steadytext_generate('x', max_tokens => 4097)$$, '22023', 'max_tokens exceeds system limit');
SELECT lives_ok($$SELECT steadytext_generate('x', max_tokens => 1)$$, 'one token is enough');
SELECT lives_ok($$SELECT steadytext_generate('x', max_tokens => 4096)$$, 'the limit itself is allowed');
SELECT throws_ok($$SELECT steadytext_generate('x', model => 'openai:gpt')$$, '22023',
    'Remote models (containing '':'' ) require unsafe_mode=TRUE');
SELECT throws_ok($$SELECT steadytext_generate('x', unsafe_mode => true)$$, '22023', 'unsafe_mode=TRUE requires a model parameter');
SELECT throws_ok($$SELECT steadytext_generate('x', model => repeat('m', 128))$$, '54000', 'model is too long');
SELECT throws_ok($$SELECT steadytext_generate('x', eos_string => '')$$, '22023', 'eos_string cannot be empty');
SELECT lives_ok($$SELECT steadytext_generate('x', size => 'gigantic')$$, 'an unknown size is a warning, as in the original');

-- Limits of a prompt, to the byte.
SELECT is(length(steadytext_generate(repeat('x', 1048576))), 1048576, 'a prompt of exactly 1 MiB is answered');
SELECT throws_ok($$SELECT steadytext_generate(repeat('x', 1048577))$$, '54000', 'Prompt is too long', 'one byte more is not');

-- steadytext_generate_ex tells how the answer came about.
SELECT is(response, 'tell me', 'the answer') FROM steadytext_generate_ex('tell me');
SELECT results_eq(
    $$SELECT model, fingerprint, finish_reason, degraded FROM steadytext_generate_ex('tell me more')$$,
    $$VALUES ('echo', 'echo:1', 'stop', false)$$, 'its origin');
SELECT ok(cache_key ~ '^[0-9a-f]{64}$', 'its key is a SHA-256') FROM steadytext_generate_ex('tell me');
SELECT is((SELECT cached FROM steadytext_generate_ex('twice')), false, 'the first time it is asked for');
SELECT is((SELECT cached FROM steadytext_generate_ex('twice')), true, 'the second time it is not');
SELECT is((SELECT cached FROM steadytext_generate_ex('twice', '{"use_cache": false}')), false, 'unless the caller insists');
SELECT isnt(
    (SELECT cache_key FROM steadytext_generate_ex('same', '{"seed": 1}')),
    (SELECT cache_key FROM steadytext_generate_ex('same', '{"seed": 2}')), 'another seed is another answer');
-- A prefix is a text before the prompt, and a boundary: the same text without it may have another answer.
SELECT is(response, 'tell me', 'a prefix stands before the prompt') FROM steadytext_generate_ex('me', '{"prefix": "tell "}');
SELECT isnt(
    (SELECT cache_key FROM steadytext_generate_ex('me', '{"prefix": "tell "}')),
    (SELECT cache_key FROM steadytext_generate_ex('tell me')), 'and is in the key');
SELECT throws_ok($$SELECT * FROM steadytext_generate_ex('x', '{"prefix": 1}')$$, '22023', 'invalid option "prefix"');
SELECT throws_ok($$SELECT * FROM steadytext_generate_ex('x', '{"max_token": 1}')$$, '22023', 'invalid option "max_token"');
SELECT throws_ok($$SELECT * FROM steadytext_generate_ex('x', '{"max_tokens": "1"}')$$, '22023', 'invalid option "max_tokens"');

SELECT * FROM finish();
ROLLBACK;
