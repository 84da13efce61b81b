-- Free text: a single answer, an answer with its details, a stream.

CREATE FUNCTION public.steadytext_generate(
    prompt text,
    max_tokens int DEFAULT NULL,
    use_cache boolean DEFAULT true,
    seed int DEFAULT 42,
    eos_string text DEFAULT '[EOS]',
    model text DEFAULT NULL,
    model_repo text DEFAULT NULL,
    model_filename text DEFAULT NULL,
    size text DEFAULT NULL,
    unsafe_mode boolean DEFAULT false
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
COMMENT ON FUNCTION public.steadytext_generate(text, int, boolean, int, text, text, text, text, text, boolean) IS
    'Text generated for a prompt: the same key gives the same answer.';

-- The body of an SQL function calls these functions in _steadytext, where nobody can put an overload that fits better.
-- So each function exists twice, in public and in _steadytext.
CREATE FUNCTION _steadytext.generate(
    prompt text, max_tokens int, use_cache boolean, seed int, eos_string text, model text, model_repo text, model_filename text,
    size text, unsafe_mode boolean
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;

CREATE FUNCTION public.steadytext_generate_ex(
    prompt text,
    options jsonb DEFAULT '{}'
) RETURNS TABLE (
    response text,
    cache_key text,
    model text,
    fingerprint text,
    daemon text,
    prompt_tokens int,
    completion_tokens int,
    finish_reason text,
    cached boolean,
    degraded boolean,
    queue_ms float8,
    engine_ms float8,
    total_ms float8,
    reasoning text
)
AS 'MODULE_PATHNAME', 'steadytext_generate_ex'
LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1 COST 1000;
COMMENT ON FUNCTION public.steadytext_generate_ex(text, jsonb) IS
    'Generated text with how it came about. Options: max_tokens, seed, temperature, eos_string, model, size, use_cache, unsafe_mode, prefix.';

-- A set-returning function in C streams in a target list, but in FROM its rows would be collected first. An SQL
-- function that is not VOLATILE is inlined in FROM, and so streams in both places.
CREATE FUNCTION _steadytext.generate_stream(
    prompt text, max_tokens int, use_cache boolean, seed int, eos_string text, model text, model_repo text, model_filename text,
    size text, unsafe_mode boolean
) RETURNS SETOF text
AS 'MODULE_PATHNAME', 'steadytext_generate_stream' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION _steadytext.generate_stream(text, int, boolean, int, text, text, text, text, text, boolean) IS
    'What steadytext_generate_stream() is made of.';
CREATE FUNCTION public.steadytext_generate_stream(
    prompt text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    eos_string text DEFAULT '[EOS]', model text DEFAULT NULL, model_repo text DEFAULT NULL,
    model_filename text DEFAULT NULL, size text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 ROWS 100
AS $$
    SELECT _steadytext.generate_stream(
        prompt, max_tokens, use_cache, seed, eos_string, model, model_repo, model_filename, size, unsafe_mode)
$$;
COMMENT ON FUNCTION public.steadytext_generate_stream(text, int, boolean, int, text, text, text, text, text, boolean) IS
    'Generated text piece by piece, as it is made; together the rows are what steadytext_generate() gives.';
