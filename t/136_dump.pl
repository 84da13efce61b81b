# Dumps restore: plain and custom, in one transaction and in parallel, into this cluster and one where no daemon answers.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.frecency_refresh_interval = '1s'" ]);
my $silent  = SteadyText::Cluster->new(daemon => 'none');

$cluster->sql(q(CREATE ROLE alice LOGIN; CREATE ROLE passing LOGIN));
$cluster->sql(q(
    SELECT steadytext_config_set('default_max_tokens', '77'), steadytext_config_set('mine', 'kept');
    SELECT steadytext_rate_limit_set('alice', 'embed', 1000, '1 hour'), steadytext_budget_set('alice', '1 day', 100000, 'warn');
    INSERT INTO steadytext_rate_limits (user_id, requests_per_minute) VALUES ('alice', 5000);
    CREATE TABLE a_note (prompt text, answer text GENERATED ALWAYS AS (steadytext_generate(prompt, 9)) STORED);
    INSERT INTO a_note VALUES ('one'), ('two');
    CREATE TABLE z_indexed (prompt text);
    INSERT INTO z_indexed VALUES ('three');
    CREATE INDEX by_answer ON z_indexed (steadytext_generate(prompt, 9));
    SELECT steadytext_generate('kept by postgres');
    SELECT steadytext_prompt_create('dumped', 'Hello {{ name }}'), steadytext_prompt_update('dumped', 'Hi {{ name }}'), steadytext_prompt_label_set('dumped', 'production', 1);));
$cluster->sql(q(SELECT steadytext_generate('kept by alice'); SELECT steadytext_generate_async('asked')), user => 'alice');
$cluster->sql(q(SELECT steadytext_generate('kept by a namesake')), user => 'passing');
$cluster->sql(q(SELECT steadytext_frecency_refresh(); DROP ROLE passing; CREATE ROLE passing LOGIN));
ok($cluster->poll_until(q(SELECT count(*) > 0 FROM steadytext_usage), 't'), 'usage is written');
ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE status = 'completed'), 1), 'a call is carried out');
$cluster->sql(q(INSERT INTO steadytext_incidents (condition, subject, severity, opened_at, closed_at, value) VALUES ('past', '', 'warning', now(), now(), 1)));
$cluster->sql(q(INSERT INTO steadytext_usage (day, role_name, database_name, model, prompt_tokens, completion_tokens, saved_tokens, calls, hits, failures, limited)
    VALUES (current_date - 1, 'counted', current_database(), 'a-model', 1, 2, 3, 4, 5, 6, 7)));

# As the keeper of each database of the server writes it.
my $noted = q(SELECT _steadytext.incident_note('error_rate', 'of this server', 'warning', true, '2026-01-02 03:04:05Z', 1, '');
    SELECT _steadytext.incident_note('error_rate', 'of this server', 'warning', false, '2026-01-02 03:05:05Z', 1, ''););
$cluster->sql($noted);

my $state = sub {
    my ($of, $database) = @_;
    return $of->sql(q(
        SELECT 'config', key, value FROM steadytext_config WHERE key IN ('default_max_tokens', 'mine', 'daemon_port') ORDER BY 2;
        SELECT 'config rows', count(*) FROM steadytext_config;
        SELECT 'limits', count(*) FROM steadytext_rate_limits; SELECT 'rules', count(*) FROM steadytext_rate_limit_rules;
        SELECT 'budgets', count(*) FROM steadytext_budgets; SELECT 'queue', count(*), max(result) FROM steadytext_queue;
        SELECT 'cache', prompt, scope_role::regrole FROM steadytext_cache WHERE prompt LIKE 'kept by %' ORDER BY 2;
        SELECT 'prompts', version, template, required_variables, is_active, v.created_by FROM steadytext_prompt_versions v ORDER BY 2;
        SELECT 'labels', label_name, from_version, to_version, moved_by, moved_at FROM steadytext_prompt_label_history('dumped');
        SELECT 'usage', count(*) > 0 FROM steadytext_usage; SELECT 'incidents', count(*) FROM steadytext_incidents WHERE condition = 'past';
        SELECT 'ledger', sum(entries) = (SELECT count(*) FROM steadytext_cache) FROM _steadytext.cache_ledger), database => $database);
};
my $expected = $state->($cluster, $cluster->{PGDATABASE});
like($expected, qr/cache\|kept by a namesake\|\d+/, 'a row of a role that was dropped has its number');
$expected =~ s/^cache\|kept by a namesake.*\n//m;
my $notes = q(SELECT string_agg(answer, ',' ORDER BY answer) FROM a_note);

my $run = sub {
    my ($program, @arguments) = @_;
    my ($output, @connection) = ('', map { ('-h', $_->{PGHOST}, '-p', $_->{PGPORT}, '-U', $_->{PGUSER}) } shift @arguments);
    my $good = IPC::Run::run([ SteadyText::Cluster::server_program($program), @connection, @arguments ], '<', \undef, '>&', \$output);
    return wantarray ? ($good, $output) : $good;
};
my $dumps = $cluster->run_dir;
ok(scalar $run->('pg_dump', $cluster, '-Fp', '-f', "$dumps/plain", $cluster->{PGDATABASE}), 'pg_dump: plain');
ok(scalar $run->('pg_dump', $cluster, '-Fc', '-f', "$dumps/custom", $cluster->{PGDATABASE}), 'custom');
ok(scalar $run->('pg_dump', $cluster, '-Fp', '--inserts', '-f', "$dumps/inserts", $cluster->{PGDATABASE}), 'with INSERTs');
ok(scalar $run->('pg_dump', $cluster, '-Fp', '-s', '-f', "$dumps/schema", $cluster->{PGDATABASE}), 'schema alone');
ok(scalar $run->('pg_dump', $cluster, '-Fp', '-a', '-f', "$dumps/rows", $cluster->{PGDATABASE}), 'data alone');

