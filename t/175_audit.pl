# Suspicious input: one line in the log, a row in steadytext_audit_log whatever becomes of the call, and no prompt in either.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'log_min_error_statement = panic', "listen_addresses = '127.0.0.1'" ]);
$cluster->sql('CREATE ROLE mallory LOGIN; CREATE ROLE alice LOGIN');
my $metric = sub { return $cluster->sql("SELECT value::int FROM steadytext_metrics() WHERE name = 'steadytext_$_[0]'") };
my $kinds  = q(SELECT string_agg(DISTINCT details ->> 'kind', ' ' ORDER BY details ->> 'kind') FROM steadytext_audit_log WHERE event_type = 'suspicious_input');

# A row survives the caller's error, a rollback, a read-only transaction.
{
    my $bell = qq(ring my \007 bell);
    is($cluster->try_sql(qq(SELECT steadytext_generate('$bell', max_tokens => -1)), user => 'mallory')->{state}, '22023', 'a call is refused');
    $cluster->sql(q(BEGIN; SELECT steadytext_generate('hi', model => 'x''; DROP TABLE t'); ROLLBACK), user => 'mallory');
    is($cluster->try_sql(q(BEGIN READ ONLY; SELECT steadytext_embed('hi', model => 'tab	or' || chr(27) || '[31m')), user => 'mallory')->{state}, '22023', 'one that may only read');
    is($cluster->try_sql(q(SELECT steadytext_generate(repeat('long', 300000))), user => 'mallory')->{state}, '54000', 'and one too long');
    ok($cluster->poll_until($kinds, 'control_character injection_pattern too_long'), 'each has its rows') or diag $cluster->sql($kinds);
    is($cluster->sql(qq(SELECT details ->> 'sha256', details ->> 'bytes', user_id, success, error_message FROM steadytext_audit_log WHERE details ->> 'parameter' = 'prompt' AND details ->> 'kind' = 'control_character')),
        sha256_hex($bell) . '|14|mallory|f|control characters in prompt', 'a prompt is told by hash and length');
    is($cluster->sql(q(SELECT details ->> 'value' FROM steadytext_audit_log WHERE details ->> 'kind' = 'injection_pattern')), q(x'; DROP TABLE t), 'a name as it is');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_audit_log WHERE details::text LIKE '%bell%')), 0, 'no row has the prompt');
    unlike($cluster->log, qr/ring my/, 'nor has the log');
    is($cluster->sql(q(SELECT details ->> 'value' FROM steadytext_audit_log WHERE details ->> 'parameter' = 'model' AND details ->> 'kind' = 'control_character')),
        'tab\x09or\x1b[31m', 'without its control characters');
    like($cluster->log, qr/suspicious input: a pattern of SQL injection in model\n.*Role "mallory", 16 bytes. Value: x'; DROP TABLE t\.$/m, 'the log says the same');
}

# Once per kind, role and minute in the log; a hundred rows; all are counted.
{
    my $before = $metric->('suspicious_inputs_total');
    my $dropped = $metric->('audit_dropped_total');
    $cluster->sql(q(SELECT count(steadytext_generate('!'::text || chr(1) || i)) FROM generate_series(1, 250) i), user => 'alice');
    is($metric->('suspicious_inputs_total') - $before, 250, 'every one is counted');
    is($metric->('audit_dropped_total') - $dropped, 150, 'a hundred and fifty are left out');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_audit_log WHERE user_id = 'alice'), 100), 'a hundred have rows');
    is(scalar(() = $cluster->log =~ /Role "alice"/g), 1, 'one is logged');
}

# An endpoint that is refused; who asked from where.
{
    is($cluster->try_sql(q(SELECT steadytext_daemon_register('tcp://169.254.169.254:5555')))->{state}, '22023', 'a metadata address is refused');
    ok($cluster->poll_until(q(SELECT details ->> 'value' FROM steadytext_audit_log WHERE details ->> 'kind' = 'refused_endpoint'), 'tcp://169.254.169.254:5555'), 'and audited');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_audit_log WHERE ip_address IS NOT NULL), 0), 'a socket has no address');
    my ($out, $err) = ('', '');
    IPC::Run::run([ 'psql', '-qXAt', '-h', '127.0.0.1', '-p', $cluster->{PGPORT}, '-U', $cluster->{PGUSER}, '-d', $cluster->{PGDATABASE}, '-c',
        q(SELECT steadytext_generate('over TCP' || chr(2)))], '<', \undef, '>', \$out, '2>', \$err);
    ok($cluster->poll_until(q(SELECT ip_address FROM steadytext_audit_log WHERE ip_address IS NOT NULL), '127.0.0.1'), 'TCP has') or diag $err;
}

