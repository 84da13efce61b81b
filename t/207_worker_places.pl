# More databases have work than there are places for workers among max_worker_processes. A database that nobody has used yet has its turn whatever the
# others have to do, and however they fail; what a worker had in hand when it handed its place over is not lost.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $places  = 2;
my $cluster = SteadyText::Cluster->new(conf => [ 'max_worker_processes = ' . (3 + $places), 'log_min_messages = debug1', 'log_connections = off' ]);
my $engine  = $cluster->start_echo(name => 'engine', options => [ '--slots', 4 ]);
$cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$engine->{endpoint}'; SELECT pg_reload_conf()");
ok($cluster->poll_until(q(SELECT string_agg(endpoint || state, '') FROM steadytext_daemons), "$engine->{endpoint}ready"), 'an engine of four slots');
$cluster->sql(q(CREATE ROLE eve LOGIN; CREATE DATABASE mould));
$cluster->sql(q(CREATE EXTENSION pg_steadytext CASCADE), database => 'mould');
sub create { my ($owner, @names) = @_; $cluster->sql(join "\n", map { "CREATE DATABASE $_ TEMPLATE mould OWNER $owner;" } @names); return }
sub workers { my ($kind, $of) = @_; return $cluster->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext $kind' AND datname LIKE '$of%'") }

# At DEBUG1 the postmaster tells of each worker it begins.
sub forks { return scalar(() = $cluster->log =~ /starting background worker process "pg_steadytext/g) }
my ($forks, $since) = (forks(), time);
sub begins_no_more_than_one_a_second {
    my ($name) = @_;
    my ($begun, $seconds) = (forks() - $forks, time - $since);
    note sprintf '%s: %d workers begun in %.1f s', $name, $begun, $seconds;
    # Besides, a worker that fails at once is begun again after a tenth of a second, two tenths, …
    return cmp_ok($begun, '<=', 20 + $places * $seconds, "$name: a place changes hands about once a second at most");
}
sub job_of_bob {
    my ($database, $name) = @_;
    my $start = time;
    my $job = $cluster->sql("SELECT steadytext_generate_async('$name')", database => $database);
    my $done = $cluster->wait_for(sub { $cluster->sql("SELECT status FROM steadytext_queue WHERE request_id = '$job'", database => $database) eq 'completed' }, 20);
    note sprintf '%s: %.1f s', $name, time - $start;
    return ok($done, $name);
}

# ---- others have much to do ------------------------------------------------------------------------------------------------
my @busy = map { "busy$_" } 1 .. $places + 1;
sub of_jobs { my ($what, @of) = @_; return map { $cluster->sql("SELECT $what FROM steadytext_queue", database => $_) } @of }
create('eve', @busy);
create('postgres', 'bob');
$cluster->sql(q(SELECT count(steadytext_generate_async('!fault:delay=1000 ' || i)) FROM generate_series(1, 500) i), database => $_) for @busy;
ok($cluster->wait_for(sub { workers('queue worker', 'busy') == $places }), 'one owner\'s workers have all the places');
job_of_bob('bob', 'a job in another database is done meanwhile');
job_of_bob('bob', 'and so is the next one');
is(join(' ', of_jobs(q(count(*) FILTER (WHERE completed_at IS NULL) > 0), @busy)), join(' ', ('t') x @busy), 'while the busy ones have work left');
ok($cluster->wait_for(sub { !grep { $_ eq 'f' } of_jobs(q(count(*) FILTER (WHERE status = 'completed') > 0), @busy) }), 'which have their turns too');

# Nor does a locked table keep a place, or cost a job more than being begun again.
my @lockers = map { my $session = $cluster->session(database => $_); $session->ask('BEGIN; LOCK TABLE steadytext_queue;'); $session } @busy;
job_of_bob('bob', 'a job is done while the busy ones have their tables locked');
$_->ask('COMMIT;') && $_->finish for @lockers;
my ($before) = of_jobs(q(count(*) FILTER (WHERE status = 'completed')), $busy[0]);
ok($cluster->wait_for(sub { (of_jobs(q(count(*) FILTER (WHERE status = 'completed')), $busy[0]))[0] > $before }), 'these go on once they are free');
is(join(' ', of_jobs(q(concat(sum(lost_count), sum(kill_count), sum(retry_count), count(*) FILTER (WHERE status = 'failed'))), @busy)), join(' ', ('0000') x @busy),
    'no job counts as lost, failed or tried again');
begins_no_more_than_one_a_second('busy');
$cluster->sql(join "\n", map { "DROP DATABASE $_ WITH (FORCE);" } @busy);

# ---- others have many databases ---------------------------------------------------------------------------------------------
# At each handover all owners have equally many places. A wait is told in workers begun for others meanwhile: one for each other owner, and what was on its
# way for each place. Both a keeper and a queue worker of each database want a place. Frank's owner has no other database, whose workers would have its
# turns, and his own keeper is done before the next job is queued.
sub begun_for_others { my ($of) = @_; return scalar grep { $_ ne $of } $cluster->log =~ /starting background worker process "pg_steadytext [a-z ]+ of database (\d+)"/g }
for my $row ([ 1, 1 ], [ 1, 2 ], [ 2, 2 ], [ 2, 3 ]) {
    my ($few, $owners) = @$row;
    my @many = map { my $owner = $_; map { "many${owner}_$_" } 1 .. 12 / $owners } 1 .. $owners;
    $cluster->sql('ALTER SYSTEM SET max_worker_processes = ' . (3 + $few));
    $cluster->restart;
    ok($cluster->poll_until(q(SELECT string_agg(state, '') FROM steadytext_daemons), 'ready'), 'the engine again');
    for my $owner (1 .. $owners) {
        $cluster->sql("CREATE ROLE many$owner");
        create("many$owner", grep { /^many${owner}_/ } @many);
    }
    $cluster->sql('CREATE ROLE frank');
    create('frank', 'frank');
    my $frank = $cluster->sql(q(SELECT oid FROM pg_database WHERE datname = 'frank'));
    $cluster->sql(q(SELECT count(steadytext_generate_async('!fault:delay=400 ' || i)) FROM generate_series(1, 500) i), database => $_) for @many;
    ok($cluster->wait_for(sub { workers('keeper', 'many') + workers('queue worker', 'many') == $few }), "$few places, $owners owners of " . @many / $owners . ' databases each');
    for my $time ('warming up', 'first', 'second') {
        my ($start, $before) = (time, begun_for_others($frank));
        my $job = $cluster->sql("SELECT steadytext_generate_async('$time job')", database => 'frank');
        my $begun = $cluster->wait_for(sub { workers('queue worker', 'frank') }, 60);
        my $others = begun_for_others($frank) - $before;
        note sprintf '%d places, %d owners, %s job: its worker began after %.1f s and %d of others', $few, $owners, $time, time - $start, $others;
        cmp_ok($others, '<=', $owners + 2 * $few, "  the $time job waits for one turn of each owner") unless $time eq 'warming up';
        ok($cluster->wait_for(sub { $cluster->sql("SELECT status FROM steadytext_queue WHERE request_id = '$job'", database => 'frank') eq 'completed' }, 30), '  and is done');
        ok($cluster->wait_for(sub { $cluster->sql("SELECT count(*) FROM steadytext_cache WHERE prompt = '$time job'", database => 'frank') == 1 }, 60), '  and written');
        ok($cluster->wait_for(sub { workers('queue worker', 'frank') + workers('keeper', 'frank') == 0 }, 30), '  its workers leave');
    }
    $cluster->sql(join "\n", map { "DROP DATABASE $_ WITH (FORCE);" } @many, 'frank');
    $cluster->sql("DROP ROLE many$_") for 1 .. $owners;
    $cluster->sql('DROP ROLE frank');
}
$places = 2;
$cluster->sql('ALTER SYSTEM SET max_worker_processes = ' . (3 + $places));
$cluster->restart;
ok($cluster->poll_until(q(SELECT string_agg(state, '') FROM steadytext_daemons), 'ready'), 'the engine again');

# ---- others fail for ever --------------------------------------------------------------------------------------------------
my @failing = map { "failing$_" } 1 .. $places + 1;
($forks, $since) = (forks(), time);
create('eve', @failing);
$cluster->sql(q(REVOKE ALL ON SCHEMA public FROM PUBLIC, steadytext_owner; SELECT public.steadytext_generate('cannot be written')), database => $_) for @failing;
my $failures = sub { return scalar(() = $cluster->log =~ /ERROR:  permission denied for schema public/g) };
ok($cluster->wait_for(sub { $failures->() > @failing }), 'their keepers fail, and fail again');
ok($cluster->wait_for(sub { workers('keeper', 'failing') == 0 }), 'they pause without a place');
create('postgres', 'carol');
$cluster->sql(q(SELECT steadytext_generate('can be written')), database => 'carol');
ok($cluster->wait_for(sub { $cluster->sql(q(SELECT count(*) FROM steadytext_cache), database => 'carol') == 1 }, 10), 'another database\'s keeper has one');
job_of_bob('carol', 'and its queue worker');
begins_no_more_than_one_a_second('failing');
$cluster->sql(join "\n", map { "DROP DATABASE $_ WITH (FORCE);" } @failing);

# ---- others have callbacks -------------------------------------------------------------------------------------------------
# Of a single place callback workers have their turns too, role by role, and take nobody else's.
$places = 1;
$cluster->sql('ALTER SYSTEM SET max_worker_processes = ' . (3 + $places));
$cluster->restart;
ok($cluster->poll_until(q(SELECT string_agg(state, '') FROM steadytext_daemons), 'ready'), 'the engine again');
my @callers = map { "caller_$_" } 'a' .. 'd';
my $calls   = 6;
create('eve', 'calling');
create('postgres', 'dora');
$cluster->sql(join("\n", map { "CREATE ROLE $_ LOGIN;" } @callers) . q(
    CREATE TABLE heard (request_id uuid, role name DEFAULT current_user);
    GRANT INSERT ON heard TO PUBLIC;
    CREATE FUNCTION takes_long(id uuid) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_sleep(0.4); INSERT INTO public.heard VALUES (id)'), database => 'calling');
($forks, $since) = (forks(), time);
$cluster->sql(qq(SELECT count(steadytext_enqueue('generate', jsonb_build_object('prompt', '$_ ' || i), callback => 'public.takes_long(uuid)')) FROM generate_series(1, $calls) i),
    database => 'calling', user => $_) for @callers;
sub of_calls { my ($what) = @_; return $cluster->sql("SELECT $what FROM steadytext_queue", database => 'calling') }
ok($cluster->wait_for(sub { of_calls(q(count(*) FILTER (WHERE callback_state = 'done') > 0)) eq 't' }, 20), 'a callback is called although the queue worker had the only place');
job_of_bob('dora', 'a job in another database is done while callbacks are');
$cluster->sql(q(SELECT steadytext_generate('can be written')), database => 'dora');
ok($cluster->wait_for(sub { $cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'can be written'), database => 'dora') == 1 }, 20), 'and its answers are written');
is(of_calls(q(count(*) FILTER (WHERE callback_state = 'due') > 0)), 't', 'while there are more');
ok($cluster->wait_for(sub { of_calls(q(count(DISTINCT user_id) FILTER (WHERE callback_state = 'done'))) == @callers }, 60), 'each role has its turn');
is(of_calls(q(count(*) FILTER (WHERE callback_state = 'due') > 0)), 't', 'before any has had all');
ok($cluster->wait_for(sub { of_calls(q(count(*) FILTER (WHERE callback_state = 'done'))) == @callers * $calls }, 120), 'all are called in the end');
is($cluster->sql('SELECT count(*), count(DISTINCT request_id) FROM heard', database => 'calling'), join('|', (@callers * $calls) x 2), 'each once');
begins_no_more_than_one_a_second('calling');
done_testing;
