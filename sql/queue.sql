-- Asynchronous calls: the table that is their queue, and the functions that add, check and cancel calls. Sessions add
-- rows through these functions; the queue worker (src/queue) carries them out.

CREATE TABLE public.steadytext_queue (
    id bigserial PRIMARY KEY,
    request_id uuid NOT NULL DEFAULT gen_random_uuid(),
    request_type text NOT NULL CHECK (request_type IN ('generate', 'generate_json', 'generate_regex', 'generate_choice', 'batch_generate',
                                                       'embed', 'batch_embed', 'rerank', 'batch_rerank')),
    prompt text,
    prompts text[],
    params jsonb,
    priority int NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 10),
    user_id text NOT NULL DEFAULT current_user,
    session_id text,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
    result text,
    results text[],
    embedding public.vector,
    embeddings public.vector[],
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    completed_at timestamptz,
    processing_time_ms int,
    retry_count int NOT NULL DEFAULT 0,
    max_retries int NOT NULL DEFAULT 3 CHECK (max_retries >= 0),
    daemon_endpoint text,
    callback text,
    callback_error text,
    callback_state text CHECK (callback_state IN ('due', 'running', 'done', 'failed', 'held')),
    callback_began timestamptz,
    callback_tries int NOT NULL DEFAULT 0,
    callback_pid int,
    run_at timestamptz NOT NULL DEFAULT now(),
    worker_pid int,
    lease_until timestamptz,
    lost_count int NOT NULL DEFAULT 0,
    kill_count int NOT NULL DEFAULT 0,
    user_oid regrole DEFAULT quote_ident(current_user)::regrole,
    session_user_oid regrole DEFAULT quote_ident(session_user)::regrole CONSTRAINT steadytext_queue_session_user_oid_check CHECK (session_user_oid IS NOT NULL OR user_oid IS NULL),
    -- A minute's wait outweighs a step of priority. The order of two rows does not change with time, so an index keeps
    -- it.
    rank float8 NOT NULL GENERATED ALWAYS AS (priority - extract(epoch FROM run_at AT TIME ZONE 'UTC')::float8 / 60) STORED
-- Each page has room for a new version of its rows. The version that records the worker needs no index entry, as no
-- index has the status (HOT). The version that records the result needs an entry in every index, which is most of the
-- cost of a job: so the indexes are few.
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX idx_steadytext_queue_request_id ON public.steadytext_queue (request_id);
CREATE INDEX idx_steadytext_queue_user_created ON public.steadytext_queue (user_id, created_at DESC);
CREATE INDEX idx_steadytext_queue_callbacks ON public.steadytext_queue (user_oid, id) WHERE callback_state IN ('due', 'running');
CREATE INDEX idx_steadytext_queue_next ON public.steadytext_queue (session_user_oid, user_oid, rank DESC, id) WHERE completed_at IS NULL;
COMMENT ON TABLE public.steadytext_queue IS
    'Asynchronous calls: seen by the role that made them, carried out by the queue worker once committed, kept for steadytext.queue_retention.';
COMMENT ON COLUMN public.steadytext_queue.session_id IS 'The session that made the call, as %c in log_line_prefix.';
COMMENT ON COLUMN public.steadytext_queue.completed_at IS 'When it ended, however; NULL as long as it is pending or processing.';
COMMENT ON COLUMN public.steadytext_queue.user_id IS 'The name of the role that made the call, whose limits, cache and statistics are used.';
COMMENT ON COLUMN public.steadytext_queue.run_at IS 'Not before this time: put off by a failed attempt or a rate limit. infinity: it came with a restore or a copy, and is held.';
COMMENT ON COLUMN public.steadytext_queue.worker_pid IS 'The worker that has the row, while it renews the lease.';
COMMENT ON COLUMN public.steadytext_queue.lost_count IS 'How often a worker died while it had the row.';
COMMENT ON COLUMN public.steadytext_queue.callback IS 'Function called with the request_id, by a session of user_oid, once the result is recorded.';
COMMENT ON COLUMN public.steadytext_queue.callback_error IS 'SQLSTATE and message of why the callback failed.';
COMMENT ON COLUMN public.steadytext_queue.callback_state IS
    'NULL until the result is recorded, or without a callback; then due, running, and done or failed. done commits with what the callback did. held: it came with a restore or a copy.';
