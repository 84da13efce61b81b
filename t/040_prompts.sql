-- The prompt registry: versions that never change, labels that move between them, rendering, and calls by a prompt. Templates themselves are
-- compared with Python's jinja2 in t/041_templates.pl.
BEGIN;
SELECT no_plan();
SET LOCAL steadytext.on_failure = 'error';
CREATE FUNCTION pg_temp.state_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- ---- making -----------------------------------------------------------------------------------------------------------
SELECT steadytext_prompt_create('greeting', 'Hello {{ name }}!', 'says hello', '{"team": "a"}') AS id \gset
SELECT is((SELECT id FROM steadytext_prompts WHERE slug = 'greeting'), :'id'::uuid, 'a prompt is made and its id told');
SELECT results_eq($$SELECT prompt_id, version_num, template, required_variables, metadata, created_by FROM steadytext_prompt_get('greeting')$$,
    format($$VALUES (%L::uuid, 1, 'Hello {{ name }}!', ARRAY['name'], '{"team": "a"}'::jsonb, current_user::text COLLATE "default")$$, :'id'), 'its first version is there');
SELECT is(pg_temp.state_of(call), state, call) FROM (VALUES
    ($$SELECT steadytext_prompt_create('greeting', 'x')$$, '23505 Prompt with slug "greeting" already exists'),
    ($$SELECT steadytext_prompt_create('Bad Slug', 'x')$$, '22P02 Invalid slug format. Use lowercase letters, numbers, and hyphens only (3-100 chars)'),
    ($$SELECT steadytext_prompt_create('ab', 'x')$$, '22P02 Invalid slug format. Use lowercase letters, numbers, and hyphens only (3-100 chars)'),
    ($$SELECT steadytext_prompt_create('a--b', 'x')$$, '22P02 Invalid slug format. Use lowercase letters, numbers, and hyphens only (3-100 chars)'),
    ($$SELECT steadytext_prompt_create(repeat('a', 101), 'x')$$, '22P02 Invalid slug format. Use lowercase letters, numbers, and hyphens only (3-100 chars)'),
    ($$SELECT steadytext_prompt_create(NULL, 'x')$$, '22004 slug cannot be null'),
    ($$SELECT steadytext_prompt_create('fine', NULL)$$, '22004 template cannot be null'),
    ($$SELECT steadytext_prompt_create('fine', '')$$, '22023 template cannot be empty'),
    ($$SELECT steadytext_prompt_create('fine', 'x', repeat('é', 501))$$, '22023 description cannot be longer than 500 characters'),
    ($$SELECT steadytext_prompt_create('fine', 'Hello {{ name')$$, '42601 Invalid Jinja2 template: unexpected end of template, expected ''end of print statement''.'),
    ($$SELECT steadytext_prompt_create('fine', '{% include "x" %}')$$, '0A000 Invalid Jinja2 template: the tag include is not supported'),
    ($$SELECT steadytext_prompt_update('nobody', 'x')$$, 'P0002 Prompt with slug "nobody" not found'),
    ($$SELECT steadytext_prompt_update('greeting', '{{')$$, '42601 Invalid Jinja2 template: unexpected ''end of template'''),
    ($$SELECT * FROM steadytext_prompt_get('nobody')$$, 'P0002 Prompt with slug "nobody" not found'),
    ($$SELECT * FROM steadytext_prompt_get('greeting', 9)$$, 'P0002 Version 9 not found for prompt "greeting"'),
    ($$SELECT * FROM steadytext_prompt_versions('nobody')$$, 'P0002 Prompt with slug "nobody" not found'),
    ($$SELECT steadytext_prompt_render('nobody', '{}')$$, 'P0002 Prompt with slug "nobody" not found')) t (call, state);
SELECT is(pg_temp.state_of($$SELECT steadytext_prompt_create('described', 'x', repeat('é', 500))$$), 'done', 'a description has characters, not bytes');

