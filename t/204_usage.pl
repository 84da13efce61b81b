# Usage is durable, by role, model and day, and counted once whatever ends a worker or the server; budgets warn and refuse by it.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.cache_enabled = off", "steadytext.default_max_tokens = 10" ]);
$cluster->sql('CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE team; GRANT team TO alice, bob');
sub ask { my ($role, $n, %o) = @_; return $cluster->try_sql(($o{set} // '') . "SELECT count(steadytext_generate('three short words ' || i)) FROM generate_series(1, $n) i", user => $role) }
sub used { my ($role) = @_; return $cluster->sql("SELECT coalesce(sum(calls), 0) || ' ' || coalesce(sum(prompt_tokens + completion_tokens), 0) FROM steadytext_usage WHERE role_name = '$role'") }

# Four words are four tokens to the echo daemon, in the prompt and in the answer.
is(ask('alice', 5)->{out}, 5, 'alice asks');
is(ask('bob', 3)->{out}, 3, 'bob asks');
ok($cluster->wait_for(sub { used('alice') eq '5 40' }, 20), 'what alice used is in the table') or diag used('alice');
ok($cluster->wait_for(sub { used('bob') eq '3 24' }, 20), 'and what bob used');
is($cluster->sql(q(SELECT string_agg(DISTINCT database_name || ' ' || (day = (now() AT TIME ZONE 'UTC')::date)::text, ',') FROM steadytext_usage)),
    "$cluster->{PGDATABASE} true", 'of this database, today');
isnt($cluster->sql(q(SELECT string_agg(DISTINCT model, ',') FROM steadytext_usage)), '', 'with the model');

# What the cache and failed calls are.
$cluster->sql(q(SET steadytext.cache_enabled = on; SELECT steadytext_generate('four words in all'); SELECT steadytext_generate('four words in all')), user => 'bob');
$cluster->sql(q(SELECT steadytext_generate('!fault:error oh')), user => 'bob');
ok($cluster->wait_for(sub { $cluster->sql(q(SELECT calls, hits, failures, saved_tokens FROM (SELECT sum(calls) AS calls, sum(hits) AS hits, sum(failures) AS failures,
    sum(saved_tokens) AS saved_tokens FROM steadytext_usage WHERE role_name = 'bob') s)) eq '6|1|1|4' }, 20), 'hits cost nothing and save, failures are counted');

# A terminated keeper, a restart in good order, a table that cannot be written for a while: each call is counted once.
{
    my $before = (split / /, used('alice'))[0];
    my $locker = $cluster->session;
    $locker->ask('BEGIN; LOCK TABLE steadytext_usage IN ACCESS EXCLUSIVE MODE;');
    ask('alice', 4);
    ok($cluster->poll_until(q(SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'pg_steadytext keeper' AND query = 'writing usage'), 't'), 'the keeper waits for the table');
    ok($cluster->wait_for(sub { $cluster->log =~ /canceling statement due to lock timeout/ }, 20), 'and gives up');
    $cluster->sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext keeper'));
    $locker->finish;
    ok($cluster->wait_for(sub { (split / /, used('alice'))[0] == $before + 4 }, 60), 'later it is written, once') or diag used('alice');
    ask('alice', 2);
    $cluster->restart;
    ok($cluster->wait_for(sub { (split / /, used('alice'))[0] == $before + 6 }, 30), 'nothing is lost over a restart') or diag used('alice');
    ok(!-e $cluster->data_dir . '/pg_steadytext/usage', 'the file between two lives is gone');
}

# A crash loses what was not written yet: seconds.
{
    my ($before) = split / /, used('alice');
    ask('alice', 3);
    ok($cluster->wait_for(sub { (split / /, used('alice'))[0] == $before + 3 }, 10), 'written within ten seconds');
    kill 'KILL', $cluster->worker_pid('gateway');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'back after a crash');
    is((split / /, used('alice'))[0], $before + 3, 'the table is as it was');
}

# ---- budgets ---------------------------------------------------------------------------------------------------------
my %bad = (
    q('team', '1 hour', 10, 'warn')          => '22023',
    q('team', '1 day', -1, 'warn')           => '22023',
    q('team', '1 day', 10, 'sometimes')      => '22023',
    q('team', '1 day', NULL, 'warn')         => '22004',
    q('nobody_here', '1 day', 10, 'enforce') => '42704',
);
is($cluster->try_sql("SELECT steadytext_budget_set($_)")->{state}, $bad{$_}, "refused: $_") for sort keys %bad;
is($cluster->try_sql(q(SELECT steadytext_budget_set('alice', '1 day', 1000000)), user => 'alice')->{state}, '42501', 'one does not set one\'s own');

my ($calls, $tokens) = split / /, used('alice');
my (undef, $bobs) = split / /, used('bob');
my $team = $tokens + $bobs;

# Only warned of; then refused. What was used before the budget was set counts, as it does after a restart.
$cluster->sql("SELECT steadytext_budget_set('team', '30 days', $team, 'warn')");
is($cluster->sql('SELECT role, tokens, mode, used, remaining FROM steadytext_budget_list()'), "team|$team|warn|$team|0", 'the list tells what is left');
{
    my $asked = ask('bob', 3);
    is($asked->{out}, 3, 'mode warn refuses nothing');
    my @warnings = $asked->{err} =~ /(WARNING:.*)/g;
    is(scalar @warnings, 1, 'and warns once per statement') or diag $asked->{err};
    like($asked->{err}, qr/01000: token budget exceeded\nDETAIL:  The budget of role "team" has used \d+ of $team tokens per 30 days\./, 'in these words');
}
$team += 24;
my $more = $team + 40;
$cluster->sql("SELECT steadytext_budget_set('team', '30 days', $more, 'enforce')");
for my $when ('at once', 'after a restart in good order', 'after a crash') {
    my $asked = ask('alice', 1, set => q(SET steadytext.default_max_tokens = 200;));
    is($asked->{state}, '53400', "enforce: refused $when") or diag $asked->{err};
    like($asked->{err}, qr/token budget exceeded: $more tokens per 30 days\nDETAIL:  The budget of role "team" has 40 of $more tokens left; the call may need 2\d\d; that much is free again in \S+ days\.\nHINT:  A call with a smaller max_tokens needs fewer; steadytext_rate_limit_status/, 'in these words');
    if ($when eq 'at once') {
        ok($cluster->wait_for(sub { my (undef, $a) = split / /, used('alice'); my (undef, $b) = split / /, used('bob'); $a + $b == $team }, 20), 'usage is written');
        $cluster->restart;
        ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'restarted');
    } elsif ($when =~ /restart/) {
        kill 'KILL', $cluster->worker_pid('gateway');
        ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'crashed');
    }
}
is($cluster->sql(q(SELECT steadytext_rate_limit_reset('team'))), 0, 'a budget is not forgotten by resetting limits');
{
    my $asked = ask('alice', 1);
    is($asked->{out}, 1, 'a call that fits is admitted');
    like($asked->{err}, qr/token budget nearly used up/, 'with a warning beyond 80 %');
}
is(ask('alice', 1, set => q(SET steadytext.on_limit = 'null'; SET steadytext.default_max_tokens = 200;))->{out}, 0, 'on_limit = null gives NULL');
is($cluster->try_sql(q(SELECT steadytext_generate('not of the team'))) ->{state}, '', 'others are not bound');

