# Rate limits among many sessions, through deaths, crashes and a failover. STEADYTEXT_LONG_TESTS hammers for ten seconds.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'" ]);
my $set   = sub { $cluster->sql("SELECT steadytext_rate_limit_set($_[0])") };
my $used  = sub { return $cluster->sql("SELECT coalesce(sum(used), 0) FROM steadytext_rate_limit_status WHERE unit = '$_[0]'") };
my $refused = '53400';
$cluster->sql('CREATE ROLE app LOGIN');

# Sixteen sessions hammer one key: never more than the limit in any window, and at least 98 % of it.
{
    my ($limit, $window, $seconds) = (1000, 0.5, $ENV{STEADYTEXT_LONG_TESTS} ? 10 : 2);
    $cluster->sql(q(SELECT steadytext_generate('hammer'); CREATE TABLE trace (began float8, ended float8); GRANT INSERT ON trace TO app));
    $cluster->sql(q(SELECT steadytext_generate('hammer')), user => 'app');
    $set->("'app', requests => $limit, per => '$window s'");
    my $hammer = qq(SET client_min_messages = error; SET steadytext.on_limit = 'null'; DO \$\$
        DECLARE until timestamptz := clock_timestamp() + interval '$seconds s'; prompt text := 'hammer'; began float8; a float8[]; b float8[];  -- a constant would be asked for once, by the planner
        BEGIN
            WHILE clock_timestamp() < until LOOP
                began := extract(epoch FROM clock_timestamp());
                IF steadytext_generate(prompt) IS NOT NULL THEN
                    a := a || began; b := b || extract(epoch FROM clock_timestamp())::float8;
                END IF;
            END LOOP;
            INSERT INTO trace SELECT * FROM unnest(a, b);
        END \$\$);
    my @sessions = map { $cluster->session(user => 'app')->send($hammer) } 1 .. 16;
    is(join(' ', map { $_->finish->{state} } @sessions), ' ' x 15, 'sixteen sessions hammer one key');
    my @calls = map { [ split /\|/ ] } split /\n/, $cluster->sql('SELECT began, ended FROM trace ORDER BY began');
    # A call was admitted somewhere between its beginning and its end: those wholly inside a window are in it for sure.
    my $most = 0;
    for my $first (0 .. $#calls) {
        my ($end, $inside) = ($calls[$first][0] + $window, 0);
        for my $i ($first .. $#calls) {
            last if $calls[$i][0] >= $end;
            $inside++ if $calls[$i][1] < $end;
        }
        $most = $inside if $inside > $most;
    }
    cmp_ok($most, '<=', $limit, 'no window has more calls than the limit');
    my ($last) = sort { $b <=> $a } map { $_->[1] } @calls;
    my $windows = int(($last - $calls[0][0]) / $window);
    cmp_ok(@calls, '>=', 0.98 * $limit * $windows, "at least 98 % of $windows times $limit are used");
    cmp_ok(@calls, '<=', $limit * ($windows + 1), 'and not more than of one window more');
    note(sprintf '%d admitted in %.2f s, %d whole windows of %d; at most %d in one', scalar @calls, $last - $calls[0][0], $windows, $limit, $most);
    $cluster->sql(q(SELECT steadytext_rate_limit_remove('app')));
}

# A change is heard of in the midst of a statement.
{
    my $session = $cluster->session(user => 'app');
    $session->send(q(SET client_min_messages = error; SET steadytext.on_limit = 'null'; SET application_name = 'loop';
        DO $$ DECLARE prompt text := 'hammer'; BEGIN LOOP EXIT WHEN steadytext_generate(prompt) IS NULL; END LOOP; END $$));
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loop' AND query LIKE 'DO%'), 1), 'a statement asks on and on');
    $set->(q('app', requests => 0));
    is($session->finish->{state}, '', 'until a limit is set, without a new statement or session');
    $cluster->sql(q(SELECT steadytext_rate_limit_remove('app')));
}

