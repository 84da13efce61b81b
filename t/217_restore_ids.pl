# A restore into a database that has rows: each row of the dump comes, whatever its id, and what is written there afterwards gets ids that are free.
# Rows of the dump are out of the order of their ids, so that a row that gave way to an id of a later row would stand in that row's way.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.frecency_refresh_interval = '1s'" ]);
my $source  = $cluster->{PGDATABASE};
my $answers = sub {
    my ($name, $count, $database) = @_;
    $cluster->sql("SELECT count(steadytext_generate('$name ' || g)) FROM generate_series(1, $count) g; SELECT steadytext_frecency_refresh()", database => $database // $source);
};
my $count = sub { $cluster->sql("SELECT count(*) FROM steadytext_cache WHERE prompt LIKE '$_[0] %'", database => $_[1]) };
my $completed = sub {
    my ($database, $like, $wanted) = @_;
    return $cluster->wait_for(sub { $cluster->sql("SELECT count(*) FROM steadytext_queue WHERE status = 'completed' AND prompt LIKE '$like'", database => $database) == $wanted });
};
sub run {
    my ($program, @arguments) = @_;
    my $output = '';
    my $good = IPC::Run::run([ SteadyText::Cluster::server_program($program), '-h', $cluster->{PGHOST}, '-p', $cluster->{PGPORT}, '-U', 'postgres', @arguments ], '<', \undef, '>&', \$output);
    return ($good, $output);
}

# ---- what is dumped --------------------------------------------------------------------------------------------------------
$answers->('old', 300);
$cluster->sql(q(DELETE FROM steadytext_cache WHERE id <= 50));
$cluster->sql('VACUUM steadytext_cache');
$answers->('new', 50);
cmp_ok($cluster->sql('SELECT id FROM steadytext_cache LIMIT 1'), '>', 300, 'rows of the dump are not in the order of their ids');
$cluster->sql(q(SELECT steadytext_generate_async('dumped ' || g) FROM generate_series(1, 20) g));
$cluster->sql(q(INSERT INTO steadytext_incidents (condition, subject, severity, opened_at, closed_at, value)
    SELECT 'past', 'dumped ' || g, 'warning', now(), now(), 1 FROM generate_series(1, 20) g));
$cluster->sql(q(SELECT steadytext_prompt_create('dumped', 'one'), steadytext_prompt_update('dumped', 'two'), steadytext_prompt_label_set('dumped', 'production', 1);
    SELECT steadytext_prompt_label_set('dumped', 'production', 2), steadytext_prompt_rollback('dumped', 'production');));
ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE status = 'completed'), 20), 'calls are carried out');
$cluster->sql('SELECT steadytext_frecency_refresh()');
my %dumps = (custom => [ '-Fc' ], directory => [ '-Fd', '-j2' ], data => [ '-a', '-Fc', '-t', 'public.steadytext_*' ]);
my $files = $cluster->run_dir . '/dumps';
mkdir $files;
for my $name (sort keys %dumps) {
    my ($good, $output) = run('pg_dump', @{ $dumps{$name} }, '-f', "$files/$name", $source);
    ok($good, "pg_dump: $name") or diag $output;
}
my $dumped = q(SELECT string_agg(request_id || result, ' ' ORDER BY request_id) FROM steadytext_queue WHERE prompt LIKE 'dumped %');
my $labels = q(SELECT string_agg(label || version_num, ' ' ORDER BY label) FROM steadytext_prompt_labels('dumped'));
my ($expected, $expected_labels) = map { $cluster->sql($_) } $dumped, $labels;
is($expected_labels, 'active2 production1', 'labels');

