# The upgrade from the PL/Python original where others have been before: everybody could write rows of its tables, and create in schema public
# where PostgreSQL 14 lets them. Objects that are not the original's are an error that names them and tells how to take them away; rows are
# kept, but neither served, carried out nor obeyed; nothing of anybody's runs as the superuser who upgrades.
use strict;
use warnings;
use SteadyText::Attack;
use SteadyText::Cluster;
use SteadyText::Original;
use Test::More;

# Some planted audit rows say that they are older than any retention: they are to stay, to be looked at.
my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'steadytext.audit_retention = 0' ]);
$cluster->sql('CREATE ROLE mallory LOGIN; CREATE ROLE victim LOGIN');
sub in { my ($database, $sql, %options) = @_; return $cluster->sql($sql, database => $database, %options) }

# A database with the original, where everybody may create; mark() is what mallory would have run by others: the log tells as whom it ran.
sub original {
    my ($database) = @_;
    $cluster->sql("CREATE DATABASE $database");
    in($database, q(GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE EXTENSION vector; CREATE EXTENSION pg_steadytext VERSION '2025.11.25'));
    in($database, q(
        CREATE FUNCTION public.mark(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
            $$BEGIN RAISE LOG 'mark ran as %', current_user; RETURN value; END$$;
        CREATE FUNCTION public.marks() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM public.mark('x'); RETURN coalesce(new, old); END$$), user => 'mallory');
    return;
}
sub ran { return join ' ', grep { $_ ne 'mallory' } $cluster->log =~ /mark ran as (\w+)/g }

# ---- objects ---------------------------------------------------------------------------------------------------------------
# Each is planted, named by the error, taken away as the hint says, and then the update goes through.
original('objects');
in(objects => q(INSERT INTO steadytext_cache (cache_key, prompt, response) VALUES ('k', 'p', 'r'); INSERT INTO steadytext_queue (request_type, prompt) VALUES ('generate', 'p');
    INSERT INTO steadytext_audit_log (event_type) VALUES ('x'); INSERT INTO steadytext_rate_limits (user_id) VALUES ('x')), user => 'mallory');
my @creates = (
    [ 'a function of a new name', 'CREATE FUNCTION public.steadytext_stat_reset() RETURNS void LANGUAGE sql AS $$SELECT public.mark(NULL)$$', 'function public.steadytext_stat_reset\(\)' ],
    [ 'an overload of one of the original', 'CREATE FUNCTION public.steadytext_config_get(varchar) RETURNS text LANGUAGE sql AS $$SELECT public.mark($1)$$', 'function public.steadytext_config_get\(character varying\)' ],
    [ 'an overload of a function of this version', q(CREATE FUNCTION public.steadytext_cache_key("char", json, text DEFAULT '') RETURNS text LANGUAGE sql AS $$SELECT public.mark('x')$$), 'function public.steadytext_cache_key' ],
    [ 'an aggregate', 'CREATE AGGREGATE public.steadytext_models(int) (SFUNC = int4pl, STYPE = int)', 'function public.steadytext_models\(integer\)' ],
    [ 'a procedure', 'CREATE PROCEDURE public.st_version(int) LANGUAGE sql AS $$SELECT 1$$', 'function public.st_version\(integer\)' ],
    [ 'a table', 'CREATE TABLE public.steadytext_usage (day date)', 'table public.steadytext_usage' ],
    [ 'a view', 'CREATE VIEW public.steadytext_daemons AS SELECT 1', 'view public.steadytext_daemons' ],
    [ 'a materialized view', 'CREATE MATERIALIZED VIEW public.pg_stat_steadytext AS SELECT 1', 'materialized view public.pg_stat_steadytext' ],
    [ 'a sequence of the name of one', 'CREATE SEQUENCE public.steadytext_incidents_id_seq', 'sequence public.steadytext_incidents_id_seq' ],
    [ 'an index on a table of their own', 'CREATE TABLE public.own (x text); CREATE INDEX idx_steadytext_cache_frecency ON public.own (public.mark(x))', 'index public.idx_steadytext_cache_frecency' ],
    [ 'an index of the name of one of the original', 'CREATE TABLE public.own (x text); DROP INDEX idx_steadytext_audit_user; CREATE INDEX idx_steadytext_audit_user ON public.own (x)', 'index public.idx_steadytext_audit_user', 'owner' ],
    [ 'a relation of the name of a primary key', 'CREATE TABLE public.steadytext_rate_limit_rules_pkey ()', 'table public.steadytext_rate_limit_rules_pkey' ],
    [ 'a type', q(CREATE TYPE public.steadytext_budgets AS ENUM ('x')), 'type public.steadytext_budgets' ],
    [ 'a domain', q(CREATE DOMAIN public.steadytext_budgets AS name), 'type public.steadytext_budgets' ],
    [ 'the schema', 'CREATE SCHEMA _steadytext', 'schema _steadytext', 'schema' ],
    # By whoever owns the tables, or was granted ALL on them.
    [ 'a trigger', 'CREATE TRIGGER evil BEFORE INSERT OR UPDATE OR DELETE ON steadytext_cache FOR EACH ROW EXECUTE FUNCTION public.marks()', 'trigger evil on table public.steadytext_cache', 'trigger' ],
    [ 'a trigger on the configuration', 'CREATE TRIGGER evil AFTER INSERT OR UPDATE OR DELETE ON steadytext_config EXECUTE FUNCTION public.marks()', 'trigger evil on table public.steadytext_config', 'trigger' ],
    [ 'a trigger on a table that stays', 'CREATE TRIGGER evil AFTER INSERT ON steadytext_prompts EXECUTE FUNCTION public.marks()', 'trigger evil on table public.steadytext_prompts', 'trigger' ],
    [ 'a rule', q(CREATE RULE evil AS ON UPDATE TO steadytext_queue DO ALSO SELECT public.mark('x')), 'rule evil on table public.steadytext_queue', 'owner' ],
    [ 'a policy', 'CREATE POLICY evil ON steadytext_queue USING (true)', 'policy evil on table public.steadytext_queue', 'owner' ],
    [ 'a check', 'ALTER TABLE steadytext_audit_log ADD CONSTRAINT evil CHECK (public.mark(event_type) IS NOT NULL) NOT VALID', 'constraint evil of table public.steadytext_audit_log', 'owner' ],
    [ 'an expression index', 'CREATE INDEX evil ON steadytext_cache (public.mark(prompt))', 'index public.evil on table public.steadytext_cache', 'owner' ],
    [ 'an expression index of a known name', 'DROP INDEX idx_steadytext_cache_last_accessed; CREATE INDEX idx_steadytext_cache_last_accessed ON steadytext_cache (public.mark(prompt))',
        'index public.idx_steadytext_cache_last_accessed on table public.steadytext_cache', 'owner' ],
    [ 'a partial index', q(CREATE INDEX evil ON steadytext_queue (id) WHERE public.mark(prompt) = 'x'), 'index public.evil on table public.steadytext_queue', 'owner' ],
    [ 'a unique index', 'CREATE UNIQUE INDEX evil ON steadytext_queue (prompt)', 'index public.evil on table public.steadytext_queue', 'owner' ],
    [ 'an index of the name of a new one', 'CREATE INDEX idx_steadytext_cache_frecency ON steadytext_cache (id)', 'index public.idx_steadytext_cache_frecency', 'owner' ],
    [ 'a generated column', 'ALTER TABLE steadytext_rate_limits ADD evil text GENERATED ALWAYS AS (public.mark(user_id)) STORED', 'column evil of table public.steadytext_rate_limits', 'owner' ],
    [ 'a column', 'ALTER TABLE steadytext_cache ADD scope text', 'column scope of table public.steadytext_cache', 'owner' ],
    [ 'a child', 'CREATE TABLE own () INHERITS (steadytext_cache); CREATE TRIGGER evil BEFORE UPDATE ON own FOR EACH ROW EXECUTE FUNCTION public.marks()', 'table public.own inherits from table public.steadytext_cache', 'owner' ],
    [ 'a foreign key to a table', 'CREATE TABLE own (id int REFERENCES steadytext_queue ON UPDATE CASCADE ON DELETE CASCADE)', 'foreign key own_id_fkey of table public.own', 'owner' ],
    [ 'statistics', 'CREATE STATISTICS evil ON (public.mark(prompt)) FROM steadytext_cache', 'statistics public.evil', 'owner' ],
    [ 'two of a kind', 'CREATE FUNCTION steadytext_version(int) RETURNS int LANGUAGE sql AS $$SELECT 1$$; CREATE TABLE steadytext_incidents ()', 'function public.steadytext_version\(integer\); table public.steadytext_incidents' ],
);
my %as = (
    schema  => 'GRANT CREATE ON DATABASE objects TO mallory; GRANT mallory TO CURRENT_USER; SET LOCAL ROLE mallory;',
    trigger => 'GRANT ALL ON ALL TABLES IN SCHEMA public TO mallory; SET LOCAL ROLE mallory;',
    owner   => join('', map { "ALTER TABLE public.steadytext_$_ OWNER TO mallory;" } qw(cache queue config rate_limits audit_log daemon_health)) . 'SET LOCAL ROLE mallory;',
    public  => 'SET LOCAL ROLE mallory;');
for my $plant (@creates) {
    my ($what, $sql, $said, $right) = @$plant;
    my $planted = 'BEGIN;' . $as{ $right // 'public' } . "$sql; RESET ROLE;";
    my $refused = $cluster->try_sql("$planted ALTER EXTENSION pg_steadytext UPDATE", database => 'objects');
    is($refused->{state}, '55000', "$what that is not the original's: the update is refused") or diag $refused->{err};
    like($refused->{err}, qr/^DETAIL:.*$said/m, '  it is named');
    my ($remedy) = $refused->{err} =~ /if it is wanted:\n(.*?;)\n(?!ALTER|DROP)/s;
    my $done = $cluster->try_sql("$planted $remedy ALTER EXTENSION pg_steadytext UPDATE; ROLLBACK", database => 'objects');
    is($done->{state}, '', '  and once it is gone as the hint says, the update goes through') or diag "$remedy\n$done->{err}";
}
is(ran(), '', 'nothing of anybody\'s ran');
for my $broken ([ 'a column is missing', 'ALTER TABLE steadytext_queue DROP COLUMN error' ], [ 'a column has another type', 'ALTER TABLE steadytext_config ALTER value TYPE text USING value::text' ],
    [ 'columns are in another order', 'ALTER TABLE steadytext_rate_limits RENAME requests_per_minute TO x; ALTER TABLE steadytext_rate_limits RENAME requests_per_hour TO requests_per_minute; ALTER TABLE steadytext_rate_limits RENAME x TO requests_per_hour' ],
    [ 'a table is none of the extension\'s', 'ALTER EXTENSION pg_steadytext DROP TABLE steadytext_daemon_health' ],
    [ 'the key is not unique', 'ALTER TABLE steadytext_cache DROP CONSTRAINT steadytext_cache_cache_key_key' ]) {
    is($cluster->try_sql("BEGIN; $broken->[1]; ALTER EXTENSION pg_steadytext UPDATE", database => 'objects')->{state}, '55000', "$broken->[0]: refused");
}
is($cluster->try_sql('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1; ALTER EXTENSION pg_steadytext UPDATE', database => 'objects')->{state}, '25001',
    'a transaction that does not see what was planted since it began: refused');
like($cluster->try_sql(q(BEGIN; DO $$BEGIN FOR i IN 1 .. 300 LOOP EXECUTE format('CREATE FUNCTION steadytext_version(x int, VARIADIC y%s numeric[]) RETURNS int LANGUAGE sql AS ''SELECT 1''', i)
    || ''; EXECUTE format('ALTER FUNCTION steadytext_version(int, numeric[]) RENAME TO old%s', i); EXECUTE format('CREATE DOMAIN d%s AS int', i);
    EXECUTE format('CREATE FUNCTION steadytext_version(d%s) RETURNS int LANGUAGE sql AS ''SELECT 1''', i); END LOOP; END$$; ALTER EXTENSION pg_steadytext UPDATE), database => 'objects')->{err},
    qr/have 300 objects.*\nDETAIL:.{1,9000}\.\.\.\n/, 'of hundreds the first fifty are named');
is(in(objects => q(SELECT extversion FROM pg_extension WHERE extname = 'pg_steadytext')), '2025.11.25', 'all is as it was');

# ---- what the script names ---------------------------------------------------------------------------------------------------
# All that the update's SQL names is there a second time, and like it, in every schema that somebody may create in: one of mallory's own, which is first in
# the path of the superuser who updates, public, and those of the database's owner, who may make one of any name. Nothing of it runs.
{
    original('snared');
    $cluster->sql('CREATE ROLE holder LOGIN; ALTER DATABASE snared OWNER TO holder');
    my $rows = q(INSERT INTO steadytext_cache (cache_key, prompt, response, generation_params, id) VALUES ('k' || random(), 'p', 'r', '{"max_tokens": 1e100}', -1);
        INSERT INTO steadytext_queue (request_type, prompt, params) VALUES ('generate', 'p', '{}'), ('embed', 'q', NULL); INSERT INTO steadytext_audit_log (event_type, details) VALUES ('x', '[]');
        INSERT INTO steadytext_rate_limits (user_id, requests_per_minute) VALUES ('victim', -5); INSERT INTO steadytext_config (key, value) VALUES ('victim', '1'));
    in(snared => $rows, user => 'mallory');
    in(snared => q(CREATE SCHEMA postgres; CREATE SCHEMA steadytext_owner; GRANT USAGE ON SCHEMA postgres, steadytext_owner TO PUBLIC), user => 'holder');
    in(snared => q(CREATE SCHEMA snare AUTHORIZATION mallory; GRANT USAGE ON SCHEMA snare TO PUBLIC));
    my %names = SteadyText::Attack::names_in_sql($cluster);
    for my $plant ([ mallory => SteadyText::Attack::snares(%names, foreign => 1) ], map { [ $_ => SteadyText::Attack::likenesses(\%names, foreign => 1) ] } qw(holder mallory)) {
        my $planted = $cluster->try_sql($plant->[1], database => 'snared', user => $plant->[0], timeout => 300);
        is($planted->{state}, '', "$plant->[0] plants") or diag $planted->{err};
        note join ' ', $planted->{err} =~ /NOTICE:\s+\S+\s+(snare: \d+|likenesses .*)/g;
    }
    my $sprung = sub { return join ', ', sort keys %{ { map { $_ => 1 } $cluster->log =~ /trojan (.* ran as (?!mallory\b|holder\b).*)/g } } };
    for my $path ('"$user", public', 'snare, postgres, public, pg_catalog', 'pg_catalog, snare, public') {
        my $updated = $cluster->try_sql("SET search_path = $path; BEGIN; ALTER EXTENSION pg_steadytext UPDATE; ROLLBACK", database => 'snared');
        is($updated->{state}, '', "the update goes through under the path $path") or diag $updated->{err};
        is($sprung->(), '', '  and steps into no snare');
    }
    $cluster->sql('ALTER DATABASE snared SET search_path = snare, postgres, public, pg_catalog');
    in(snared => 'ALTER EXTENSION pg_steadytext UPDATE');
    is($cluster->sql(q(SET search_path = pg_catalog; SELECT public.steadytext_generate('after'::text, 5, true, 42, '[EOS]'::text, NULL::text, NULL::text, NULL::text, NULL::text, false)), database => 'snared', user => 'victim'), 'after', 'then calls are answered');
    ok($cluster->wait_for(sub { in(snared => q(SET search_path = pg_catalog; SELECT public.steadytext_frecency_refresh() IS NOT NULL AND EXISTS (SELECT FROM public.steadytext_cache WHERE prompt = 'after'))) eq 't' }), '  and the keeper writes');
    is($sprung->(), '', 'nobody steps into one');
    $cluster->try_sql('SET search_path = pg_catalog; SELECT snare.spring($$told$$)', database => 'snared');
    like($sprung->(), qr/told ran as postgres/, 'it would have told');
}

# ---- rows ------------------------------------------------------------------------------------------------------------------
original('rows');
ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'a daemon is there');
my $fingerprint = $cluster->sql(q(SELECT fingerprint FROM steadytext_models() WHERE role = 'generation' AND is_default));
my $key = sub { $cluster->sql(qq(SELECT steadytext_cache_key('$_[0]', jsonb_build_object('eos_string', '[EOS]', 'fingerprint', '$fingerprint', 'max_tokens', 7, 'model', '',
    'scope', 'rows/victim', 'seed', 42, 'size', '', 'temperature', 0.0), 'generate:'))) };
my @keys = map { $key->($_) } 'forged', 'forged again';
# Whatever each column of each table takes, row by row.
my $fuzz = q(
    DO $fuzz$
    DECLARE
        c record;
        v text;
    BEGIN
        FOR c IN SELECT a.attrelid::regclass AS tab, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, n
                 FROM pg_attribute a, LATERAL (SELECT row_number() OVER () AS n) r
                 WHERE a.attrelid IN (SELECT to_regclass('steadytext_' || t) FROM unnest('{cache,queue,config,daemon_health,rate_limits,audit_log}'::text[]) t) AND a.attnum > 0 LOOP
            FOREACH v IN ARRAY CASE
                WHEN c.type IN ('integer', 'bigint') THEN ARRAY['-2147483648', '-1', '0', '2147483647', '2147483646', '1000000001']
                WHEN c.type LIKE 'timestamp%' THEN ARRAY['infinity', '-infinity', '294276-12-31', '4714-11-24 BC', '2999-01-01']
                WHEN c.type = 'jsonb' THEN ARRAY['{"max_tokens": 1e100}', '{"max_tokens": -1}', '1e100', 'null', '[]', '"x"', 'true', '{"before_upgrade": false}', to_jsonb(repeat('x', 20000000))::text, repeat('[', 5000) || repeat(']', 5000), to_jsonb(repeat('9', 200000))::text]
                WHEN c.type = 'text' THEN ARRAY['', 'postgres', 'victim', '*', '@database', 'steadytext_owner', 'a, tcp://b:5555 key_file=/etc/passwd', E'\x01\x1b[2J', '''; DROP TABLE x --', repeat('x', 64), repeat('x', 10000000)]
                WHEN c.type = 'text[]' THEN ARRAY['{}', '{NULL}', '{{a,b},{c,d}}']
                WHEN c.type LIKE 'vector%[]' THEN ARRAY['{}', '{NULL}']
                ELSE ARRAY[]::text[] END || NULL::text LOOP
                BEGIN
                    EXECUTE CASE c.tab::text
                        WHEN 'steadytext_cache' THEN format('INSERT INTO %s (%s) VALUES (%s)', c.tab,
                            concat_ws(', ', c.name, CASE WHEN c.name <> 'cache_key' THEN 'cache_key' END, CASE WHEN c.name <> 'prompt' THEN 'prompt' END, CASE WHEN c.name <> 'response' THEN 'response' END),
                            concat_ws(', ', '$1::' || c.type, CASE WHEN c.name <> 'cache_key' THEN '$2' END, CASE WHEN c.name <> 'prompt' THEN '$2' END, CASE WHEN c.name <> 'response' THEN '''forgery''' END))
                        WHEN 'steadytext_queue' THEN format('INSERT INTO %s (%s) VALUES (%s)', c.tab,
                            concat_ws(', ', c.name, CASE WHEN c.name <> 'request_type' THEN 'request_type' END, CASE WHEN c.name <> 'user_id' THEN 'user_id' END, CASE WHEN c.name <> 'prompt' THEN 'prompt' END),
                            concat_ws(', ', '$1::' || c.type, CASE WHEN c.name <> 'request_type' THEN '''generate''' END, CASE WHEN c.name <> 'user_id' THEN '''postgres''' END, CASE WHEN c.name <> 'prompt' THEN '$2' END))
                        WHEN 'steadytext_config' THEN format('INSERT INTO %s (%s) VALUES (%s)', c.tab,
                            concat_ws(', ', c.name, CASE WHEN c.name <> 'key' THEN 'key' END, CASE WHEN c.name <> 'value' THEN 'value' END),
                            concat_ws(', ', '$1::' || c.type, CASE WHEN c.name <> 'key' THEN '$2' END, CASE WHEN c.name <> 'value' THEN '''1''' END))
                        WHEN 'steadytext_daemon_health' THEN format('INSERT INTO %s (%s) VALUES (%s)', c.tab,
                            concat_ws(', ', c.name, CASE WHEN c.name <> 'daemon_id' THEN 'daemon_id' END, CASE WHEN c.name <> 'endpoint' THEN 'endpoint' END),
                            concat_ws(', ', '$1::' || c.type, CASE WHEN c.name <> 'daemon_id' THEN '$2' END, CASE WHEN c.name <> 'endpoint' THEN '$2' END))
                        WHEN 'steadytext_rate_limits' THEN format('INSERT INTO %s (%s) VALUES (%s)', c.tab,
                            concat_ws(', ', c.name, CASE WHEN c.name <> 'user_id' THEN 'user_id' END), concat_ws(', ', '$1::' || c.type, CASE WHEN c.name <> 'user_id' THEN '$2' END))
                        ELSE format('INSERT INTO %s (%s) VALUES (%s)', c.tab,
                            concat_ws(', ', c.name, CASE WHEN c.name <> 'event_type' THEN 'event_type' END), concat_ws(', ', '$1::' || c.type, CASE WHEN c.name <> 'event_type' THEN '$2' END))
                        END USING v, md5(c.name || coalesce(left(v, 100), 'null') || c.tab);
                EXCEPTION WHEN integrity_constraint_violation OR data_exception OR program_limit_exceeded THEN
                    NULL;
                END;
            END LOOP;
        END LOOP;
    END
    $fuzz$;);
in(rows => $fuzz, user => 'mallory');
in(rows => qq(
    INSERT INTO steadytext_cache (cache_key, prompt, response) VALUES ('$keys[0]', 'forged', 'forgery'), ('$keys[1]', 'forged again', 'forgery');
    INSERT INTO steadytext_cache (cache_key, prompt, response, generation_params) VALUES ('old', 'old', 'forgery', '{"max_tokens": 7}'), ('huge', 'huge', 'forgery', '{"max_tokens": 1e100}');
    INSERT INTO steadytext_queue (request_type, prompt, user_id) VALUES ('generate', 'in another name', 'victim'), (NULL, 'of no type', 'victim');
    INSERT INTO steadytext_queue (request_id, request_type, prompt, user_id, status, result, completed_at)
        SELECT '00000000-0000-0000-0000-000000000001', 'generate', 'twice', 'victim', 'completed', 'forgery', 'infinity' FROM generate_series(1, 2);
    UPDATE steadytext_config SET value = '"evil.example, tcp://evil.example:1 key_file=/etc/passwd"' WHERE key = 'daemon_host';
    UPDATE steadytext_config SET value = '6666' WHERE key = 'daemon_port';
    UPDATE steadytext_config SET value = '"77"' WHERE key = 'default_max_tokens';
    UPDATE steadytext_config SET value = '-5' WHERE key = 'default_seed';
    UPDATE steadytext_config SET value = to_jsonb(repeat('9', 200000)) WHERE key = 'cache_max_entries';
    UPDATE steadytext_config SET value = '{"a": 1}' WHERE key = 'cache_enabled';
    UPDATE steadytext_config SET description = repeat('x', 30000000) WHERE key = 'cache_max_size_mb';
    INSERT INTO steadytext_rate_limits (user_id, requests_per_minute) VALUES ('victim', 0) ON CONFLICT (user_id) DO UPDATE SET requests_per_minute = 0;
    INSERT INTO steadytext_audit_log (event_type, user_id, details) VALUES ('config_change', 'victim', '{"before_upgrade": false}')), user => 'mallory');
# What an owner can do without being in the way of anything: none of it is evaluated.
in(rows => q(
    ALTER TABLE steadytext_audit_log ALTER error_message SET DEFAULT public.mark('default');
    ALTER TABLE steadytext_config ALTER description SET DEFAULT public.mark('default');
    ALTER TABLE steadytext_cache DROP CONSTRAINT steadytext_cache_model_size_check, ADD CONSTRAINT steadytext_cache_model_size_check CHECK (public.mark(model_size) IS NULL) NOT VALID;
    ALTER TABLE steadytext_queue FORCE ROW LEVEL SECURITY;
    ALTER SEQUENCE steadytext_audit_log_id_seq INCREMENT -7 MINVALUE -100000 CYCLE;
    ALTER FUNCTION steadytext_version() OWNER TO mallory;
    GRANT ALL ON steadytext_config, steadytext_prompts TO mallory WITH GRANT OPTION;
    SET ROLE mallory; GRANT UPDATE ON steadytext_config TO PUBLIC; GRANT TRIGGER ON steadytext_prompts TO victim));
my %before = map { $_ => in(rows => "SELECT count(*) FROM steadytext_$_") } qw(cache queue audit_log);
cmp_ok($before{$_}, '>', 20, "hostile rows in steadytext_$_") for sort keys %before;

my $done = $cluster->try_sql('ALTER EXTENSION pg_steadytext UPDATE', database => 'rows');
is($done->{state}, '', 'the update goes through') or BAIL_OUT($done->{err});
is(ran(), '', 'nothing of anybody\'s ran');
like($done->{err}, qr/WARNING:.*not all that the original left is trusted/, 'one warning says what has become of what');
like($done->{err}, qr/DETAIL:  Everybody could write steadytext_audit_log, .*steadytext_rate_limits:/, '  of which tables');
like($done->{err}, qr/$before{cache} cached answers are kept but not served/, '  answers');
like($done->{err}, qr/\d+ queued calls are cancelled/, '  calls');
like($done->{err}, qr/"daemon_host" \(was "evil\.example, tcp[^\n]*/, '  settings, with their values');
like($done->{err}, qr/\d+ rows of steadytext_rate_limits are gone/, '  limits');
like($done->{err}, qr/\d+ rows of steadytext_cache have new ids/, '  ids');
unlike($done->{err}, qr/\x1b/, '  and no control character');
cmp_ok(length $done->{err}, '<', 10000, '  in few words');

is(in(rows => q(SELECT count(*) || ' ' || count(*) FILTER (WHERE fingerprint = 'untrusted') FROM steadytext_cache)), "$before{cache} $before{cache}", 'all answers are there, and marked');
is(in(rows => q(SELECT steadytext_generate(p, max_tokens => 7) FROM unnest(ARRAY['forged', 'old', 'huge']) p), user => 'victim'), "forged\nold\nhuge", 'but none is served, by any key');
is(in(rows => q(SELECT count(*) FROM steadytext_queue WHERE status IN ('pending', 'processing'))), 0, 'no call waits');
is(in(rows => 'SELECT count(*) FROM steadytext_queue'), $before{queue}, 'all are there');
is(in(rows => 'SELECT count(*) FROM steadytext_queue', user => 'victim'), 0, 'none is anybody\'s');
like(in(rows => q(SELECT DISTINCT status || ': ' || error FROM steadytext_queue WHERE prompt = 'in another name')), qr/^cancelled: cancelled by the update of pg_steadytext: everybody could write/, 'a call in another\'s name says why it was cancelled');
is(in(rows => q(SELECT string_agg(key || '=' || value, ' ' ORDER BY key) FROM steadytext_config)),
    'cache_enabled=true cache_eviction_enabled=true cache_max_entries=10000 cache_max_size_mb=100 daemon_auto_start=true daemon_host="localhost" daemon_port=5555 default_max_tokens=77 default_seed=42',
    'of the configuration what is valid has stayed, but not the address of the daemon');
is(in(rows => q(SELECT count(*) FROM steadytext_audit_log WHERE event_type = 'upgrade_removed' AND details -> 'row' ->> 'key' = 'daemon_host')), 1, 'what was removed is in the audit log');
is(in(rows => 'SELECT count(*) FROM steadytext_rate_limits'), 0, 'no limit binds');
is(in(rows => q(SELECT count(*) FROM steadytext_audit_log WHERE details @> '{"before_upgrade": true}')), $before{audit_log}, 'each audit row from before says so');
is(in(rows => q(SELECT count(*) FROM steadytext_daemon_health WHERE endpoint !~ '^(tcp|ipc)://')), 0, 'no daemon of anybody\'s');
is(in(rows => q(SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE c.relname ~ '^steadytext_' AND c.relkind = 'r' AND
    (a.grantee = 0 AND c.relname <> 'steadytext_queue' OR a.privilege_type IN ('TRIGGER', 'REFERENCES') AND a.grantee <> c.relowner OR a.is_grantable AND a.grantee <> c.relowner))), 0, 'nothing is everybody\'s, and nobody may add triggers or grant onwards');
is(in(rows => q(SELECT count(*) FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid WHERE d.deptype = 'e' AND d.classid = 'pg_proc'::regclass AND p.proowner = 'mallory'::regrole)), 0, 'no function of the extension is theirs');
is(in(rows => q(SELECT string_agg(check_name || ': ' || details, '; ') FROM steadytext_selfcheck() WHERE status = 'error')), '', 'the self-check finds no error');

# All that works on these rows does.
for my $call (q(SELECT count(*) FROM steadytext_cache_preview_eviction(1000)), q(SELECT count(*) FROM steadytext_cache_analyze_usage()), q(SELECT count(*) FROM steadytext_cache_stats()),
    q(SELECT count(frecency_score) FROM steadytext_cache_with_frecency), q(SELECT * FROM steadytext_cache_migrate_keys()), q(SELECT count(*) FROM steadytext_config_settings),
    q(SELECT count(*) FROM steadytext_rate_limit_status), q(SELECT count(*) FROM steadytext_health_check()), q(SELECT count(*) FROM steadytext_queue_dead),
    q(SELECT steadytext_cache_evict_by_age(1000, 1000)), q(SELECT max(extract(epoch FROM now() - created_at)) FROM steadytext_audit_log), q(SELECT max(extract(epoch FROM now() - completed_at)) FROM steadytext_queue)) {
    my $result = $cluster->try_sql($call, database => 'rows');
    is($result->{state}, '', $call) or diag $result->{err};
}
ok($cluster->wait_for(sub { in(rows => qq(SELECT fingerprint FROM steadytext_cache WHERE cache_key = '$keys[0]')) eq $fingerprint }), 'the real answer takes the place of the forged one');
my $request = in(rows => q(SELECT steadytext_generate_async('after')), user => 'victim');
is(in(rows => "SELECT steadytext_get_async_result('$request', 60)", user => 'victim'), 'after', 'new calls are carried out');
is(in(rows => q(SELECT count(*) FROM steadytext_queue WHERE status = 'completed' AND prompt IN ('in another name', 'of no type'))), 0, 'the old ones are not');
in(rows => q(SELECT steadytext_config_set('default_seed', '42')));
is(in(rows => q(SELECT count(*) FROM steadytext_audit_log WHERE event_type = 'config_change' AND NOT details ? 'before_upgrade')), 1, 'a new audit row is none of before');

# An administrator says that the answers are to be trusted: they answer under the original's keys, and no other.
cmp_ok(in(rows => 'SELECT steadytext_cache_trust_legacy()'), '>', 20, 'answers are trusted by hand');
is(in(rows => q(SELECT steadytext_generate('old', max_tokens => 7, use_cache => true)), user => 'mallory'), 'forgery', 'then the original\'s keys find them');
is(in(rows => q(SELECT steadytext_generate('forged again', max_tokens => 7)), user => 'victim'), 'forged again', 'but a key of this version does not');
is($cluster->try_sql('SELECT steadytext_cache_trust_legacy()', database => 'rows', user => 'victim')->{state}, '42501', 'not everybody may say so');

# The calls, queued anew by a role whose they are, as docs/upgrading.md says.
in(rows => q(GRANT SELECT ON steadytext_queue TO mallory; CREATE POLICY all_rows ON steadytext_queue TO mallory USING (true)));
is(in(rows => q(SELECT count(steadytext_enqueue(request_type, coalesce(params, '{}') || jsonb_build_object('prompt', prompt))) FROM steadytext_queue
    WHERE error LIKE 'cancelled by the update%' AND request_type = 'generate' AND prompt = 'in another name'), user => 'mallory'), 1, 'a cancelled call is queued anew');
ok($cluster->wait_for(sub { in(rows => q(SELECT user_id || ' ' || result FROM steadytext_queue WHERE status = 'completed' AND prompt = 'in another name')) eq 'mallory in another name' }, 60), '  and carried out, in the name of the role that queued it');
in(rows => q(SELECT steadytext_config_set(details #>> '{row,key}', details #>> '{row,value}') FROM steadytext_audit_log
    WHERE event_type = 'upgrade_removed' AND details ->> 'table' = 'steadytext_config' AND details #>> '{row,key}' = 'victim'));
is(in(rows => q(SELECT steadytext_config_get('victim'))), '1', 'a removed setting is put back by hand');
# All else is as in a fresh installation.
$cluster->sql('CREATE DATABASE fresh');
in(fresh => 'CREATE EXTENSION pg_steadytext CASCADE');
for my $same (q(SELECT string_agg(format('%s.%s %s', adrelid::regclass, attname, pg_get_expr(adbin, adrelid)), ' ' ORDER BY adrelid::regclass::text, attname) FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum JOIN pg_class c ON c.oid = adrelid WHERE relname ~ '^steadytext_' AND relname !~ 'prompt'),
    q(SELECT string_agg(conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(c.oid), ' ' ORDER BY conrelid::regclass::text, conname) FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid WHERE relname ~ '^steadytext_' AND relname !~ 'prompt'),
    q(SELECT string_agg(format('%s %s %s', oid::regclass, relrowsecurity, relforcerowsecurity), ' ' ORDER BY relname) FROM pg_class WHERE relkind = 'r' AND relname ~ '^steadytext_' AND relname !~ 'prompt'),
    q(SELECT string_agg(format('%s %s %s %s %s %s', seqrelid::regclass, seqtypid::regtype, seqincrement, seqmin, seqmax, seqcycle), ' ' ORDER BY seqrelid::regclass::text) FROM pg_sequence)) {
    is(in(rows => $same), in(fresh => $same), 'as in a fresh installation: ' . substr $same, 0, 60);
}

# ---- where an administrator had taken the tables from everybody -----------------------------------------------------------------
original('trusted');
in(trusted => q(REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public FROM PUBLIC;
    INSERT INTO steadytext_cache (cache_key, prompt, response, generation_params, model_name) VALUES ('old', 'old', 'old answer', '{"max_tokens": 7}', 'steadytext-default');
    INSERT INTO steadytext_queue (request_type, prompt, user_id) VALUES ('generate', 'waits', 'victim'), ('generate', 'of nobody', NULL), (NULL, 'of no type', 'victim');
    INSERT INTO steadytext_config (key, value) VALUES ('my_key', '"mine"');
    UPDATE steadytext_config SET value = '"gpu.example"' WHERE key = 'daemon_host';
    UPDATE steadytext_config SET value = '-5' WHERE key = 'default_seed';
    INSERT INTO steadytext_rate_limits (user_id, requests_per_minute) VALUES ('mallory', -1), (repeat('x', 64), 0);
    INSERT INTO steadytext_audit_log (event_type) VALUES ('config_change')));
my $trusted = $cluster->try_sql('ALTER EXTENSION pg_steadytext UPDATE', database => 'trusted');
like($trusted->{err}, qr/DETAIL:  of steadytext_config the keys "default_seed" \(was -5\) are .*\n1 rows of steadytext_rate_limits are gone\.\n/, 'trusted tables: the warning tells what was not valid, and no more');
is(in(trusted => q(SELECT steadytext_generate('old', max_tokens => 7)), user => 'victim'), 'old answer', '  answers are served');
ok($cluster->wait_for(sub { in(trusted => q(SELECT count(*) FROM steadytext_queue WHERE status IN ('pending', 'processing'))) == 0 }, 60), '  calls are carried out');
is(in(trusted => q(SELECT string_agg(prompt || ' ' || user_id || ' ' || status, ', ' ORDER BY id) FROM steadytext_queue WHERE prompt <> 'of nobody')), 'waits victim completed, of no type victim cancelled', '  as who is named, but for what is no call');
is(in(trusted => q(SELECT string_agg(key || '=' || value, ' ' ORDER BY key) FROM steadytext_config WHERE key IN ('my_key', 'daemon_host', 'default_seed'))), 'daemon_host="gpu.example" default_seed=42 my_key="mine"', '  settings stay where they are valid');
is(in(trusted => q(SELECT string_agg(user_id || ' ' || requests_per_minute, ', ') FROM steadytext_rate_limits)), 'mallory 0', '  limits too');
is(in(trusted => q(SELECT count(*) FROM steadytext_audit_log WHERE details ? 'before_upgrade')), 0, '  audit rows are as they were');

# ---- a fresh installation -----------------------------------------------------------------------------------------------------
# What everybody is given by default is not given here, and the name of a primary key is not left to somebody's relation.
$cluster->sql('CREATE DATABASE given');
in(given => q(CREATE EXTENSION vector; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO mallory, PUBLIC; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO mallory;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO mallory, PUBLIC; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO mallory WITH GRANT OPTION;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO mallory, PUBLIC));
is($cluster->try_sql('BEGIN; CREATE TABLE public.steadytext_rate_limit_rules_pkey (); CREATE EXTENSION pg_steadytext', database => 'given')->{state}, '42P07', 'a relation of the name of a primary key: no installation');
in(given => 'CREATE EXTENSION pg_steadytext');
for my $acl (q(SELECT string_agg(c.oid::regclass || ' ' || a::text, ' ' ORDER BY c.oid::regclass::text, a::text) FROM pg_depend d JOIN pg_class c ON c.oid = objid, unnest(relacl) a WHERE deptype = 'e' AND classid = 'pg_class'::regclass AND relname ~ 'steadytext' AND a::text NOT LIKE 'postgres=%' AND a::text NOT LIKE 'steadytext_owner=%'),
    q(SELECT string_agg(p.oid::regprocedure || ' ' || a::text, ' ' ORDER BY p.oid::regprocedure::text, a::text) FROM pg_depend d JOIN pg_proc p ON p.oid = objid, unnest(coalesce(proacl, acldefault('f', proowner))) a WHERE deptype = 'e' AND classid = 'pg_proc'::regclass AND proname ~ '^(steady|st_|_)'),
    q(SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM pg_namespace n, unnest(nspacl) a WHERE nspname = '_steadytext' AND a::text NOT LIKE 'mallory=U/%')) {
    is(in(given => $acl), in(fresh => $acl), 'default privileges give nobody anything: ' . substr $acl, 0, 40);
}

# ---- a large cache -----------------------------------------------------------------------------------------------------------
original('large');
in(large => q(INSERT INTO steadytext_cache (cache_key, prompt, response) SELECT 'question ' || i, 'question ' || i, repeat('answer ', 50) FROM generate_series(1, 100000) i;
    INSERT INTO steadytext_audit_log (event_type) SELECT 'x' FROM generate_series(1, 100000)), user => 'mallory');
my $large = $cluster->try_sql('ALTER EXTENSION pg_steadytext UPDATE', database => 'large');
is($large->{state}, '', 'a hundred thousand answers are marked');
cmp_ok($large->{seconds}, '<', 30, sprintf 'in %.1f s', $large->{seconds});
is(in(large => q(SELECT total_entries FROM steadytext_cache_stats())), 100000, 'all are there');

done_testing;
