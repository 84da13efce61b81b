-- Facts and summaries of texts: functions, aggregates, and the states that aggregates make.

CREATE FUNCTION public.steadytext_extract_facts(input_text text, max_facts int DEFAULT 10) RETURNS jsonb
AS 'MODULE_PATHNAME', 'steadytext_extract_facts' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_extract_facts(text, int) IS
    'The facts that a text states, as {"facts": [...]}: at most max_facts (1 to 50); its first sentences when no daemon can answer.';

CREATE FUNCTION public.steadytext_deduplicate_facts(facts_array jsonb, similarity_threshold float8 DEFAULT 0.85) RETURNS jsonb
AS 'MODULE_PATHNAME', 'steadytext_deduplicate_facts' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_deduplicate_facts(jsonb, float8) IS
    'The array without those strings, and objects with a "text", whose embedding is closer to an earlier one than the threshold; without those that are equal but for case when no daemon can answer.';

CREATE FUNCTION public.steadytext_summarize_accumulate(state jsonb, value text, metadata jsonb DEFAULT '{}') RETURNS jsonb
AS 'MODULE_PATHNAME', 'steadytext_summarize_accumulate' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION public.steadytext_summarize_accumulate(jsonb, text, jsonb) IS
    'The state of a summary with one more text; NULL is the state without any.';

CREATE FUNCTION public.steadytext_summarize_combine(state1 jsonb, state2 jsonb) RETURNS jsonb
AS 'MODULE_PATHNAME', 'steadytext_summarize_combine' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION public.steadytext_summarize_combine(jsonb, jsonb) IS
    'Two states of summaries as one, the same in either order.';

CREATE FUNCTION public.steadytext_summarize_combine_states(state1 jsonb, partial_state jsonb) RETURNS jsonb
AS 'MODULE_PATHNAME', 'steadytext_summarize_combine_states' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION public.steadytext_summarize_combine_states(jsonb, jsonb) IS
    'The same as steadytext_summarize_combine().';

CREATE FUNCTION public.steadytext_summarize_finalize(state jsonb) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_summarize_finalize' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_summarize_finalize(jsonb) IS
    'The summary that a model writes of a state.';