# Whoever may read the table sees its own rows.
{
    is($cluster->try_sql('SELECT FROM steadytext_audit_log', user => 'alice')->{state}, '42501', 'nothing is granted to everybody');
    $cluster->sql('GRANT SELECT ON steadytext_audit_log TO alice');
    is($cluster->sql('SELECT DISTINCT user_id FROM steadytext_audit_log', user => 'alice'), 'alice', 'a role sees its own rows');
    is($cluster->try_sql(q(INSERT INTO steadytext_audit_log (event_type) VALUES ('forged')), user => 'alice')->{state}, '42501', 'and writes none');
}

# Text that is no UTF-8, where PostgreSQL lets it in.
{
    $cluster->sql(q(CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'));
    $cluster->sql('CREATE EXTENSION pg_steadytext CASCADE', database => 'bytes');
    is($cluster->try_sql(q(SELECT steadytext_generate(E'caf\xE9')), database => 'bytes')->{state}, '22021', 'it is refused');
    ok($cluster->wait_for(sub { $cluster->sql(q(SELECT count(*) FROM steadytext_audit_log WHERE details ->> 'kind' = 'bad_encoding'), database => 'bytes') == 1 }), 'and audited');
}

# What an administrator's functions may say of a parameter is one of a few words, and a row that cannot be written costs itself alone.
{
    is($cluster->try_sql(q(SELECT _steadytext.inspect(repeat('x', 3000), chr(1) || i) FROM generate_series(1, 20) i))->{state}, '22023', 'no parameter of any name');
    is($cluster->try_sql(q(SELECT _steadytext.inspect('model', repeat('"', 3000))))->{state}, '', 'a name of quotes alone');
    $cluster->try_sql(q(SELECT steadytext_config_set('x' || repeat('é"', 60) || 'host', repeat('"', 300) || chr(1))));
    my $long = q(SELECT count(*) FROM steadytext_audit_log WHERE details ->> 'value' LIKE '"""""%' AND details ->> 'parameter' = ');
    ok($cluster->poll_until("${long}model'", 1), 'has a row that is JSON');
    ok($cluster->poll_until("${long}config_value'", 1), 'and so has a value whose key is long');

    $cluster->sql(q(CREATE ROLE eve LOGIN; ALTER TABLE steadytext_audit_log ADD CONSTRAINT not_eve CHECK (user_id <> 'eve') NOT VALID));
    my $dropped = $metric->('audit_dropped_total');
    my $locker  = $cluster->session;
    $locker->ask('BEGIN; LOCK TABLE steadytext_audit_log IN ACCESS EXCLUSIVE MODE;');
    $cluster->sql(qq(SELECT steadytext_generate('together' || chr(1))), user => $_) for 'mallory', 'eve', 'mallory';
    my $rows = qq(SELECT count(*) FROM steadytext_audit_log WHERE user_id = 'mallory' AND details ->> 'sha256' = '${\ sha256_hex("together\001")}');
    $locker->finish;
    ok($cluster->poll_until($rows, 2, 30), 'the rows beside one that the table refuses are written');
    is($metric->('audit_dropped_total') - $dropped, 1, 'that one is dropped and counted');
    $cluster->sql('ALTER TABLE steadytext_audit_log DROP CONSTRAINT not_eve');
}

# A table that cannot be written for a time: rows wait for the end of it, answers are written meanwhile.
{
    $cluster->sql(q(CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON steadytext_audit_log EXECUTE FUNCTION full_disk()));
    my $dropped = $metric->('audit_dropped_total');
    $cluster->sql(q(SELECT steadytext_generate('no room' || chr(2))));
    ok($cluster->wait_for(sub { (() = $cluster->log =~ /ERROR:.*no space left/g) > 4 }), 'a row is tried again and again');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_cache WHERE prompt LIKE 'no room%'), 1), 'answers are written meanwhile');
    $cluster->sql('DROP TRIGGER full_disk ON steadytext_audit_log');
    ok($cluster->poll_until(qq(SELECT count(*) FROM steadytext_audit_log WHERE details ->> 'sha256' = '${\ sha256_hex("no room\002")}'), 1, 60), 'and written in the end');
    is($metric->('audit_dropped_total'), $dropped, 'none is dropped');
}

