# The view steadytext_daemons and the table steadytext_daemon_health, column by column: what they say is what daemons and system say.
use strict;
use warnings;
use IO::Socket::INET;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.breaker_recovery = '20s'", 'steadytext.pool_size = 3' ]);
my $native  = $cluster->start_echo(name => 'native', options => [ '--model', 'native', '--fingerprint', 'echo:9' ]);
my $serial  = $cluster->start_echo(name => 'serial', options => ['--serial']);
my $nobody  = { endpoint => 'ipc://' . $cluster->run_dir . '/nobody.sock' };
my $closed_port = do { my $probe = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0); $probe->sockport };
my $http    = { endpoint => "http://127.0.0.1:$closed_port/v1" };
my $bad     = { endpoint => 'tcp://127.0.0.1:1' };

$cluster->append_conf(sprintf q(steadytext.daemons = '%s weight=7, %s model=serial, %s weight=2 drain=on, %s'), map { $_->{endpoint} } $native, $serial, $nobody, $bad);
$cluster->reload;

sub of { my ($what, $daemon) = @_; return $cluster->sql("SELECT $what FROM steadytext_daemons WHERE endpoint = '$daemon->{endpoint}'") }
sub becomes {
    my ($what, $daemon, $value, $test) = @_;
    ok($cluster->poll_until("SELECT $what FROM steadytext_daemons WHERE endpoint = '$daemon->{endpoint}'", $value, 15), $test)
        or diag $cluster->sql('SELECT * FROM steadytext_daemons');
    return;
}
# A model of its own picks the daemon.
sub request { my ($daemon, $prompt) = @_; return sprintf q(SELECT steadytext_generate('%s', use_cache => false, model => '%s')), $prompt, $daemon->{name} }
sub served { my ($count) = $cluster->ask_daemon('stats', '{}', $_[0]{endpoint}) =~ /"generate":(\d+)/; return $count }
# A serial daemon takes requests for any model.
sub lone { my ($whether) = @_; $cluster->sql("SELECT steadytext_daemon_" . ($whether ? 'drain' : 'undrain') . "('$serial->{endpoint}')");
    becomes('state', $serial, $whether ? 'draining' : 'ready', $whether ? 'the serial one is drained' : 'undrained'); return }
sub release { $cluster->ask_daemon('control', '{"release": true}', $_[0]{endpoint}); return }

# Who they are, and how they stand.
{
    becomes(q(kind || ' ' || weight || ' ' || state || ' ' || fingerprint), $native, 'native 7 ready echo:9', 'kind, weight, state, fingerprint');
    becomes(q(kind || ' ' || weight || ' ' || state || ' ' || fingerprint), $serial, 'serial 1 ready serial:serial', 'of a serial one too');
    is(of(q(kind, weight, state, reason <> '', fingerprint IS NULL), $nobody), 'unknown|2|draining|t|t', 'of one that is not there and drained');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_daemons)), 4, 'one row for each');
    like(of(q(state || ': ' || reason), $bad), qr/^invalid: \S/, 'one that is no endpoint, and why');
    is(of('breaker, until IS NULL, reason IS NULL', $native), 'closed|t|t', 'nothing is wrong');
    is(of('in_flight, pool_in_use, requests, failures, late_replies, avg_ms IS NULL, p99_ms IS NULL, last_ok IS NULL', $native), '0|0|0|0|0|t|t|t', 'nothing was asked');
}

# What is under way: a native daemon takes all on one connection, a serial one each on its own, up to a role's share of the pool of three.
{
    $cluster->sql("SELECT steadytext_daemon_unregister('$bad->{endpoint}')");
    lone(1);
    my @held = map { $cluster->session->send(request($native, "!fault:hold $_")) } 1 .. 4;
    becomes(q(in_flight || ' ' || pool_in_use), $native, '4 1', 'in_flight and pool_in_use of a native daemon');
    lone(0);
    push @held, map { $cluster->session->send(request($serial, "!fault:delay=700 $_")) } 1 .. 4;
    becomes(q(in_flight || ' ' || pool_in_use), $serial, '2 2', 'of a serial one: the share of a role that is alone');
    release($native);
    is(scalar(grep { $_->finish->{state} eq '' } @held), 8, 'all are answered');
    is(of('in_flight, pool_in_use, requests', $_), '0|0|4', "$_->{name}: and then") for $native, $serial;
    is(served($native), 4, 'requests: as many as it counts itself');
    lone(1);
}