COMMENT ON COLUMN public.steadytext_queue.callback_began IS 'When the callback was last begun.';
COMMENT ON COLUMN public.steadytext_queue.callback_tries IS 'How often it was begun: again only if its worker was ended.';
COMMENT ON COLUMN public.steadytext_queue.callback_pid IS 'The callback worker that has it.';
COMMENT ON COLUMN public.steadytext_queue.kill_count IS 'How often a worker died while at work on this very row; the second time it is failed.';
COMMENT ON COLUMN public.steadytext_queue.user_oid IS
    'The role that made the call, which sees it, and as which it is carried out; user_id is its name then. A role that has gone is a number here, and a new one of its name another role.';
COMMENT ON COLUMN public.steadytext_queue.session_user_oid IS 'The role that had connected: its share of the queue, of the worker and of the limit of "*" is used, whatever role it acted as.';

ALTER TABLE public.steadytext_queue ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_requests ON public.steadytext_queue FOR SELECT USING (user_oid = quote_ident(current_user)::regrole);

-- In a dump user_oid is the role's name or, if the role was dropped, its OID. Where the dump is restored, that OID may
-- be any role's.
CREATE FUNCTION _steadytext.queue_row_check() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_queue_row_check' LANGUAGE C;
COMMENT ON FUNCTION _steadytext.queue_row_check() IS
    'Makes a row of steadytext_queue nobody''s if its user_oid is not the role that user_id names; a row without a session_user_oid gets its user_oid; holds what a dump or logical replication brings.';
REVOKE ALL ON FUNCTION _steadytext.queue_row_check() FROM PUBLIC;
CREATE TRIGGER queue_row_check BEFORE INSERT ON public.steadytext_queue
    FOR EACH ROW EXECUTE FUNCTION _steadytext.queue_row_check();
CREATE TRIGGER hold_replicated BEFORE UPDATE ON public.steadytext_queue
    FOR EACH ROW EXECUTE FUNCTION _steadytext.queue_row_check();
ALTER TABLE public.steadytext_queue ENABLE ALWAYS TRIGGER queue_row_check, ENABLE REPLICA TRIGGER hold_replicated;

-- Of which database the queue is: a copy of a database finds another's name here, and holds what was copied. A dump does
-- not have this table.
CREATE TABLE _steadytext.queue_home (system_identifier bigint NOT NULL, database oid NOT NULL);
INSERT INTO _steadytext.queue_home
    SELECT c.system_identifier, d.oid FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d WHERE d.datname = current_database();
COMMENT ON TABLE _steadytext.queue_home IS 'The server and the database whose queue this is: the worker writes it, and holds the calls of a copy.';

-- A role that may write steadytext_queue could name any role and any function there. So each role's request for a
-- callback is here, where only the C code of steadytext_enqueue() and superusers add rows. A callback without its row
-- here is not called.
CREATE TABLE _steadytext.queue_callbacks (request_id uuid PRIMARY KEY, role regrole NOT NULL, callback text NOT NULL, owner regrole NOT NULL) USING heap;
COMMENT ON TABLE _steadytext.queue_callbacks IS
    'Which role asked for which callback of which request: the proof without which a callback is not called. It belongs to a superuser.';
COMMENT ON COLUMN _steadytext.queue_callbacks.owner IS 'Whose function it was: another role''s of the same name is not called.';

-- The proof goes with its call, whoever deletes that. A dump has the proofs before the calls, so a proof without a call
-- is not one too many.
CREATE FUNCTION _steadytext.queue_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM _steadytext.queue_callbacks;
    ELSE
        DELETE FROM _steadytext.queue_callbacks c USING old_rows o WHERE c.request_id = o.request_id AND o.callback IS NOT NULL;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION _steadytext.queue_deleted() IS 'Deletes the proofs of callbacks whose calls are deleted.';
REVOKE ALL ON FUNCTION _steadytext.queue_deleted() FROM PUBLIC;
CREATE TRIGGER queue_deleted AFTER DELETE ON public.steadytext_queue REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.queue_deleted();
CREATE TRIGGER queue_truncated AFTER TRUNCATE ON public.steadytext_queue
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.queue_deleted();