# The log says itself what it misses.
{
    my $missing = q(SELECT coalesce(sum((details ->> 'rows')::int), 0) FROM steadytext_audit_log WHERE event_type = 'audit_dropped');
    ok($cluster->poll_until($missing, $metric->('audit_dropped_total'), 30), 'rows that are missing are told of in the log itself') or diag $cluster->{last_poll}{out};
    my $before = $cluster->sql($missing);
    $cluster->sql(q(SELECT count(steadytext_generate('?'::text || chr(1) || i)) FROM generate_series(1, 250) i), user => 'mallory');
    ok($cluster->poll_until($missing, $metric->('audit_dropped_total'), 30), 'so are those of another flood');
    cmp_ok($cluster->sql($missing), '>', $before, '  which there are');
    is($cluster->sql(q(SELECT details ->> 'audit_rows_missing' FROM steadytext_health_check() WHERE component = 'keeper')), $metric->('audit_dropped_total'), 'the health check tells how many in all');
}

# While a database's rows cannot be written, those of others are: it has its share of the memory in which they wait.
{
    $cluster->sql(q(CREATE DATABASE stalled; CREATE DATABASE calm));
    $cluster->sql(q(CREATE EXTENSION pg_steadytext CASCADE), database => $_) for qw(stalled calm);
    my $locker = $cluster->session(database => 'stalled');
    $locker->ask('BEGIN; LOCK TABLE steadytext_audit_log IN ACCESS EXCLUSIVE MODE;');
    my @floods = map { "flood_$_" } 'a' .. 'h';
    $cluster->sql("CREATE ROLE $_ LOGIN") for @floods, 'meek';
    $cluster->sql(q(SELECT count(steadytext_generate('!'::text || chr(1) || i)) FROM generate_series(1, 100) i), database => 'stalled', user => $_) for @floods;
    $cluster->sql(q(SELECT steadytext_generate('meek' || chr(1))), database => $_, user => 'meek') for qw(calm stalled);
    ok($cluster->wait_for(sub { $cluster->sql(q(SELECT count(*) FROM steadytext_audit_log WHERE user_id = 'meek'), database => 'calm') == 1 }, 30), 'a row of a database beside one that is flooded and stalled');
    $locker->finish;
    my $told = q(SELECT count(*) FILTER (WHERE event_type = 'suspicious_input') + coalesce(sum((details ->> 'rows')::int), 0) FROM steadytext_audit_log);
    ok($cluster->wait_for(sub { $cluster->sql($told, database => 'stalled') == 100 * @floods + 1 }, 60), 'there each row is written or told to be missing in the end') or diag $cluster->sql($told, database => 'stalled');
    cmp_ok($cluster->sql(q(SELECT count(*) FROM steadytext_audit_log WHERE event_type = 'audit_dropped'), database => 'stalled'), '>', 0, '  which some are');
}

# Rows that the table refuses, all of them: they are given up.
{
    $cluster->sql(q(ALTER TABLE steadytext_audit_log ADD CONSTRAINT never CHECK (false) NOT VALID));
    my $dropped = $metric->('audit_dropped_total');
    $cluster->sql(q(SELECT steadytext_generate('no row for this' || chr(3))));
    ok($cluster->wait_for(sub { $metric->('audit_dropped_total') == $dropped + 1 }), 'a row that cannot be written is dropped');
    $cluster->sql(q(ALTER TABLE steadytext_audit_log DROP CONSTRAINT never));
    $cluster->sql('SELECT steadytext_frecency_refresh()');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt LIKE 'no row%')), 1, 'answers are written');
}

# On a standby the row waits for the day it is promoted.
{
    my $standby = $cluster->standby;
    is($standby->sql('SELECT pg_is_in_recovery()'), 't', 'it is one');
    $standby->sql(q(SELECT steadytext_generate('on a standby' || chr(4))));
    like($standby->log, qr/suspicious input: control characters in prompt/, 'its log tells at once');
    ok($standby->promote, 'it is promoted');
    ok($standby->poll_until(qq(SELECT count(*) FROM steadytext_audit_log WHERE details ->> 'sha256' = '${\ sha256_hex("on a standby\004")}'), 1), 'the row is written then');
}

done_testing;
