# The registry: steadytext.daemons changed from SQL for good, the view steadytext_daemons, shares, drain, trip, affinity, fingerprints.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Load;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'" ]);
my $load    = sub {
    my ($text, $count) = @_;
    return $cluster->sql("SELECT count(*) FILTER (WHERE steadytext_generate('$text ' || i, use_cache => false) = '$text ' || i) FROM generate_series(1, $count) i");
};
my $column = sub { my ($name, $daemon) = @_; return $cluster->sql("SELECT $name FROM steadytext_daemons WHERE endpoint = '$daemon->{endpoint}'") };
my $becomes = sub {
    my ($name, $daemon, $value, $test) = @_;
    return ok($cluster->poll_until("SELECT $name FROM steadytext_daemons WHERE endpoint = '$daemon->{endpoint}'", $value, 10), $test)
        || diag $cluster->sql('SELECT * FROM steadytext_daemons');
};
my $served = sub { my ($count) = $cluster->ask_daemon('stats', '{}', $_[0]{endpoint}) =~ /"generate":(\d+)/; return $count // 0 };

my %weight  = (light => 1, middle => 2, heavy => 5);
my %daemons = map { $_ => $cluster->start_echo(name => $_) } keys %weight;
my ($light, $middle, $heavy) = @daemons{qw(light middle heavy)};

# Three calls in one statement: none loses what another did.
{
    my $calls = join ', ', map { "steadytext_daemon_register('$daemons{$_}{endpoint}', $weight{$_})" } sort keys %daemons;
    is($cluster->sql("SELECT $calls"), 't|t|t', 'registered');
    is($cluster->sql("SELECT steadytext_daemon_register('$heavy->{endpoint}', 5)"), 'f', 'once only');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready' AND kind = 'native'), 3), 'three daemons are ready');
}

# Shares follow the weights, and the view counts what the daemons count.
{
    my $requests = 8000;
    my $clients = 16;
    my %before = map { $_ => $served->($daemons{$_}) } keys %daemons;
    my $shared = SteadyText::Load->new($cluster, clients => $clients, calls => $requests / $clients);
    is($shared->join, $clients, 'sixteen sessions');
    is($shared->not_right, '', "every answer of $requests is right");
    for my $name (sort keys %daemons) {
        my $share = 100 * ($served->($daemons{$name}) - $before{$name}) / $requests;
        my $due   = 100 * $weight{$name} / 8;
        cmp_ok(abs($share - $due), '<=', 2, "$name has its share of the requests, to two points");
        note(sprintf '%s (weight %d): %.2f %% of %d requests, %.2f %% due', $name, $weight{$name}, $share, $requests, $due);
        is($column->('requests', $daemons{$name}), $served->($daemons{$name}), "$name: the view counts what it counts");
    }
    is($column->('avg_ms > 0 AND p99_ms > 0 AND last_ok <= clock_timestamp() AND until IS NULL', $heavy), 't', 'times are told');
    is($column->('fingerprint', $heavy), 'echo:1', 'and the fingerprint');
}

# Drained under load: what is in flight is finished, nothing new comes.
{
    my $session = $cluster->session->send("SELECT count(*) FILTER (WHERE steadytext_generate('drain ' || i, use_cache => false) = 'drain ' || i) FROM generate_series(1, 8000) i");
    my @held = map { $cluster->session->send("SELECT steadytext_generate('!fault:delay=700 held $_', use_cache => false)") } 1 .. 8;
    ok($cluster->poll_until("SELECT in_flight > 0 FROM steadytext_daemons WHERE endpoint = '$heavy->{endpoint}'", 't', 10), 'it has requests in flight');
    $cluster->sql("SELECT steadytext_daemon_drain('$heavy->{endpoint}')");
    $becomes->('state', $heavy, 'draining', 'drained');
    my $before = $column->('requests', $heavy);
    is($load->('elsewhere', 500), 500, 'the others serve');
    is($column->('requests', $heavy), $before, 'it got nothing new');
    is($session->finish->{out}, 8000, 'no error in the load');
    like($_->finish->{out}, qr/ held \d$/, 'what was under way is finished') for @held;
    is($column->('in_flight', $heavy), 0, 'it is idle');
    $cluster->sql("SELECT steadytext_daemon_undrain('$heavy->{endpoint}')");
    $becomes->('state', $heavy, 'ready', 'undrained');
    cmp_ok($column->('requests', $heavy), '==', $before, 'its counters go on where they were');
    $load->('again', 80);
    cmp_ok($column->('requests', $heavy), '>', $before, 'it serves again');
}

# Tripped and reset at once.
{
    $cluster->sql("SELECT steadytext_daemon_trip('$heavy->{endpoint}')");
    is($column->(q(breaker || ' ' || (until > clock_timestamp())), $heavy), 'open true', 'tripped, and until when');
    like($column->('reason', $heavy), qr/steadytext_daemon_trip/, 'and by what');
    my $before = $column->('requests', $heavy);
    is($load->('tripped', 100), 100, 'the others serve');
    is($column->('requests', $heavy), $before, 'it got nothing');
    $cluster->sql("SELECT steadytext_daemon_reset('$heavy->{endpoint}')");
    is($column->('breaker', $heavy), 'closed', 'reset');
    $load->('reset', 80);
    cmp_ok($column->('requests', $heavy), '>', $before, 'it serves again');
    $cluster->sql('SELECT ' . join ', ', map { "steadytext_daemon_trip('$_->{endpoint}')" } values %daemons);
    is($cluster->try_sql(q(SELECT steadytext_generate('anybody?', use_cache => false)))->{state}, '08004', 'all tripped: an error of its own');
    $cluster->sql('SELECT ' . join ', ', map { "steadytext_daemon_reset('$_->{endpoint}')" } values %daemons);
    is($load->('back', 8), 8, 'all reset: served at once');
}

# What was changed outlasts a restart, and the other entries stay as they were written.
{
    my $options = "$light->{endpoint}   model=\"two words\" weight=3, $middle->{endpoint} drain=off";
    $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$options'; SELECT pg_reload_conf()");
    $cluster->sql("SELECT steadytext_daemon_register('$heavy->{endpoint}')");
    $cluster->sql("SELECT steadytext_daemon_set_weight('$heavy->{endpoint}', 9)");
    $cluster->sql("SELECT steadytext_daemon_drain('$middle->{endpoint}')");
    $cluster->restart;
    is($cluster->sql('SHOW steadytext.daemons'), "$light->{endpoint}   model=\"two words\" weight=3, $middle->{endpoint} drain=on, $heavy->{endpoint} weight=9",
        'durable, word for word');
    $becomes->(q(state || ' ' || weight), $heavy, 'ready 9', 'the weight holds');
    $becomes->('state', $middle, 'draining', 'the drain holds');
    $cluster->sql("SELECT steadytext_daemon_unregister('$heavy->{endpoint}')");
    ok($cluster->poll_until("SELECT count(*) FROM steadytext_daemons WHERE endpoint = '$heavy->{endpoint}'", 0), 'unregistered');
    $cluster->restart;
    is($cluster->sql("SELECT current_setting('steadytext.daemons') LIKE '%heavy%'"), 'f', 'for good');
}

# Clear errors, and who may.
{
    my %bad = (
        q(SELECT steadytext_daemon_register('localhost'))             => '22023',
        q(SELECT steadytext_daemon_register('tcp://localhost:-1'))    => '22023',
        q(SELECT steadytext_daemon_register('tcp://localhost:5555', 0)) => '22023',
        qq(SELECT steadytext_daemon_set_weight('$light->{endpoint}', 1001)) => '22023',
        map { ("SELECT steadytext_daemon_$_('tcp://localhost:5999'" . ($_ eq 'set_weight' ? ', 2)' : ')') => '42704') }
            qw(unregister set_weight drain undrain trip reset),
    );
    for my $sql (sort keys %bad) {
        my $result = $cluster->try_sql($sql);
        is($result->{state}, $bad{$sql}, $sql);
        like($result->{err}, qr/^HINT:.*\S/m, 'with a hint') or diag $result->{err};
    }
    $cluster->sql('CREATE ROLE plain LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_monitor');
    is($cluster->try_sql($_, user => 'plain')->{state}, '42501', "a plain role may not: $_") for sort +(keys %bad), 'SELECT * FROM steadytext_daemons';
    is($cluster->try_sql('SELECT count(*) FROM steadytext_daemons', user => 'watcher')->{out}, 2, 'pg_monitor may look');
    is($cluster->try_sql("SELECT steadytext_daemon_trip('$light->{endpoint}')", user => 'watcher')->{state}, '42501', 'and no more');
}

# Sessions that change the list at once lose nothing of each other's.
{
    my $before = $cluster->sql('SHOW steadytext.daemons');
    my @mine = map { my $session = $_; [ map { "ipc://$cluster->{run}/none-$session-$_.sock" } 1 .. 5 ] } 1 .. 4;
    my $each = sub { my ($function) = @_;
        my @sessions = map { $cluster->session->send(join ';', map { "SELECT steadytext_daemon_$function('$_')" } @$_) } @mine;
        is($_->finish->{state}, '', "$function from several sessions") for @sessions;
    };
    $each->('register');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE endpoint LIKE '%/none-%'), 20), 'all are registered');
    $each->('unregister');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE endpoint LIKE '%/none-%'), 0), 'all are gone');
    is($cluster->sql('SHOW steadytext.daemons'), $before, 'the list is as it was');
}

