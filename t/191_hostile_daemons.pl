# Daemons that send anything but the right answer, while eight to sixteen sessions ask (fault catalogue, rows 4 and 5): nobody gets
# another's answer, no memory is lost, and who asks for nothing bad is served.
#
# With STEADYTEXT_LONG_TESTS a million replies come twice, and a frame has 1 GiB.
use strict;
use warnings;
use SteadyText::Cluster;
use JSON::PP ();
use SteadyText::Load;
use Test::More;

my $long    = $ENV{STEADYTEXT_LONG_TESTS};
my $cluster = SteadyText::Cluster->new(conf => [ 'steadytext.breaker_threshold = 1000' ]);

sub counter { my ($name) = @_; return $cluster->sql("SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_$name'") }
sub failures { return $cluster->sql('SELECT sum(failures) FROM steadytext_daemons') }

sub gateway_megabytes { return $cluster->gateway_memory('RssAnon') / 1024 }

sub gateway_descriptors { return scalar(() = glob '/proc/' . $cluster->worker_pid('gateway') . '/fd/*') }

# Row 4: each bad reply is one error, and costs the eight others nothing.
{
    my $load = SteadyText::Load->new($cluster, clients => 8);
    ok($load->await(1000), 'under load');
    my ($gateway, $before) = ($cluster->worker_pid('gateway'), gateway_megabytes());
    my $ask = sub {
        my ($fault, $times) = @_;
        my $failures = failures();
        my $result = $cluster->try_sql("SET steadytext.on_failure = 'error'; SET steadytext.request_timeout = '5s';
            SELECT steadytext_generate('!fault:$fault', use_cache => false)");
        like($result->{state}, qr/^(?:08|HYT00)/, "$fault is an error");
        my $counted = failures() - $failures;
        $times ? is($counted, $times, "$fault counts as a failure of the daemon") : cmp_ok($counted, '>=', 1, "$fault counts as failures of the daemon");
        ok($load->await(100), "$fault: the others are served");
    };
    $ask->($_, 1) for qw(truncated bad-utf8 nan nul deep-json);
    $ask->($_) for qw(garbage empty multipart null-id);  # nobody knows whom such a message answers: who waits for it may meet its deadline
    is($load->finish, 8, 'no session hangs');
    is($load->not_right, '', $load->calls . ' calls beside bad replies: all right');

    # A frame that is too large costs the connection. Who was on it is asked again alone, so only the one to blame is lost, and the
    # breaker, with its standard threshold, does not take the others' misfortune for the daemon's death.
    $cluster->sql('ALTER SYSTEM SET steadytext.breaker_threshold = 5; SELECT pg_reload_conf()');
    my ($retries, $descriptors) = (counter('retries_total'), gateway_descriptors());
    $load = SteadyText::Load->new($cluster, clients => 8, head => '!fault:delay=20');
    ok($load->await(100), 'under load');
    $ask->('oversized=' . ($_ == 1 && $long ? 1 << 30 : 64 << 20)) for 1 .. 3;
    is($load->finish, 8, 'no session hangs');
    is($load->not_right, '', $load->calls . ' calls on a connection that is lost three times: all right');
    cmp_ok(counter('retries_total') - $retries, '>', 2 * 3, 'those under way were sent again');
    ok($cluster->wait_for(sub { gateway_descriptors() <= $descriptors }), 'over connections that are closed again');
    $cluster->sql('ALTER SYSTEM RESET steadytext.breaker_threshold; SELECT pg_reload_conf()');

    is($cluster->worker_pid('gateway'), $gateway, 'the gateway did not crash');
    my $grown = gateway_megabytes() - $before;
    cmp_ok($grown, '<', 32, 'nor grow by 32 MiB');
    note(sprintf 'row 4: the gateway has grown by %.1f MiB', $grown);
}

# Row 5: replies that come twice, in another order, too late, with another id, with an id of an earlier boot.
sub answered { my ($endpoint) = @_; my ($n) = $cluster->ask_daemon('stats', '{}', $endpoint) =~ /"generate":(\d+)/; return $n }
{
    my $counted = counter('late_replies_total');
    my $twice = SteadyText::Load->new($cluster, clients => 4, head => '!fault:duplicate', calls => $long ? 125_000 : 1500);
    my @others = (
        (map { SteadyText::Load->new($cluster, clients => 2, head => "!fault:delay=$_,duplicate") } 1, 3, 7),
        (map { SteadyText::Load->new($cluster, clients => 2, head => "!fault:$_",
            set => [ "steadytext.request_timeout = '30ms'", "steadytext.on_failure = 'null'", 'client_min_messages = error' ]) }
            'late=200', 'wrong-id', 'previous-boot'));
    is($twice->join, 4, 'replies that come twice: no session hangs');
    is($_->finish, 2, 'nor any beside them') for @others;
    for my $load ($twice, @others[0 .. 2]) {
        is($load->not_right, '', $load->calls . ' calls answered twice: each right answer is taken once');
    }
    for my $load (@others[3 .. 5]) {
        my $calls = $load->calls;
        is($load->not_right, "null: $calls", "$calls calls whose answers are late or another's: none is answered");
    }
    ok($cluster->wait_for(sub { counter('late_replies_total') - $counted >= $twice->calls }), 'what came second is counted');
    cmp_ok(counter('foreign_replies_total'), '>', 0, 'so are replies with an id of another boot');
    note(sprintf 'row 5: %d replies, none delivered to the wrong caller', 2 * $twice->calls + counter('foreign_replies_total'));
}

# The Python daemon's way: one request at a time on a connection, and the next reply is the answer to the last request whatever its id.
{
    my $serial = $cluster->start_echo(name => 'serial', options => [ '--serial' ]);
    $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$serial->{endpoint}'; SELECT pg_reload_conf()");
    ok($cluster->poll_until(q(SELECT kind FROM steadytext_daemons), 'serial', 30), 'a daemon that serves one request at a time');
    my $late = SteadyText::Load->new($cluster, clients => 4, head => '!fault:late=20', calls => 40,
        set => [ "steadytext.request_timeout = '10ms'", "steadytext.on_failure = 'null'", 'client_min_messages = error' ]);
    my $load = SteadyText::Load->new($cluster, clients => 8, calls => 100);
    is($late->join, 4, 'calls that give up');
    is($load->join, 8, 'and calls that wait');
    is($late->value('count(*)', "outcome NOT IN ('null', 'right')") + $load->value('count(*)', "outcome = 'wrong'"), 0, 'nobody gets a stale answer');
    is($load->not_right, '', 'who waits is answered');
}

# A daemon of which nothing can be read is left alone like one that is down.
$cluster->sql('CREATE ROLE one_role LOGIN IN ROLE pg_monitor; CREATE ROLE another_role LOGIN IN ROLE pg_monitor');
for my $call ('generate', 'embed') {
    my $babbler = $cluster->start_echo(name => "babbler-$call");
    $cluster->ask_daemon('control', qq({"fault": "bad-utf8", "count": -1, "methods": ["$call"]}), $babbler->{endpoint});
    $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$babbler->{endpoint}'; ALTER SYSTEM SET steadytext.breaker_threshold = 5; SELECT pg_reload_conf()");
    ok($cluster->poll_until(q(SELECT state FROM steadytext_daemons), 'ready'), 'a daemon that sends no UTF-8');
    my $ask = sub { my ($role) = @_; return $cluster->sql(qq(SET steadytext.on_failure = 'null'; SET steadytext.read_ahead = off; SET client_min_messages = error;
        SELECT count(steadytext_$call('x' || i, use_cache => false)) FROM generate_series(1, 3) i; SELECT breaker, failures FROM steadytext_daemons), user => $role) };
    is($ask->('one_role'), "0\nclosed|3", "$call: unreadable answers of one role");
    is($ask->('another_role'), "0\nclosed|6", "$call: and of another");
    is($ask->('one_role'), "0\nopen|8", "$call: five in a row that another role's followed open its breaker");
}

# What a daemon says of itself, each member as everything it should not be. One program listens at many addresses, and tells each
# connection something else; the gateway outlives them all, and a daemon that tells the truth serves meanwhile.
{
    my $deep  = ('[' x 5000) . (']' x 5000);
    my @wrong = ('null', 'true', '5', '-5', '1e308', '18446744073709551616', '1.5', 'NaN', '""', '"x"', '[]', '[5]', '[null]', '{}', '{"role":5}', $deep,
        '"' . ('x' x 70_000) . '"', '"\u0000"', '"\ud800"', '"a\nb"');
    my $model = sub { my ($member, $value) = @_; my %of = (role => '"generation"', name => '"m"', fingerprint => '"f"', dimensions => '3');
        $of{$member} = $value; return '{"models":[{' . join(',', map { defined $of{$_} ? qq("$_":$of{$_}) : () } sort keys %of) . '}]}' };
    my @told = (@wrong, (map { my $member = $_; map { qq({"$member":$_}) } @wrong } qw(name version slots resident_bytes capabilities models)),
        (map { my $member = $_; map { $model->($member, $_) } @wrong, undef } qw(role name fingerprint dimensions)),
        '{"models":[{"role":5}]}', '{"models":[' . join(',', map { $model->('name', qq("n$_")) =~ /\[(.*)\]/ } 1 .. 500) . ']}');
    my ($honest, $gateway) = ($cluster->start_echo(name => 'honest', options => [ '--model', 'honest', '--fingerprint', 'honest:1' ]), $cluster->worker_pid('gateway'));
    my $at_once = 50;
    for (my $from = 0; $from < @told; $from += $at_once) {
        my @some = grep { defined } @told[ $from .. $from + $at_once - 1 ];
        my $liar = $cluster->start_echo(name => "liar$from", options => [ map { ('--endpoint', 'ipc://' . $cluster->run_dir . "/liar$from-$_.sock") } 1 .. $#some ]);
        $cluster->ask_daemon('control', JSON::PP::encode_json({ info => \@some }), $liar->{endpoint});
        my @all = ($honest->{endpoint}, $liar->{endpoint}, map { 'ipc://' . $cluster->run_dir . "/liar$from-$_.sock" } 1 .. $#some);
        $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '" . join(', ', @all) . q('; SELECT pg_reload_conf()));
        ok($cluster->wait_for(sub { my ($n) = $cluster->ask_daemon('stats', '{}', $liar->{endpoint}) =~ /"info":(\d+)/; ($n // 0) >= @some }, 30), @some . ' answers to info are read');
        ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready' AND kind <> 'unknown'), scalar @all, 30), 'what they can be taken for is known');
        my $load = SteadyText::Load->new($cluster, clients => 2, model => 'honest', calls => 50);
        is($load->join, 2, 'and calls beside them');
        is($load->not_right, '', 'are answered');
    }
    is($cluster->sql(q(SELECT count(*) FROM steadytext_models() WHERE model ~ '[[:cntrl:]]' OR length(model) > 127)), 0, 'no model has a name that no model can have');
    is($cluster->worker_pid('gateway'), $gateway, scalar(@told) . ' answers to info: the gateway is the same');

    # Rows of daemons that are gone are cleared, whoever was there when they went.
    $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$honest->{endpoint}'");
    $cluster->sql("SELECT pg_terminate_backend($gateway)");
    $cluster->reload;
    ok($cluster->wait_for(sub { my $pid = $cluster->worker_pid('gateway'); $pid && $pid != $gateway }, 20), 'another gateway');
    ok($cluster->poll_until(q(SELECT string_agg(endpoint, ' ') FROM steadytext_daemons), $honest->{endpoint}, 20), 'shows the daemon of its settings, and no other');
}

is($cluster->sql(q(SELECT sum(value) FROM steadytext_metrics() WHERE name IN ('steadytext_slots_in_use', 'steadytext_payload_bytes_in_use'))), 0,
    'no slot and no payload is left in use');

done_testing;