CREATE VIEW public.steadytext_queue_dead WITH (security_barrier) AS
    SELECT request_id, request_type, user_id, prompt, prompts, params, priority, error, retry_count, lost_count, created_at, started_at,
           completed_at
    FROM public.steadytext_queue
    WHERE status = 'failed'
      AND (user_oid = quote_ident(current_user)::regrole OR (SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user));
COMMENT ON VIEW public.steadytext_queue_dead IS
    'Asynchronous calls that were given up; steadytext_queue_requeue() gives them another chance. A role sees its own.';

SELECT pg_catalog.pg_extension_config_dump('public.steadytext_queue', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_queue_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_steadytext.queue_callbacks', '');

-- queue_add() adds a row as the table's owner, for every caller; user_id has the caller's name. Each role reads its own
-- rows by itself.

CREATE FUNCTION _steadytext.queue_add(
    request_type text, prompt text, prompts text[], params jsonb, priority int, max_retries int, callback regprocedure, channel text
) RETURNS uuid
AS 'MODULE_PATHNAME', 'steadytext_queue_add' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION _steadytext.queue_add(text, text, text[], jsonb, int, int, regprocedure, text) IS
    'Adds a row to steadytext_queue for the current role, and wakes the worker at commit.';

CREATE FUNCTION _steadytext.queue_look() RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_queue_look' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION _steadytext.queue_look() IS
    'Makes the worker look at the queue once this transaction has committed: rows have come by another way than the functions.';
REVOKE ALL ON FUNCTION _steadytext.queue_look() FROM PUBLIC;

-- Rows that are written by hand, copied or restored are told as those of the functions. The functions and the worker
-- act as steadytext_owner, and tell by themselves; pg_restore may act as it, too (restores.sql).
CREATE FUNCTION _steadytext.queue_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_queue_changed' LANGUAGE C;
COMMENT ON FUNCTION _steadytext.queue_changed() IS 'Makes the worker look at the queue once rows that were written by hand are committed.';
REVOKE ALL ON FUNCTION _steadytext.queue_changed() FROM PUBLIC;
CREATE TRIGGER queue_changed AFTER INSERT OR UPDATE ON public.steadytext_queue FOR EACH STATEMENT
    WHEN (current_user <> 'steadytext_owner' OR current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION _steadytext.queue_changed();

CREATE FUNCTION _steadytext.queue_wait(request_ids uuid[], timeout_seconds int) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_queue_wait' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION _steadytext.queue_wait(uuid[], int) IS
    'Waits until all have ended; false if they have not in time. Raises at once where they cannot: added by this transaction.';

CREATE FUNCTION _steadytext.queue_check(request_type text, params jsonb) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_queue_check' LANGUAGE C IMMUTABLE;
COMMENT ON FUNCTION _steadytext.queue_check(text, jsonb) IS
    'Raises unless params are arguments of the function that the type of request stands for, each as it takes them.';

CREATE FUNCTION public.steadytext_enqueue(
    request_type text, params jsonb, priority int DEFAULT NULL, max_retries int DEFAULT 3, callback regprocedure DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_enqueue', request_type, params, priority, max_retries, callback);
    PERFORM _steadytext.queue_check(request_type, params);
    RETURN _steadytext.queue_add(request_type, params ->> 'prompt',
        CASE WHEN request_type IN ('batch_generate', 'batch_embed')
             THEN ARRAY(SELECT jsonb_array_elements_text(coalesce(params -> 'prompts', params -> 'texts'))) END,
        CASE WHEN request_type IN ('batch_generate', 'batch_embed') THEN params - 'prompts' - 'texts' ELSE params END,
        priority, max_retries, callback, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_enqueue(text, jsonb, int, int, regprocedure) IS
    'Queues a call of any kind; its callback, a function of one uuid, is called as the caller once it has ended.';

CREATE FUNCTION _steadytext.generate_async(prompt text, max_tokens int) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_async', prompt, max_tokens);
    RETURN _steadytext.queue_add('generate', prompt, NULL,
        jsonb_build_object('max_tokens', max_tokens, 'use_cache', true, 'seed', NULL), NULL, NULL, NULL, 'steadytext_queue');
END
$$;

CREATE FUNCTION public.steadytext_generate_async(prompt text, max_tokens int DEFAULT 512) RETURNS uuid
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.generate_async(prompt, max_tokens) $$;
COMMENT ON FUNCTION public.steadytext_generate_async(text, int) IS 'Queues a generation; it begins once the transaction commits.';

CREATE FUNCTION _steadytext.generate_batch_async(prompts text[], max_tokens int) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_batch_async', prompts, max_tokens);
    RETURN ARRAY(SELECT _steadytext.generate_async(p, max_tokens) FROM unnest(prompts) WITH ORDINALITY u (p, n) ORDER BY n);
END
$$;

CREATE FUNCTION public.steadytext_generate_batch_async(prompts text[], max_tokens int DEFAULT 512) RETURNS uuid[]
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.generate_batch_async(prompts, max_tokens) $$;
COMMENT ON FUNCTION public.steadytext_generate_batch_async(text[], int) IS 'Queues up to 100 generations, one request each.';

CREATE FUNCTION public.steadytext_generate_json_async(
    prompt text, schema jsonb, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_json_async', prompt, schema, max_tokens, use_cache, seed);
    RETURN _steadytext.queue_add('generate_json', prompt, NULL,
        jsonb_build_object('schema', schema, 'max_tokens', max_tokens, 'use_cache', use_cache, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_json_async(text, jsonb, int, boolean, int) IS 'Queues a generation of JSON that satisfies the schema.';

CREATE FUNCTION public.steadytext_generate_json_async(
    prompt text, schema json, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_json_async', prompt, schema::text, max_tokens, use_cache, seed);
    RETURN _steadytext.queue_add('generate_json', prompt, NULL,
        jsonb_build_object('schema', schema::text, 'max_tokens', max_tokens, 'use_cache', use_cache, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_json_async(text, json, int, boolean, int) IS 'The same, its members in the order of the schema''s.';

CREATE FUNCTION public.steadytext_generate_json_async(
    prompt text, schema text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    why text;
BEGIN
    PERFORM _steadytext.check('steadytext_generate_json_async', prompt, schema, max_tokens, use_cache, seed);
    BEGIN
        schema := schema::json::text;
    EXCEPTION WHEN invalid_text_representation THEN
        GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
        RAISE EXCEPTION 'the schema is not valid JSON' USING ERRCODE = 'invalid_text_representation', DETAIL = why;
    END;
    RETURN _steadytext.queue_add('generate_json', prompt, NULL,
        jsonb_build_object('schema', schema, 'max_tokens', max_tokens, 'use_cache', use_cache, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_json_async(text, text, int, boolean, int) IS 'The same of a schema written as a literal or text, its members in its order.';

CREATE FUNCTION public.steadytext_generate_regex_async(
    prompt text, pattern text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_regex_async', prompt, pattern, max_tokens, use_cache, seed);
    RETURN _steadytext.queue_add('generate_regex', prompt, NULL,
        jsonb_build_object('pattern', pattern, 'max_tokens', max_tokens, 'use_cache', use_cache, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_regex_async(text, text, int, boolean, int) IS 'Queues a generation of a text that the pattern matches.';

CREATE FUNCTION public.steadytext_generate_choice_async(
    prompt text, choices text[], use_cache boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_choice_async', prompt, choices, use_cache, seed);
    RETURN _steadytext.queue_add('generate_choice', prompt, NULL,
        jsonb_build_object('choices', choices, 'use_cache', use_cache, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_choice_async(text, text[], boolean, int) IS 'Queues a choice.';

CREATE FUNCTION _steadytext.embed_async(text_input text, use_cache boolean, seed int, model text, unsafe_mode boolean) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    params CONSTANT jsonb := jsonb_build_object('text_input', text_input, 'use_cache', use_cache, 'seed', seed, 'model', model,
                                                'unsafe_mode', unsafe_mode);
BEGIN
    PERFORM _steadytext.check('steadytext_embed_async', text_input, use_cache, seed, model, unsafe_mode);
    PERFORM _steadytext.queue_check('embed', params);
    RETURN _steadytext.queue_add('embed', NULL, NULL, params, NULL, NULL, NULL, 'steadytext_async');
END
$$;

CREATE FUNCTION public.steadytext_embed_async(
    text_input text, use_cache boolean DEFAULT true, seed int DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS uuid
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.embed_async(text_input, use_cache, seed, model, unsafe_mode) $$;
COMMENT ON FUNCTION public.steadytext_embed_async(text, boolean, int, text, boolean) IS 'Queues an embedding; steadytext_check_async() has it.';

CREATE FUNCTION _steadytext.embed_batch_async(texts text[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_embed_batch_async', texts);
    RETURN ARRAY(SELECT _steadytext.queue_add('embed', t, NULL, NULL, NULL, NULL, NULL, 'steadytext_queue')
                 FROM unnest(texts) WITH ORDINALITY u (t, n) ORDER BY n);
END
$$;

CREATE FUNCTION public.steadytext_embed_batch_async(texts text[]) RETURNS uuid[]
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.embed_batch_async(texts) $$;
COMMENT ON FUNCTION public.steadytext_embed_batch_async(text[]) IS 'Queues embeddings, one request each.';

CREATE FUNCTION _steadytext.rerank_async(query text, documents text[], task text, return_scores boolean, seed int) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_rerank_async', query, documents, task, return_scores, seed);
    RETURN _steadytext.queue_add('rerank', NULL, NULL, jsonb_build_object('query', query, 'documents', documents, 'task', task,
        'return_scores', return_scores, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue_notify');
END
$$;

CREATE FUNCTION public.steadytext_rerank_async(
    query text, documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.rerank_async(query, documents, task, return_scores, seed) $$;
COMMENT ON FUNCTION public.steadytext_rerank_async(text, text[], text, boolean, int) IS
    'Queues a ranking; its result is a JSON array of [document, score], or of documents.';

CREATE FUNCTION _steadytext.rerank_batch_async(queries text[], documents text[], task text, return_scores boolean, seed int) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_rerank_batch_async', queries, documents, task, return_scores, seed);
    RETURN ARRAY(SELECT _steadytext.queue_add('batch_rerank', NULL, NULL, jsonb_build_object('query', q, 'documents', documents,
                     'task', task, 'return_scores', return_scores, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue_notify')
                 FROM unnest(queries) WITH ORDINALITY u (q, n) ORDER BY n);
END
$$;

CREATE FUNCTION public.steadytext_rerank_batch_async(
    queries text[], documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid[]
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.rerank_batch_async(queries, documents, task, return_scores, seed) $$;
COMMENT ON FUNCTION public.steadytext_rerank_batch_async(text[], text[], text, boolean, int) IS 'Queues a ranking for each query.';

CREATE FUNCTION _steadytext.check_async(request_id uuid)
RETURNS TABLE (status text, result text, results text[], embedding public.vector, embeddings public.vector[], error text,
               created_at timestamptz, completed_at timestamptz, processing_time_ms int, request_type text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT q.status, q.result, q.results, q.embedding, q.embeddings, q.error, q.created_at, q.completed_at, q.processing_time_ms, q.request_type
    FROM public.steadytext_queue q WHERE q.request_id = check_async.request_id
$$;

CREATE FUNCTION public.steadytext_check_async(request_id uuid)
RETURNS TABLE (status text, result text, results text[], embedding public.vector, embeddings public.vector[], error text,
               created_at timestamptz, completed_at timestamptz, processing_time_ms int, request_type text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$ SELECT * FROM _steadytext.check_async(request_id) $$;
COMMENT ON FUNCTION public.steadytext_check_async(uuid) IS 'What has become of an asynchronous call of one''s own; no row if it is unknown.';

-- VOLATILE, so it sees calls that the same statement has queued.
CREATE FUNCTION _steadytext.check_async_batch(request_ids uuid[])
RETURNS TABLE (request_id uuid, status text, result text, error text, completed_at timestamptz)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT q.request_id, q.status, q.result, q.error, q.completed_at
    FROM unnest(request_ids) WITH ORDINALITY u (wanted, n) JOIN public.steadytext_queue q ON q.request_id = u.wanted ORDER BY n
$$;

CREATE FUNCTION public.steadytext_check_async_batch(request_ids uuid[])
RETURNS TABLE (request_id uuid, status text, result text, error text, completed_at timestamptz)
LANGUAGE sql VOLATILE
AS $$ SELECT * FROM _steadytext.check_async_batch(request_ids) $$;
COMMENT ON FUNCTION public.steadytext_check_async_batch(uuid[]) IS 'What has become of several asynchronous calls, in the order asked.';

CREATE FUNCTION _steadytext.get_async_result(request_id uuid, timeout_seconds int) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seconds CONSTANT int := coalesce(timeout_seconds, 30);
    found_row record;
BEGIN
    PERFORM _steadytext.check('steadytext_get_async_result', request_id, timeout_seconds);
    PERFORM _steadytext.queue_wait(ARRAY[request_id], seconds);
    SELECT q.status, q.result, q.error INTO found_row
        FROM public.steadytext_queue q WHERE q.request_id = get_async_result.request_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Request ID % not found', request_id USING ERRCODE = 'P0002';
    END IF;
    CASE found_row.status
        WHEN 'completed' THEN RETURN found_row.result;
        WHEN 'failed' THEN RAISE EXCEPTION 'Async request failed: %', found_row.error USING ERRCODE = '38000';
        WHEN 'cancelled' THEN RAISE EXCEPTION 'Async request was cancelled' USING ERRCODE = '38000';
        ELSE RAISE EXCEPTION 'Timeout waiting for async result (% seconds)', seconds USING ERRCODE = 'HYT00';
    END CASE;
END
$$;

CREATE FUNCTION public.steadytext_get_async_result(request_id uuid, timeout_seconds int DEFAULT 30) RETURNS text
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.get_async_result(request_id, timeout_seconds) $$;
COMMENT ON FUNCTION public.steadytext_get_async_result(uuid, int) IS
    'Waits for an asynchronous call and gives its text; not in the transaction that queued it, which nobody else can see.';

CREATE FUNCTION public.steadytext_get_async_results(request_ids uuid[], timeout_seconds int DEFAULT 30)
RETURNS TABLE (request_id uuid, status text, result text, error text, completed_at timestamptz)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_get_async_results', request_ids, timeout_seconds);
    PERFORM _steadytext.queue_wait(request_ids, coalesce(timeout_seconds, 30));
    RETURN QUERY SELECT * FROM _steadytext.check_async_batch(request_ids);
END
$$;
COMMENT ON FUNCTION public.steadytext_get_async_results(uuid[], int) IS
    'Waits until all have ended or the time is over; then what steadytext_check_async_batch() gives.';

CREATE FUNCTION public.steadytext_cancel_async(request_id uuid) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_queue_cancel' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_cancel_async(uuid) IS
    'Cancels an asynchronous call of one''s own, also at the daemon; false if it has ended or is unknown.';

CREATE FUNCTION public.steadytext_queue_requeue(request_ids uuid[]) RETURNS int
AS 'MODULE_PATHNAME', 'steadytext_queue_requeue' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_queue_requeue(uuid[]) IS
    'Queues failed and cancelled calls of one''s own anew, with all their attempts; how many.';

-- BEGIN ATOMIC binds a body to the table itself, as in sql/cache.sql.
CREATE FUNCTION _steadytext.queue_held() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT count(*) FROM public.steadytext_queue q
    WHERE (q.completed_at IS NULL AND q.status = 'pending' AND q.run_at = 'infinity') OR q.callback_state = 'held';
END;
COMMENT ON FUNCTION _steadytext.queue_held() IS 'How many calls and callbacks steadytext_queue_release() would let go on.';
REVOKE ALL ON FUNCTION _steadytext.queue_held() FROM PUBLIC;

CREATE FUNCTION _steadytext.queue_release() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT _steadytext.queue_look();
    WITH released AS (
        UPDATE public.steadytext_queue q
        SET run_at = CASE WHEN q.status = 'pending' THEN now() ELSE q.run_at END,
            callback_state = CASE q.callback_state WHEN 'held' THEN 'due' ELSE q.callback_state END
        WHERE (q.completed_at IS NULL AND q.status = 'pending' AND q.run_at = 'infinity') OR q.callback_state = 'held'
        RETURNING 1)
    SELECT count(*) FROM released;
END;
REVOKE ALL ON FUNCTION _steadytext.queue_release() FROM PUBLIC;

CREATE FUNCTION public.steadytext_queue_release() RETURNS bigint
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.queue_release() $$;
COMMENT ON FUNCTION public.steadytext_queue_release() IS
    'Lets the calls and callbacks go on that came with a restore or a copy of a database, and are held; how many.';
REVOKE ALL ON FUNCTION public.steadytext_queue_release() FROM PUBLIC;
