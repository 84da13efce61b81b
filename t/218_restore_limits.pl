# A dump brings limits, budgets and caps along, and a restore by a superuser is not stopped by them; nobody else gets round a limit as a restore would.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;

# Indexes and views are made by parallel workers, too.
my $cluster = SteadyText::Cluster->new(conf => [ 'steadytext.max_calls_per_statement = 20', 'steadytext.max_tokens_per_statement = 5000', 'min_parallel_table_scan_size = 0', 'min_parallel_index_scan_size = 0',
    'parallel_setup_cost = 0', 'parallel_tuple_cost = 0', 'max_parallel_maintenance_workers = 2' ]);
my $source = $cluster->{PGDATABASE};
sub run {
    my ($program, @arguments) = @_;
    my $output = '';
    my ($user) = ref $arguments[0] ? @{ shift @arguments } : 'postgres';
    my $good = IPC::Run::run([ SteadyText::Cluster::server_program($program), '-h', $cluster->{PGHOST}, '-p', $cluster->{PGPORT}, '-U', $user, @arguments ], '<', \undef, '>&', \$output);
    return ($good, $output);
}

$cluster->sql(q(
    SET steadytext.max_calls_per_statement = 0; SET steadytext.max_tokens_per_statement = 0;
    CREATE ROLE app LOGIN; CREATE ROLE maker LOGIN; GRANT CREATE ON SCHEMA public TO app, maker;
    CREATE TABLE note (id int PRIMARY KEY, prompt text, answer text GENERATED ALWAYS AS (steadytext_generate(prompt, 9)) STORED);
    INSERT INTO note SELECT g, 'note ' || g FROM generate_series(1, 60) g;
    CREATE TABLE indexed (id int PRIMARY KEY, prompt text);
    INSERT INTO indexed SELECT g, 'index ' || g FROM generate_series(1, 60) g;
    ALTER TABLE indexed OWNER TO app;
    CREATE INDEX by_answer ON indexed (steadytext_generate(prompt, 9));
    CREATE MATERIALIZED VIEW summary AS SELECT id, steadytext_generate('view ' || id, 9) AS answer FROM indexed;
    SELECT steadytext_rate_limit_set('*', requests => 10), steadytext_rate_limit_set('app', 'generate', requests => 10, per => '1 hour'), steadytext_rate_limit_set('@database', tokens => 500),
        steadytext_budget_set('*', '1 day', 500), steadytext_rate_limit_set('postgres', 'generate', concurrency => 0);));
$cluster->sql(sprintf q(SELECT steadytext_rate_limit_set('postgres', 'daemon:%s', requests => 10)), $cluster->sql('SELECT endpoint FROM steadytext_daemons'));
my $files = $cluster->run_dir . '/dumps';
mkdir $files;
my %dumps = (plain => [ '-Fp' ], custom => [ '-Fc' ], directory => [ '-Fd', '-j2' ], inserts => [ '-Fp', '--inserts' ], table => [ '-Fp', '-t', 'indexed' ]);
for my $name (sort keys %dumps) {
    my ($good, $output) = run('pg_dump', @{ $dumps{$name} }, '-f', "$files/$name", $source);
    ok($good, "pg_dump: $name") or diag $output;
}