# Times: of a hundred calls three take 300 ms.
{
    $cluster->sql("SELECT steadytext_daemon_unregister('$native->{endpoint}')");
    ok($cluster->poll_until("SELECT count(*) FROM steadytext_daemons WHERE endpoint = '$native->{endpoint}'", 0), 'unregistered');
    $cluster->sql("SELECT steadytext_daemon_register('$native->{endpoint}', 7)");
    becomes(q(kind || ' ' || requests || ' ' || coalesce(avg_ms, 0)), $native, 'native 0 0', 'one that comes back begins at zero');
    my $began = $cluster->sql('SELECT clock_timestamp()');
    my ($asked, $mean, $longest) = split /\|/, $cluster->sql(q(SELECT count(*), avg(total_ms), max(total_ms) FROM generate_series(1, 100) i,
        LATERAL steadytext_generate_ex(CASE WHEN i % 33 = 0 THEN '!fault:delay=300 ' ELSE '' END || i, '{"use_cache": false, "model": "native"}')));
    is(of('requests, failures', $native), "$asked|0", 'a hundred requests');
    my ($average, $slow) = split /\|/, of('avg_ms, p99_ms', $native);
    ok($average >= 9 && $average <= $mean, 'avg_ms') or diag "$average, and $mean for the sessions";
    ok($slow >= 300 * 15 / 16 && $slow <= $longest * 17 / 16, 'p99_ms') or diag "$slow, and $longest for the slowest session";
    is(of("last_ok BETWEEN '$began' AND clock_timestamp()", $native), 't', 'last_ok: just now');
}

# What goes wrong is counted, with the last reason.
{
    is($cluster->try_sql(request($native, '!fault:null-id'))->{state}, '08P01', 'an answer without an id');
    is(of('failures, late_replies, reason', $native), '1|0|it sent an unreadable message', 'failures and reason');
    my $last_ok = of('last_ok', $native);
    is($cluster->try_sql("SET steadytext.request_timeout = '100ms'; " . request($native, '!fault:late=200'))->{state}, 'HYT00', 'an answer after a deadline of the caller');
    becomes('late_replies', $native, 1, 'late_replies');
    is(of('failures', $native), 1, 'is no failure of the daemon');
    $cluster->sql(q(ALTER SYSTEM SET steadytext.breaker_timeout = '100ms'; SELECT pg_reload_conf()));
    ok($cluster->poll_until('SHOW steadytext.breaker_timeout', '100ms'), 'a daemon has a tenth of a second');
    $cluster->sql(request($native, 'and the gateway knows'));
    $last_ok = of('last_ok', $native);
    is($cluster->try_sql("SET steadytext.request_timeout = '300ms'; " . request($native, '!fault:late=400'))->{state}, 'HYT00', 'an answer after its deadline');
    is(of('failures, reason', $native), '2|a request timed out', 'is a failure');
    becomes('late_replies', $native, 2, 'late_replies');
    is(of('last_ok', $native), $last_ok, 'last_ok stays: that was no answer');
    is(of('requests', $native), 104, 'requests: sent, whatever becomes of them');
    $cluster->sql(request($native, 'fine'));
    is(of("last_ok > '$last_ok', failures", $native), 't|2', 'the next answer is one');
}

