# What a restore, a copy of a database or logical replication brings into the queue is another database's: it is held until somebody releases it, and nothing of it is lost.
# What is queued there meanwhile is carried out.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;

my $source = SteadyText::Cluster->new(daemon => 'none', conf => [ 'wal_level = logical', 'max_prepared_transactions = 2' ]);    # calls stay pending there
my $cluster = SteadyText::Cluster->new(conf => [ 'wal_level = logical' ]);
sub run {
    my ($program, $server, @arguments) = @_;
    my $output = '';
    my $good = IPC::Run::run([ SteadyText::Cluster::server_program($program), '-h', $server->{PGHOST}, '-p', $server->{PGPORT}, '-U', 'postgres', @arguments ], '<', \undef, '>&', \$output);
    return ($good, $output);
}
my $on = sub { my ($database, $sql, %options) = @_; return $cluster->sql($sql, database => $database, %options) };
my $held = q(SELECT count(*) FILTER (WHERE status = 'pending' AND run_at = 'infinity' AND worker_pid IS NULL AND lease_until IS NULL) FROM steadytext_queue WHERE prompt LIKE 'asked %');
my $done = q(SELECT count(*) FILTER (WHERE status = 'completed' AND result = prompt) FROM steadytext_queue WHERE prompt LIKE 'asked %');
# A worker that has carried out a later call has had all others before its eyes.
my $later = sub {
    my ($database) = @_;
    my $id = $on->($database, q(SELECT steadytext_enqueue('generate', jsonb_build_object('prompt', 'later ' || random()), priority => 1)));
    return $cluster->wait_for(sub { $on->($database, "SELECT status FROM steadytext_queue WHERE request_id = '$id'") eq 'completed' });
};
my $is = sub { my ($database, $sql, $expected, $name) = @_; return ok($cluster->wait_for(sub { $on->($database, $sql) eq $expected }), $name) || diag $on->($database, $sql) };

$_->sql('CREATE ROLE ann LOGIN; CREATE ROLE admin LOGIN') for $source, $cluster;
$source->sql(q(CREATE TABLE heard (id uuid); GRANT INSERT ON heard TO ann;
    CREATE FUNCTION hear(uuid) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.heard VALUES ($1) $$));
$source->sql(q(SELECT steadytext_enqueue('generate', jsonb_build_object('prompt', 'asked ' || g), callback => 'public.hear(uuid)') FROM generate_series(1, 10) g), user => 'ann');

# ---- dumps -----------------------------------------------------------------------------------------------------------------
my $files = $source->run_dir . '/dumps';
mkdir $files;
my %dumps = (plain => [ '-Fp' ], inserts => [ '-Fp', '--inserts' ], custom => [ '-Fc' ], directory => [ '-Fd', '-j2' ]);
for my $name (sort keys %dumps) {
    my ($good, $output) = run('pg_dump', $source, @{ $dumps{$name} }, '-f', "$files/$name", $source->{PGDATABASE});
    ok($good, "pg_dump: $name") or diag $output;
}
my @psql = ('-X', '-q', '-v', 'ON_ERROR_STOP=1');
my %ways = (
    'psql'           => sub { run('psql', $cluster, @psql, '-d', $_[0], '-f', "$files/plain") },
    'INSERTs'        => sub { run('psql', $cluster, @psql, '-d', $_[0], '-f', "$files/inserts") },
    'pg_restore -1'  => sub { run('pg_restore', $cluster, '-1', '-d', $_[0], "$files/custom") },
    'pg_restore -j2' => sub { run('pg_restore', $cluster, '-e', '-j2', '-d', $_[0], "$files/directory") },
    'pg_restore --use-set-session-authorization' => sub { run('pg_restore', $cluster, '-e', '--use-set-session-authorization', '-d', $_[0], "$files/custom") },
);
my $number = 0;
for my $way (sort keys %ways) {
    my $database = 'restored' . ++$number;
    $cluster->sql("CREATE DATABASE $database");
    my $mark = length $cluster->log;
    my ($good, $output) = $ways{$way}->($database);
    ok($good, "$way: it goes well") or diag $output;
    my $said = $way =~ /pg_restore/ ? substr $cluster->log, $mark : $output;    # pg_restore shows no warnings
    like($said, qr/WARNING:.*asynchronous calls? that w(?:as|ere) restored (?:is|are) held.*HINT:.*steadytext_queue_release/s, "$way: and says what is held");
    is(() = $said =~ /WARNING/g, 1, "$way: once");
    $is->($database, q(SELECT details ->> 'jobs' FROM steadytext_health_check() WHERE component = 'queue'), 10, "$way: the calls are counted");
    ok($later->($database), "$way: another call is carried out");
    is($on->($database, $held), 10, "$way: those of the dump wait");
    is($on->($database, q(SELECT status, details FROM steadytext_selfcheck() WHERE check_name = 'held_calls')), 'warning|10 asynchronous calls or callbacks came with a restore or a copy, and are held', "$way: the self-check says so");
    is($on->($database, q(SELECT steadytext_queue_release())), 10, "$way: until they are released");
    $is->($database, $done, 10, "$way: then they are carried out");
    $is->($database, 'SELECT count(DISTINCT id) FROM heard', 10, "$way: and their callbacks run");
    is($on->($database, q(SELECT steadytext_queue_release())), 0, "$way: nothing is held any more");
}
$on->('restored1', 'SELECT steadytext_admin_grant($$admin$$)');
is($cluster->try_sql('SELECT steadytext_queue_release()', database => 'restored1', user => 'ann')->{state}, '42501', 'a role releases nothing');
is($on->('restored1', 'SELECT steadytext_queue_release()', user => 'admin'), 0, 'an administrator may');

