-- Questions about a text that have few answers, and calls whose failure is a row.

CREATE FUNCTION public.steadytext_if(condition text, input text, model text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_if' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
COMMENT ON FUNCTION public.steadytext_if(text, text, text) IS
    'Whether a condition is true of a text, as the model judges; NULL if either is NULL (no call is made), and when no daemon can answer.';

CREATE FUNCTION public.steadytext_classify(input text, labels text[], model text DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_classify' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
COMMENT ON FUNCTION public.steadytext_classify(text, text[], text) IS
    'The label that fits a text best; NULL if either is NULL (no call is made), and when no daemon can answer.';

CREATE FUNCTION public.steadytext_classify_all(input text, labels text[], model text DEFAULT NULL) RETURNS text[]
AS 'MODULE_PATHNAME', 'steadytext_classify_all' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
COMMENT ON FUNCTION public.steadytext_classify_all(text, text[], text) IS
    'Every label that applies to a text, in the order of the labels; an empty array if none does; NULL if either is NULL (no call is made), and when no daemon can answer.';

CREATE FUNCTION public.steadytext_score(question text, input text, model text DEFAULT NULL) RETURNS float8
AS 'MODULE_PATHNAME', 'steadytext_score' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
COMMENT ON FUNCTION public.steadytext_score(text, text, text) IS
    'How far a question is true of a text, from 0 to 1 in tenths; NULL if either is NULL (no call is made), and when no daemon can answer.';

CREATE FUNCTION public.steadytext_count_tokens(input text, model text DEFAULT NULL) RETURNS int
AS 'MODULE_PATHNAME', 'steadytext_count_tokens' LANGUAGE C STABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_count_tokens(text, text) IS
    'How many tokens a text has for a model, without those of its template; NULL where no daemon can count.';

-- PARALLEL UNSAFE: the call runs in a subtransaction.
CREATE FUNCTION public.steadytext_try_generate(
    prompt text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42, eos_string text DEFAULT '[EOS]',
    model text DEFAULT NULL, model_repo text DEFAULT NULL, model_filename text DEFAULT NULL, size text DEFAULT NULL,
    unsafe_mode boolean DEFAULT false
) RETURNS TABLE (value text, error text, sqlstate text)
AS 'MODULE_PATHNAME', 'steadytext_try_generate' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1;
COMMENT ON FUNCTION public.steadytext_try_generate(text, int, boolean, int, text, text, text, text, text, boolean) IS
    'What steadytext_generate() gives, or why it gives nothing: a failure is a row.';

CREATE FUNCTION public.steadytext_try_embed(
    text_input text, use_cache boolean DEFAULT true, seed int DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS TABLE (value public.vector, error text, sqlstate text)
AS 'MODULE_PATHNAME', 'steadytext_try_embed' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1;
COMMENT ON FUNCTION public.steadytext_try_embed(text, boolean, int, text, boolean) IS
    'What steadytext_embed() gives, or why it gives nothing: a failure is a row.';

CREATE FUNCTION public.steadytext_try_if(
    condition text, input text, model text DEFAULT NULL
) RETURNS TABLE (value boolean, error text, sqlstate text)
AS 'MODULE_PATHNAME', 'steadytext_try_if' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1;
COMMENT ON FUNCTION public.steadytext_try_if(text, text, text) IS
    'What steadytext_if() gives, or why it gives nothing: a failure is a row.';

CREATE FUNCTION public.steadytext_try_classify(
    input text, labels text[], model text DEFAULT NULL
) RETURNS TABLE (value text, error text, sqlstate text)
AS 'MODULE_PATHNAME', 'steadytext_try_classify' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1;
COMMENT ON FUNCTION public.steadytext_try_classify(text, text[], text) IS
    'What steadytext_classify() gives, or why it gives nothing: a failure is a row.';

CREATE FUNCTION public.steadytext_try_extract(
    input text, row_type anyelement, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS TABLE (value anyelement, error text, sqlstate text)
AS 'MODULE_PATHNAME', 'steadytext_try_extract' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1;
COMMENT ON FUNCTION public.steadytext_try_extract(text, anyelement, int, boolean, int, boolean, text) IS
    'What steadytext_extract() gives, or why it gives nothing: a failure is a row.';
