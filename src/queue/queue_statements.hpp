// The SQL of the queue worker; queue_sql.cpp executes it. All of it is about public.steadytext_queue.
#pragma once

namespace steadytext::queue {

// Jumps in the index from role to role, and takes the first rows of each: of every role that a login has acted as, and
// then as many of the login's as it has a share for. A role whose rows are all held back or taken only costs the look
// at them.
inline constexpr const char *kClaim = R"(
    WITH RECURSIVE role (login, oid) AS (
        (SELECT session_user_oid, user_oid FROM public.steadytext_queue WHERE completed_at IS NULL
         ORDER BY session_user_oid, user_oid LIMIT 1)
        UNION ALL
        SELECT another.* FROM role, LATERAL (
            SELECT q.session_user_oid, q.user_oid FROM public.steadytext_queue q
            WHERE q.completed_at IS NULL AND (q.session_user_oid, q.user_oid) > (role.login, role.oid)
            ORDER BY q.session_user_oid, q.user_oid LIMIT 1) another),
    first AS (
        SELECT role.login, pending.* FROM role, LATERAL (
            SELECT q.id, q.rank FROM public.steadytext_queue q
            WHERE q.session_user_oid = role.login AND q.user_oid = role.oid AND q.completed_at IS NULL AND q.status = 'pending'
              AND q.run_at <= clock_timestamp() AND q.priority >= $5
            ORDER BY q.rank DESC, q.id LIMIT $1 FOR UPDATE SKIP LOCKED) pending
        WHERE role.oid <> ALL ($2) AND role.login <> ALL ($8) AND pending.id <> $7),
    next AS (
        SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY login ORDER BY rank DESC, id) AS turn FROM first) share
        WHERE turn <= $1 LIMIT $6)
    UPDATE public.steadytext_queue q
    SET status = 'processing', started_at = clock_timestamp(), worker_pid = $3,
        lease_until = clock_timestamp() + $4 * interval '1 second'
    FROM next WHERE q.id = next.id
    RETURNING q.id, q.request_id, q.request_type, q.user_oid, q.session_user_oid, q.rank, q.retry_count, q.max_retries,
        CASE WHEN isfinite(q.created_at) THEN (extract(epoch FROM clock_timestamp() - q.created_at) * 1000)::bigint ELSE 0 END,
        q.prompt, q.prompts, q.params)";

inline constexpr const char *kEnd = R"(
    UPDATE public.steadytext_queue q
    SET status = d.status, result = d.result, embedding = d.embedding, error = d.error, processing_time_ms = d.took_ms,
        daemon_endpoint = coalesce(d.daemon, q.daemon_endpoint), completed_at = clock_timestamp(), worker_pid = NULL, lease_until = NULL,
        callback_state = CASE WHEN q.callback IS NOT NULL AND q.user_oid IS NOT NULL THEN 'due' END, callback_tries = 0
    FROM unnest($2, $3, $4, $5, $6, $7, $8) AS d (id, status, result, embedding, error, took_ms, daemon)
    WHERE q.id = d.id AND q.status = 'processing' AND q.worker_pid = $1
    RETURNING q.request_id, q.callback_state IS NOT NULL, q.session_user_oid)";

inline constexpr const char *kPutOff = R"(
    UPDATE public.steadytext_queue q
    SET status = 'pending', retry_count = d.retries, processing_time_ms = d.took_ms,
        error = d.error || CASE WHEN d.is_limited
            THEN to_char((clock_timestamp() + d.delay_ms * interval '1 millisecond') AT TIME ZONE 'UTC', '" It is tried again at "YYYY-MM-DD HH24:MI:SS" UTC."') ELSE '' END,
        run_at = clock_timestamp() + d.delay_ms * interval '1 millisecond', worker_pid = NULL, lease_until = NULL
    FROM unnest($2, $3, $4, $5, $6, $7) AS d (id, error, retries, took_ms, delay_ms, is_limited)
    WHERE q.id = d.id AND q.status = 'processing' AND q.worker_pid = $1)";

inline constexpr const char *kRecordTexts = R"(
    UPDATE public.steadytext_queue SET results = $3 WHERE id = $1 AND status = 'processing' AND worker_pid = $2)";
inline constexpr const char *kRecordVectors = R"(
    UPDATE public.steadytext_queue SET embeddings = $3 WHERE id = $1 AND status = 'processing' AND worker_pid = $2)";

inline constexpr const char *kLock = R"(
    SELECT id FROM public.steadytext_queue WHERE id = ANY ($1) ORDER BY id FOR UPDATE SKIP LOCKED)";

inline constexpr const char *kRenew = R"(
    UPDATE public.steadytext_queue SET lease_until = clock_timestamp() + $3 * interval '1 second'
    WHERE id IN (SELECT id FROM public.steadytext_queue WHERE id = ANY ($2) AND status = 'processing' AND worker_pid = $1 FOR UPDATE SKIP LOCKED))";

inline constexpr const char *kLost = R"(
    SELECT held.id FROM unnest($2) AS held (id)
    WHERE NOT EXISTS (SELECT FROM public.steadytext_queue q WHERE q.id = held.id AND q.status = 'processing' AND q.worker_pid = $1)
    ORDER BY held.id)";