# What was under way at the time of the dump, and callbacks that had not run.
{
    my @columns = qw(request_id request_type prompt status worker_pid lease_until callback callback_state callback_pid completed_at result user_id user_oid session_user_oid);
    my @ids = map { "00000000-0000-0000-0000-00000000000$_" } 1 .. 4;
    my $copy = join "\n", "COPY steadytext_queue (" . join(', ', @columns) . ') FROM STDIN;',
        join("\t", $ids[0], 'generate', 'asked under way', 'processing', 77, '2100-01-01', ('\N') x 5, ('ann') x 3),
        join("\t", $ids[1], 'generate', 'asked to call', 'completed', ('\N') x 2, 'public.hear', 'due', '\N', '2100-01-01', 'asked to call', ('ann') x 3),
        join("\t", $ids[2], 'generate', 'asked and calling', 'completed', ('\N') x 2, 'public.hear', 'running', 88, '2100-01-01', 'asked and calling', ('ann') x 3),
        join("\t", $ids[3], 'generate', 'asked and called', 'completed', ('\N') x 2, 'public.hear', 'done', '\N', '2100-01-01', 'asked and called', ('ann') x 3), "\\.\n";
    my $state = q(SELECT string_agg(concat_ws(' ', prompt, status, run_at = 'infinity', callback_state, worker_pid, callback_pid), ', ' ORDER BY request_id) FROM steadytext_queue WHERE request_id::text LIKE '00000000-0000-%');
    $on->('restored1', "DELETE FROM heard; SET check_function_bodies = off; $copy INSERT INTO _steadytext.queue_callbacks SELECT id::uuid, 'ann', 'public.hear', 'postgres' FROM unnest('{" . join(',', @ids) . "}'::text[]) id");
    ok($later->('restored1'), 'another call is carried out');
    is($on->('restored1', $state), 'asked under way pending t, asked to call completed f held, asked and calling completed f held, asked and called completed f done', 'what had not ended is held');
    is($on->('restored1', 'SELECT count(*) FROM heard'), 0, '  and calls nothing');
    is($on->('restored1', 'SELECT steadytext_queue_release()'), 3, '  until it is released');
    $is->('restored1', $state, 'asked under way completed f, asked to call completed f done, asked and calling completed f done, asked and called completed f done', '  then it ends');
    is($on->('restored1', "SELECT count(*) FROM heard WHERE id IN ('$ids[1]', '$ids[2]')"), 2, '  with its callbacks');
}
# Who restores nothing: functions, and rows by hand.
is($on->('restored1', q(SET check_function_bodies = off; SELECT steadytext_generate_async('asked by a script') IS NOT NULL)), 't', 'a script of DDL queues a call');
$is->('restored1', q(SELECT status FROM steadytext_queue WHERE prompt = 'asked by a script'), 'completed', '  which is carried out');

