-- Embeddings.

CREATE FUNCTION public.steadytext_embed(
    text_input text,
    use_cache boolean DEFAULT true,
    seed int DEFAULT 42,
    model text DEFAULT NULL,
    unsafe_mode boolean DEFAULT false
) RETURNS public.vector
AS 'MODULE_PATHNAME', 'steadytext_embed'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
COMMENT ON FUNCTION public.steadytext_embed(text, boolean, int, text, boolean) IS
    'Unit vector of steadytext.embedding_dimensions for a text; NULL, never zeros, when no daemon can answer.';

CREATE FUNCTION _steadytext.embed(text_input text, use_cache boolean, seed int, model text, unsafe_mode boolean) RETURNS public.vector
AS 'MODULE_PATHNAME', 'steadytext_embed' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 SUPPORT _steadytext.call_support;