CREATE FUNCTION public.steadytext_summarize_text(
    input_text text, metadata jsonb DEFAULT '{}', model text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_summarize_text' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_summarize_text(text, jsonb, text, boolean) IS
    'A summary of one text by the model that is named; without a name its first hundred characters, and no model is asked.';

-- What the aggregates below are made of. Nobody else can call these: an aggregate calls them with its owner's rights.
CREATE FUNCTION _steadytext.summary_add(state internal, value text, metadata jsonb) RETURNS internal
AS 'MODULE_PATHNAME', 'steadytext_summary_add' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10;
REVOKE ALL ON FUNCTION _steadytext.summary_add(internal, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION _steadytext.summary_add(internal, text, jsonb) IS 'A row of steadytext_summarize().';

CREATE FUNCTION _steadytext.summary_add_state(state internal, partial_state jsonb) RETURNS internal
AS 'MODULE_PATHNAME', 'steadytext_summary_add_state' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;
REVOKE ALL ON FUNCTION _steadytext.summary_add_state(internal, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION _steadytext.summary_add_state(internal, jsonb) IS 'A row of steadytext_summarize_final().';

CREATE FUNCTION _steadytext.summary_add_input(state internal, prompt text, input text) RETURNS internal
AS 'MODULE_PATHNAME', 'steadytext_summary_add_input' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10;
REVOKE ALL ON FUNCTION _steadytext.summary_add_input(internal, text, text) FROM PUBLIC;
COMMENT ON FUNCTION _steadytext.summary_add_input(internal, text, text) IS 'A row of steadytext_agg().';

CREATE FUNCTION _steadytext.summary_merge(state internal, other_state internal) RETURNS internal
AS 'MODULE_PATHNAME', 'steadytext_summary_merge' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;
REVOKE ALL ON FUNCTION _steadytext.summary_merge(internal, internal) FROM PUBLIC;
COMMENT ON FUNCTION _steadytext.summary_merge(internal, internal) IS 'The states of two workers as one.';

CREATE FUNCTION _steadytext.summary_serialize(state internal) RETURNS bytea
AS 'MODULE_PATHNAME', 'steadytext_summary_serialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
REVOKE ALL ON FUNCTION _steadytext.summary_serialize(internal) FROM PUBLIC;
COMMENT ON FUNCTION _steadytext.summary_serialize(internal) IS 'A state on its way to the leader of a parallel query.';

CREATE FUNCTION _steadytext.summary_deserialize(bytes bytea, state internal) RETURNS internal
AS 'MODULE_PATHNAME', 'steadytext_summary_deserialize' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
REVOKE ALL ON FUNCTION _steadytext.summary_deserialize(bytea, internal) FROM PUBLIC;
COMMENT ON FUNCTION _steadytext.summary_deserialize(bytea, internal) IS 'A state that a worker has sent.';

CREATE FUNCTION _steadytext.summary_state(state internal) RETURNS jsonb
AS 'MODULE_PATHNAME', 'steadytext_summary_state' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;
REVOKE ALL ON FUNCTION _steadytext.summary_state(internal) FROM PUBLIC;
COMMENT ON FUNCTION _steadytext.summary_state(internal) IS 'What steadytext_summarize_partial() gives.';

CREATE FUNCTION _steadytext.summary_text(state internal) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_summary_text' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
REVOKE ALL ON FUNCTION _steadytext.summary_text(internal) FROM PUBLIC;
COMMENT ON FUNCTION _steadytext.summary_text(internal) IS 'What steadytext_summarize() and _final() give.';

CREATE FUNCTION _steadytext.summary_answer(state internal) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_summary_answer' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
REVOKE ALL ON FUNCTION _steadytext.summary_answer(internal) FROM PUBLIC;
COMMENT ON FUNCTION _steadytext.summary_answer(internal) IS 'What steadytext_agg() gives.';

-- SSPACE is what the planner counts for a group; a group takes half a megabyte at most.
CREATE AGGREGATE public.steadytext_summarize(text, jsonb) (
    SFUNC = _steadytext.summary_add, STYPE = internal, SSPACE = 65536, FINALFUNC = _steadytext.summary_text,
    COMBINEFUNC = _steadytext.summary_merge, SERIALFUNC = _steadytext.summary_serialize, DESERIALFUNC = _steadytext.summary_deserialize,
    PARALLEL = SAFE);
COMMENT ON AGGREGATE public.steadytext_summarize(text, jsonb) IS
    'A summary of a group''s texts, with metadata as its context; whatever does not fit into one request is summarised in parts.';

CREATE AGGREGATE public.steadytext_summarize_partial(text, jsonb) (
    SFUNC = _steadytext.summary_add, STYPE = internal, SSPACE = 65536, FINALFUNC = _steadytext.summary_state,
    COMBINEFUNC = _steadytext.summary_merge, SERIALFUNC = _steadytext.summary_serialize, DESERIALFUNC = _steadytext.summary_deserialize,
    PARALLEL = SAFE);
COMMENT ON AGGREGATE public.steadytext_summarize_partial(text, jsonb) IS
    'The state of a summary, to be kept and summarised with others later; no model is asked.';

CREATE AGGREGATE public.steadytext_summarize_final(jsonb) (
    SFUNC = _steadytext.summary_add_state, STYPE = internal, SSPACE = 65536, FINALFUNC = _steadytext.summary_text,
    COMBINEFUNC = _steadytext.summary_merge, SERIALFUNC = _steadytext.summary_serialize, DESERIALFUNC = _steadytext.summary_deserialize,
    PARALLEL = SAFE);
COMMENT ON AGGREGATE public.steadytext_summarize_final(jsonb) IS
    'The summary of what steadytext_summarize_partial() gave.';

CREATE AGGREGATE public.steadytext_agg(prompt text, input text) (
    SFUNC = _steadytext.summary_add_input, STYPE = internal, SSPACE = 65536, FINALFUNC = _steadytext.summary_answer,
    COMBINEFUNC = _steadytext.summary_merge, SERIALFUNC = _steadytext.summary_serialize, DESERIALFUNC = _steadytext.summary_deserialize,
    PARALLEL = SAFE);
COMMENT ON AGGREGATE public.steadytext_agg(text, text) IS
    'What the prompt asks about a group''s texts; NULL for none. Whatever does not fit into one request is asked about in parts.';
