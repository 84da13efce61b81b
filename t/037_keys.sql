-- The key of each operation is what docs/cache-keys.md says, so that any tool can compute it: all that can change the answer.
SELECT * FROM no_plan();

CREATE FUNCTION pg_temp.scope() RETURNS text LANGUAGE sql AS $$ SELECT current_database() || '/' || current_user $$;
CREATE FUNCTION pg_temp.generation(more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('eos_string', '[EOS]', 'max_tokens', 512, 'model', '', 'scope', pg_temp.scope(), 'seed', 42, 'size', '',
        'temperature', 0.0, 'fingerprint', (SELECT fingerprint FROM steadytext_generate_ex('whose answers are these?'))) || more
$$;
CREATE FUNCTION pg_temp.fingerprint(of text) RETURNS text LANGUAGE sql AS $$ SELECT fingerprint FROM steadytext_models() WHERE role = of LIMIT 1 $$;

SELECT is(cache_key, steadytext_cache_key('why?', pg_temp.generation(), 'generate:'), 'generate') FROM steadytext_generate_ex('why?');
SELECT is(cache_key, steadytext_cache_key('why?', pg_temp.generation(changed), 'generate:'), format('generate with %s', changed))
FROM (VALUES (jsonb '{"seed": 7}'), ('{"max_tokens": 8}'), ('{"eos_string": "END"}'), ('{"size": "small"}'), ('{"temperature": 0.5}')) options (changed),
     LATERAL steadytext_generate_ex('why?', changed);
SELECT is(cache_key, steadytext_cache_key(U&'caf\00E9', pg_temp.generation(), 'generate:'), 'the prompt in NFC') FROM steadytext_generate_ex(U&'cafe\0301');

SELECT steadytext_generate_json('true', '{"type": "boolean"}'), steadytext_generate_regex('true', 't.+'), steadytext_generate_choice('true', ARRAY['true', 'false']),
       steadytext_embed('true'), (SELECT count(*) FROM steadytext_rerank('true', ARRAY['e', 'f'], 'task')) \gset
SELECT steadytext_frecency_refresh() IS NOT NULL AS done \gset
SELECT is(count(cache_key), 1::bigint, name) FROM (VALUES
    ('json',   steadytext_cache_key('true', pg_temp.generation('{"schema": {"type": "boolean"}}'), 'generate:')),
    ('regex',  steadytext_cache_key('true', pg_temp.generation('{"regex": "t.+"}'), 'generate:')),
    ('choice', steadytext_cache_key('true', pg_temp.generation('{"choices": ["true", "false"]}'), 'generate:')),
    ('embed',  steadytext_cache_key('true', jsonb_build_object('fingerprint', pg_temp.fingerprint('embedding'), 'model', '',
               'scope', pg_temp.scope(), 'seed', 42), 'embed:')),
    ('rerank', steadytext_cache_key('true', jsonb_build_object('documents', ARRAY['e', 'f'], 'fingerprint', pg_temp.fingerprint('reranker'),
               'scope', pg_temp.scope(), 'seed', 42, 'task', 'task'), 'rerank:'))) keys (name, key)
    LEFT JOIN steadytext_cache ON cache_key = key GROUP BY name
UNION ALL SELECT is(count(*), 5::bigint, 'five operations, five rows') FROM steadytext_cache WHERE prompt = 'true';
SELECT * FROM finish();