SELECT steadytext_prompt_update('greeting', E'Hello {{ name }},\nwelcome to {{ city|default("here") }}.') AS version_id \gset
SELECT is((SELECT version FROM steadytext_prompt_versions WHERE id = :'version_id'), 2, 'an update is the next version');
SELECT results_eq($$SELECT version_num, required_variables, metadata, is_active FROM steadytext_prompt_versions('greeting')$$,
    $$VALUES (2, ARRAY['city', 'name'], '{}'::jsonb, true), (1, ARRAY['name'], '{"team": "a"}'::jsonb, false)$$, 'which is active; metadata is not inherited');
SELECT results_eq($$SELECT slug, description, latest_version_num, total_versions FROM steadytext_prompt_list() WHERE slug = 'greeting'$$,
    $$VALUES ('greeting', 'says hello', 2, 2)$$, 'the list counts them');
SELECT is(_get_next_version(:'id'), 3, 'the next number');
SELECT results_eq($$SELECT * FROM _validate_jinja2_template('{{ b }}{{ a }}')$$, $$VALUES (true, ARRAY['a', 'b'], NULL::text)$$, 'a template is looked at');
SELECT results_eq($$SELECT is_valid, error_message FROM _validate_jinja2_template('{% if %}')$$, $$VALUES (false, 'Expected an expression, got ''end of statement block''')$$, 'and what is none');

-- ---- rendering ----------------------------------------------------------------------------------------------------------
SELECT is(steadytext_prompt_render('greeting', '{"name": "Ada", "city": "Paris"}'), E'Hello Ada,\nwelcome to Paris.', 'rendered');
SELECT is(steadytext_prompt_render('greeting', '{"name": "Ada"}', 1), 'Hello Ada!', 'of a version');
SELECT is(steadytext_prompt_render('greeting', '{"name": "Ada"}', strict => false), E'Hello Ada,\nwelcome to here.', 'what is missing is empty, or its default, unless strict');
SELECT is(steadytext_prompt_render('greeting', v, 1, false), 'Hello !', 'no object is no variables') FROM (VALUES (NULL::jsonb), ('[1]'), ('"x"'), ('{}')) t (v);
SELECT is(pg_temp.state_of($$SELECT steadytext_prompt_render('greeting', '{}')$$), '22023 Missing required variables: city, name', 'strict: all that is missing is told');
SELECT steadytext_prompt_create('nested', '{{ user.name }}{{ 1 / user.n }}') IS NOT NULL AS made \gset
SELECT is(pg_temp.state_of($$SELECT steadytext_prompt_render('nested', '{"user": {"n": 1}}')$$),
    '22023 Undefined variable in template: ''dict object'' has no attribute ''name''', 'strict: an attribute too');
SELECT is(pg_temp.state_of($$SELECT steadytext_prompt_render('nested', '{"user": {"name": "x", "n": 0}}')$$), '22023 Template rendering error: division by zero', 'what goes wrong is told');
SELECT is(steadytext_prompt_render('nested', '{"user": {"name": "{{ 7 * 7 }}", "n": 2}}'), '{{ 7 * 7 }}0.5', 'a variable''s text is text, whatever it says');

-- ---- labels -----------------------------------------------------------------------------------------------------------------
SELECT is(steadytext_prompt_label_set('greeting', 'production', 1), NULL, 'a label is put to a version');
SELECT is(steadytext_prompt_label_set('greeting', 'production', 2), 1, 'and moved, telling where it was');
SELECT is(steadytext_prompt_update('greeting', 'Good day {{ name }}') IS NOT NULL, true, 'a third version');
SELECT is(steadytext_prompt_label_set('greeting', 'production', 3), 2, 'moved again');
SELECT results_eq($$SELECT label, version_num, moved_by FROM steadytext_prompt_labels('greeting')$$,
    $$VALUES ('active' COLLATE "default", 3, current_user::text COLLATE "default"), ('production', 3, current_user::text)$$, 'where they are, and by whom');
