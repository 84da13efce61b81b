-- Daemons: the state of each, a view of all, and functions that start, stop, add, remove, drain or
-- trip a daemon.

CREATE TABLE public.steadytext_daemon_health (
    daemon_id text PRIMARY KEY DEFAULT 'default',
    endpoint text NOT NULL,
    last_heartbeat timestamptz DEFAULT now(),
    uptime_seconds int DEFAULT 0,
    status text DEFAULT 'unknown' CHECK (status IN ('healthy', 'unhealthy', 'starting', 'stopping', 'unknown')),
    version text,
    models_loaded text[],
    memory_usage_mb int,
    active_connections int DEFAULT 0,
    total_requests bigint DEFAULT 0,
    error_count int DEFAULT 0,
    avg_response_time_ms int
);
INSERT INTO public.steadytext_daemon_health (daemon_id, endpoint, status, uptime_seconds)
    VALUES ('default', '', 'unknown', 0) ON CONFLICT DO NOTHING;

-- The keeper writes while others read. To a transaction that began before a row was written, the row's time would be
-- one that has not come yet: so the table lies here, and who reads it by its name reads a view that knows the time.
ALTER TABLE public.steadytext_daemon_health SET SCHEMA _steadytext;
COMMENT ON TABLE _steadytext.steadytext_daemon_health IS 'What steadytext_daemon_health shows, as the keeper has written it.';
CREATE VIEW public.steadytext_daemon_health AS
    SELECT daemon_id, endpoint, least(last_heartbeat, now()) AS last_heartbeat, uptime_seconds, status, version, models_loaded,
           memory_usage_mb, active_connections, total_requests, error_count, avg_response_time_ms
    FROM _steadytext.steadytext_daemon_health;

CREATE FUNCTION public.steadytext_daemon_start() RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_daemon_start' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_daemon_start() IS
    'Lets the embedded daemon run and waits until it answers; false, with a warning, if it does not.';
REVOKE ALL ON FUNCTION public.steadytext_daemon_start() FROM PUBLIC;

CREATE FUNCTION public.steadytext_daemon_stop() RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_daemon_stop' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_daemon_stop() IS
    'Stops the embedded daemon until steadytext_daemon_start(), a restart of the server, or a call that no other daemon answers, unless the key daemon_auto_start is false.';
REVOKE ALL ON FUNCTION public.steadytext_daemon_stop() FROM PUBLIC;

CREATE FUNCTION public.steadytext_daemon_status()
RETURNS TABLE (daemon_id text, status text, endpoint text, last_heartbeat timestamptz, uptime_seconds int)
AS 'MODULE_PATHNAME', 'steadytext_daemon_status' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 4;
COMMENT ON FUNCTION public.steadytext_daemon_status() IS
    'What the gateway knows of each daemon now; the first is called ''default''. Without any there is that row too, with no endpoint.';

-- The row of each daemon that the keeper writes into steadytext_daemon_health, column by column.
CREATE FUNCTION _steadytext.daemon_health()
RETURNS TABLE (daemon_id text, endpoint text, last_heartbeat timestamptz, uptime_seconds int, status text, version text,
               models_loaded text[], memory_usage_mb int, active_connections int, total_requests bigint, error_count int,
               avg_response_time_ms int)
AS 'MODULE_PATHNAME', 'steadytext_daemon_health' LANGUAGE C VOLATILE ROWS 4;
REVOKE ALL ON FUNCTION _steadytext.daemon_health() FROM PUBLIC;
COMMENT ON VIEW public.steadytext_daemon_health IS
    'The daemons as steadytext_daemon_status() tells of them, kept by a background worker in each database that uses them; counts are up to a minute old, and last_heartbeat is never later than now().';
CREATE FUNCTION _steadytext.daemons()
RETURNS TABLE (endpoint text, kind text, weight bigint, state text, breaker text, reason text, until timestamptz, in_flight bigint,
               pool_in_use bigint, requests bigint, failures bigint, late_replies bigint, avg_ms float8, p99_ms float8,
               last_ok timestamptz, fingerprint text)
AS 'MODULE_PATHNAME', 'steadytext_daemons' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 4;
REVOKE ALL ON FUNCTION _steadytext.daemons() FROM PUBLIC;

CREATE VIEW public.steadytext_daemons AS SELECT * FROM _steadytext.daemons();
COMMENT ON VIEW public.steadytext_daemons IS
    'Every daemon as the gateway sees it now. state: invalid, connecting, ready, draining; breaker: closed, open (until), half_open.';

CREATE FUNCTION public.steadytext_daemon_register(endpoint text, weight int DEFAULT 1) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_daemon_register' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_register(text, int) IS
    'Adds a daemon to steadytext.daemons for good; false if it was there already: then it has this weight now.';
REVOKE ALL ON FUNCTION public.steadytext_daemon_register(text, int) FROM PUBLIC;

CREATE FUNCTION public.steadytext_daemon_unregister(endpoint text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_unregister' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_unregister(text) IS
    'Takes a daemon out of steadytext.daemons; it finishes what it has.';
REVOKE ALL ON FUNCTION public.steadytext_daemon_unregister(text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_daemon_set_weight(endpoint text, weight int) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_set_weight' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_set_weight(text, int) IS
    'Changes the share of requests a daemon gets (1 to 1000).';
REVOKE ALL ON FUNCTION public.steadytext_daemon_set_weight(text, int) FROM PUBLIC;

CREATE FUNCTION public.steadytext_daemon_drain(endpoint text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_drain' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_drain(text) IS
    'A daemon finishes what it has and gets nothing new, until steadytext_daemon_undrain().';
REVOKE ALL ON FUNCTION public.steadytext_daemon_drain(text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_daemon_undrain(endpoint text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_undrain' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_undrain(text) IS
    'A drained daemon gets requests again.';
REVOKE ALL ON FUNCTION public.steadytext_daemon_undrain(text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_daemon_trip(endpoint text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_trip' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_trip(text) IS
    'Opens a daemon''s circuit breaker at once; it is tried again after steadytext.breaker_recovery.';
REVOKE ALL ON FUNCTION public.steadytext_daemon_trip(text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_daemon_reset(endpoint text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_reset' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_reset(text) IS
    'Closes a daemon''s circuit breaker at once.';
REVOKE ALL ON FUNCTION public.steadytext_daemon_reset(text) FROM PUBLIC;

CREATE FUNCTION public.steadytext_models()
RETURNS TABLE (role text, model text, fingerprint text, dimensions int, is_default boolean, served boolean)
AS 'MODULE_PATHNAME', 'steadytext_models' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 4;
COMMENT ON FUNCTION public.steadytext_models() IS
    'The models daemons serve or served; a cached answer is found by its model''s fingerprint.';
