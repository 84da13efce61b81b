-- Many prompts or texts in a single call, and the progress of such calls.

CREATE FUNCTION public.steadytext_generate_batch(prompts text[], max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true)
RETURNS TABLE (prompt text, response text, cached boolean, processing_time_ms int)
AS 'MODULE_PATHNAME', 'steadytext_generate_batch' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100 COST 100000;
COMMENT ON FUNCTION public.steadytext_generate_batch(text[], int, boolean) IS
    'A text for each prompt, in their order, as many at once as the daemons work on; equal prompts are asked once.';

CREATE FUNCTION public.steadytext_embed_batch(texts text[], use_cache boolean DEFAULT true)
RETURNS TABLE (text_input text, embedding public.vector, cached boolean, processing_time_ms int)
AS 'MODULE_PATHNAME', 'steadytext_embed_batch' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100 COST 100000;
COMMENT ON FUNCTION public.steadytext_embed_batch(text[], boolean) IS
    'An embedding for each text, in their order, as many at once as the daemons work on; equal texts are asked once.';

CREATE FUNCTION _steadytext.progress()
RETURNS TABLE (pid int, operation text, total bigint, done bigint, cached bigint, failed bigint, started timestamptz)
AS 'MODULE_PATHNAME', 'steadytext_progress' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 4;

CREATE VIEW public.steadytext_progress AS SELECT * FROM _steadytext.progress();
COMMENT ON VIEW public.steadytext_progress IS
    'Batches under way: of one''s own roles, all of the database for administrators, and all for pg_read_all_stats. What is cached or failed is among what is done.';
