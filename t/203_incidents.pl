# Incidents open and close, are written down once in every database with calls, announced, and answered as far as the switches allow.
use strict;
use warnings;
use JSON::PP ();
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

# Looks are quick here, so that the test is.
my $cluster = SteadyText::Cluster->new(conf => [
    "steadytext.incident_window = '4s'", "steadytext.incident_delay = '1s'", 'steadytext.max_requests = 14', "steadytext.hot_cache_size = '1MB'",
    "steadytext.request_timeout = '60s'", "steadytext.breaker_threshold = 1000", "steadytext.breaker_recovery = '100ms'" ]);
$cluster->sql(q(SELECT steadytext_generate('hello')));

my $listener = $cluster->session;
$listener->ask('LISTEN steadytext_incident;');
my $heard = '';
# Since it was asked last; what it is, the table says.
sub heard { $heard .= $listener->ask('SELECT 1;'); return $heard =~ s/Asynchronous notification "steadytext_incident" received//g > 0 }

sub incidents { my ($condition, $where) = @_; return $cluster->sql("SELECT count(*) FROM steadytext_incidents WHERE condition = '$condition' AND $where") }
my %opened;  # so many times
sub opens { my ($condition, $seconds) = @_; $opened{$condition}++; return ok($cluster->wait_for(sub { incidents($condition, 'true') == $opened{$condition} }, $seconds // 20), "$condition opens") }
sub closes { my ($condition, $seconds) = @_; return ok($cluster->wait_for(sub { incidents($condition, 'closed_at IS NULL') == 0 }, $seconds // 20), "$condition closes") }
sub response { my ($condition) = @_; return $cluster->sql("SELECT coalesce(response, '-') FROM steadytext_incidents WHERE condition = '$condition' ORDER BY id DESC LIMIT 1") }
sub set { my (%to) = @_; $cluster->sql(join('', map { "ALTER SYSTEM SET steadytext.$_ = '$to{$_}';" } sort keys %to) . 'SELECT pg_reload_conf()'); return }
sub state_of { my ($daemon) = @_; return $cluster->sql("SELECT state FROM steadytext_daemons WHERE endpoint = '$daemon->{endpoint}'") }

sub metric { my ($name) = @_; return $cluster->sql("SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_$name'") }

# ---- what calls tell ---------------------------------------------------------------------------------------------------
# Twelve calls of more than ten seconds hold most of fourteen slots meanwhile: of two roles, since one may not have so many.
$cluster->sql('CREATE ROLE slow LOGIN');
my @slow = map { $cluster->session($_ > 6 ? (user => 'slow') : ())->send("SELECT steadytext_generate('!fault:delay=10500 slow $_', use_cache => false)") } 1 .. 12;
opens('memory_short');
is($cluster->sql(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_incidents_open' AND labels ->> 'condition' = 'memory_short')), 1, 'the metrics tell');
like($cluster->log, qr/LOG:\s+pg_steadytext incident opened: memory_short\n.*DETAIL:\s+request slots or payload memory are nearly used up: their share: 0\.\d+\./, 'the log too');

# Of roles that hold nothing, and so find room; those of others would wait in line behind the slow calls.
for my $role (qw(failing failing_too)) {
    $cluster->sql("CREATE ROLE $role LOGIN");
    $cluster->sql(q(SET client_min_messages = error; SELECT count(steadytext_generate('!fault:error ' || i, use_cache => false)) FROM generate_series(1, 30) i), user => $role);
}
opens('error_rate');
is(incidents('error_rate', 'value >= 0.05 AND severity = $$critical$$ AND opened_at > now() - interval $$1 minute$$'), 1, 'with its value and severity');
ok($cluster->wait_for(sub { heard() }, 10), 'whoever listens hears of it') or diag $heard;
unlike($heard, qr/payload/, '  and of nothing that is not for everybody');

$cluster->sql(q(CREATE ROLE app LOGIN; SELECT steadytext_rate_limit_set('app', requests => 3, per => '1 day')));
$cluster->sql(q(SET client_min_messages = error; SET steadytext.on_limit = 'null'; SELECT count(steadytext_generate('of app ' || i, use_cache => false)) FROM generate_series(1, 100) i), user => 'app');
opens('limit_storm');

$_->finish for @slow;
opens('latency');
is(response('latency'), 'refresh interval widened', 'keepers step back');
is(metric('refresh_stretch'), 4, 'by as much as the metric says');
closes($_) for qw(memory_short error_rate limit_storm latency);
ok($cluster->wait_for(sub { heard() }, 10), 'its end is announced too');

# ---- one role that calls alone, and fails: its own affair, by jobs as by calls ------------------------------------------
{
    my $job = sub { my ($role, $prompt, $priority, $before) = @_; return $cluster->sql(($before // '') . "SELECT steadytext_enqueue('generate', '{\"prompt\": \"$prompt\", \"use_cache\": false}', $priority, 0)", user => $role) };
    my $until = time + 60;
    my ($at, $opened) = (0, 0);
    $cluster->sql('CREATE ROLE crowd; GRANT crowd TO failing');    # SET ROLE makes no second role of the first
    while (time < $until && !$opened) {
        $job->(failing => '!fault:error ' . $at++, 5, $_ % 2 ? 'SET ROLE crowd; ' : '') for 1 .. 20;
        $opened = incidents('error_rate', 'closed_at IS NULL');
    }
    $opened{error_rate}++;
    is($cluster->sql(q(SELECT subject || ', ' || severity || ', ' || coalesce(response, '-') FROM steadytext_incidents WHERE condition = 'error_rate' AND closed_at IS NULL)),
        'role failing, warning, -', 'jobs of a role that calls alone: the incident says whose it is, and nothing is done');
    my $other = $job->(slow => 'of another role', 1);
    ok($cluster->poll_until("SELECT started_at IS NOT NULL FROM steadytext_queue WHERE request_id = '$other'", 't'), "another role's job of the lowest priority begins");
    isnt($cluster->sql(q(SELECT status FROM steadytext_health_check() WHERE component = 'overall')), 'unhealthy', 'the server is not unhealthy');
    closes('error_rate');
}

# ---- a cache that is too small -------------------------------------------------------------------------------------------
$cluster->sql(q(SELECT count(steadytext_generate(repeat(md5(i::text) || ' ', 60) || i)) FROM generate_series(1, 1500) i));
opens('cache_thrash');
is(response('cache_thrash'), '-', 'which only more memory helps against');
closes('cache_thrash');

# ---- daemons -------------------------------------------------------------------------------------------------------------
# One is killed, with the launcher terminated while the incident is open: it is the same incident.
kill 'KILL', $cluster->echo_pid;
opens('daemon_down');
is($cluster->sql('SELECT subject FROM steadytext_incidents WHERE condition = $$daemon_down$$'), $cluster->echo_endpoint, 'it says which');
my $launcher = $cluster->worker_pid('launcher');
$cluster->sql("SELECT pg_terminate_backend($launcher)");
ok($cluster->poll_until("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext launcher' AND pid <> $launcher", 1), 'another launcher');
$cluster->start_echo;
closes('daemon_down');
is(incidents('daemon_down', 'true'), 1, 'one incident');

# While it is down no asynchronous call of low priority begins, unless that is switched off; when it is back they do at once.
my $enqueue = sub { my ($priority) = @_; return $cluster->sql("SELECT steadytext_enqueue('generate', '{\"prompt\": \"a job\", \"use_cache\": false}', $priority, 50)") };
my $begins = sub { my ($id, $what) = @_; return ok($cluster->poll_until("SELECT started_at IS NOT NULL FROM steadytext_queue WHERE request_id = '$id'", 't'), "$what begins") };
kill 'KILL', $cluster->echo_pid;
opens('daemon_down');
is(response('daemon_down'), 'low-priority jobs wait', 'it says what is done');
my ($low, $usual) = map { $enqueue->($_) } 4, 5;
$begins->($usual, 'a job of the usual priority');
is($cluster->sql("SELECT started_at FROM steadytext_queue WHERE request_id = '$low'"), '', 'one below does not');
set(incident_shed => 'off');
$begins->($low, 'incident_shed = off: it');
set(incident_shed => 'on');
$low = $enqueue->(1);
$cluster->start_echo;
closes('daemon_down');
$begins->($low, 'the incident is over: what had to wait');
ok($cluster->poll_until('SELECT count(*) FROM steadytext_queue WHERE completed_at IS NULL', 0), 'all jobs end');

# A breaker that flaps: the daemon rests while there is another one, and only while the switch is on.
my %daemon = map { $_ => $cluster->start_echo(name => $_) } qw(one two);
set(daemons => join ', ', map { $_->{endpoint} } @daemon{qw(one two)});
ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 2), 'two daemons');
my $flap = sub { $cluster->sql("SELECT steadytext_daemon_trip('$daemon{one}{endpoint}')") for 1 .. 3 };
$flap->();
opens('breaker_flapping');
is(response('breaker_flapping'), 'daemon rests', 'it rests');
is(state_of($daemon{one}), 'draining', 'as the view says');
my $requests = "SELECT requests FROM steadytext_daemons WHERE endpoint = '$daemon{one}{endpoint}'";
my $had = $cluster->sql($requests);
is($cluster->sql(q(SELECT count(steadytext_generate('elsewhere ' || i, use_cache => false)) FROM generate_series(1, 20) i)), 20, 'the other one answers');
is($cluster->sql($requests), $had, 'all of it');
closes('breaker_flapping');
ok($cluster->wait_for(sub { state_of($daemon{one}) eq 'ready' }, 10), 'it works again');
set(incident_drain => 'off');
$flap->();
opens('breaker_flapping');
is(response('breaker_flapping'), '-', 'incident_drain = off: nothing is done');
is(state_of($daemon{one}), 'ready', 'it goes on');
closes('breaker_flapping');

# A request that no daemon has: one at a time, and the first takes its time.
my $serial = $cluster->start_echo(name => 'serial', options => ['--serial']);
set(daemons => $serial->{endpoint}, pool_size => 1, pool_wait => '60s');
ok($cluster->poll_until(q(SELECT string_agg(state, ',') FROM steadytext_daemons), 'ready'), 'a serial daemon');
set(incident_widen_refresh => 'off', incident_shed => 'off');
my @waiting = map { $cluster->session->send("SELECT steadytext_generate('!fault:delay=14000 one after the other $_', use_cache => false)") } 1 .. 2;
ok($cluster->wait_for(sub { metric('requests_waiting') == 1 && metric('oldest_waiting_seconds') > 1 }, 20), 'a request waits, and how long is told');
opens('queue_stuck');
is($cluster->sql(q(SELECT status || ' ' || (details ->> 'waiting') FROM steadytext_health_check() WHERE component = 'queue')), 'degraded 1', 'which the health check sees too');
is(response('queue_stuck'), '-', 'incident_widen_refresh and incident_shed are off: nothing is done');
is(metric('refresh_stretch'), 1, 'keepers refresh as ever');
set(incident_widen_refresh => 'on');
ok($cluster->wait_for(sub { metric('refresh_stretch') == 4 }), 'switched on while it lasts: they step back');
closes('queue_stuck');
ok($cluster->wait_for(sub { metric('refresh_stretch') == 1 }), 'and are back when it is over');
$_->finish for @waiting;

# What one role's own limit keeps back, or what an engine has asked that role alone to send later, waits for no daemon: no incident, and others' jobs begin.
{
    my $engine = SteadyText::Engine->new;
    set(daemons => $engine->url, incident_shed => 'on');
    ok($cluster->poll_until(q(SELECT string_agg(state, ',') FROM steadytext_daemons), 'ready'), 'an engine');
    $cluster->sql(q(CREATE ROLE limited LOGIN; CREATE ROLE put_off LOGIN; SELECT steadytext_rate_limit_set('limited', 'daemon:' || endpoint, requests => 1, per => '1 minute') FROM steadytext_daemons));
    my $waits = sub { my ($role, $prompt) = @_; return $cluster->session(user => $role)->send(
        qq(SET steadytext.on_limit = 'wait'; SET steadytext.request_timeout = '100s'; SELECT steadytext_generate('$prompt', use_cache => false))) };
    my $later = '!raw:' . JSON::PP::encode_json({ status => 429, headers => { 'Retry-After' => '50' }, body => 'later' });
    $cluster->sql(q(SELECT steadytext_generate('all there is', use_cache => false)), user => 'limited');
    my @kept = ($waits->(limited => 'beyond its limit'), $waits->(put_off => $later));
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE reason LIKE 'calls of one role wait%'), 1), 'one role is put off');
    my $until = time + 14;  # longer than opens it
    while (time < $until) {
        $cluster->sql(q(SELECT steadytext_generate('served', use_cache => false)));
        select undef, undef, undef, 0.5;
    }
    is(metric('requests_waiting'), 0, 'no request waits for a daemon');
    is(incidents('queue_stuck', 'true'), $opened{queue_stuck}, 'nothing is stuck');
    $begins->($enqueue->(1), 'a job of the lowest priority');
    $cluster->sql('SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename IN ($$limited$$, $$put_off$$)');
    $_->finish for @kept;
}

# ---- an embedded daemon that hangs is restarted, if that is switched on ----------------------------------------------------
my $program = $cluster->run_dir . '/echo-daemon';
set(daemons => '', embedded_daemon => 'on', embedded_program => $program, embedded_model => 'echo', incident_restart => 'off', incident_shed => 'off');
my $embedded = q(SELECT state FROM steadytext_daemons);
ok($cluster->poll_until($embedded, 'ready', 30), 'an embedded daemon');
my $pid = sub { my $parent = $cluster->worker_pid('launcher'); chomp(my $child = `pgrep -P $parent`); return $child };
my $hung = $pid->();
kill 'STOP', $hung;
opens('daemon_down', 40);
is(response('daemon_down'), '-', 'incident_restart = off: nothing is done');
kill 'CONT', $hung;
closes('daemon_down');
is($pid->(), $hung, 'it is the same');
set(incident_restart => 'on');
kill 'STOP', $hung;
ok($cluster->wait_for(sub { my $now = $pid->(); $now ne '' && $now ne $hung }, 40), 'on: another one runs');
ok($cluster->poll_until($embedded, 'ready', 30), 'and is ready');
ok($cluster->wait_for(sub { response('daemon_down') eq 'embedded daemon restarted' }, 20), 'the row says so');
closes('daemon_down');

# ---- over the server's life ------------------------------------------------------------------------------------------------
# An incident that was open when the server stopped and is over when it starts; and one that goes on.
set(daemons => $cluster->echo_endpoint . ", $serial->{endpoint}", embedded_model => '');
kill 'KILL', $serial->{pid};
kill 'KILL', `pgrep -f "^$cluster->{run}/echo-daemon --endpoint @{[ $cluster->echo_endpoint ]}"` =~ /(\d+)/g;
ok($cluster->wait_for(sub { incidents('daemon_down', 'closed_at IS NULL') == 2 }, 20), 'two daemons are down');
$cluster->stop;
$cluster->start_echo;
$cluster->start;
$cluster->sql(q(SELECT steadytext_generate('after the restart')));
ok($cluster->wait_for(sub { incidents('daemon_down', 'closed_at IS NULL') == 1 }, 40), 'the one that is over is closed')
    or diag $cluster->sql('TABLE steadytext_incidents');
is($cluster->sql(q(SELECT subject FROM steadytext_incidents WHERE condition = 'daemon_down' AND closed_at IS NULL)), $serial->{endpoint}, 'the other one goes on');

# Who may look.
$cluster->sql('CREATE ROLE watcher LOGIN IN ROLE pg_monitor');
cmp_ok($cluster->try_sql('SELECT count(*) FROM steadytext_incidents', user => 'watcher')->{out}, '>', 8, 'pg_monitor may read them');
is($cluster->try_sql('SELECT count(*) FROM steadytext_incidents', user => 'app')->{state}, '42501', 'others may not');

done_testing;