# The breaker, until when it is open, and what ends it.
{
    $cluster->sql("SELECT steadytext_daemon_trip('$native->{endpoint}')");
    is(of(q(breaker, state, until - clock_timestamp() BETWEEN interval '15 s' AND interval '20 s'), $native), 'open|ready|t', 'open, for twenty seconds');
    is($cluster->try_sql(request($native, 'tripped'))->{state}, '08004', 'it gets nothing') for 1 .. 2;
    $cluster->sql(q(ALTER SYSTEM SET steadytext.breaker_recovery = '1s'; SELECT pg_reload_conf()));
    ok($cluster->poll_until('SHOW steadytext.breaker_recovery', '1s'), 'from now on for one second');
    $cluster->sql("SELECT steadytext_daemon_trip('$native->{endpoint}')");
    becomes(q(breaker || coalesce(until::text, '')), $native, 'half_open', 'half open, and until is past');
    is($cluster->sql(request($native, 'probe')), 'probe', 'a request tries it');
    is(of('breaker, until IS NULL', $native), 'closed|t', 'and closes it');
}

# One that is taken out stays until it has finished.
{
    my $held = $cluster->session->send(request($native, '!fault:hold'));
    becomes('in_flight', $native, 1, 'a request is under way');
    $cluster->sql("SELECT steadytext_daemon_unregister('$native->{endpoint}')");
    becomes(q(state || ' ' || reason || ' ' || in_flight), $native, 'draining removed from steadytext.daemons 1', 'unregistered');
    release($native);
    is($held->finish->{out}, '!fault:hold', 'what was under way is finished');
    ok($cluster->poll_until("SELECT count(*) FROM steadytext_daemons WHERE endpoint = '$native->{endpoint}'", 0), 'then it is gone');
    $cluster->sql("SELECT steadytext_daemon_register('$native->{endpoint}', 7)");
    becomes('kind', $native, 'native', 'registered again');
}

# A daemon that is killed, and one that an engine is expected to be.
{
    $cluster->sql("SELECT steadytext_daemon_register('$http->{endpoint}')");
    becomes(q(kind || ' ' || state || ' ' || (reason <> '')), $http, 'http connecting true', 'an engine that is not there');
    lone(0);
    kill 'KILL', $serial->{pid};
    becomes(q(state || ' ' || breaker || ' ' || (failures >= 5) || ' ' || (reason <> '') || ' ' || (until > clock_timestamp())), $serial, 'connecting open true true true',
        'a daemon that was killed');
}

# Memory: as daemons tell it that do; as the system sees it.
{
    my $resident = sub { return $cluster->memory($native->{pid}, 'VmRSS') / 1024 };
    my $told = sub { my ($daemon) = @_;
        return $cluster->sql("SELECT memory_usage_mb FROM _steadytext.daemon_health() WHERE '$daemon->{endpoint}' IN (endpoint, daemon_id)") };
    my $agrees = sub { $told->($native) ne '' && abs($told->($native) - $resident->()) <= 2 };
    ok($cluster->wait_for($agrees, 10), 'memory_usage_mb of a native daemon') or diag $told->($native), ' and ', $resident->();
    is($told->($_), '', 'nothing is made up') for $serial, $http, $nobody;
    ok($cluster->poll_until("SELECT memory_usage_mb > 0 FROM steadytext_daemon_health WHERE '$native->{endpoint}' IN (endpoint, daemon_id)", 't', 10), 'nor left out of the table');
    my $small = $resident->();
    my @held = map { $cluster->session->send(request($native, "!fault:hold $_ ' || repeat('x', 900000) || '")) } 1 .. 20;
    becomes('in_flight', $native, 20, 'it has much to keep');
    cmp_ok($resident->() - $small, '>', 15, 'and has grown');
    ok($cluster->wait_for($agrees, 10), 'which is told within seconds') or diag $told->($native), ' and ', $resident->();
    release($native);
    $_->finish for @held;
    kill 'KILL', $native->{pid};
    ok($cluster->wait_for(sub { $told->($native) eq '' }, 10), 'one that is gone has none');
}

done_testing;