SELECT is(steadytext_prompt_rollback('greeting', 'production'), 2, 'the last move is taken back');
SELECT is(steadytext_prompt_rollback('greeting', 'production'), 1, 'then the one before');
SELECT is(pg_temp.state_of($$SELECT steadytext_prompt_rollback('greeting', 'production')$$), 'P0002 label "production" of prompt "greeting" has no earlier version', 'and no further');
SELECT is(steadytext_prompt_rollback('greeting'), 2, 'the active version goes back too');
SELECT is((SELECT version_num FROM steadytext_prompt_get('greeting')), 2, 'and is what a call gets');
SELECT is(steadytext_prompt_label_set('greeting', 'active', 3), 2, 'it is chosen by its label');
SELECT results_eq($$SELECT label_name, from_version, to_version, is_rollback FROM steadytext_prompt_label_history('greeting', 'production')$$,
    $$VALUES ('production', 2, 1, true), ('production', 3, 2, true), ('production', 2, 3, false), ('production', 1, 2, false), ('production', NULL, 1, false)$$,
    'the history keeps each move');
SELECT is(pg_temp.state_of(call), state, call) FROM (VALUES
    ($$SELECT steadytext_prompt_label_set('greeting', 'production', 9)$$, 'P0002 Version 9 not found for prompt "greeting"'),
    ($$SELECT steadytext_prompt_label_set('nobody', 'production', 1)$$, 'P0002 Prompt with slug "nobody" not found'),
    ($$SELECT steadytext_prompt_label_set('greeting', 'No Label', 1)$$, '22P02 Invalid label format. Use lowercase letters, numbers, and hyphens only (1-63 chars)'),
    ($$SELECT steadytext_prompt_label_set('greeting', 'active', NULL)$$, '22023 the label "active" cannot be taken away'),
    ($$SELECT steadytext_generate_prompt('greeting', '{}', label => 'staging')$$, 'P0002 Label "staging" not found for prompt "greeting"'),
    ($$SELECT steadytext_generate_prompt('greeting', '{}', 1, 'production')$$, '22023 version and label cannot both be given')) t (call, state);

-- ---- differences ---------------------------------------------------------------------------------------------------------------
SELECT steadytext_prompt_create('letter', E'Dear {{ name }},\none\ntwo\nthree\nYours') IS NOT NULL AS made \gset
SELECT steadytext_prompt_update('letter', E'Dear {{ name }},\none\n2\nthree\nfour\nYours') IS NOT NULL AS made \gset
SELECT results_eq($$SELECT steadytext_prompt_diff('letter', 1, 2)$$,
    ARRAY['  Dear {{ name }},', '  one', '- two', '+ 2', '  three', '+ four', '  Yours'], 'lines of both, of the old and of the new');
SELECT results_eq($$SELECT steadytext_prompt_diff('letter', 2, 2)$$, ARRAY['  Dear {{ name }},', '  one', '  2', '  three', '  four', '  Yours'], 'a version is itself');
SELECT is(pg_temp.state_of($$SELECT steadytext_prompt_diff('letter', 1, 7)$$), 'P0002 Version 7 not found for prompt "letter"', 'there must be two');
SELECT steadytext_prompt_create('long', (SELECT string_agg('a' || i, E'\n') FROM generate_series(1, 2000) i)) IS NOT NULL AS made \gset
SELECT steadytext_prompt_update('long', (SELECT string_agg('b' || i, E'\n') FROM generate_series(1, 2000) i)) IS NOT NULL AS made \gset
SELECT is((SELECT count(*) FROM steadytext_prompt_diff('long', 1, 2)), 4000::bigint, 'long ones too');