# ---- a superuser restores --------------------------------------------------------------------------------------------------
my @psql = ('-X', '-q', '-v', 'ON_ERROR_STOP=1');
my %ways = (
    'psql'           => sub { run('psql', @psql, '-d', $_[0], '-f', "$files/plain") },
    'psql -1'        => sub { run('psql', @psql, '-1', '-d', $_[0], '-f', "$files/plain") },
    'INSERTs'        => sub { run('psql', @psql, '-d', $_[0], '-f', "$files/inserts") },
    'pg_restore'     => sub { run('pg_restore', '-e', '-d', $_[0], "$files/custom") },
    'pg_restore -1'  => sub { run('pg_restore', '-1', '-d', $_[0], "$files/custom") },
    'pg_restore -j2' => sub { run('pg_restore', '-e', '-j2', '-d', $_[0], "$files/directory") },
    'pg_restore --use-set-session-authorization' => sub { run('pg_restore', '-e', '--use-set-session-authorization', '-d', $_[0], "$files/custom") },
);
my $number = 0;
for my $way (sort keys %ways) {
    my $database = 'restored' . ++$number;
    $cluster->sql("CREATE DATABASE $database");
    $cluster->sql('GRANT CREATE ON SCHEMA public TO app', database => $database);
    my ($good, $output) = $ways{$way}->($database);
    ok($good, "$way: no limit stops it") or diag $output;
    is($cluster->sql(q(SELECT count(*) FILTER (WHERE answer = prompt) FROM note), database => $database), 60, "$way: a generated column");
    is($cluster->sql(q(SELECT count(*) FROM summary WHERE answer = 'view ' || id), database => $database), 60, "$way: a materialized view");
    is($cluster->sql(q(SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_answer'::regclass), database => $database), 't', "$way: an index");
    is($cluster->sql(q(SELECT count(*) FROM steadytext_rate_limit_rules) . q(; SELECT count(*) FROM steadytext_budgets), database => $database), "5\n1", "$way: and the limits are there");
    cmp_ok($cluster->sql(q(SELECT sum(calls) FROM pg_stat_steadytext WHERE datname = current_database()), database => $database), '>=', 180, "$way: its calls are counted");
    is($cluster->try_sql(q(SELECT steadytext_generate('another')), database => $database)->{state}, '53400', "$way: afterwards the limits bind") unless $way =~ /INSERTs/;
}

# ---- who is not let through ------------------------------------------------------------------------------------------------
my $ask   = q(SELECT count(steadytext_generate('ask ' || random() || g)) FROM generate_series(1, 30) g;);
my $state = sub { my ($sql, %options) = @_; return $cluster->try_sql($sql, %options)->{state} };
$cluster->sql(q(SELECT steadytext_rate_limit_remove('postgres', 'generate'), steadytext_rate_limit_reset('*')));
is($state->($ask), '53400', 'a superuser who restores nothing');
is($state->("SET check_function_bodies = off; $ask"), '', 'one who does');
is($state->("SET check_function_bodies = off; SET check_function_bodies = on; $ask"), '53400', 'not any more');
is($state->("SET check_function_bodies = off; RESET check_function_bodies; $ask"), '53400', 'nor after RESET');
is($state->("SET check_function_bodies = off; RESET ALL; $ask"), '53400', 'or RESET ALL');
is($state->("SET check_function_bodies = off; $ask", user => 'app'), '53400', 'a role that is none');
is($state->("SET check_function_bodies = off; SET row_security = off; SELECT set_config('search_path', '', false); COPY (" . ($ask =~ s/;//r =~ s/steadytext_generate/public.steadytext_generate/r) . ') TO STDOUT;', user => 'app'), '53400', '  with all that a dump sets');
is($state->("SELECT set_config('check_function_bodies', 'off', false); $ask"), '53400', 'a setting that no statement of its own has made');
my ($good, $output) = run('psql', [ 'app' ], @psql, '-d', 'restored1', '-c', 'DROP TABLE indexed CASCADE', '-f', "$files/table");
ok(!$good && $output =~ /Rate limit exceeded|statement makes more/, 'a role that restores its table is bound') or diag $output;

# A role's function sets it in a superuser's session.
$cluster->sql(q(
    CREATE FUNCTION sets() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN SET check_function_bodies = off; RETURN current_setting('check_function_bodies'); END $$;
    CREATE FUNCTION configures() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT set_config('check_function_bodies', 'off', false) $$), user => 'app');
is($state->("SELECT sets(); $ask"), '53400', 'a function of another role sets it');
is($state->("SELECT configures(); $ask"), '53400', '  by set_config()');
is($state->("BEGIN; SET LOCAL check_function_bodies = off; ROLLBACK; SELECT configures(); $ask"), '53400', '  after a superuser had, and rolled back');
is($state->("BEGIN; SET LOCAL check_function_bodies = off; COMMIT; SELECT sets(); $ask"), '53400', '  or for a transaction');
is($state->("SET check_function_bodies = off; RESET check_function_bodies; SELECT configures(); $ask"), '53400', '  or had reset it');
is($state->("SET check_function_bodies = off; SELECT sets(); $ask"), '53400', 'one that sets it again ends the restore');
is($state->("SET ROLE app; SET check_function_bodies = off; $ask"), '53400', 'a superuser who acts as another role');
done_testing;
