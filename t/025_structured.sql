-- steadytext_generate_json, _regex and _choice: what they answer, what they refuse, and with which words. The echo daemon answers with
-- the prompt, whatever was asked of it: so an answer that has not the form is one of the cases.
BEGIN;
SELECT plan(71);

-- ---- answers of the right form -----------------------------------------------------------------------------------------
SELECT is(steadytext_generate_json('{"a": 1}', '{"type": "object"}'), '{"a": 1}', 'JSON that satisfies the schema comes back as it is');
SELECT is(st_generate_json('{"a": 1}', '{"type": "object"}'), '{"a": 1}', 'the short name is the same function');
SELECT is(steadytext_generate_json(E'\n [1]\n', '{"type": "array"}'), '[1]', 'bare, without white space around it');
SELECT is(steadytext_generate_json('Let me think. <json-output>{"a": 2}</json-output>', '{"type": "object"}'), '{"a": 2}',
    'the JSON within the original''s marks');
SELECT is(steadytext_generate_json('"größe 🙂"', '{"type": "string", "maxLength": 7}'), '"größe 🙂"', 'lengths are counted in characters');
SELECT is(steadytext_generate_json('17', '{"type": "martian"}'), '17', 'an unknown type allows any value');
SELECT is(steadytext_generate_regex('abc-42', '[a-c]+-\d{2,}?'), 'abc-42', 'a full match');
SELECT is(st_generate_regex(' x ', '\s\w\s'), ' x ', 'of which nothing is stripped');
SELECT is(steadytext_generate_choice('say "yes"\', ARRAY['no', 'say "yes"\']), 'say "yes"\', 'a choice, word for word');
SELECT is(st_generate_choice('no', ARRAY['no', 'yes']), 'no', 'by its short name too');

-- ---- every digit, every character, every format --------------------------------------------------------------------------
SELECT is(steadytext_generate_json(repeat('1', 30), ('{"const": ' || repeat('1', 30) || '}')::json), repeat('1', 30), 'a number keeps its digits');
SELECT is(steadytext_generate_json('9007199254740992', '{"type": "integer", "maximum": 9007199254740992.0}'), '9007199254740992', 'also at a bound');
SELECT is(steadytext_generate_regex(text, '\S+'), text, 'a class has characters beyond ASCII: ' || text) FROM unnest(ARRAY['José', '日本語']) text;
SELECT is(steadytext_generate_json('"2024-02-29"', '{"format": "date"}'), '"2024-02-29"', 'a real date');

-- ---- answers that are not: never given out ----------------------------------------------------------------------------
SET LOCAL steadytext.on_failure = 'error';
SELECT throws_ok($$SELECT steadytext_generate_json('not JSON', '{}')$$, '08P01', 'the answer is not JSON');
SELECT throws_ok($$SELECT steadytext_generate_json('{"a": ', '{}')$$, '08P01', 'the answer is not JSON', 'cut JSON is none');
SELECT throws_ok($$SELECT steadytext_generate_json('{"a": 1}', '{"required": ["b"]}')$$, '08P01', 'the answer does not satisfy the schema');
SELECT throws_ok($$SELECT steadytext_generate_json('"\u0000"', '{}')$$, '08P01', NULL, 'JSON that jsonb would refuse is not given out');
SELECT throws_ok($$SELECT steadytext_generate_regex('abcd', '[a-c]+')$$, '08P01', 'the answer does not match the regular expression');
SELECT throws_ok($$SELECT steadytext_generate_choice('maybe', ARRAY['no', 'yes'])$$, '08P01', 'the answer is none of the choices');
SELECT throws_ok($$SELECT steadytext_generate_json('9007199254740993', '{"type": "integer", "maximum": 9007199254740992.0}')$$, '08P01', NULL, 'one too many');
SELECT throws_ok($$SELECT steadytext_generate_json('"2023-02-31"', '{"format": "date"}')$$, '08P01', NULL, 'no date');
SELECT throws_ok($$SELECT steadytext_generate_json('"ABC abc 12"', '{"pattern": "(^[a-z]+$)"}')$$, '08P01', NULL, 'an anchor within a group');
SET LOCAL steadytext.on_failure = 'fallback';
SET LOCAL client_min_messages = 'error';
SELECT is(steadytext_generate_json('not JSON', '{}'), NULL, 'the fallback of a form is NULL, never a text without it');
SELECT is(steadytext_generate_regex('abcd', '[a-c]+'), NULL, 'of a match too');
SELECT is(steadytext_generate_choice('maybe', ARRAY['no', 'yes']), NULL, 'and of a choice');
RESET client_min_messages;

-- ---- arguments --------------------------------------------------------------------------------------------------------
SELECT throws_ok($$SELECT steadytext_generate_json(NULL, '{}')$$, '22004', 'Prompt cannot be null');
SELECT throws_ok($$SELECT steadytext_generate_json(' ', '{}')$$, '22023', 'Prompt cannot be empty');
SELECT throws_ok($$SELECT steadytext_generate_json('x', NULL)$$, '22004', 'Schema cannot be empty');
SELECT throws_ok($$SELECT steadytext_generate_json('x', '{}', max_tokens => 0)$$, '22023', 'max_tokens must be at least 1');
SELECT throws_ok($$SELECT steadytext_generate_json('x', '{}', max_tokens => 4097)$$, '22023', 'max_tokens exceeds system limit');
SELECT is(steadytext_generate_json('1', '{}', seed => -1), '1', 'a negative seed is legal here');
SELECT throws_ok($$SELECT steadytext_generate_json('x', '{}', model => 'openai:gpt')$$, '22023',
    'Remote models (containing '':'' ) require unsafe_mode=TRUE');
SELECT throws_ok($$SELECT steadytext_generate_json('x', 'no JSON')$$, '22P02', 'the schema is not valid JSON', 'a schema that is no JSON is named');
SELECT throws_ok($$SELECT steadytext_generate_json('x', '{"format": "regex"}')$$, '0A000', 'schema cannot be used', 'a format that could not be promised');
SELECT throws_ok($$SELECT steadytext_generate_json('x', '[]')$$, '22023', 'a schema must be a JSON object');
SELECT throws_ok($$SELECT steadytext_generate_json('x', '{"not": {}}')$$, '0A000', 'schema keyword "not" is not supported');
SELECT throws_ok($$SELECT steadytext_generate_json('x', '{"minimum": 2, "maximum": 1}')$$, '22023', 'schema cannot be used');
SELECT throws_ok($$SELECT steadytext_generate_json('x', '{"$ref": "#/no"}')$$, '22023', 'schema reference "#/no" cannot be followed');
SELECT throws_ok($$SELECT steadytext_generate_regex(NULL, 'a')$$, '22004', 'Prompt cannot be null');
SELECT throws_ok($$SELECT steadytext_generate_regex('', 'a')$$, '22023', 'Prompt cannot be empty');
SELECT throws_ok($$SELECT steadytext_generate_regex('x', NULL)$$, '22004', 'Pattern cannot be empty');
SELECT throws_ok($$SELECT steadytext_generate_regex('x', '')$$, '22023', 'Pattern cannot be empty');
SELECT throws_ok($$SELECT steadytext_generate_regex('x', '(a')$$, '2201B', 'invalid regular expression');
SELECT throws_ok($$SELECT steadytext_generate_regex('x', '(?=a)a')$$, '0A000', 'regular expression is not supported');
SELECT throws_ok($$SELECT steadytext_generate_regex('x', 'a', unsafe_mode => true)$$, '22023', 'unsafe_mode=TRUE requires a model parameter');
SELECT throws_ok($$SELECT steadytext_generate_choice(NULL, ARRAY['a', 'b'])$$, '22004', 'Prompt cannot be null');
SELECT throws_ok($$SELECT steadytext_generate_choice('', ARRAY['a', 'b'])$$, '22023', 'Prompt cannot be empty');
SELECT throws_ok($$SELECT steadytext_generate_choice('x', NULL)$$, '22004', 'Choices cannot be null');
SELECT throws_ok($$SELECT steadytext_generate_choice('x', '{}')$$, '22023', 'Choices array cannot be empty');
SELECT throws_ok($$SELECT steadytext_generate_choice('x', ARRAY['a'])$$, '22023', 'Choices array must contain at least 2 options');
SELECT throws_ok($$SELECT steadytext_generate_choice('x', ARRAY['a', 'b', 'a'])$$, '22023', 'Choices array cannot contain duplicates');
SELECT throws_ok($$SELECT steadytext_generate_choice('x', ARRAY['a', NULL])$$, '22004', 'Choices array cannot contain nulls');
SELECT throws_ok($$SELECT steadytext_generate_choice('x', ARRAY['a', 'b'], unsafe_mode => true)$$, '22023',
    'unsafe_mode=TRUE requires a model parameter');

-- ---- promises ---------------------------------------------------------------------------------------------------------
SELECT is(provolatile::text || proparallel::text, 'is', proname || ' is immutable and parallel safe')
FROM pg_proc WHERE proname ~ '^(steadytext|st)_generate_(json|regex|choice)$' ORDER BY proname;

-- ---- rows -------------------------------------------------------------------------------------------------------------
CREATE TYPE mood AS ENUM ('sad', 'happy "so"');
CREATE DOMAIN percentage AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE place AS (city text, since date);
CREATE TYPE person AS (name varchar(10), age int, mood mood, sure percentage, tags text[], home place, born timestamptz, id uuid, more jsonb,
    price numeric(4, 2));
-- The prompt ends with the text, which is all that an echo can give for JSON; so it stands between the original's marks.
SELECT is(steadytext_extract('<json-output>{"name": "Anna", "age": 33, "mood": "happy \"so\"", "sure": 90, "tags": ["a", "b"],
        "home": {"city": "Rome", "since": "2020-02-29"}, "born": null, "id": null, "more": {"x": [1]}, "price": 12.34}</json-output>',
        NULL::person)::text,
    '(Anna,33,"happy ""so""",90,"{a,b}","(Rome,2020-02-29)",,,"{""x"": [1]}",12.34)', 'a typed row, with all its columns');
SELECT is((steadytext_extract('<json-output>{"city": "Bern", "since": null}</json-output>', NULL::place)).city, 'Bern', 'a column of it');
SET LOCAL steadytext.on_failure = 'error';
SELECT throws_ok($$SELECT steadytext_extract('<json-output>{"city": 7, "since": null}</json-output>', NULL::place)$$, '08P01',
    'the answer does not satisfy the schema', 'a value of another type is not given out');
SELECT throws_ok($$SELECT steadytext_extract('x', NULL::text)$$, '42804', 'text is not a composite type');
SELECT throws_ok($$SELECT steadytext_extract('', NULL::place)$$, '22023', 'Input cannot be empty');
SELECT throws_ok($$SELECT steadytext_extract(NULL, NULL::place)$$, '22004', 'Input cannot be null');

SELECT * FROM finish();
ROLLBACK;