-- ---- nothing of a version changes --------------------------------------------------------------------------------------------
SELECT is(pg_temp.state_of(call), state, call) FROM (VALUES
    ($$UPDATE steadytext_prompt_versions SET template = 'other'$$, '55000 versions of prompts cannot be changed'),
    ($$UPDATE steadytext_prompt_versions SET metadata = '{"a": 1}'$$, '55000 versions of prompts cannot be changed'),
    ($$UPDATE steadytext_prompt_versions SET version = version + 100$$, '55000 versions of prompts cannot be changed'),
    ($$DELETE FROM steadytext_prompt_versions$$, '55000 versions of prompts cannot be changed'),
    ($$UPDATE steadytext_prompt_label_moves SET moved_by = 'somebody'$$, '55000 moves of labels cannot be changed'),
    ($$DELETE FROM steadytext_prompt_label_moves$$, '55000 moves of labels cannot be changed'),
    ($$UPDATE steadytext_prompts SET slug = 'renamed' WHERE slug = 'letter'$$, '55000 only the description of a prompt can be changed')) t (call, state);
SELECT is(pg_temp.state_of($$UPDATE steadytext_prompts SET description = 'a letter' WHERE slug = 'letter'$$), 'done', 'a description may be');

-- ---- calls ---------------------------------------------------------------------------------------------------------------------
SELECT is(steadytext_generate_prompt('greeting', '{"name": "Ada"}'), 'Good day Ada', 'the daemon that echoes gives the prompt back');
SELECT is(steadytext_generate_prompt('greeting', '{"name": "Ada"}', label => 'production'), 'Hello Ada!', 'by a label');
SELECT is(steadytext_generate_prompt('greeting', '{"name": "Ada"}', version => 1, max_tokens => 9, seed => 3, use_cache => false), 'Hello Ada!', 'by a version, with options');
SELECT results_eq($$SELECT prompt_version, response, cached FROM steadytext_generate_prompt_ex('greeting', '{"name": "Bob"}', '{"seed": 4}')$$,
    $$VALUES (3, 'Good day Bob', false)$$, 'which version it was is told');
SELECT results_eq($$SELECT prompt_version, cache_key FROM steadytext_generate_prompt_ex('greeting', '{"name": "Ada"}', label => 'production')$$,
    $$SELECT 1, cache_key FROM steadytext_generate_ex('Hello Ada!')$$, 'the key is that of the text');
SELECT is(pg_temp.state_of($$SELECT steadytext_generate_prompt('greeting', '{}')$$), '22023 Missing required variables: name', 'variables must be there');

-- ---- the end ---------------------------------------------------------------------------------------------------------------------
SELECT is(st_prompt_render('greeting', '{"name": "x"}'), 'Good day x', 'short names');
SELECT is(steadytext_prompt_delete('greeting'), true, 'deleted');
SELECT is(steadytext_prompt_delete('greeting'), false, 'once');
SELECT is((SELECT count(*) FROM steadytext_prompt_versions WHERE prompt_id = :'id') + (SELECT count(*) FROM steadytext_prompt_label_moves WHERE prompt_id = :'id'), 0::bigint,
    'its versions and labels go with it');
SELECT is((SELECT count(*) FROM steadytext_prompt_versions v WHERE NOT EXISTS (SELECT FROM steadytext_prompts p WHERE p.id = v.prompt_id)), 0::bigint, 'and nothing else lost its prompt');
SELECT is((SELECT details FROM steadytext_audit_log WHERE event_type = 'prompt_delete'), '{"slug": "greeting"}', 'and the audit log tells');

