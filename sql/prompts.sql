-- The prompt registry: Jinja2 templates by name, in versions that never change, and labels that move between them.
--
-- Functions run with their caller's rights, so whoever may read the tables may render, and the tables are nobody's but
-- an administrator's until they are granted.

CREATE FUNCTION _steadytext.jinja_names(template text) RETURNS text[]
AS 'MODULE_PATHNAME', 'steadytext_jinja_names' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION _steadytext.jinja_names(text) IS 'The variables of a template; an error if it is none.';
REVOKE ALL ON FUNCTION _steadytext.jinja_names(text) FROM PUBLIC;

CREATE FUNCTION _steadytext.jinja_render(template text, variables jsonb, strict boolean) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_jinja_render' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION _steadytext.jinja_render(text, jsonb, boolean) IS
    'A template with its variables put in. It reaches nothing else, and its steps, memory, output and depth are bounded.';

-- ---- tables -----------------------------------------------------------------------------------------------------------

CREATE TABLE public.steadytext_prompts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug text NOT NULL CONSTRAINT steadytext_prompts_slug_key UNIQUE
        CONSTRAINT steadytext_prompts_slug_check CHECK (slug ~ '^[a-z0-9]+(?:-[a-z0-9]+)*$' AND length(slug) BETWEEN 3 AND 100),
    description text CONSTRAINT steadytext_prompts_description_check CHECK (length(description) <= 500),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL DEFAULT current_user,
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text NOT NULL DEFAULT current_user
);
CREATE INDEX idx_steadytext_prompts_created_at ON public.steadytext_prompts (created_at DESC);
COMMENT ON TABLE public.steadytext_prompts IS 'Prompts by name (slug). Their templates are in steadytext_prompt_versions.';

-- There is no foreign key: pg_restore -j brings the tables of an extension in any order. Triggers do its work.
CREATE TABLE public.steadytext_prompt_versions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    prompt_id uuid NOT NULL,
    version int NOT NULL CONSTRAINT steadytext_prompt_versions_version_check CHECK (version > 0),
    template text NOT NULL CONSTRAINT steadytext_prompt_versions_template_check CHECK (length(template) > 0),
    required_variables text[],
    metadata jsonb DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL DEFAULT current_user,
    is_active boolean NOT NULL DEFAULT false,
    CONSTRAINT steadytext_prompt_versions_prompt_id_version_key UNIQUE (prompt_id, version)
);
CREATE UNIQUE INDEX idx_steadytext_prompt_versions_prompt_id_active ON public.steadytext_prompt_versions (prompt_id) WHERE is_active;
CREATE INDEX idx_steadytext_prompt_versions_created_at ON public.steadytext_prompt_versions (created_at DESC);
COMMENT ON TABLE public.steadytext_prompt_versions IS
    'Versions of prompts. Nothing of a row changes but is_active, which a move of the label "active" sets, and a row goes only with its prompt.';
COMMENT ON COLUMN public.steadytext_prompt_versions.required_variables IS
    'Names that the template takes from its variables, those behind a default among them.';
COMMENT ON COLUMN public.steadytext_prompt_versions.is_active IS 'Whether it is the version that a call gets which names none.';

-- A label is where its last move has put it. The label "active" is the version with is_active.
CREATE TABLE public.steadytext_prompt_label_moves (
    id bigserial,
    prompt_id uuid NOT NULL,
    label text NOT NULL CHECK (label ~ '^[a-z0-9]+(?:-[a-z0-9]+)*$' AND length(label) <= 63),
    version int,
    from_version int,
    undoes bigint,
    moved_at timestamptz NOT NULL DEFAULT now(),
    moved_by text NOT NULL DEFAULT current_user,
    -- Moves of other prompts may have the same numbers, where a dump was restored beside them.
    PRIMARY KEY (prompt_id, id)
);
CREATE INDEX idx_steadytext_prompt_label_moves ON public.steadytext_prompt_label_moves (prompt_id, label, id DESC);
COMMENT ON TABLE public.steadytext_prompt_label_moves IS
    'Each move of a label of a prompt: to which version, from which, when and by whom. Rows are added, never changed.';
COMMENT ON COLUMN public.steadytext_prompt_label_moves.id IS 'Of two moves of a prompt the later one has the greater number.';
COMMENT ON COLUMN public.steadytext_prompt_label_moves.version IS 'NULL: the label was taken away.';
COMMENT ON COLUMN public.steadytext_prompt_label_moves.undoes IS 'The move that steadytext_prompt_rollback() took back by this one.';

