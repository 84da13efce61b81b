# Databases come and go: five hundred in one life of the server, with room for as many as steadytext.max_databases at once. Rows of those that are
# gone are used again, no worker is begun for them, and what finds no row is told so and costs no other database anything.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $databases = $ENV{STEADYTEXT_LONG_TESTS} ? 500 : 40;
my $rows      = $ENV{STEADYTEXT_LONG_TESTS} ? 120 : 20;
my $wave      = $ENV{STEADYTEXT_LONG_TESTS} ? 50 : 8;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.max_databases = $rows", 'max_worker_processes = 20', 'log_min_messages = debug1', 'log_connections = off' ]);
sub launcher { return $cluster->worker_pid('launcher') }
# At DEBUG1 the postmaster tells of each worker it begins.
sub log_lines { return scalar grep { / (?:LOG|WARNING|ERROR|FATAL):  (?!statement)/ } split /\n/, $cluster->log }
sub forks { return scalar(() = $cluster->log =~ /starting background worker process "pg_steadytext/g) }

$cluster->sql(q(CREATE DATABASE mould));
$cluster->sql(q(CREATE EXTENSION pg_steadytext CASCADE), database => 'mould');
$cluster->sql(q(UPDATE pg_database SET datistemplate = true WHERE datname = 'mould'));
sub create { my (@names) = @_; $cluster->sql(join "\n", map { "CREATE DATABASE $_ TEMPLATE mould;" } @names); return }
sub drop   { my (@names) = @_; $cluster->sql(join "\n", map { "DROP DATABASE $_ WITH (FORCE);" } @names); return }
sub use_it { my ($name) = @_; return $cluster->sql("SELECT steadytext_generate('in $name')", database => $name) }
sub written { my ($name, $seconds) = @_; return $cluster->wait_for(sub { $cluster->sql("SELECT count(*) FROM steadytext_cache WHERE prompt = 'in $name'", database => $name) == 1 }, $seconds // 20) }

# ---- one life, many databases ----------------------------------------------------------------------------------------------
my ($lines, $forks, $memory) = (log_lines(), forks(), $cluster->memory(launcher(), 'RssAnon'));
my $start = time;
for (my $from = 1; $from <= $databases; $from += $wave) {
    my @names = map { "d$_" } $from .. $from + $wave - 1;
    create(@names);
    use_it($_) for @names;
    ok(written($names[-1]), "the keeper writes for database number $names[-1]");
    drop(@names);
}
note sprintf '%d databases created, used and dropped in %.1f s', $databases, time - $start;
create('the_last');
$start = time;
my $job = $cluster->sql(q(SELECT steadytext_generate_async('the first of the last')), database => 'the_last');
my $first_job = $cluster->wait_for(sub { $cluster->sql("SELECT status FROM steadytext_queue WHERE request_id = '$job'", database => 'the_last') eq 'completed' }, 20);
ok($first_job, 'the last one has its first job done');
my $waited = time - $start;
cmp_ok($waited, '<', 5, 'at once');
is($cluster->sql('SELECT max(status) FROM steadytext_health_check() WHERE component = \'keeper\'', database => 'the_last'), 'healthy', 'and a keeper');

# Nothing is begun for the databases that are gone: for three seconds no process comes that none of the living asked for.
{
    my $count = sub { return scalar grep { /database "?\d+"? does not exist/ || /no background worker/ } split /\n/, $cluster->log };
    cmp_ok($count->(), '<=', $databases / 10, 'hardly a worker was begun for a database that was gone');
    my $failed = $count->();
    my $until = time + 3;
    $cluster->wait_for(sub { time > $until }, 4);
    is($count->(), $failed, 'and none is while nothing happens');
    cmp_ok(forks() - $forks, '<=', 3 * $databases, 'a database has its workers begun once or twice');
    note sprintf '%d databases in one life: %d workers begun, %d of them in vain, %d log lines, launcher %+d kB, the first job of the last one after %.2f s', $databases,
        forks() - $forks, $failed, log_lines() - $lines, $cluster->memory(launcher(), 'RssAnon') - $memory, $waited;
}

# ---- more than there is room for -------------------------------------------------------------------------------------------
{
    my @many = map { "full$_" } 1 .. $rows + 2;
    create(@many);
    use_it($_) for @many;
    my $last = $many[-1];
    is(use_it($last), "in $last", 'a database for which there is no room is answered');
    is($cluster->sql(q(SELECT status FROM steadytext_health_check() WHERE component = 'keeper'), database => $last), 'degraded', 'its health says that it is not kept up');
    like($cluster->sql(q(SELECT details ->> 'reason' FROM steadytext_health_check() WHERE component = 'keeper'), database => $last), qr/more databases/, 'and why');
    my $refresh = $cluster->try_sql('SELECT steadytext_frecency_refresh()', database => $last);
    is($refresh->{out}, 0, 'a refresh does nothing');
    like($refresh->{err}, qr/WARNING:  53400/, 'and says so');
    my $queued = $cluster->try_sql(q(SELECT steadytext_generate_async('waits for room')), database => $last);
    like($queued->{err}, qr/WARNING:  53400/, 'an asynchronous call is queued with a warning');
    ok(written($many[0]), 'another database loses nothing');
    ok($cluster->wait_for(sub { $cluster->log =~ /pg_steadytext works in $rows databases, and there are more/ }), 'the log says it');
    drop(@many[ 0 .. $#many - 1 ]);
    ok($cluster->wait_for(sub { $cluster->sql("SELECT status FROM steadytext_queue WHERE request_id = '$queued->{out}'", database => $last) eq 'completed' }, 30), 'once there is room, the call is carried out');
    is($cluster->sql(q(SELECT status FROM steadytext_health_check() WHERE component = 'keeper'), database => $last), 'healthy', 'and all is well');
    is(scalar(() = $cluster->log =~ /works in $rows databases/g), 1, 'which was said once');
    drop($last);
}

# ---- databases that are not the extension's ----------------------------------------------------------------------------------
# Tables of its names that belong to others: no worker touches them.
{
    $cluster->sql(q(CREATE ROLE evil LOGIN; CREATE DATABASE trap OWNER evil));
    my $trap = q(CREATE FUNCTION public.snap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (session_user || current_user); RETURN NULL; END $$;
        CREATE TRIGGER snap BEFORE INSERT OR UPDATE OR DELETE ON public.%s FOR EACH STATEMENT EXECUTE FUNCTION public.snap(););
    my $tables = q(CREATE TABLE public.caught (who text); GRANT ALL ON public.caught TO PUBLIC;
        CREATE TABLE public.steadytext_queue (id int, status text, completed_at timestamptz, worker_pid int, lease_until timestamptz, lost_count int, error text);
        CREATE TABLE public.steadytext_cache (cache_key text); GRANT ALL ON public.steadytext_queue, public.steadytext_cache TO PUBLIC;);
    my $statements = 'SET SESSION AUTHORIZATION evil; ' . $tables;
    for my $table (qw(steadytext_queue steadytext_cache)) {
        my $text = sprintf $trap, $table;
        $text =~ s/CREATE FUNCTION/CREATE OR REPLACE FUNCTION/;
        $statements .= $text;
    }
    $cluster->sql($statements, database => 'trap');
    $cluster->restart;
    my $visited = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext queue worker');
    my $trap_oid = $cluster->sql(q(SELECT oid FROM pg_database WHERE datname = 'trap'));
    ok($cluster->wait_for(sub { $cluster->log =~ /unregistering background worker "pg_steadytext queue worker of database $trap_oid"/ }), 'each database is visited after a restart');
    my $job = $cluster->sql(q(SELECT steadytext_generate_async('after the visits')));
    ok($cluster->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$job'", 'completed'), 'a job after a restart');
    ok($cluster->poll_until("$visited AND datname = 'trap'", 0), 'the visitor has gone');
    is($cluster->sql('SELECT count(*) FROM caught', database => 'trap'), 0, 'and touched nobody else\'s table');

    # After DROP EXTENSION somebody else's tables take the names of the extension's.
    create('leaving');
    use_it('leaving');
    ok(written('leaving'), 'a database with the extension');
    $cluster->sql(q(SELECT steadytext_generate('on its way'); DROP EXTENSION pg_steadytext CASCADE;) . $statements =~ s/SET SESSION AUTHORIZATION evil; /GRANT CREATE ON SCHEMA public TO evil; SET SESSION AUTHORIZATION evil; /r,
        database => 'leaving');
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'leaving'), 0, 40), 'its workers leave after DROP EXTENSION');
    is($cluster->sql('SELECT count(*) FROM caught', database => 'leaving'), 0, 'and touched nothing but the extension\'s');
    drop('trap', 'leaving');
}

# ---- no worker to be had -----------------------------------------------------------------------------------------------------
{
    my $full = SteadyText::Cluster->new(conf => [ 'max_worker_processes = 3' ]);
    is($full->sql(q(SELECT steadytext_generate('no place'))), 'no place', 'with places for gateway, launcher and PostgreSQL\'s own worker alone calls are answered');
    ok($full->poll_until(q(SELECT status FROM steadytext_health_check() WHERE component = 'launcher'), 'degraded'), 'health says that workers are missing');
    like($full->sql(q(SELECT concat(details ->> 'reason', ': ', details ->> 'hint') FROM steadytext_health_check() WHERE component = 'launcher')), qr/no background worker is free.*max_worker_processes/, 'and what to do');
    my $until = time + 3;
    $full->wait_for(sub { time > $until }, 4);
    is(scalar(() = $full->log =~ /no background worker is free/g), 1, 'the log says it once');
    $full->discard;

    my $none = SteadyText::Cluster->new(conf => [ 'max_worker_processes = 0', "steadytext.on_failure = 'error'" ]);
    my $call = $none->try_sql(q(SELECT steadytext_generate('no gateway')));
    is($call->{state}, '55000', 'without a place for the gateway a call fails');
    like($call->{err}, qr/gateway does not run.*max_worker_processes/s, 'and says why');
    cmp_ok($call->{seconds}, '<', 2, 'at once');
    like($none->sql(q(SELECT string_agg(details ->> 'reason', ' ') FROM steadytext_health_check() WHERE component IN ('gateway', 'launcher'))), qr/no background worker was free/, 'as does its health');
    $none->discard;
}

done_testing;