-- ---- who may do what ------------------------------------------------------------------------------------------------------------
CREATE ROLE prompt_plain;
CREATE ROLE prompt_reader;
CREATE ROLE prompt_admin;
GRANT SELECT ON steadytext_prompts, steadytext_prompt_versions, steadytext_prompt_label_moves TO prompt_reader;
SELECT lives_ok($$SELECT steadytext_admin_grant('prompt_admin')$$, 'an administrator is made');
-- What a role gets: the result, or SQLSTATE and message.
CREATE FUNCTION pg_temp.as_role(role name, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM set_config('role', role, true);
    EXECUTE statement INTO result;
    PERFORM set_config('role', 'none', true);
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;  -- and the role is as before
END $$;
SELECT matches(pg_temp.as_role('prompt_plain', call), '^42501 permission denied', 'a plain role may not: ' || call) FROM unnest(ARRAY[
    $$SELECT steadytext_prompt_create('mine', 'x')$$, $$SELECT steadytext_prompt_render('letter', '{"name": "x"}')$$, $$SELECT * FROM steadytext_prompt_list()$$,
    $$SELECT steadytext_prompt_delete('letter')$$, $$SELECT steadytext_generate_prompt('letter', '{"name": "x"}')$$, $$SELECT steadytext_prompt_label_set('letter', 'a', 1)$$,
    $$SELECT steadytext_prompt_rollback('letter')$$, $$INSERT INTO steadytext_prompts (slug) VALUES ('mine')$$]) call;
SELECT is(pg_temp.as_role('prompt_reader', $$SELECT steadytext_prompt_render('letter', '{"name": "x"}', 1)$$), E'Dear x,\none\ntwo\nthree\nYours', 'who may read a template may render it');
SELECT is(pg_temp.as_role('prompt_reader', $$SELECT steadytext_generate_prompt('letter', '{"name": "y"}', 1)$$), E'Dear y,\none\ntwo\nthree\nYours', 'and ask by it');
SELECT matches(pg_temp.as_role('prompt_reader', call), '^42501 permission denied', 'but not: ' || call) FROM unnest(ARRAY[
    $$SELECT steadytext_prompt_create('mine', 'x')$$, $$SELECT steadytext_prompt_update('letter', 'x')$$, $$SELECT steadytext_prompt_label_set('letter', 'a', 1)$$,
    $$UPDATE steadytext_prompt_versions SET is_active = true$$]) call;
SELECT is(pg_temp.as_role('prompt_admin', $$SELECT (steadytext_prompt_create('of-admin', 'x {{ y }}'), steadytext_prompt_update('of-admin', 'z'), steadytext_prompt_label_set('of-admin', 'staging', 1)) IS NOT NULL$$), 'false',
    'an administrator may');
SELECT is(pg_temp.as_role('prompt_admin', $$SELECT string_agg(DISTINCT moved_by, ' ') || count(*) FROM steadytext_prompt_label_history('of-admin')$$), 'prompt_admin3', 'under its own name');
SELECT is(pg_temp.as_role('prompt_admin', $$INSERT INTO steadytext_prompts (slug, created_by) VALUES ('by-hand', 'somebody') RETURNING created_by$$), 'prompt_admin', 'by hand too');
SELECT is(pg_temp.as_role('prompt_admin', $$INSERT INTO steadytext_prompt_versions (prompt_id, version, template) SELECT id, 1, '{{' FROM steadytext_prompts WHERE slug = 'by-hand'$$),
    '42601 Invalid Jinja2 template: unexpected ''end of template''', 'and only templates');
SELECT is(pg_temp.as_role('prompt_admin', $$INSERT INTO steadytext_prompt_versions (prompt_id, version, template) VALUES ('00000000-0000-0000-0000-000000000000', 1, 'x')$$),
    '23503 there is no prompt with id 00000000-0000-0000-0000-000000000000', 'of prompts that are there');
SELECT is(pg_temp.as_role('prompt_admin', $$DELETE FROM steadytext_prompt_label_moves$$), '55000 moves of labels cannot be changed', 'history is kept');
-- What an administrator writes by hand says what happened, whatever the row claims.
SELECT is(pg_temp.as_role('prompt_admin', $$UPDATE steadytext_prompts SET updated_by = 'somebody', updated_at = '2020-01-01' WHERE slug = 'of-admin' RETURNING updated_by || (updated_at > '2021-01-01')$$), 'prompt_admintrue', 'who changed a prompt, and when');
SELECT is(pg_temp.as_role('prompt_admin', $$UPDATE steadytext_prompt_versions SET is_active = NOT is_active$$), '55000 versions of prompts cannot be changed', 'what is active moves by a label');
SELECT matches(pg_temp.as_role('prompt_admin', call), '^55000 the next version of the prompt is 3, and not active yet', 'versions come one after the other: ' || call) FROM unnest(ARRAY[
    $$INSERT INTO steadytext_prompt_versions (prompt_id, version, template) SELECT id, 2147483647, 'x' FROM steadytext_prompts WHERE slug = 'of-admin'$$,
    $$INSERT INTO steadytext_prompt_versions (prompt_id, version, template, is_active) SELECT id, 3, 'x', true FROM steadytext_prompts WHERE slug = 'of-admin'$$]) call;
SELECT is(pg_temp.as_role('prompt_admin', $$INSERT INTO steadytext_prompt_label_moves (prompt_id, label, version) SELECT id, 'staging', 999 FROM steadytext_prompts WHERE slug = 'of-admin'$$),
    '23503 there is no version 999 of the prompt', 'a label leads to a version that is there');
SELECT is(pg_temp.as_role('prompt_admin', $$INSERT INTO steadytext_prompt_label_moves (prompt_id, label, version) SELECT id, 'active', NULL FROM steadytext_prompts WHERE slug = 'of-admin'$$),
    '22023 the label "active" cannot be taken away', 'and some version is active');
SELECT is(pg_temp.as_role('prompt_admin', $$INSERT INTO steadytext_prompt_label_moves (prompt_id, label, version, undoes) SELECT id, 'staging', 2, (SELECT max(id) FROM steadytext_prompt_label_moves) FROM steadytext_prompts WHERE slug = 'of-admin'$$)
    ~ '^23503 move [0-9]+ of the label is not undone by this one', true, 'what a move takes back is so');
SELECT is(pg_temp.as_role('prompt_admin', $$INSERT INTO steadytext_prompt_label_moves (id, prompt_id, label, version, from_version, moved_by, moved_at) SELECT 9223372036854775807, id, 'active', 1, 555, 'somebody', '2020-01-01'
    FROM steadytext_prompts WHERE slug = 'of-admin' RETURNING concat_ws(' ', id < 1000000000, from_version, moved_by, moved_at > '2021-01-01')$$), 't 2 prompt_admin t', 'a move has the next number, and begins where the label is');
SELECT is(pg_temp.as_role('prompt_admin', $$SELECT version_num FROM steadytext_prompt_get('of-admin')$$), '1', 'and is made');
SELECT is(pg_temp.as_role('prompt_admin', $$SELECT steadytext_prompt_rollback('of-admin')$$), '2', 'and can be taken back');
SELECT is(pg_temp.as_role('prompt_admin', $$INSERT INTO steadytext_prompt_label_moves (prompt_id, label, version) SELECT id, 'active', 2 FROM steadytext_prompts WHERE slug = 'of-admin'$$),
    '23514 the label is there already', 'which moved, or did not');
SELECT throws_ok($$TRUNCATE steadytext_prompt_label_moves$$, '55000', 'moves of labels cannot be changed', 'nor does a superuser truncate the history');
SELECT throws_ok($$TRUNCATE steadytext_prompt_versions$$, '55000', 'versions of prompts cannot be changed', 'or the versions');
SELECT is(pg_temp.as_role('prompt_admin', $$SELECT steadytext_prompt_delete('of-admin')$$), 'true', 'it deletes whole prompts');

-- What is common at the beginning and the end costs no room.
SELECT ok(steadytext_prompt_create('many-lines', repeat(E'x\n', 20000) || E'a\n' || repeat(E'y\n', 20000)) IS NOT NULL AND steadytext_prompt_update('many-lines', repeat(E'x\n', 20000) || E'b\nc\n' || repeat(E'y\n', 20000)) IS NOT NULL, 'forty thousand lines');
SELECT results_eq($$SELECT d, count(*)::int FROM (SELECT d, row_number() OVER () AS n FROM steadytext_prompt_diff('many-lines', 1, 2) d) d GROUP BY d ORDER BY min(n)$$,
    $$VALUES ('  x', 20000), ('- a', 1), ('+ b', 1), ('+ c', 1), ('  y', 20000), ('  ', 1)$$, 'of which three differ');

SELECT * FROM finish();
ROLLBACK;
