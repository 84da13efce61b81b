-- Documents, in the order of how well they answer a query.

CREATE FUNCTION public.steadytext_rerank(
    query text, documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS TABLE (document text, score float8)
AS 'MODULE_PATHNAME', 'steadytext_rerank' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 10 COST 1000;
COMMENT ON FUNCTION public.steadytext_rerank(text, text[], text, boolean, int) IS
    'Documents by how well they answer the query, best first, with scores from 0 to 1; by their words when no daemon can answer.';

CREATE FUNCTION _steadytext.rerank(query text, documents text[], task text, return_scores boolean, seed int)
RETURNS TABLE (document text, score float8)
AS 'MODULE_PATHNAME', 'steadytext_rerank' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 10 COST 1000;

CREATE FUNCTION public.steadytext_rerank_docs_only(
    query text, documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    seed int DEFAULT 42
) RETURNS TABLE (document text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 10 COST 1000
AS $$ SELECT r.document FROM _steadytext.rerank(query, documents, task, false, seed) r $$;
COMMENT ON FUNCTION public.steadytext_rerank_docs_only(text, text[], text, int) IS
    'Documents by how well they answer the query, best first.';

CREATE FUNCTION public.steadytext_rerank_top_k(
    query text, documents text[], top_k int, task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS TABLE (document text, score float8)
AS 'MODULE_PATHNAME', 'steadytext_rerank_top_k' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 5 COST 1000;
COMMENT ON FUNCTION public.steadytext_rerank_top_k(text, text[], int, text, boolean, int) IS
    'The top_k documents that answer the query best.';

CREATE FUNCTION public.steadytext_rerank_batch(
    queries text[], documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS TABLE (query_index int, document text, score float8)
AS 'MODULE_PATHNAME', 'steadytext_rerank_batch' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 100 COST 1000;
COMMENT ON FUNCTION public.steadytext_rerank_batch(text[], text[], text, boolean, int) IS
    'The same documents ranked for each query (query_index counts from 0); queries that are NULL or blank are skipped.';