// Returns how many rows became pending or failed, and how many still belong to another worker.
inline constexpr const char *kRecover = R"(
    WITH lost AS (SELECT id FROM public.steadytext_queue
                  WHERE completed_at IS NULL AND status = 'processing' AND worker_pid IS DISTINCT FROM $1 AND ($2 OR lease_until < clock_timestamp())
                  FOR UPDATE SKIP LOCKED),
    recovered AS (
    UPDATE public.steadytext_queue
    SET status = CASE WHEN lost_count < $3 THEN 'pending' ELSE 'failed' END, lost_count = lost_count + 1, worker_pid = NULL, lease_until = NULL,
        error = CASE WHEN lost_count < $3 THEN error ELSE 'its worker died again and again' END,
        completed_at = CASE WHEN lost_count < $3 THEN NULL ELSE clock_timestamp() END
    WHERE id IN (SELECT id FROM lost) RETURNING id)
    SELECT (SELECT count(*) FROM recovered), (SELECT count(*) FROM public.steadytext_queue
        WHERE completed_at IS NULL AND status = 'processing' AND worker_pid IS DISTINCT FROM $1 AND id NOT IN (SELECT id FROM recovered)))";

// The row may be pending: the claim may not have reached the disk when the worker took the server down. The first
// column of the result says whether the job is charged, or no longer exists.
inline constexpr const char *kChargeKiller = R"(
    WITH free AS (SELECT id FROM public.steadytext_queue WHERE id = $1 FOR UPDATE SKIP LOCKED),
    charged AS (
        UPDATE public.steadytext_queue
        SET kill_count = kill_count + 1, worker_pid = NULL, lease_until = NULL,
            status = CASE WHEN kill_count + 1 < $2 THEN 'pending' ELSE 'failed' END,
            error = CASE WHEN kill_count + 1 < $2 THEN error ELSE format('its worker died %s times while at work on it', kill_count + 1) END,
            completed_at = CASE WHEN kill_count + 1 < $2 THEN NULL ELSE clock_timestamp() END
        WHERE id IN (SELECT id FROM free) AND completed_at IS NULL AND status IN ('pending', 'processing')
        RETURNING status)
    SELECT EXISTS (SELECT FROM free) OR NOT EXISTS (SELECT FROM public.steadytext_queue WHERE id = $1),
           EXISTS (SELECT FROM charged WHERE status = 'failed'))";

inline constexpr const char *kFailOrphans = R"(
    UPDATE public.steadytext_queue
    SET status = 'failed', error = format('role "%s" does not exist', user_id), completed_at = clock_timestamp(), worker_pid = NULL,
        lease_until = NULL
    WHERE id IN (SELECT id FROM public.steadytext_queue WHERE user_oid IS NULL AND completed_at IS NULL FOR UPDATE SKIP LOCKED))";

// $2: the end of the previous page. Rows end nearly in the order in which they were queued, except rows that still
// wait. So a page with nothing to delete is the last page only if no row in it waits.
inline constexpr const char *kDeleteOld = R"(
    WITH page AS (SELECT id, completed_at FROM public.steadytext_queue WHERE id > $2 ORDER BY id LIMIT 5000),
    old AS (
        DELETE FROM public.steadytext_queue
        WHERE id IN (SELECT id FROM public.steadytext_queue
                     WHERE id > $2 AND id <= (SELECT max(id) FROM page) AND completed_at < clock_timestamp() - $1 * interval '1 second'
                       AND coalesce(callback_state, '') NOT IN ('due', 'running', 'held')
                     FOR UPDATE SKIP LOCKED)
        RETURNING id)
    SELECT max(id), count(*) = 5000 AND (count(*) > count(completed_at) OR EXISTS (SELECT FROM old)) FROM page)";

inline constexpr const char *kNextDue = R"(
    SELECT ceil(extract(epoch FROM greatest(run_at, '2000-01-01') - clock_timestamp()) * 1000)::bigint, user_oid FROM public.steadytext_queue
    WHERE completed_at IS NULL AND status = 'pending' AND user_oid <> ALL ($1) AND priority >= $2 AND run_at < 'infinity' ORDER BY run_at LIMIT 1)";

inline constexpr const char *kGiveBack = R"(
    UPDATE public.steadytext_queue SET status = 'pending', worker_pid = NULL, lease_until = NULL
    WHERE id IN (SELECT id FROM public.steadytext_queue
                 WHERE completed_at IS NULL AND status = 'processing' AND worker_pid = $1 FOR UPDATE SKIP LOCKED))";

inline constexpr const char *kGiveBackThese = R"(
    WITH mine AS (SELECT id FROM public.steadytext_queue WHERE id = ANY ($2) AND status = 'processing' AND worker_pid = $1),
    free AS (SELECT id FROM public.steadytext_queue WHERE id = ANY ($2) AND status = 'processing' AND worker_pid = $1 FOR UPDATE SKIP LOCKED),
    given AS (UPDATE public.steadytext_queue SET status = 'pending', worker_pid = NULL, lease_until = NULL WHERE id IN (SELECT id FROM free))
    SELECT id FROM mine WHERE id NOT IN (SELECT id FROM free) ORDER BY id)";

inline constexpr const char *kMeasure = R"(
    SELECT session_user_oid, count(*), min(created_at) FILTER (WHERE status = 'pending' AND isfinite(created_at) AND run_at < 'infinity')
    FROM public.steadytext_queue WHERE completed_at IS NULL GROUP BY session_user_oid)";

}  // namespace steadytext::queue