# Concurrency ends with the call, however the call ends.
{
    $set->(q('app', concurrency => 1));
    my $hold = sub {
        my ($name) = @_;
        my $session = $cluster->session(user => 'app');
        $session->send("SET application_name = '$name'; SELECT steadytext_generate('!fault:hold $name')");
        ok($cluster->wait_for(sub { $used->('concurrency') == 1 }), "$name: a call is under way");
        is($cluster->try_sql(q(SELECT steadytext_generate('x')), user => 'app')->{state}, $refused, "$name: another one is refused");
        return $session;
    };
    my $asks = sub { return $cluster->try_sql(q(SELECT steadytext_generate('x')), user => 'app')->{out} };
    for my $how (qw(cancel terminate)) {
        my $session = $hold->($how);
        $cluster->sql("SELECT pg_$how\_backend(pid) FROM pg_stat_activity WHERE application_name = '$how'");
        $session->finish;
        ok($cluster->wait_for(sub { $used->('concurrency') == 0 }), "$how: it is counted off");
        is($asks->(), 'x', "$how: the next one is admitted");
    }
    my $answered = $hold->('answer');
    my $waiter   = $cluster->session(user => 'app');
    $waiter->send(q(SET steadytext.on_limit = 'wait'; SELECT steadytext_generate('I waited')));
    ok($cluster->poll_until(q(SELECT value >= 1 FROM steadytext_metrics() WHERE name = 'steadytext_limit_waits_total')), 'one waits');
    $cluster->ask_daemon('control', '{"release": true}');
    is($answered->finish->{out}, '!fault:hold answer', 'the call under way is answered');
    is($waiter->finish->{out}, 'I waited', 'and then the one that waited');
    is($cluster->try_sql(q(DO $$ BEGIN BEGIN PERFORM steadytext_generate('!fault:error'); EXCEPTION WHEN OTHERS THEN NULL; END;
        PERFORM steadytext_generate('after an error'); END $$), user => 'app')->{state}, '', 'an error that is caught ends its call too');
}

# A crash: usage starts from nothing, the limits do not.
{
    my $session = $cluster->session(user => 'app');
    $session->send(q(SET application_name = 'crash'; SELECT steadytext_generate('!fault:hold crash')));
    ok($cluster->wait_for(sub { $used->('concurrency') == 1 }), 'a call is under way');
    kill 'KILL', $cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE application_name = 'crash'));
    $session->finish;
    ok($cluster->poll_until('SELECT true'), 'the server is back after a crash');
    is($used->('concurrency'), 0, 'the call of the dead session is not counted');
    $set->(q('app', requests => 2));
    is($cluster->try_sql(q(SELECT count(steadytext_generate('n' || i)) FROM generate_series(1, 3) i), user => 'app')->{state}, $refused, 'limits hold');
    ok($cluster->restart, 'the server is restarted');
    is($cluster->sql(q(SELECT count(steadytext_generate('n' || i)) FROM generate_series(1, 2) i), user => 'app'), 2, 'the limit is there anew');
    is($cluster->try_sql(q(SELECT steadytext_generate('x')), user => 'app')->{state}, $refused, 'and no more');
}

# All meters taken: refused, not unlimited.
{
    $cluster->append_conf('steadytext.max_rate_meters = 16');
    $cluster->restart;
    $cluster->sql(q(SELECT steadytext_rate_limit_set('*', requests => 5)));
    $cluster->sql(join ';', map { "CREATE ROLE crowd$_ LOGIN" } 1 .. 17);
    is($cluster->sql(q(SELECT steadytext_generate('x')), user => "crowd$_"), 'x', "crowd$_ has a meter") for 1 .. 16;
    my $one_more = $cluster->try_sql(q(SELECT steadytext_generate('x')), user => 'crowd17');
    is($one_more->{state}, $refused, 'the seventeenth role is refused');
    like($one_more->{err}, qr/Raise steadytext.max_rate_meters/, 'and told why');
    $cluster->sql(q(SELECT steadytext_rate_limit_reset('*')));
    is($cluster->sql(q(SELECT steadytext_generate('x')), user => 'crowd17'), 'x', 'until a meter says nothing any more');
}

# A standby obeys the same rows with a count of its own, and so does what it becomes.
{
    my $standby = $cluster->standby;
    my $two = q(SELECT count(steadytext_generate('n' || i)) FROM generate_series(1, 2) i);
    like($standby->try_sql('SELECT steadytext_cache_clear()')->{err}, qr/a standby's cache is cleared by its primary/, 'a standby says who clears its cache');
    is($standby->sql($two, user => 'app'), 2, 'the standby has its own count');
    is($standby->try_sql(q(SELECT steadytext_generate('x')), user => 'app')->{state}, $refused, 'of the same limit');
    $set->(q('app', requests => 3));
    ok($standby->poll_until(q(SELECT most FROM steadytext_rate_limit_status WHERE role = 'app' AND unit = 'requests'), 3), 'a change is replayed');
    is($standby->sql(q(SELECT steadytext_generate('x')), user => 'app'), 'x', 'and counts');
    ok($standby->promote, 'it is promoted');
    is($standby->try_sql(q(SELECT steadytext_generate('x')), user => 'app')->{state}, $refused, 'and goes on counting');
}

done_testing;
