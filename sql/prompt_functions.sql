-- The functions of the prompt registry: writing, labels, reading, asking by a prompt. The tables are in prompts.sql.

-- ---- writing ------------------------------------------------------------------------------------------------------------

CREATE FUNCTION public._get_next_version(p_prompt_id uuid) RETURNS int
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(max(version), 0) + 1 FROM public.steadytext_prompt_versions WHERE prompt_id = p_prompt_id $$;
COMMENT ON FUNCTION public._get_next_version(uuid) IS 'The number of a prompt''s next version.';
REVOKE ALL ON FUNCTION public._get_next_version(uuid) FROM PUBLIC;

CREATE FUNCTION _steadytext.jinja_check(template text)
RETURNS TABLE (is_valid boolean, required_variables text[], error_message text)
LANGUAGE plpgsql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT true, _steadytext.jinja_names(template), NULL::text WHERE template IS NOT NULL;
EXCEPTION WHEN syntax_error OR feature_not_supported OR program_limit_exceeded THEN
    RETURN QUERY SELECT false, NULL::text[], regexp_replace(sqlerrm, '^Invalid Jinja2 template: ', '');
END
$$;
REVOKE ALL ON FUNCTION _steadytext.jinja_check(text) FROM PUBLIC;

CREATE FUNCTION public._validate_jinja2_template(template text)
RETURNS TABLE (is_valid boolean, required_variables text[], error_message text)
LANGUAGE sql VOLATILE
AS $$ SELECT * FROM _steadytext.jinja_check(template) $$;
COMMENT ON FUNCTION public._validate_jinja2_template(text) IS 'Whether a text is a template, with its variables or what is wrong.';
REVOKE ALL ON FUNCTION public._validate_jinja2_template(text) FROM PUBLIC;

-- The prompt's row, locked until the transaction ends: changes of a prompt come one after the other.
CREATE FUNCTION _steadytext.prompt_to_change(slug text) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_id uuid;
BEGIN
    SELECT p.id INTO found_id FROM public.steadytext_prompts p WHERE p.slug = prompt_to_change.slug FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Prompt with slug "%" not found', slug USING ERRCODE = 'P0002';
    END IF;
    RETURN found_id;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_to_change(text) FROM PUBLIC;

-- Puts a label of a locked prompt to a version, or away; returns the version where it was.
CREATE FUNCTION _steadytext.prompt_label_move(prompt uuid, label text, version int, undoes bigint) RETURNS int
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before CONSTANT int := _steadytext.prompt_label_place(prompt, label);
BEGIN
    IF before IS DISTINCT FROM version THEN
        INSERT INTO public.steadytext_prompt_label_moves (id, prompt_id, label, version, from_version, undoes)
            VALUES (_steadytext.prompt_next_move(prompt), prompt, prompt_label_move.label, prompt_label_move.version, before, prompt_label_move.undoes);
        UPDATE public.steadytext_prompts p SET updated_at = clock_timestamp(), updated_by = current_user WHERE p.id = prompt;
    END IF;
    RETURN before;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_label_move(uuid, text, int, bigint) FROM PUBLIC;

CREATE FUNCTION _steadytext.prompt_create(slug text, template text, description text, metadata jsonb) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made uuid;
    names text[];