# ---- into a database that has rows of its own ----------------------------------------------------------------------------------
my %ways = (
    'pg_restore'    => sub { run('pg_restore', '-e', '-d', $_[0], "$files/custom") },
    'pg_restore -1' => sub { run('pg_restore', '-1', '-d', $_[0], "$files/custom") },
    'pg_restore -j2' => sub { run('pg_restore', '-e', '-j2', '-d', $_[0], "$files/directory") },
    'the data alone' => sub { run('pg_restore', '-e', '-d', $_[0], "$files/data") },
);
my $number = 0;
for my $way (sort keys %ways) {
    my $database = 'there' . ++$number;
    $cluster->sql("CREATE DATABASE $database");
    $cluster->sql('CREATE EXTENSION pg_steadytext CASCADE', database => $database);
    $answers->('its own', 420, $database);
    $cluster->sql(q(SELECT steadytext_generate_async('its own ' || g) FROM generate_series(1, 30) g), database => $database);
    $cluster->sql(q(INSERT INTO steadytext_incidents (condition, subject, severity, opened_at, closed_at, value)
        SELECT 'past', 'its own ' || g, 'warning', now(), now(), 1 FROM generate_series(1, 30) g), database => $database);
    $cluster->sql(qq(SELECT steadytext_prompt_create('own-$_', 'one'), steadytext_prompt_update('own-$_', 'two')), database => $database) for 1 .. 6;
    ok($completed->($database, '%', 30), "$way: there are calls already");
    my ($good, $output) = $ways{$way}->($database);
    ok($good, "$way: it goes well") or diag $output;
    is($count->('new', $database) + $count->('old', $database), 300, "$way: each answer of the dump is there");
    is($count->('its own', $database), 420, "$way: and each of the database");
    is($cluster->sql($dumped, database => $database), $expected, "$way: each call");
    is($cluster->sql(q(SELECT count(*) FROM steadytext_queue), database => $database), 50, "$way: beside the database's own");
    is($cluster->sql(q(SELECT count(*) FROM steadytext_incidents WHERE condition = 'past'), database => $database), 50, "$way: each incident");
    is($cluster->sql($labels, database => $database), $expected_labels, "$way: labels are where they were");

    # The dump has set the sequences back.
    my $behind = q(SELECT last_value < (SELECT max(id) FROM %1$s WHERE id < 4503599627370496) FROM %1$s_id_seq);
    is($cluster->sql(sprintf($behind, $_), database => $database), 't', "$way: the sequence of $_ is behind") for 'steadytext_cache', 'steadytext_queue', 'steadytext_incidents', 'steadytext_prompt_label_moves';
    $answers->('later', 100, $database);
    is($count->('later', $database), 100, "$way: each later answer is written");
    my $later = $cluster->try_sql(q(SELECT count(steadytext_generate_async('later ' || g)) FROM generate_series(1, 15) g), database => $database);
    is($later->{out}, 15, "$way: calls are queued") or diag $later->{err};
    ok($completed->($database, 'later %', 15), "$way: and carried out");
    $cluster->sql(qq(SELECT _steadytext.incident_note('error_rate', 'later $_', 'warning', true, now(), 1, '')), database => $database) for 1 .. 15;
    is($cluster->sql(q(SELECT count(*) FROM steadytext_incidents WHERE subject LIKE 'later %'), database => $database), 15, "$way: incidents are noted");
    $cluster->sql(q(SELECT steadytext_prompt_label_set('own-6', 'production', 1), steadytext_prompt_label_set('own-6', 'active', 1)), database => $database);
    is($cluster->sql(q(SELECT string_agg(label || version_num, ' ' ORDER BY label) FROM steadytext_prompt_labels('own-6')), database => $database), 'active1 production1', "$way: the last move of a label is the last");
    is($cluster->sql(q(SELECT steadytext_prompt_rollback('own-6'); SELECT version_num FROM steadytext_prompt_get('own-6')), database => $database), "2\n2", "$way: and can be taken back");
}

# ---- a row that is not committed yet ---------------------------------------------------------------------------------------------
{
    my $restore = $cluster->session;
    my $next    = $cluster->sql('SELECT last_value + 1 FROM steadytext_queue_id_seq');
    $restore->ask("BEGIN; INSERT INTO steadytext_queue (id, request_type, prompt) SELECT g, 'generate', 'uncommitted' FROM generate_series($next, $next + 9) g;");
    my $queued = $cluster->try_sql(q(SET statement_timeout = '20s'; SELECT count(steadytext_generate_async('beside ' || g)) FROM generate_series(1, 5) g));
    is($queued->{out}, 5, 'a call is queued beside a restore that has the next ids, and waits for nothing') or diag $queued->{err};
    $restore->ask('COMMIT;');
    $restore->finish;
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE prompt LIKE 'beside %' AND status = 'completed'), 5), '  and carried out');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE prompt = 'uncommitted')), 10, '  both have their rows');
}
done_testing;