# Usage of another day counts until that day has left the period.
$cluster->sql(q(SELECT steadytext_budget_remove('team');
    INSERT INTO steadytext_usage (day, role_name, database_name, model, prompt_tokens) VALUES
        ((now() AT TIME ZONE 'UTC')::date - 6, 'bob', current_database(), '', 1000000), ((now() AT TIME ZONE 'UTC')::date - 8, 'bob', current_database(), '', 1000000);
    SELECT steadytext_budget_set('bob', '7 days', 2000000); SELECT steadytext_budget_set('bob', '10 days', 2000000)));
is(ask('bob', 1)->{state}, '53400', 'two days with a million each are in ten days');
is($cluster->sql(q(SELECT steadytext_budget_remove('bob', '10 days'))), 't', 'without that budget');
is(ask('bob', 1)->{out}, 1, 'seven days have only one of them');
is($cluster->sql(q(SELECT role, unit FROM steadytext_rate_limit_status), user => $_->[0]), $_->[1], "a role sees its own budgets, not others': $_->[0]") for [ 'bob', 'bob|budget' ], [ 'alice', '' ];
is($cluster->sql(q(SELECT steadytext_budget_remove('bob'), steadytext_budget_remove('bob'))), 't|f', 'removed');

# The budget of everyone: each role by itself.
$cluster->sql(q(CREATE ROLE carol LOGIN; SELECT steadytext_budget_set('*', '1 day', 30)));
is(ask('carol', 1)->{out}, 1, 'carol has a budget of her own');
is(ask('bob', 1)->{state}, '53400', 'bob has used his');
is($cluster->sql(q(SELECT count(*) FROM steadytext_rate_limit_status WHERE role = 'carol' AND unit = 'budget')), 1, 'the view of limits shows it');