# ---- a copy of a database -----------------------------------------------------------------------------------------------------
{
    $cluster->sql('CREATE DATABASE original');
    $on->('original', q(CREATE EXTENSION pg_steadytext CASCADE; INSERT INTO steadytext_queue (request_type, prompt, run_at) SELECT 'generate', 'asked ' || g, now() + interval '1 hour' FROM generate_series(1, 10) g));
    ok($later->('original'), 'the original has calls, for later');
    is($on->('original', $held), 0, '  of which none is held');
    ok($cluster->wait_for(sub { $cluster->try_sql('CREATE DATABASE copy TEMPLATE original')->{state} eq '' }, 60), 'it is copied');
    ok($later->('copy'), 'a call of the copy is carried out');
    is($on->('copy', $held), 10, '  and those of the original are held there');
    is($on->('original', $held), 0, '  but not at home');
    like($cluster->log, qr/10 asynchronous calls that came with a copy of a database are held/, '  the log says so');
    is($on->('copy', 'SELECT steadytext_queue_release()'), 10, '  until they are released');
    $is->('copy', $done, 10, '  then they are carried out');
    $on->('copy', q(INSERT INTO steadytext_queue (request_type, prompt, run_at) VALUES ('generate', 'of the copy', now() + interval '1 hour')));
    ok($later->('copy'), 'later workers');
    is($on->('copy', q(SELECT run_at < 'infinity' FROM steadytext_queue WHERE prompt = 'of the copy')), 't', '  hold nothing');

    # A row that somebody holds while the copy's first worker looks.
    ok($cluster->wait_for(sub { $cluster->try_sql('CREATE DATABASE copy2 TEMPLATE original')->{state} eq '' }, 60), 'it is copied again');
    my $holder = $cluster->session(database => 'copy2');
    $holder->ask("BEGIN; SELECT prompt FROM steadytext_queue WHERE prompt = 'asked 1' FOR UPDATE;");
    ok($later->('copy2'), 'a call is carried out there');
    is($on->('copy2', $held), 9, '  while a copied one whose row is locked is not held');
    $holder->ask('COMMIT; SELECT 1;');
    $holder->finish;
    ok($later->('copy2'), '  when it is free');
    is($on->('copy2', $held), 10, '  it is held, too');

    # Another server, as after pg_upgrade.
    ok($cluster->wait_for(sub { $cluster->sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext queue worker' AND datname = 'copy')) eq '0' }), 'no worker is at work');
    $on->('copy', 'UPDATE _steadytext.queue_home SET system_identifier = 1, database = 2');
    ok($later->('copy'), 'where the server is another one');
    is($on->('copy', q(SELECT run_at < 'infinity' FROM steadytext_queue WHERE prompt = 'of the copy')), 't', '  calls go on');
    is($on->('copy', q(SELECT database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND system_identifier <> 1 FROM _steadytext.queue_home)), 't', '  and it is its home');
}

# ---- logical replication ------------------------------------------------------------------------------------------------------------
{
    $cluster->sql('CREATE DATABASE subscriber');
    $on->('subscriber', 'CREATE EXTENSION pg_steadytext CASCADE');
    $source->sql(q(CREATE PUBLICATION queued FOR TABLE steadytext_queue; SELECT pg_create_logical_replication_slot('queued', 'pgoutput')));
    $on->('subscriber', "CREATE SUBSCRIPTION s CONNECTION 'host=$source->{PGHOST} port=$source->{PGPORT} user=postgres dbname=$source->{PGDATABASE}' PUBLICATION queued WITH (create_slot = false, slot_name = 'queued')");
    $is->('subscriber', q(SELECT count(*) FROM steadytext_queue), 10, 'the rows of a publication');
    $source->sql(q(SELECT steadytext_generate_async('asked since')), user => 'ann');
    $is->('subscriber', q(SELECT count(*) FROM steadytext_queue WHERE prompt = 'asked since'), 1, '  and what is queued since');
    $is->('subscriber', q(SELECT run_at FROM steadytext_queue WHERE prompt = 'asked since'), 'infinity', '  are held when they come');
    $source->sql(q(UPDATE steadytext_queue SET max_retries = 9 WHERE prompt = 'asked since'));
    $is->('subscriber', q(SELECT max_retries = 9 AND run_at = 'infinity' FROM steadytext_queue WHERE prompt = 'asked since'), 't', '  and when they change');
    $on->('subscriber', 'ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s');
    $source->sql(q(SELECT pg_drop_replication_slot('queued'))) if $source->poll_until('SELECT count(*) FROM pg_replication_slots WHERE active', 0);
}
done_testing;