my @stop  = ('-v', 'ON_ERROR_STOP=1', '-q');
my %ways  = (
    'plain'          => sub { $run->('psql', $_[0], @stop, '-f', "$dumps/plain", $_[1]) },
    'plain -1'       => sub { $run->('psql', $_[0], @stop, '-1', '-f', "$dumps/plain", $_[1]) },
    'INSERTs'        => sub { $run->('psql', $_[0], @stop, '-f', "$dumps/inserts", $_[1]) },
    'custom'         => sub { $run->('pg_restore', $_[0], '-e', '-d', $_[1], "$dumps/custom") },
    'custom -1'      => sub { $run->('pg_restore', $_[0], '-1', '-d', $_[1], "$dumps/custom") },
    'custom -j2'     => sub { $run->('pg_restore', $_[0], '-e', '-j2', '-d', $_[1], "$dumps/custom") },
    'schema, data'   => sub { my @s = $run->('psql', $_[0], @stop, '-1', '-f', "$dumps/schema", $_[1]); $s[0] ? $run->('psql', $_[0], @stop, '-1', '-f', "$dumps/rows", $_[1]) : @s },
);
my $number = 0;
for my $way (sort keys %ways) {
    my $database = 'restored' . ++$number;
    $cluster->sql("CREATE DATABASE $database");
    my ($good, $output) = $ways{$way}->($cluster, $database);
    ok($good, "$way: it restores") or diag $output;
    is($state->($cluster, $database), $expected, "$way: all is there");
    $cluster->sql($noted, database => $database);
    is($cluster->sql(q(SELECT count(*) FROM steadytext_incidents WHERE subject = 'of this server'), database => $database), 1, "$way: an incident that the keeper writes too is there once");
    $cluster->sql(q(INSERT INTO steadytext_incidents (condition, subject, severity, opened_at, value) VALUES ('error_rate', 'of this server', 'warning', '2026-01-02 03:04:05Z', 1)), database => $database);
    is($cluster->sql(q(SELECT count(*) FROM steadytext_incidents WHERE subject = 'of this server'), database => $database), 1, "$way: also if the keeper was first");
    is($cluster->sql($notes, database => $database), 'one,two', "$way: generated columns are made anew");
    $cluster->sql(q(SELECT steadytext_generate('written since'); SELECT steadytext_frecency_refresh()), database => $database);
    is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'written since'), database => $database), 1, "$way: the keeper goes on");
}

# The same rows once more: a day's usage is not counted twice, whatever the keeper has added since.
{
    my $database = 'restored1';
    my $usage = q(SELECT prompt_tokens, completion_tokens, saved_tokens, calls, hits, failures, limited FROM steadytext_usage WHERE role_name = 'counted');
    is($cluster->sql($usage, database => $database), '1|2|3|4|5|6|7', 'usage is restored');
    for my $time (1, 2) {
        my ($good, $output) = $run->('pg_restore', $cluster, '-e', '-a', '-t', 'steadytext_usage', '-d', $database, "$dumps/custom");
        ok($good, "usage is restored again, $time") or diag $output;
        is($cluster->sql($usage, database => $database), '1|2|3|4|5|6|7', '  and is what it was');
    }
    $cluster->sql(q(UPDATE steadytext_usage SET calls = 0, hits = 50 WHERE role_name = 'counted'), database => $database);
    my ($good, $output) = $run->('pg_restore', $cluster, '-e', '-a', '-t', 'steadytext_usage', '-d', $database, "$dumps/custom");
    ok($good, 'usage of which there is a part') or diag $output;
    is($cluster->sql($usage, database => $database), '1|2|3|4|50|6|7', '  becomes the greater of each count');
}

# Elsewhere, without the roles and without a daemon: data come, what needs an answer is an error.
{
    $silent->sql('CREATE ROLE alice LOGIN; CREATE DATABASE elsewhere; CREATE DATABASE whole');
    my ($good, $output) = $run->('psql', $silent, '-q', '-f', "$dumps/plain", 'elsewhere');
    like($output, qr/ERROR:.*\n(?:.*\n)*?.*stores its rows, so it is given no fallback/, 'a generated column without a daemon is an error');
    is($silent->sql('SELECT count(*) FROM a_note', database => 'elsewhere'), 0, 'no fallback is stored');
    is($silent->sql(q(SELECT count(*) FROM pg_class WHERE relname = 'by_answer'), database => 'elsewhere'), 0, 'nor indexed');
    my $there = $state->($silent, 'elsewhere');
    is($there, $expected, 'everything else is there');
    is($silent->sql(q(SELECT scope_role = 'alice'::regrole FROM steadytext_cache WHERE prompt = 'kept by alice'), database => 'elsewhere'), 't', 'a role is found by its name');
    ($good, $output) = $run->('psql', $silent, @stop, '-1', '-f', "$dumps/plain", 'whole');
    ok(!$good, 'in one transaction nothing is restored');
}
done_testing;