# ---- how long it is kept ---------------------------------------------------------------------------------------------
sub set { my ($name, $value) = @_; $cluster->sql("ALTER SYSTEM SET steadytext.$name = '$value'"); return $cluster->reload }
sub add_old {
    my ($role, $days, $rows) = @_;
    return $cluster->sql("INSERT INTO steadytext_usage (day, role_name, database_name, model, calls)
        SELECT (now() AT TIME ZONE 'UTC')::date - $days, '$role', current_database(), i::text, 1 FROM generate_series(1, $rows) i;
        INSERT INTO steadytext_audit_log (event_type, created_at) SELECT '$role', now() - interval '$days days' FROM generate_series(1, $rows) i");
}
# A keeper deletes old rows when it comes, and an hour later: the keeper that is there goes first.
sub have_keeper_come {
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext keeper'), 0, 60), 'no keeper is there');
    return ask('bob', 1);
}
sub rows_of { my ($role) = @_; return $cluster->sql("SELECT (SELECT count(*) FROM steadytext_usage WHERE role_name = '$role'), (SELECT count(*) FROM steadytext_audit_log WHERE event_type = '$role')") }

$cluster->sql(q(SELECT steadytext_budget_remove('*')));
add_old('old', 401, 12000);
add_old('young', 399, 10);
have_keeper_come();
ok($cluster->wait_for(sub { rows_of('old') eq '0|0' }, 60), 'rows of usage and of the audit log beyond 400 days go, however many') or diag rows_of('old');
is(rows_of('young'), '10|10', 'younger ones stay');
set(usage_retention => '0');
set(audit_retention => '30d');
my $years = 7000;
add_old('older', 4000, $years);
have_keeper_come();
ok($cluster->wait_for(sub { rows_of('older') eq "$years|0" }, 60), 'each as long as its setting says, or for ever') or diag rows_of('older');
is(rows_of('young'), '10|0', 'so that younger ones go too');

# Whoever begins to count for a budget reads the days of its period.
{
    $cluster->sql(q(SELECT steadytext_budget_set('bob', '5 days', 10000000)));
    my $session = $cluster->session(user => 'bob');
    $session->ask(q(BEGIN; SELECT steadytext_generate('begins to count');));
    my $read = $session->ask(q(SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'steadytext_usage';));
    $session->finish;
    cmp_ok($read, '>', 0, 'a budget begins with what was used');
    cmp_ok($read, '<', $years, 'and reads no years for five days');
}

# A question of yes and no.
my $question = $cluster->try_sql(q(SELECT steadytext_budget_set('carol', '2 days', 25); SET SESSION AUTHORIZATION carol; SELECT steadytext_if('it rains', 'a text <say>yes</say>')))->{err};
like($question, qr/, which is more than it ever has\.\nHINT:  steadytext_rate_limit_status/, 'nobody is told to give a question of yes and no a smaller max_tokens') or diag $question;

# A model's name counts if the server knows it: else there would be as many entries and rows as somebody thinks of names.
{
    my $without = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'null'", "steadytext.daemons = ''" ]);
    $without->sql('CREATE ROLE mallory LOGIN');
    my $calls = 3000;  # of each kind
    for my $call (q(embed('hi', model => 'forged' || i)), q(generate('hi', model => 'forged' || i))) {
        is($without->sql("SELECT count(steadytext_$call) FROM generate_series(1, $calls) i", user => 'mallory'), 0, "nobody answers $call");
    }
    ok($without->poll_until(q(SELECT sum(calls) FROM steadytext_usage WHERE role_name = 'mallory'), 2 * $calls), 'calls that name models nobody has are counted');
    is($without->sql('SELECT DISTINCT model FROM steadytext_usage'), '', 'under no name');
    is($without->sql('SELECT count(model) FROM pg_stat_steadytext'), 0, 'nor in pg_stat_steadytext under one');
    is($without->sql(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_usage_dropped_total')), 0, 'and nothing is lost');
}

done_testing;
