-- Answers of a given form: by a JSON schema, a pattern, a list of choices, a row type.

CREATE FUNCTION public.steadytext_generate_json(
    prompt text, schema jsonb, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_json' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
COMMENT ON FUNCTION public.steadytext_generate_json(text, jsonb, int, boolean, int, boolean, text) IS
    'JSON that satisfies the schema, whatever max_tokens is; 54000 if none fits into it, NULL when no daemon can answer. jsonb forgets the order of members: theirs is that of required.';

CREATE FUNCTION public.steadytext_generate_json(
    prompt text, schema json, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_json_written' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
COMMENT ON FUNCTION public.steadytext_generate_json(text, json, int, boolean, int, boolean, text) IS
    'The same, its members in the order of the schema''s.';

CREATE FUNCTION public.steadytext_generate_json(
    prompt text, schema text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_json_written' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
COMMENT ON FUNCTION public.steadytext_generate_json(text, text, int, boolean, int, boolean, text) IS
    'The same of a schema written as a literal or text, its members in its order.';

CREATE FUNCTION public.steadytext_generate_regex(
    prompt text, pattern text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_regex' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
COMMENT ON FUNCTION public.steadytext_generate_regex(text, text, int, boolean, int, boolean, text) IS
    'A text that the pattern matches as a whole; 54000 if none fits into max_tokens, NULL when no daemon can answer.';

CREATE FUNCTION public.steadytext_generate_choice(
    prompt text, choices text[], max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_choice' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
COMMENT ON FUNCTION public.steadytext_generate_choice(text, text[], int, boolean, int, boolean, text) IS
    'One of the choices, word for word; 54000 if none fits into max_tokens, NULL when no daemon can answer.';

CREATE FUNCTION _steadytext.extract_json(
    input text, row_type oid, max_tokens int, use_cache boolean, seed int, unsafe_mode boolean, model text
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_extract_json' LANGUAGE C STABLE PARALLEL SAFE COST 1000;

-- Casts with the caller's rights.
CREATE FUNCTION _steadytext.extract_row(row_type anyelement, answer text) RETURNS anyelement
AS 'MODULE_PATHNAME', 'steadytext_extract_row' LANGUAGE C STABLE PARALLEL SAFE COST 10;

-- Not IMMUTABLE: it depends on the type's columns.
CREATE FUNCTION public.steadytext_extract(
    input text, row_type anyelement, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS anyelement
LANGUAGE sql STABLE PARALLEL SAFE COST 1000
AS $$
    SELECT _steadytext.extract_row(row_type, _steadytext.extract_json(
        input, pg_catalog.pg_typeof(row_type)::pg_catalog.oid, max_tokens, use_cache, seed, unsafe_mode, model))
$$;
COMMENT ON FUNCTION public.steadytext_extract(text, anyelement, int, boolean, int, boolean, text) IS
    'A row of a composite type, given as NULL::my_type, with what the text says; NULL when no daemon can answer, or with a value that PostgreSQL refuses.';