# Bad entries in a file: invalid, and the others work.
{
    $cluster->sql('ALTER SYSTEM RESET steadytext.daemons');
    $cluster->append_conf("steadytext.daemons = 'tcp://127.0.0.1:1, $light->{endpoint}, nonsense'");
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'invalid' AND reason <> ''), 2), 'two invalid entries, each with its reason')
        or diag $cluster->sql('SELECT * FROM steadytext_daemons');
    $becomes->('state', $light, 'ready', 'the good one');
    is($load->('among bad ones', 100), 100, 'serves');
}

# Affinity: the same request goes to the same daemon; one that is drained takes only its own requests with it.
{
    $cluster->sql(sprintf q(ALTER SYSTEM SET steadytext.daemons = '%s'; ALTER SYSTEM SET steadytext.balance = 'affinity'; SELECT pg_reload_conf()),
        join ', ', map { $_->{endpoint} } $light, $middle, $heavy);
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready' AND kind = 'native'), 3), 'three daemons are ready');
    my $homes = q(SELECT string_agg(daemon, ' ' ORDER BY i) FROM generate_series(1, 60) i,
        LATERAL steadytext_generate_ex('affine ' || i, '{"use_cache": false}'));
    my @first = split ' ', $cluster->sql($homes);
    is_deeply([ split ' ', $cluster->sql($homes) ], \@first, 'each request finds its daemon again');
    my %used = map { $_ => 1 } @first;
    is(keys %used, 3, 'and all have some');
    my $of_prefix = sub { my ($prefix) = @_; return $cluster->sql(qq(SELECT count(DISTINCT daemon), min(daemon) FROM generate_series(1, 5) i,
        LATERAL steadytext_generate_ex('affine ' || i, jsonb_build_object('use_cache', false, 'prefix', '$prefix')))); };
    my @of_prefixes = map { $of_prefix->("Tell \"$_\": ") } 1 .. 40;
    is(scalar(grep { /^1\|/ } @of_prefixes), 40, 'requests with the same prefix find the same daemon') or diag "@of_prefixes";
    cmp_ok(scalar(keys %{ { map { $_ => 1 } @of_prefixes } }), '>', 1, 'of many prefixes not all the same');
    $cluster->sql("SELECT steadytext_daemon_drain('$middle->{endpoint}')");
    $becomes->('state', $middle, 'draining', 'one is drained');
    my @second = split ' ', $cluster->sql($homes);
    is(scalar(grep { $first[$_] ne $middle->{endpoint} && $first[$_] ne $second[$_] } 0 .. $#first), 0, 'the requests of the others stay where they were');
    is(scalar(grep { $_ eq $middle->{endpoint} } @second), 0, 'its own are served by them');
}

# Two models of one name.
{
    my $other = $cluster->start_echo(name => 'other', options => [ '--fingerprint', 'echo:2' ]);
    $cluster->sql("ALTER SYSTEM RESET steadytext.balance; ALTER SYSTEM SET steadytext.daemons = '$light->{endpoint}, $other->{endpoint}'; SELECT pg_reload_conf()");
    $becomes->('state', $other, 'ready', 'policy warn: it is used');
    ok($cluster->wait_for(sub { $cluster->log =~ /daemon "\Q$other->{endpoint}\E" serves model "[^"]*" with fingerprint echo:2, but \Q$light->{endpoint}\E has echo:1/ }, 10),
        'and the log says so');
    is($cluster->sql(q(SELECT status FROM steadytext_selfcheck() WHERE check_name = 'fingerprints' AND details ~ 'fingerprint echo:2, but')), 'warning',
        'and steadytext_selfcheck() says so');
    $cluster->sql(q(ALTER SYSTEM SET steadytext.fingerprint_policy = 'strict'; SELECT pg_reload_conf()));
    $becomes->('state', $other, 'invalid', 'policy strict: the later one is invalid');
    like($column->('reason', $other), qr/fingerprint echo:2, but .* has echo:1/, 'for a reason');
    my $before = $column->('requests', $other);
    is($load->('strict', 50), 50, 'the first serves all');
    is($column->('requests', $other), $before, 'the later one gets nothing');
    my @warnings = $cluster->log =~ /with fingerprint echo:2, but/g;
    is(scalar @warnings, 1, 'the log said it once');
}

# The table steadytext_daemon_health is kept as true as steadytext_daemon_status().
{
    my $follows = sub {
        my ($daemon, $status, $test) = @_;
        my $id = ref $daemon ? $daemon->{endpoint} : $daemon;
        ok($cluster->poll_until("SELECT status FROM steadytext_daemon_health WHERE '$id' IN (daemon_id, endpoint)", $status, 10), $test)
            || diag $cluster->sql('SELECT * FROM steadytext_daemon_health');
        ok($cluster->poll_until(q(SELECT count(*) FROM (SELECT daemon_id, status, endpoint FROM steadytext_daemon_status() EXCEPT
            SELECT daemon_id, status, nullif(endpoint, '') FROM steadytext_daemon_health) differs), 0, 5), 'as daemon_status tells');
    };
    $cluster->sql(sprintf q(ALTER SYSTEM RESET steadytext.fingerprint_policy; ALTER SYSTEM SET steadytext.daemons = '%s'; SELECT pg_reload_conf()),
        join ', ', map { $_->{endpoint} } $light, $heavy);
    $follows->($light, 'healthy', 'a daemon that serves is in the table');
    ok($cluster->poll_until(q(SELECT version <> '' AND 'echo' = ANY (models_loaded) AND active_connections = 1 AND last_heartbeat <= now()
        FROM steadytext_daemon_health WHERE daemon_id = 'default'), 't'), 'with what it told');
    my $reader = $cluster->session;
    my $began  = $reader->ask('BEGIN; SELECT now();');
    $cluster->sql(q(SELECT count(steadytext_generate('asked later ' || i, use_cache => false)) FROM generate_series(1, 20) i));
    kill 'KILL', $heavy->{pid};
    $follows->($heavy, 'unhealthy', 'one that is gone is not healthy');
    ok($cluster->poll_until("SELECT max(last_heartbeat) > '$began' FROM _steadytext.steadytext_daemon_health"),
        'the keeper has written a heartbeat that is later than the beginning of a transaction');
    is($reader->ask(q(SELECT count(*), count(*) FILTER (WHERE last_heartbeat > now()) FROM steadytext_daemon_health;)), '2|0', 'whose now() it is not later than, in the table');
    is($reader->ask(q(SELECT count(*) FROM steadytext_daemon_status() WHERE last_heartbeat > now();)), 0, 'in the status');
    is($reader->ask(q(SELECT count(*) FROM steadytext_health_check() WHERE (details ->> 'last_heartbeat')::timestamptz > now();)), 0, 'and in the health check');
    $reader->finish;
    $heavy = $cluster->start_echo(name => 'heavy');
    $follows->($heavy, 'healthy', 'it is back');
    $load->('counted', 10);
    $cluster->sql("SELECT steadytext_daemon_unregister('$heavy->{endpoint}')");
    ok($cluster->poll_until("SELECT count(*) FROM steadytext_daemon_health", 1, 10), 'one that is unregistered is out of it');
    cmp_ok($cluster->sql('SELECT total_requests FROM steadytext_daemon_health'), '>', 0, 'with its counts');
    # The last daemon goes: its models stay the defaults, by which a call that names none finds its cached answer; after a restart, too.
    my $defaults = q(SELECT count(*) FROM steadytext_models() WHERE is_default);
    my $kept     = q(SELECT response, cached FROM steadytext_generate_ex('kept for later'));
    is($cluster->sql($kept), 'kept for later|f', 'an answer');
    my $models = $cluster->sql($defaults);
    kill 'KILL', $light->{pid};
    $follows->($light, 'unhealthy', 'the last daemon is gone');
    is($cluster->sql($defaults), $models, 'each kind of call has its default model still');
    is($cluster->sql($kept), 'kept for later|t', 'and the answer is found');
    $cluster->sql('SELECT steadytext_frecency_refresh()');
    ok($cluster->restart, 'the server is restarted');
    is($cluster->sql($kept), 'kept for later|t', 'and finds it');
    $cluster->sql('ALTER SYSTEM RESET steadytext.daemons');
    $cluster->append_conf("steadytext.daemons = ''");
    $cluster->reload;
    $follows->('default', 'unhealthy', 'without any daemon the default one is not healthy');
    is($cluster->sql(q(SELECT string_agg(endpoint, ' ') FROM (SELECT endpoint FROM steadytext_daemon_health UNION SELECT endpoint FROM steadytext_daemon_status()) e)), '', 'and has no address');
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext keeper'), 0, 10), 'and the keeper leaves');
}

# A setting of a database that changes the server's list says so.
like($cluster->try_sql(q(SELECT steadytext_config_set('daemon_port', '5999')))->{err}, qr/steadytext\.daemons has changed, for all databases of the server.*Its first daemon is now tcp:\/\/localhost:5999\./s,
    'steadytext_config_set() tells what it makes of the list');

done_testing;
