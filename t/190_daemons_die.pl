# Daemons that are killed, stopped and come back while sixteen sessions ask (fault catalogue, rows 1 to 3). In every figure a fallback,
# a NULL and an error are failures.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Load;
use Test::More;
use Time::HiRes qw(time);

my $long    = $ENV{STEADYTEXT_LONG_TESTS};
my $cluster = SteadyText::Cluster->new(daemon => 'none');
my $slots   = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');

sub start_daemons {
    my ($delay_ms, @names) = @_;
    my %daemons = map { $_ => $cluster->start_echo(name => $_, options => [ '--delay-ms', $delay_ms ]) } @names;
    use_daemons(@daemons{@names});
    return \%daemons;
}

sub use_daemons {
    my (@daemons) = @_;
    $cluster->sql(sprintf q(ALTER SYSTEM SET steadytext.daemons = '%s'; SELECT pg_reload_conf()), join ', ', map { $_->{endpoint} } @daemons);
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), scalar @daemons), scalar(@daemons) . ' ready');
    return;
}

sub column { my ($daemon, $what) = @_; return $cluster->sql("SELECT $what FROM steadytext_daemons WHERE endpoint = '$daemon->{endpoint}'") }

# Row 1: one of two daemons dies in the middle of its requests. The other answers them.
{
    my $daemons = start_daemons(20, 'first', 'second');
    my $load = SteadyText::Load->new($cluster, clients => 16);
    my @kills;
    for my $name (('first', 'second') x ($long ? 10 : 2)) {
        ok($load->await(200), 'under load');
        push @kills, sprintf 'to_timestamp(%.6f)', time;
        kill 'KILL', $daemons->{$name}{pid};
        ok($load->await(200), 'the other one serves');
        $daemons->{$name} = $cluster->start_echo(name => $name, options => [ '--delay-ms', 20 ]);
        ok($cluster->poll_until("SELECT state FROM steadytext_daemons WHERE endpoint = '$daemons->{$name}{endpoint}'", 'ready', 10), 'it is back');
    }
    is($load->finish, 16, 'no session hangs');
    is($load->not_right, '', sprintf '%d calls while daemons died %d times: all right', $load->calls, scalar @kills);
    cmp_ok($cluster->sql(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_retries_total')), '>', 0, 'some were sent again');
    # Nobody waited for a daemon to be missed: what calls took that were under way when one died, beyond the usual.
    my $under_way = 'EXISTS (SELECT FROM unnest(ARRAY[' . join(', ', @kills) . "]) killed WHERE killed BETWEEN began AND began + ms * interval '1 ms')";
    my ($hit, $usual, $slow) = ($load->value('count(*)', $under_way), $load->milliseconds(0.5), $load->milliseconds(0.99, $under_way));
    cmp_ok($hit, '>=', 8 * @kills, "$hit calls were under way when a daemon died");
    cmp_ok($slow - $usual, '<=', 250, 'their 99th percentile is within 250 ms of what calls take');
    note("row 1: $slow ms at the 99th percentile of the $hit calls under way when a daemon died, $usual ms usually");
}

# Row 2: the only daemon dies. Every call ends by its deadline, the breaker opens, calls then cost nothing, and its return is noticed.
for my $on_failure (qw(fallback null error)) {
    my $daemon = start_daemons(20, "only-$on_failure")->{"only-$on_failure"};
    my $timeout = 1000;
    my $load = SteadyText::Load->new($cluster, clients => 8, calls => 400,
        set => [ "steadytext.on_failure = '$on_failure'", "steadytext.request_timeout = '${timeout}ms'", 'client_min_messages = error' ]);
    ok($load->await(50), 'under load');
    kill 'KILL', $daemon->{pid};
    ok($cluster->poll_until(q(SELECT breaker FROM steadytext_daemons), 'open', 10), 'the breaker opens');
    cmp_ok(column($daemon, 'failures'), '>=', 5, 'after five failures or more');
    like(column($daemon, 'reason'), qr/refused|lost/, 'for a reason');
    is($load->join, 8, "$on_failure: no session hangs");
    my $outcomes = $load->not_right;
    my $expected = { fallback => qr/fallback: \d+/, null => qr/null: \d+/, error => qr/08\d\d\d: \d+(, 08\d\d\d: \d+)*/ }->{$on_failure};
    like($outcomes, qr/^$expected$/, "$on_failure: what is documented, and nothing else");
    cmp_ok($load->milliseconds(1), '<=', $timeout + 100, 'no call outlasts its deadline');
    my $quick = SteadyText::Load->new($cluster, clients => 8, calls => 200, set => [ "steadytext.on_failure = '$on_failure'", 'client_min_messages = error' ]);
    $quick->join;
    cmp_ok($quick->milliseconds(0.5), '<', 1, 'with the breaker open a call takes less than a millisecond');

    $cluster->start_echo(name => $daemon->{name});
    my $back = time;
    ok($cluster->poll_until(q(SELECT steadytext_generate('back', use_cache => false)), 'back', 10), 'its return is noticed');
    my $took = time - $back;
    cmp_ok($took, '<=', 2, 'within two seconds');
    note(sprintf 'row 2, %s: the last call after %.0f ms of %d; with the breaker open %.3f ms at the median; its return noticed after %.2f s',
        $on_failure, $load->milliseconds(1), $timeout, $quick->milliseconds(0.5), $took);
}

# Row 3: a daemon that is stopped, and goes on later. Heartbeats miss it; the other one answers.
{
    my $daemons = start_daemons(20, 'steady', 'frozen');
    my $load = SteadyText::Load->new($cluster, clients => 16);
    ok($load->await(200), 'under load');
    kill 'STOP', $daemons->{frozen}{pid};
    my $stopped = time;
    ok($cluster->poll_until("SELECT state <> 'ready' OR breaker <> 'closed' FROM steadytext_daemons WHERE endpoint = '$daemons->{frozen}{endpoint}'", 't', 10),
        'a stopped daemon is noticed');
    my $took = time - $stopped;
    cmp_ok($took, '<=', 4, 'within four seconds');
    note(sprintf 'row 3: a stopped daemon was noticed after %.2f s', $took);
    ok($load->await(200), 'the other one serves');
    $cluster->wait_for(sub { time - $stopped >= 10 }, 10) if $long;
    kill 'CONT', $daemons->{frozen}{pid};
    ok($cluster->poll_until("SELECT state || breaker FROM steadytext_daemons WHERE endpoint = '$daemons->{frozen}{endpoint}'", 'readyclosed', 10),
        'it goes on and is taken back');
    is($load->finish, 16, 'no session hangs');
    is($load->not_right, '', $load->calls . ' calls around a stopped daemon: all right');
    ok($cluster->poll_until($slots, 0), 'no slot is left in use');
}

# Stopped for less than that, the connection lasts, and answers come after their deadlines: dropped, and counted.
{
    my $daemons = start_daemons(20, 'sleepy');
    my $late = column($daemons->{sleepy}, 'late_replies');
    my $load = SteadyText::Load->new($cluster, clients => 8, calls => 1,
        set => [ "steadytext.request_timeout = '400ms'", "steadytext.on_failure = 'null'" ], head => '!fault:late=300');
    ok($cluster->wait_for(sub { $cluster->ask_daemon('stats', '{}', $daemons->{sleepy}{endpoint}) =~ /"in_flight":8/ }), 'eight requests are under way');
    kill 'STOP', $daemons->{sleepy}{pid};
    $load->join;
    is($load->not_right, 'null: 8', 'they end without an answer');
    cmp_ok($load->milliseconds(1), '<=', 400 + 100, 'by their deadlines');
    kill 'CONT', $daemons->{sleepy}{pid};
    ok($cluster->wait_for(sub { column($daemons->{sleepy}, 'late_replies') - $late == 8 }), 'eight late answers are dropped and counted');
    ok($cluster->poll_until($slots, 0), 'no slot is left in use');
}

# Two daemons stand and a third is killed every second.
{
    my $daemons = start_daemons(1, 'left', 'right', 'unlucky');
    my $load = SteadyText::Load->new($cluster, clients => 8);
    my $kills = $long ? 60 : 8;
    for (1 .. $kills) {
        my $next = time + 1;
        $load->await(100) or last;
        kill 'KILL', $daemons->{unlucky}{pid};
        $daemons->{unlucky} = $cluster->start_echo(name => 'unlucky', options => [ '--delay-ms', 1 ]);
        $cluster->poll_until("SELECT state FROM steadytext_daemons WHERE endpoint = '$daemons->{unlucky}{endpoint}'", 'ready', 10);
        $cluster->wait_for(sub { time >= $next });
    }
    is($load->finish, 8, 'no session hangs');
    my ($calls, $wrong, $right) = ($load->calls, map { $load->value('count(*)', "outcome = '$_'") } qw(wrong right));
    is($wrong, 0, 'no wrong answer');
    cmp_ok(100 * $right / $calls, '>=', 99.5, '99.5 % or more are answered') or diag $load->not_right;
    note(sprintf '%d calls while one of three daemons was killed %d times, once a second: %.3f %% answered, %d wrong', $calls, $kills, 100 * $right / $calls, $wrong);
}

done_testing;