BEGIN
    PERFORM _steadytext.check('steadytext_prompt_create', slug, template, description, metadata);
    names := _steadytext.jinja_names(template);
    INSERT INTO public.steadytext_prompts AS p (slug, description) VALUES (prompt_create.slug, prompt_create.description)
        ON CONFLICT ON CONSTRAINT steadytext_prompts_slug_key DO NOTHING RETURNING p.id INTO made;
    IF made IS NULL THEN
        RAISE EXCEPTION 'Prompt with slug "%" already exists', slug USING ERRCODE = '23505', HINT = 'steadytext_prompt_update() makes a new version of it.';
    END IF;
    INSERT INTO public.steadytext_prompt_versions (prompt_id, version, template, required_variables, metadata)
        VALUES (made, 1, prompt_create.template, names, coalesce(prompt_create.metadata, '{}'));
    PERFORM _steadytext.prompt_label_move(made, 'active', 1, NULL);
    RETURN made;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_create(text, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION public.steadytext_prompt_create(slug text, template text, description text DEFAULT NULL, metadata jsonb DEFAULT '{}') RETURNS uuid
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.prompt_create(slug, template, description, metadata) $$;
COMMENT ON FUNCTION public.steadytext_prompt_create(text, text, text, jsonb) IS
    'A new prompt with a Jinja2 template as its first version; its id.';
REVOKE ALL ON FUNCTION public.steadytext_prompt_create(text, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION _steadytext.prompt_update(slug text, template text, metadata jsonb) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    prompt uuid;
    number int;
    made uuid;
    names text[];
BEGIN
    PERFORM _steadytext.check('steadytext_prompt_update', slug, template, metadata);
    names := _steadytext.jinja_names(template);
    prompt := _steadytext.prompt_to_change(slug);
    SELECT coalesce(max(v.version), 0) + 1 INTO number FROM public.steadytext_prompt_versions v WHERE v.prompt_id = prompt;
    INSERT INTO public.steadytext_prompt_versions AS v (prompt_id, version, template, required_variables, metadata)
        VALUES (prompt, number, prompt_update.template, names, coalesce(prompt_update.metadata, '{}')) RETURNING v.id INTO made;
    PERFORM _steadytext.prompt_label_move(prompt, 'active', number, NULL);
    RETURN made;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_update(text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION public.steadytext_prompt_update(slug text, template text, metadata jsonb DEFAULT '{}') RETURNS uuid
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.prompt_update(slug, template, metadata) $$;
COMMENT ON FUNCTION public.steadytext_prompt_update(text, text, jsonb) IS
    'A new version of a prompt, which becomes the active one; the version''s id. Metadata is not inherited.';
REVOKE ALL ON FUNCTION public.steadytext_prompt_update(text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION _steadytext.prompt_delete(slug text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_prompt_delete', slug);
    DELETE FROM public.steadytext_prompts p WHERE p.slug = prompt_delete.slug;
    IF FOUND AND has_column_privilege('public.steadytext_audit_log', 'event_type', 'INSERT') THEN
        INSERT INTO public.steadytext_audit_log (event_type, details) VALUES ('prompt_delete', jsonb_build_object('slug', slug));
        RETURN true;
    END IF;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_delete(text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_prompt_delete(slug text) RETURNS boolean
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.prompt_delete(slug) $$;
COMMENT ON FUNCTION public.steadytext_prompt_delete(text) IS 'Deletes a prompt with its versions and labels; false if there is none.';
REVOKE ALL ON FUNCTION public.steadytext_prompt_delete(text) FROM PUBLIC;

-- ---- labels -------------------------------------------------------------------------------------------------------------

CREATE FUNCTION _steadytext.prompt_label_set(slug text, label text, version int) RETURNS int
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    prompt uuid;
BEGIN
    PERFORM _steadytext.check('steadytext_prompt_label_set', slug, label, version);
    prompt := _steadytext.prompt_to_change(slug);
    IF version IS NULL AND label = 'active' THEN
        RAISE EXCEPTION 'the label "active" cannot be taken away' USING ERRCODE = '22023';
    ELSIF version IS NOT NULL AND NOT EXISTS (
        SELECT FROM public.steadytext_prompt_versions v WHERE v.prompt_id = prompt AND v.version = prompt_label_set.version) THEN
        RAISE EXCEPTION 'Version % not found for prompt "%"', version, slug USING ERRCODE = 'P0002';
    END IF;
    RETURN _steadytext.prompt_label_move(prompt, label, version, NULL);
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_label_set(text, text, int) FROM PUBLIC;

CREATE FUNCTION public.steadytext_prompt_label_set(slug text, label text, version int) RETURNS int
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.prompt_label_set(slug, label, version) $$;
COMMENT ON FUNCTION public.steadytext_prompt_label_set(text, text, int) IS
    'Moves a label such as ''production'' to a version of a prompt, NULL takes it away; the version where it was. ''active'' is what calls get that name no version.';
REVOKE ALL ON FUNCTION public.steadytext_prompt_label_set(text, text, int) FROM PUBLIC;

CREATE FUNCTION _steadytext.prompt_rollback(slug text, label text) RETURNS int
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    prompt uuid;
    last record;
BEGIN
    PERFORM _steadytext.check('steadytext_prompt_rollback', slug, label);
    prompt := _steadytext.prompt_to_change(slug);
    -- The last move that is neither taken back nor takes one back: so several calls go back step by step.
    SELECT m.* INTO last FROM public.steadytext_prompt_label_moves m
    WHERE m.prompt_id = prompt AND m.label = prompt_rollback.label AND m.undoes IS NULL
      AND NOT EXISTS (SELECT FROM public.steadytext_prompt_label_moves u WHERE u.prompt_id = prompt AND u.undoes = m.id)
    ORDER BY m.id DESC LIMIT 1;
    IF last.id IS NULL OR last.from_version IS NULL THEN
        RAISE EXCEPTION 'label "%" of prompt "%" has no earlier version', label, slug USING ERRCODE = 'P0002',
            HINT = 'steadytext_prompt_label_history() shows its moves.';
    END IF;
    PERFORM _steadytext.prompt_label_move(prompt, label, last.from_version, last.id);
    RETURN last.from_version;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.prompt_rollback(text, text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_prompt_rollback(slug text, label text DEFAULT 'active') RETURNS int
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.prompt_rollback(slug, label) $$;
COMMENT ON FUNCTION public.steadytext_prompt_rollback(text, text) IS
    'Takes back the last move of a label, called again the one before; the version where the label is then.';
REVOKE ALL ON FUNCTION public.steadytext_prompt_rollback(text, text) FROM PUBLIC;

-- ---- reading ------------------------------------------------------------------------------------------------------------

-- A version by its number or by a label; by neither, the active one.
CREATE FUNCTION _steadytext.prompt_version(slug text, version int, label text) RETURNS public.steadytext_prompt_versions
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    prompt uuid;
    number int := version;
    found_row record;
BEGIN
    IF version IS NOT NULL AND label IS NOT NULL THEN
        RAISE EXCEPTION 'version and label cannot both be given' USING ERRCODE = '22023';
    END IF;
    SELECT p.id INTO prompt FROM public.steadytext_prompts p WHERE p.slug = prompt_version.slug;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Prompt with slug "%" not found', slug USING ERRCODE = 'P0002';
    END IF;
    IF label <> 'active' THEN
        SELECT m.version INTO number FROM public.steadytext_prompt_label_moves m
        WHERE m.prompt_id = prompt AND m.label = prompt_version.label ORDER BY m.id DESC LIMIT 1;
        IF number IS NULL THEN
            RAISE EXCEPTION 'Label "%" not found for prompt "%"', label, slug USING ERRCODE = 'P0002';
        END IF;
    END IF;
    SELECT v.* INTO found_row FROM public.steadytext_prompt_versions v
    WHERE v.prompt_id = prompt AND CASE WHEN number IS NULL THEN v.is_active ELSE v.version = number END;
    IF NOT FOUND THEN
        IF number IS NULL THEN
            RAISE EXCEPTION 'No active version found for prompt "%"', slug USING ERRCODE = 'P0002',
                HINT = 'steadytext_prompt_label_set(slug, ''active'', version) chooses one.';
        END IF;
        RAISE EXCEPTION 'Version % not found for prompt "%"', number, slug USING ERRCODE = 'P0002';
    END IF;
    RETURN found_row;
END
$$;

CREATE FUNCTION public.steadytext_prompt_get(slug text, version int DEFAULT NULL)
RETURNS TABLE (prompt_id uuid, version_num int, template text, required_variables text[], metadata jsonb, created_at timestamptz, created_by text)
LANGUAGE plpgsql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_prompt_get', slug, version);
    RETURN QUERY SELECT v.prompt_id, v.version, v.template, v.required_variables, v.metadata, v.created_at, v.created_by
                 FROM _steadytext.prompt_version(slug, version, NULL) v;
END
$$;
COMMENT ON FUNCTION public.steadytext_prompt_get(text, int) IS 'A version of a prompt, the active one unless a number is given.';

CREATE FUNCTION public.steadytext_prompt_render(slug text, variables jsonb, version int DEFAULT NULL, strict boolean DEFAULT true) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_prompt_render', slug, variables, version, strict);
    RETURN (SELECT _steadytext.jinja_render(v.template, variables, strict) FROM _steadytext.prompt_version(slug, version, NULL) v);
END
$$;
COMMENT ON FUNCTION public.steadytext_prompt_render(text, jsonb, int, boolean) IS
    'A prompt with its variables put in. strict: all variables must be given, and what is undefined is an error.';

CREATE FUNCTION _steadytext.prompt_list()
RETURNS TABLE (prompt_id uuid, slug text, description text, latest_version_num int, total_versions int, created_at timestamptz, updated_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.id, p.slug, p.description, max(v.version), count(v.id)::int, p.created_at, p.updated_at
    FROM public.steadytext_prompts p LEFT JOIN public.steadytext_prompt_versions v ON v.prompt_id = p.id
    GROUP BY p.id ORDER BY p.created_at DESC, p.slug
$$;

CREATE FUNCTION public.steadytext_prompt_list()
RETURNS TABLE (prompt_id uuid, slug text, description text, latest_version_num int, total_versions int, created_at timestamptz, updated_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100
AS $$ SELECT * FROM _steadytext.prompt_list() $$;
COMMENT ON FUNCTION public.steadytext_prompt_list() IS 'All prompts, the newest first.';

CREATE FUNCTION _steadytext.prompt_versions(slug text)
RETURNS TABLE (version_num int, template text, required_variables text[], metadata jsonb, created_at timestamptz, created_by text, is_active boolean)
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_prompt_versions', slug);
    IF NOT EXISTS (SELECT FROM public.steadytext_prompts p WHERE p.slug = $1) THEN
        RAISE EXCEPTION 'Prompt with slug "%" not found', slug USING ERRCODE = 'P0002';
    END IF;
    RETURN QUERY SELECT v.version, v.template, v.required_variables, v.metadata, v.created_at, v.created_by, v.is_active
                 FROM public.steadytext_prompt_versions v JOIN public.steadytext_prompts p ON p.id = v.prompt_id
                 WHERE p.slug = $1 ORDER BY v.version DESC;
END
$$;

CREATE FUNCTION public.steadytext_prompt_versions(slug text)
RETURNS TABLE (version_num int, template text, required_variables text[], metadata jsonb, created_at timestamptz, created_by text, is_active boolean)
LANGUAGE sql VOLATILE ROWS 10
AS $$ SELECT * FROM _steadytext.prompt_versions(slug) $$;
COMMENT ON FUNCTION public.steadytext_prompt_versions(text) IS 'All versions of a prompt, the newest first.';

CREATE FUNCTION public.steadytext_prompt_labels(slug text)
RETURNS TABLE (label text, version_num int, moved_at timestamptz, moved_by text)
LANGUAGE plpgsql STABLE ROWS 3
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_prompt_labels', slug);
    RETURN QUERY
        WITH prompt AS (SELECT p.id FROM public.steadytext_prompts p WHERE p.slug = $1),
        latest AS (SELECT DISTINCT ON (m.label) m.* FROM public.steadytext_prompt_label_moves m JOIN prompt ON prompt.id = m.prompt_id
                   ORDER BY m.label, m.id DESC)
        SELECT 'active', v.version, m.moved_at, m.moved_by
        FROM public.steadytext_prompt_versions v JOIN prompt ON prompt.id = v.prompt_id
             LEFT JOIN latest m ON m.label = 'active' AND m.version = v.version
        WHERE v.is_active
        UNION ALL
        SELECT m.label, m.version, m.moved_at, m.moved_by FROM latest m WHERE m.version IS NOT NULL AND m.label <> 'active'
        ORDER BY 1;
END
$$;
COMMENT ON FUNCTION public.steadytext_prompt_labels(text) IS 'The labels of a prompt: at which version, since when and by whom.';

CREATE FUNCTION public.steadytext_prompt_label_history(slug text, label text DEFAULT NULL)
RETURNS TABLE (label_name text, from_version int, to_version int, moved_at timestamptz, moved_by text, is_rollback boolean)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_prompt_label_history', slug, label);
    RETURN QUERY SELECT m.label, m.from_version, m.version, m.moved_at, m.moved_by, m.undoes IS NOT NULL
                 FROM public.steadytext_prompt_label_moves m JOIN public.steadytext_prompts p ON p.id = m.prompt_id
                 WHERE p.slug = $1 AND ($2 IS NULL OR m.label = $2)
                 ORDER BY m.id DESC;
END
$$;
COMMENT ON FUNCTION public.steadytext_prompt_label_history(text, text) IS 'Who moved which label of a prompt when, the latest first.';

-- Lines that both have go with two spaces before them, others with "- " or "+ ".
CREATE FUNCTION public.steadytext_prompt_diff(slug text, from_version int, to_version int) RETURNS SETOF text
LANGUAGE plpgsql STABLE ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old text[];
    new text[];
    old_count int;
    new_count int;
    -- Between the common first lines and the common last lines: how many lines both have from line a of the old and line
    -- b of the new on, at a * width + b + 1.
    shared int[];
    width int;
    i int := 1;
    k int := 1;
    first int;
    tail int := 0;  -- common last lines
BEGIN
    PERFORM _steadytext.check('steadytext_prompt_diff', slug, from_version, to_version);
    SELECT string_to_array(v.template, E'\n') INTO old FROM _steadytext.prompt_version(slug, from_version, NULL) v;
    SELECT string_to_array(v.template, E'\n') INTO new FROM _steadytext.prompt_version(slug, to_version, NULL) v;
    old_count := cardinality(old);
    new_count := cardinality(new);
    WHILE i <= old_count AND i <= new_count AND old[i] = new[i] LOOP
        RETURN QUERY SELECT '  ' || old[i];
        i := i + 1;
    END LOOP;
    k := i;
    first := i;
    WHILE old_count >= i AND new_count >= i AND old[old_count] = new[new_count] LOOP
        old_count := old_count - 1;
        new_count := new_count - 1;
        tail := tail + 1;
    END LOOP;
    -- Beyond this the longest common lines take too long: then all old lines come before all new ones.
    IF (old_count - i + 1)::bigint * (new_count - k + 1) BETWEEN 1 AND 250000 THEN
        width := new_count - first + 2;
        shared := array_fill(0, ARRAY[(old_count - first + 2) * width]);
        FOR a IN REVERSE old_count - first .. 0 LOOP
            FOR b IN REVERSE new_count - first .. 0 LOOP
                shared[a * width + b + 1] := CASE WHEN old[first + a] = new[first + b] THEN shared[(a + 1) * width + b + 2] + 1
                                                  ELSE greatest(shared[(a + 1) * width + b + 1], shared[a * width + b + 2]) END;
            END LOOP;
        END LOOP;
        WHILE i <= old_count AND k <= new_count LOOP
            IF old[i] = new[k] THEN
                RETURN QUERY SELECT '  ' || old[i];
                i := i + 1;
                k := k + 1;
            ELSIF shared[(i - first + 1) * width + k - first + 1] >= shared[(i - first) * width + k - first + 2] THEN
                RETURN QUERY SELECT '- ' || old[i];
                i := i + 1;
            ELSE
                RETURN QUERY SELECT '+ ' || new[k];
                k := k + 1;
            END IF;
        END LOOP;
    END IF;
    RETURN QUERY SELECT '- ' || old[n] FROM generate_series(i, old_count) n ORDER BY n;
    RETURN QUERY SELECT '+ ' || new[n] FROM generate_series(k, new_count) n ORDER BY n;
    RETURN QUERY SELECT '  ' || old[n] FROM generate_series(old_count + 1, old_count + tail) n ORDER BY n;
END
$$;
COMMENT ON FUNCTION public.steadytext_prompt_diff(text, int, int) IS
    'The lines of two versions of a prompt: those of both with two spaces before them, else with "- " or "+ ".';

-- ---- asking by a prompt ---------------------------------------------------------------------------------------------------

CREATE FUNCTION _steadytext.generate_ex(prompt text, options jsonb)
RETURNS TABLE (response text, cache_key text, model text, fingerprint text, daemon text, prompt_tokens int, completion_tokens int,
               finish_reason text, cached boolean, degraded boolean, queue_ms float8, engine_ms float8, total_ms float8, reasoning text)
AS 'MODULE_PATHNAME', 'steadytext_generate_ex' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1 COST 1000;

CREATE FUNCTION public.steadytext_generate_prompt(
    slug text, variables jsonb DEFAULT '{}', version int DEFAULT NULL, label text DEFAULT NULL, max_tokens int DEFAULT NULL,
    use_cache boolean DEFAULT true, seed int DEFAULT 42, eos_string text DEFAULT '[EOS]', model text DEFAULT NULL,
    model_repo text DEFAULT NULL, model_filename text DEFAULT NULL, size text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS text
LANGUAGE plpgsql VOLATILE COST 1000
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_prompt', slug, variables, version, label, max_tokens, use_cache, seed, eos_string, model,
                              model_repo, model_filename, size, unsafe_mode);
    RETURN (SELECT _steadytext.generate(_steadytext.jinja_render(v.template, variables, true), max_tokens, use_cache, seed, eos_string, model,
                                        model_repo, model_filename, size, unsafe_mode)
            FROM _steadytext.prompt_version(slug, version, label) v);
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_prompt(text, jsonb, int, text, int, boolean, int, text, text, text, text, text, boolean) IS
    'Text generated for a prompt of the registry: by the number of a version, by a label, or the active one. Options as in steadytext_generate().';

CREATE FUNCTION public.steadytext_generate_prompt_ex(
    slug text, variables jsonb DEFAULT '{}', options jsonb DEFAULT '{}', version int DEFAULT NULL, label text DEFAULT NULL
) RETURNS TABLE (prompt_version int, response text, cache_key text, model text, fingerprint text, daemon text, prompt_tokens int,
                 completion_tokens int, finish_reason text, cached boolean, degraded boolean, queue_ms float8, engine_ms float8, total_ms float8,
                 reasoning text)
LANGUAGE plpgsql VOLATILE ROWS 1 COST 1000
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_prompt_ex', slug, variables, options, version, label);
    RETURN QUERY SELECT v.version, g.* FROM _steadytext.prompt_version(slug, version, label) v,
                        LATERAL _steadytext.generate_ex(_steadytext.jinja_render(v.template, variables, true), options) g;
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_prompt_ex(text, jsonb, jsonb, int, text) IS
    'The same with how the answer came about, the version of the prompt first. Options as in steadytext_generate_ex().';
