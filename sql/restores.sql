-- Triggers that let a dump be restored into tables that have rows already.

-- The tables are not empty when a dump brings its rows: CREATE EXTENSION has put the first settings there, and the
-- keeper writes rows during the restore. So a row that does not come from the keeper makes room for itself, or gives
-- way, instead of failing. With --use-set-session-authorization pg_restore acts as steadytext_owner, as the keeper does, but
-- with check_function_bodies off, as every dump has it.

-- PL/pgSQL makes the plans while the table has few rows, and keeps them for a restore of many: so they use the indexes.
-- No row is worth parallel workers.
CREATE FUNCTION _steadytext.make_room() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET max_parallel_workers_per_gather = 0
AS $$
BEGIN
    CASE TG_TABLE_NAME
    WHEN 'steadytext_config' THEN
        -- Replaces a first value that nobody has changed. A changed value is a conflict, as always.
        WITH gone AS (DELETE FROM public.steadytext_config c USING _steadytext.config_seed s
                      WHERE c.key = NEW.key AND s.key = c.key AND s.value = c.value RETURNING c.description)
        SELECT coalesce(NEW.description, (SELECT description FROM gone)) INTO NEW.description;
    WHEN 'steadytext_cache' THEN
        IF EXISTS (SELECT FROM public.steadytext_cache WHERE cache_key = NEW.cache_key) THEN
            RETURN NULL;
        END IF;
    WHEN 'steadytext_usage' THEN
        -- The row that is here may be the same one, restored before, or a part of it: so not the sum. The keeper adds to it afterwards.
        UPDATE public.steadytext_usage u
        SET prompt_tokens = greatest(u.prompt_tokens, NEW.prompt_tokens), completion_tokens = greatest(u.completion_tokens, NEW.completion_tokens),
            saved_tokens = greatest(u.saved_tokens, NEW.saved_tokens), calls = greatest(u.calls, NEW.calls), hits = greatest(u.hits, NEW.hits),
            failures = greatest(u.failures, NEW.failures), limited = greatest(u.limited, NEW.limited)
        WHERE u.day = NEW.day AND u.role_name = NEW.role_name AND u.database_name = NEW.database_name AND u.model = NEW.model;
        IF FOUND THEN
            RETURN NULL;
        END IF;
    WHEN 'steadytext_incidents' THEN
        -- An incident that is here already, or is open here, is skipped: the keeper writes the server's incidents into
        -- this database too.
        IF EXISTS (SELECT FROM public.steadytext_incidents i
                   WHERE i.condition = NEW.condition AND i.subject = NEW.subject AND i.opened_at = NEW.opened_at) THEN
            RETURN NULL;
        ELSIF NEW.closed_at IS NULL AND EXISTS (SELECT FROM public.steadytext_incidents i
                                             WHERE i.condition = NEW.condition AND i.subject = NEW.subject AND i.closed_at IS NULL) THEN
            RETURN NULL;
        END IF;
    END CASE;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION _steadytext.make_room() IS
    'Lets a row that is restored take the place of one that CREATE EXTENSION or the keeper has written, or join it.';
REVOKE ALL ON FUNCTION _steadytext.make_room() FROM PUBLIC;
CREATE FUNCTION _steadytext.keep_keeper_out() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_keep_keeper_out' LANGUAGE C;
COMMENT ON FUNCTION _steadytext.keep_keeper_out() IS
    'Before rows are restored: until the transaction ends the keeper writes none into the table.';
REVOKE ALL ON FUNCTION _steadytext.keep_keeper_out() FROM PUBLIC;
CREATE TRIGGER keep_keeper_out BEFORE INSERT ON public.steadytext_cache FOR EACH STATEMENT
    WHEN (current_user <> 'steadytext_owner' OR current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION _steadytext.keep_keeper_out();
CREATE TRIGGER keep_keeper_out BEFORE INSERT ON public.steadytext_usage FOR EACH STATEMENT
    WHEN (current_user <> 'steadytext_owner' OR current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION _steadytext.keep_keeper_out();
CREATE TRIGGER keep_keeper_out BEFORE INSERT ON public.steadytext_incidents FOR EACH STATEMENT
    WHEN (current_user <> 'steadytext_owner' OR current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION _steadytext.keep_keeper_out();
CREATE TRIGGER make_room BEFORE INSERT ON public.steadytext_config FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner' OR current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION _steadytext.make_room();
CREATE TRIGGER make_room BEFORE INSERT ON public.steadytext_cache FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner' OR current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION _steadytext.make_room();
CREATE TRIGGER make_room BEFORE INSERT ON public.steadytext_usage FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner' OR current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION _steadytext.make_room();
CREATE TRIGGER make_room BEFORE INSERT ON public.steadytext_incidents FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner' OR current_setting('check_function_bodies') = 'off') EXECUTE FUNCTION _steadytext.make_room();

-- Of two rows with one id, the second gets another, whoever adds it: a restore, or the keeper and sessions after a
-- dump has set a sequence back. It fires last, after the triggers that may change or skip the row.
CREATE FUNCTION _steadytext.take_free_id() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_take_free_id' LANGUAGE C;
COMMENT ON FUNCTION _steadytext.take_free_id() IS
    'Gives a row whose id is taken an id from 2^52 up, which no sequence and no dump gives.';
REVOKE ALL ON FUNCTION _steadytext.take_free_id() FROM PUBLIC;
CREATE TRIGGER take_free_id BEFORE INSERT ON public.steadytext_cache FOR EACH ROW EXECUTE FUNCTION _steadytext.take_free_id();
CREATE TRIGGER take_free_id BEFORE INSERT ON public.steadytext_incidents FOR EACH ROW EXECUTE FUNCTION _steadytext.take_free_id();
CREATE TRIGGER take_free_id BEFORE INSERT ON public.steadytext_queue FOR EACH ROW EXECUTE FUNCTION _steadytext.take_free_id();
