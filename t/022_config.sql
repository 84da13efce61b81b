-- Settings: the steadytext_config table, its functions, and what they change.
BEGIN;
SELECT plan(38);

SELECT is(steadytext_version(), (SELECT extversion FROM pg_extension WHERE extname = 'pg_steadytext'), 'library and extension have one version');
SELECT ok(steadytext_version() ~ '^\d{4}\.\d{1,2}\.\d{1,2}$', 'which is a date');
SELECT is(st_version(), steadytext_version());

SELECT is(steadytext_config_get('default_max_tokens'), '512', 'a value as text');
SELECT is(st_config_get('daemon_host'), 'localhost', 'a string without its quotes');
SELECT is(steadytext_config_get('no_such_key'), NULL, 'NULL for what is not there');
SELECT is(steadytext_config_get(NULL), NULL, 'STRICT');

SELECT lives_ok($$SELECT steadytext_config_set('default_max_tokens', '7')$$);
SELECT is((SELECT value FROM steadytext_config WHERE key = 'default_max_tokens'), '7'::jsonb, 'a number stays a number');
SELECT is((SELECT completion_tokens IS NOT NULL FROM steadytext_generate_ex('uses the row')), true, 'a call still works');
SELECT isnt((SELECT cache_key FROM steadytext_generate_ex('which limit?')),
    (SELECT cache_key FROM steadytext_generate_ex('which limit?', '{"max_tokens": 512}')), 'and the row is the default now');
SELECT is((SELECT cache_key FROM steadytext_generate_ex('which limit?')),
    (SELECT cache_key FROM steadytext_generate_ex('which limit?', '{"max_tokens": 7}')), 'namely 7');
UPDATE steadytext_config SET value = '512' WHERE key = 'default_max_tokens';
SELECT is((SELECT cache_key FROM steadytext_generate_ex('which limit?')),
    (SELECT cache_key FROM steadytext_generate_ex('which limit?', '{"max_tokens": 512}')), 'a plain UPDATE is heard too');

SAVEPOINT before;
SELECT lives_ok($$SELECT steadytext_config_set('default_seed', '99')$$);
SELECT is((SELECT cache_key FROM steadytext_generate_ex('which seed?')),
    (SELECT cache_key FROM steadytext_generate_ex('which seed?', '{"seed": 99}')), 'a change counts at once');
ROLLBACK TO before;
SELECT is((SELECT cache_key FROM steadytext_generate_ex('which seed?')),
    (SELECT cache_key FROM steadytext_generate_ex('which seed?', '{"seed": 42}')), 'and ends with its savepoint');

SELECT lives_ok($$SELECT st_config_set('flag', 'true')$$);
SELECT is((SELECT value FROM steadytext_config WHERE key = 'flag'), 'true'::jsonb, 'a boolean stays a boolean');
SELECT lives_ok($$SELECT steadytext_config_set('note', 'a "text"')$$);
SELECT is(steadytext_config_get('note'), 'a "text"', 'a text comes back');
SELECT is((SELECT details FROM steadytext_audit_log WHERE event_type = 'config_change' ORDER BY id DESC LIMIT 1),
    '{"key": "note", "value": "a \"text\""}'::jsonb, 'a change is audited');

-- Which setting in postgresql.conf a key stands for, and where a row counts.
SELECT results_eq($$SELECT key, setting, scope FROM steadytext_config_settings WHERE key NOT IN ('flag', 'note') ORDER BY key COLLATE "C"$$,
    $$VALUES ('cache_enabled', 'steadytext.cache_enabled', 'database'), ('cache_eviction_enabled', NULL, 'database'),
        ('cache_max_entries', 'steadytext.cache_max_entries', 'database'), ('cache_max_size_mb', 'steadytext.cache_max_size', 'database'),
        ('daemon_auto_start', NULL, 'database'), ('daemon_host', 'steadytext.daemons', 'server'),
        ('daemon_port', 'steadytext.daemons', 'server'), ('default_max_tokens', 'steadytext.default_max_tokens', 'database'),
        ('default_seed', 'steadytext.default_seed', 'database')$$, 'each key tells the setting it stands for, and its scope');
SELECT results_eq($$SELECT value, setting, scope FROM steadytext_config_settings WHERE key = 'note'$$, $$VALUES ('a "text"', NULL::text, NULL::text)$$,
    'a key of one''s own stands for none');
DELETE FROM steadytext_config WHERE key = 'default_seed';
SELECT results_eq($$SELECT value, setting_value FROM steadytext_config_settings WHERE key = 'default_seed'$$, $$VALUES (NULL::text, '42')$$,
    'and one that is not there still tells what counts');

SELECT lives_ok($$SELECT steadytext_config_set('cache_enabled', 'false')$$);
SELECT steadytext_generate('not to be cached');
SELECT is((SELECT cached FROM steadytext_generate_ex('not to be cached')), false, 'a database does without the cache');
SELECT throws_ok($$SELECT steadytext_config_set(NULL, '1')$$, '22004', 'config_key cannot be null');
SELECT throws_ok($$SELECT st_config_set('default_seed', NULL)$$, '22004', 'config_value cannot be null');
SELECT throws_ok($$SELECT steadytext_config_set('daemon_host', 'bad host')$$, '22023', 'Invalid host format');
SELECT throws_ok($$SELECT steadytext_config_set('DAEMON_HOST', 'x;y')$$, '22023', 'Invalid host format', 'whatever the case');
SELECT throws_ok($$SELECT steadytext_config_set('daemon_port', '0')$$, '22023', 'Invalid port format');
SELECT throws_ok($$SELECT steadytext_config_set('daemon_port', '65536')$$, '22023', 'Invalid port format');
SELECT throws_ok($$SELECT steadytext_config_set('daemon_port', '55 55')$$, '22023', 'Invalid port format');
SELECT throws_ok($$SELECT steadytext_config_set('model_path', '/etc/passwd')$$, '22023', 'Invalid file path');
SELECT throws_ok($$SELECT steadytext_config_set('model_path', '../../x')$$, '22023', 'Invalid file path');
SELECT throws_ok($$SELECT steadytext_config_set('daemon_command', 'st; rm')$$, '22023', 'Invalid command format');
SELECT throws_ok($$SELECT steadytext_config_set('cache_table_name', 'x"y')$$, '22023', 'Invalid table name');
SELECT CASE WHEN current_setting('server_version_num')::int < 150000 THEN skip('PostgreSQL 14 only warns of a misspelt setting')
    ELSE throws_ok($$SET steadytext.no_such = 1$$, '42602', NULL, 'a misspelt setting is an error') END;

SELECT * FROM finish();
ROLLBACK;
