-- Checks of arguments, options and settings. The table of their bounds is in
-- src/core/parameters.cpp.

CREATE FUNCTION _steadytext.check(function text, VARIADIC arguments "any") RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_check' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION _steadytext.check(text, "any") IS
    'What an SQL function says first: its name and all its arguments; an error unless they are what they must be.';

CREATE FUNCTION _steadytext.check_config(config_key text, config_value text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_check_config' LANGUAGE C STABLE STRICT PARALLEL SAFE;

-- For PostgreSQL's planner, of the functions that make calls: nobody else has a value of the type.
CREATE FUNCTION _steadytext.call_support(request internal) RETURNS internal
AS 'MODULE_PATHNAME', 'steadytext_call_support' LANGUAGE C STRICT VOLATILE PARALLEL SAFE;
REVOKE ALL ON FUNCTION _steadytext.call_support(internal) FROM PUBLIC;
COMMENT ON FUNCTION _steadytext.call_support(internal) IS 'What a call costs, and how many rows a condition lets pass, for the planner.';

CREATE FUNCTION _steadytext.parameters()
RETURNS TABLE (owner text, name text, kind text, form text, needed boolean, lowest bigint, highest bigint, words text, setting text,
               null_element text, sample text, bad_sample text, on_null text, on_below text, on_above text, on_malformed text,
               is_distinct boolean)
AS 'MODULE_PATHNAME', 'steadytext_parameters' LANGUAGE C STABLE PARALLEL SAFE ROWS 300;
COMMENT ON FUNCTION _steadytext.parameters() IS
    'Each argument of each function, each option, key of steadytext_config and setting: its bounds, and how others are refused.';
REVOKE ALL ON FUNCTION _steadytext.parameters() FROM PUBLIC;
