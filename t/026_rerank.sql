-- steadytext_rerank and its family: order, scores, what they refuse and with which words. The echo daemon scores documents by the order
-- in which they come.
BEGIN;
SELECT plan(30);

SELECT results_eq($$SELECT document, score FROM steadytext_rerank('q', ARRAY['a', 'b', 'c', 'd'])$$,
    $$VALUES ('a', 1.0::float8), ('b', 0.75), ('c', 0.5), ('d', 0.25)$$, 'documents with their scores, best first');
SELECT results_eq($$SELECT document, score FROM st_rerank('q', ARRAY['a', 'b'])$$, $$VALUES ('a', 1.0::float8), ('b', 0.5)$$, 'by the short name');
SELECT results_eq($$SELECT score FROM steadytext_rerank('q', ARRAY['same', 'same'])$$, $$VALUES (1.0::float8), (0.5)$$, 'equal documents each have a score');
SELECT results_eq($$SELECT document, score FROM steadytext_rerank('q', ARRAY['a', 'b'], return_scores => false)$$,
    $$VALUES ('a', NULL::float8), ('b', NULL)$$, 'scores that are not wanted are NULL');
SELECT results_eq($$SELECT steadytext_rerank_docs_only('q', ARRAY['a', 'b'])$$, $$VALUES ('a'), ('b')$$, 'documents only');
SELECT results_eq($$SELECT st_rerank_docs_only('q', ARRAY['a', 'b'])$$, $$VALUES ('a'), ('b')$$, 'by the short name');
SELECT results_eq($$SELECT document FROM steadytext_rerank_top_k('q', ARRAY['a', 'b', 'c'], 2)$$, $$VALUES ('a'), ('b')$$, 'the best two');
SELECT is((SELECT count(*) FROM steadytext_rerank_top_k('q', ARRAY['a', 'b', 'c'], 9)), 3::bigint, 'more than there are is all');
SELECT is((SELECT count(*) FROM st_rerank_top_k('q', ARRAY['a', 'b', 'c', 'd', 'e', 'f', 'g'])), 5::bigint, 'the short name gives five unless told');
SELECT results_eq($$SELECT query_index, document FROM steadytext_rerank_batch(ARRAY['p', '', NULL, 'q'], ARRAY['a', 'b'])$$,
    $$VALUES (0, 'a'), (0, 'b'), (3, 'a'), (3, 'b')$$, 'several queries; those that ask nothing are skipped');
SELECT is((SELECT count(*) FROM st_rerank_batch(ARRAY['p'], ARRAY['a', 'b'])), 2::bigint, 'by the short name');
SELECT is_empty($$SELECT * FROM steadytext_rerank_batch(ARRAY['p'], NULL)$$, 'without documents there is nothing to rank');
SELECT is((SELECT count(*) FROM steadytext_rerank('größer?', ARRAY(SELECT 'Dokument "ü" \ ' || i FROM generate_series(1, 500) i))), 500::bigint, 'many documents');

SELECT throws_ok($$SELECT * FROM steadytext_rerank(NULL, ARRAY['a'])$$, '22004', 'Query cannot be null');
SELECT throws_ok($$SELECT * FROM steadytext_rerank(' ', ARRAY['a'])$$, '22023', 'Query cannot be empty');
SELECT throws_ok($$SELECT * FROM steadytext_rerank('q', NULL)$$, '22004', 'Documents cannot be null');
SELECT throws_ok($$SELECT * FROM steadytext_rerank('q', '{}')$$, '22023', 'Documents array cannot be empty');
SELECT throws_ok($$SELECT * FROM steadytext_rerank('q', ARRAY['a', NULL])$$, '22004', 'Documents cannot contain null elements');
SELECT throws_ok($$SELECT * FROM steadytext_rerank_top_k('q', ARRAY['a'], 0)$$, '22023', 'top_k must be greater than 0');
SELECT throws_ok($$SELECT * FROM steadytext_rerank_top_k('q', ARRAY['a'], NULL)$$, '22023', 'top_k must be greater than 0');
SELECT throws_ok($$SELECT * FROM steadytext_rerank_batch('{}', ARRAY['a'])$$, '22023', 'Queries cannot be empty');
SELECT throws_ok($$SELECT * FROM steadytext_rerank_batch(NULL, ARRAY['a'])$$, '22023', 'Queries cannot be empty');
SELECT throws_ok($$SELECT steadytext_rerank_docs_only('', ARRAY['a'])$$, '22023', 'Query cannot be empty');

-- When no daemon can answer: by words. The echo daemon can be asked for an error.
SET LOCAL client_min_messages = 'error';
-- Not auto: pgTAP writes down what it compared, and a statement that writes is given no fallback.
SET LOCAL steadytext.on_failure = 'fallback';
SELECT results_eq($$SELECT document, round(score::numeric, 3) FROM steadytext_rerank('!fault:error=broken Red Fish', ARRAY['green', 'a red fish', 'red'], task => 'x')$$,
    $$VALUES ('a red fish', 0.75), ('red', 0.40), ('green', 0.10)$$, 'words of the query that a document has');
SET LOCAL steadytext.on_failure = 'null';
SELECT results_eq($$SELECT document, score FROM steadytext_rerank('!fault:error=broken b', ARRAY['a', 'b'])$$, $$VALUES ('a', NULL::float8), ('b', NULL)$$,
    'or in the order they came, without scores');
SET LOCAL steadytext.on_failure = 'error';
SELECT throws_ok($$SELECT * FROM steadytext_rerank('!fault:error=broken', ARRAY['a'])$$, '38000', NULL, 'or an error');

SELECT is(count(*), 8::bigint, 'all are immutable and parallel safe') FROM pg_proc
WHERE proname ~ '^(steadytext|st)_rerank(_docs_only|_top_k|_batch)?$' AND provolatile = 'i' AND proparallel = 's';
SELECT has_function('public', 'steadytext_rerank', ARRAY['text', 'text[]', 'text', 'boolean', 'integer']);
SELECT results_eq($$SELECT document FROM steadytext_rerank('q', ARRAY['a', 'b'], NULL, NULL, NULL)$$, $$VALUES ('a'), ('b')$$, 'NULLs stand for the defaults');
SELECT is((SELECT count(*) FROM unnest(ARRAY['q', 'r']) q, steadytext_rerank(q, ARRAY['a'])), 2::bigint, 'a query of each row');

SELECT * FROM finish();
ROLLBACK;