SELECT pg_catalog.pg_extension_config_dump('public.steadytext_prompts', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_prompt_versions', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_prompt_label_moves', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_prompt_label_moves_id_seq', '');

-- ---- what a row must be, whoever writes it -------------------------------------------------------------------------------

-- The version where a label is; NULL: there is no such label.
CREATE FUNCTION _steadytext.prompt_label_place(prompt uuid, label text) RETURNS int
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN label = 'active'
        THEN (SELECT v.version FROM public.steadytext_prompt_versions v WHERE v.prompt_id = prompt AND v.is_active)
        ELSE (SELECT m.version FROM public.steadytext_prompt_label_moves m
              WHERE m.prompt_id = prompt AND m.label = prompt_label_place.label ORDER BY m.id DESC LIMIT 1) END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_label_place(uuid, text) FROM PUBLIC;

-- The number of the next move of a locked prompt. A dump may have set the sequence back.
CREATE FUNCTION _steadytext.prompt_next_move(prompt uuid) RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT greatest(nextval('public.steadytext_prompt_label_moves_id_seq'),
                    (SELECT max(m.id) + 1 FROM public.steadytext_prompt_label_moves m WHERE m.prompt_id = prompt))
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_next_move(uuid) FROM PUBLIC;

-- A move that somebody adds says what it does, not what its row claims: its number is the next, it begins where the
-- label is, and it leads to a version that is there.
CREATE FUNCTION _steadytext.prompt_move_check(move public.steadytext_prompt_label_moves) RETURNS public.steadytext_prompt_label_moves
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF move.prompt_id IS NULL THEN
        RETURN move;  -- the table refuses it
    END IF;
    -- Changes the prompt's row: so of two transactions that move its labels by snapshots of their own, the second fails.
    UPDATE public.steadytext_prompts p SET updated_at = clock_timestamp(), updated_by = current_user WHERE p.id = move.prompt_id;
    move.id := _steadytext.prompt_next_move(move.prompt_id);
    move.from_version := _steadytext.prompt_label_place(move.prompt_id, move.label);
    move.moved_by := current_user;
    move.moved_at := clock_timestamp();
    IF move.version IS NULL AND move.label = 'active' THEN
        RAISE EXCEPTION 'the label "active" cannot be taken away' USING ERRCODE = '22023';
    ELSIF move.version IS NOT NULL AND NOT EXISTS (
        SELECT FROM public.steadytext_prompt_versions v WHERE v.prompt_id = move.prompt_id AND v.version = move.version) THEN
        RAISE EXCEPTION 'there is no version % of the prompt', move.version USING ERRCODE = '23503';
    ELSIF move.version IS NOT DISTINCT FROM move.from_version THEN
        RAISE EXCEPTION 'the label is there already' USING ERRCODE = '23514';
    ELSIF move.undoes IS NOT NULL AND NOT EXISTS (
        SELECT FROM public.steadytext_prompt_label_moves m
        WHERE m.id = move.undoes AND m.prompt_id = move.prompt_id AND m.label = move.label AND m.from_version = move.version
          AND NOT EXISTS (SELECT FROM public.steadytext_prompt_label_moves u WHERE u.prompt_id = m.prompt_id AND u.undoes = m.id)) THEN
        RAISE EXCEPTION 'move % of the label is not undone by this one', move.undoes USING ERRCODE = '23503';
    END IF;
    RETURN move;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_move_check(public.steadytext_prompt_label_moves) FROM PUBLIC;

-- A superuser restores dumps: names and times of rows stay, and so does a template of the original that this version
-- cannot render.
CREATE FUNCTION _steadytext.prompt_row_check() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_restored CONSTANT boolean := pg_has_role('steadytext_owner', 'USAGE');
    next int;
BEGIN
    IF TG_TABLE_NAME = 'steadytext_prompt_versions' THEN
        BEGIN
            NEW.required_variables := _steadytext.jinja_names(NEW.template);
        EXCEPTION WHEN syntax_error OR feature_not_supported OR program_limit_exceeded THEN
            IF NOT is_restored THEN
                RAISE;
            END IF;
        END;
    END IF;
    IF NOT is_restored THEN
        IF TG_TABLE_NAME <> 'steadytext_prompts' THEN
            -- As in prompt_to_change(): changes of a prompt come one after the other.
            PERFORM FROM public.steadytext_prompts p WHERE p.id = NEW.prompt_id FOR UPDATE;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'there is no prompt with id %', NEW.prompt_id USING ERRCODE = '23503';
            END IF;
        END IF;
        IF TG_TABLE_NAME = 'steadytext_prompt_label_moves' THEN
            RETURN _steadytext.prompt_move_check(NEW);
        END IF;
        NEW.id := gen_random_uuid();
        NEW.created_by := current_user;
        NEW.created_at := clock_timestamp();
        IF TG_TABLE_NAME = 'steadytext_prompts' THEN
            NEW.updated_by := NEW.created_by;
            NEW.updated_at := NEW.created_at;
        ELSE
            SELECT coalesce(max(v.version), 0) + 1 INTO next FROM public.steadytext_prompt_versions v WHERE v.prompt_id = NEW.prompt_id;
            IF NEW.version <> next OR NEW.is_active THEN
                RAISE EXCEPTION 'the next version of the prompt is %, and not active yet', next USING ERRCODE = '55000',
                    HINT = 'steadytext_prompt_update() makes a new version and moves the label "active" to it.';
            END IF;
        END IF;
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_row_check() FROM PUBLIC;
CREATE TRIGGER check_row BEFORE INSERT ON public.steadytext_prompts FOR EACH ROW EXECUTE FUNCTION _steadytext.prompt_row_check();
CREATE TRIGGER check_row BEFORE INSERT ON public.steadytext_prompt_versions FOR EACH ROW EXECUTE FUNCTION _steadytext.prompt_row_check();
CREATE TRIGGER check_row BEFORE INSERT ON public.steadytext_prompt_label_moves FOR EACH ROW EXECUTE FUNCTION _steadytext.prompt_row_check();

-- The version with is_active is the one to which the last move of "active" leads, whoever adds the move.
CREATE FUNCTION _steadytext.prompt_activate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.steadytext_prompt_versions v SET is_active = false WHERE v.prompt_id = NEW.prompt_id AND v.is_active AND v.version <> NEW.version;
    UPDATE public.steadytext_prompt_versions v SET is_active = true WHERE v.prompt_id = NEW.prompt_id AND NOT v.is_active AND v.version = NEW.version;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_activate() FROM PUBLIC;
CREATE TRIGGER activate AFTER INSERT ON public.steadytext_prompt_label_moves FOR EACH ROW
    WHEN (NEW.label = 'active') EXECUTE FUNCTION _steadytext.prompt_activate();

-- Versions and moves go with their prompt, whoever deletes it.
CREATE FUNCTION _steadytext.prompt_gone() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM public.steadytext_prompt_label_moves;
        DELETE FROM public.steadytext_prompt_versions;
    ELSE
        DELETE FROM public.steadytext_prompt_label_moves WHERE prompt_id = OLD.id;
        DELETE FROM public.steadytext_prompt_versions WHERE prompt_id = OLD.id;
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_gone() FROM PUBLIC;
CREATE TRIGGER delete_versions AFTER DELETE ON public.steadytext_prompts FOR EACH ROW EXECUTE FUNCTION _steadytext.prompt_gone();
CREATE TRIGGER truncate_versions AFTER TRUNCATE ON public.steadytext_prompts FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.prompt_gone();

CREATE FUNCTION _steadytext.prompt_row_stays() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_TABLE_NAME = 'steadytext_prompts' THEN
        IF (NEW.id, NEW.slug, NEW.created_at, NEW.created_by) IS NOT DISTINCT FROM (OLD.id, OLD.slug, OLD.created_at, OLD.created_by) THEN
            NEW.updated_at := clock_timestamp();
            NEW.updated_by := current_user;
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'only the description of a prompt can be changed' USING ERRCODE = '55000';
    END IF;
    RAISE EXCEPTION '%', CASE TG_TABLE_NAME WHEN 'steadytext_prompt_versions' THEN 'versions of prompts cannot be changed' ELSE 'moves of labels cannot be changed' END
        USING ERRCODE = '55000', HINT = CASE TG_TABLE_NAME WHEN 'steadytext_prompt_versions'
            THEN 'steadytext_prompt_update() makes a new version; steadytext_prompt_delete() deletes a prompt with all of them.'
            ELSE 'steadytext_prompt_label_set() moves a label.' END;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_row_stays() FROM PUBLIC;
CREATE TRIGGER keep_row BEFORE UPDATE ON public.steadytext_prompts FOR EACH ROW EXECUTE FUNCTION _steadytext.prompt_row_stays();
CREATE TRIGGER keep_row BEFORE UPDATE OR DELETE ON public.steadytext_prompt_versions FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner') EXECUTE FUNCTION _steadytext.prompt_row_stays();
CREATE TRIGGER keep_row BEFORE UPDATE OR DELETE ON public.steadytext_prompt_label_moves FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner') EXECUTE FUNCTION _steadytext.prompt_row_stays();
CREATE TRIGGER keep_rows BEFORE TRUNCATE ON public.steadytext_prompt_versions FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.prompt_row_stays();
CREATE TRIGGER keep_rows BEFORE TRUNCATE ON public.steadytext_prompt_label_moves FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.prompt_row_stays();
