# Daemons that cannot be reached, named badly, or are something else: refused where a person can see it, and in a configuration
# file a call degrades: for each kind of call, also an asynchronous one. In default mode no call is an error, and none outlasts its deadline.
use strict;
use warnings;
use IO::Socket::INET;
use SteadyText::Calls;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.request_timeout = '1s'", 'steadytext.allow_plaintext = on' ]);

# Something that speaks HTTP where a daemon is expected, and never ZeroMQ.
my $web = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', LocalPort => 0) or die "no socket: $!";
my $web_port = $web->sockport;
my $web_pid = fork // die "fork: $!";
if ($web_pid == 0) {
    while (my $client = $web->accept) {
        print {$client} "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        close $client;
    }
    exit 0;
}

# Accepts connections and says nothing.
my $silent = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1', LocalPort => 0) or die "no socket: $!";
my $silent_port = $silent->sockport;

# A port nobody listens on.
my $closed_port = do { my $probe = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0); $probe->sockport };

# A daemon that speaks ZeroMQ, where an engine is expected to speak HTTP.
my $zmq_port = do { my $probe = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0); $probe->sockport };
$cluster->start_echo(name => 'zmq', endpoint => "tcp://127.0.0.1:$zmq_port");

# [ what, endpoint, whether ALTER SYSTEM refuses it ]
my @conditions = (
    [ 'a host name that is none',      'tcp://no_such_host!:5555',        1 ],
    [ 'a host that does not resolve',  'tcp://no-such-host.invalid:5555', 0 ],
    [ 'an unreachable address',        'tcp://192.0.2.1:5555',            0 ],
    [ 'port -1',                       'tcp://127.0.0.1:-1',              1 ],
    [ 'port 1',                        'tcp://127.0.0.1:1',               1 ],
    [ 'port 65536',                    'tcp://127.0.0.1:65536',           1 ],
    [ 'no port',                       'tcp://127.0.0.1',                 1 ],
    [ 'a link-local address',          'tcp://169.254.169.254:5555',      1 ],
    [ 'the same written in hex',       'tcp://0xA9FEA9FE:5555',           1 ],
    [ 'the same within IPv6',          'tcp://[::ffff:169.254.169.254]:5555', 1 ],
    [ 'an unknown scheme',             'gopher://127.0.0.1:5555',         1 ],
    [ 'a port nobody listens on',      "tcp://127.0.0.1:$closed_port",    0 ],
    [ 'a web server',                  "tcp://127.0.0.1:$web_port",       0 ],
    [ 'one that never says a word',    "tcp://127.0.0.1:$silent_port",    0 ],
    [ 'a fleet that does not resolve', 'dns+tcp://no-such-fleet.invalid:5555', 0 ],
    [ 'HTTP: a host that is none',     'http://no_such_host!/v1',         1 ],
    [ 'HTTP: one that does not resolve', 'http://no-such-host.invalid/v1', 0 ],
    [ 'HTTP: an unreachable address',  'http://192.0.2.1/v1',             0 ],
    [ 'HTTP: port 1',                  'http://127.0.0.1:1/v1',           1 ],
    [ 'HTTP: a metadata address',      'http://169.254.169.254/latest',   1 ],
    [ 'HTTP: a port nobody listens on', "http://127.0.0.1:$closed_port/v1", 0 ],
    [ 'HTTP: a ZeroMQ server',         "http://127.0.0.1:$zmq_port/v1",   0 ],
    [ 'HTTP: a server that is no engine', "http://127.0.0.1:$web_port/v1", 0 ],
    [ 'HTTP: one that never says a word', "http://127.0.0.1:$silent_port/v1", 0 ],
    [ 'HTTPS: a server without TLS',   "https://127.0.0.1:$web_port/v1",  0 ],
);

# An asynchronous call is queued whatever daemons do, and never has a fallback for a result: for a day it waits for a daemon
# (t/182_queue_order.pl), then it is tried again, and in the end it is `failed` with the reason. Its submitter meets no error unless it
# asks for the result. These calls were queued two days ago.
sub enqueue {
    my ($request, $max_retries) = @_;
    return $cluster->try_sql("BEGIN; SELECT steadytext_enqueue($request, max_retries => $max_retries);
        UPDATE steadytext_queue SET created_at = now() - interval '2 days' WHERE completed_at IS NULL; COMMIT");
}
sub has_failed {
    my ($queued, $what) = @_;
    my $id = $queued->{out};
    is($queued->{state}, '', "$what is queued") or diag $queued->{err};
    ok($cluster->poll_until("SELECT status FROM steadytext_check_async('$id')", 'failed', 10), "$what fails")
        or diag $cluster->sql("SELECT * FROM steadytext_queue WHERE request_id = '$id'");
    is($cluster->sql("SELECT coalesce(result, results::text, embedding::text, embeddings::text) IS NULL AND error ~ '\\S' AND processing_time_ms < 2000
        FROM steadytext_check_async('$id')"), 't', "$what has a reason for a result, within its deadline")
        or diag $cluster->sql("SELECT * FROM steadytext_check_async('$id')");
    return;
}

for my $condition (@conditions) {
    my ($what, $endpoint, $refused) = @$condition;
    my $set = $cluster->try_sql("ALTER SYSTEM SET steadytext.daemons = '$endpoint'");
    if ($refused) {
        is($set->{state}, '22023', "$what: ALTER SYSTEM refuses it");
        like($set->{err}, qr/^(?:DETAIL|HINT|ERROR):.*\S/m, "$what: and says why") or diag $set->{err};
    } else {
        is($set->{state}, '', "$what: nothing wrong with the name");
        $cluster->sql('ALTER SYSTEM RESET steadytext.daemons');
    }

    $cluster->append_conf("steadytext.daemons = '$endpoint'");
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemon_status() WHERE status <> 'healthy' AND endpoint IS NOT NULL), 1),
        "$what: in a file it is shown");
    my $queued = enqueue($SteadyText::Calls::QUEUED[0][1], 0);
    for my $case (@SteadyText::Calls::ALL[ 0 .. 3 ]) {
        my ($function, $call, $degraded) = @$case;
        my $answer = SteadyText::Calls::ask($cluster, $call, 'fallback');
        is($answer->{out}, $degraded, "$what: $function degrades") or diag $answer->{err};
        like($answer->{err}, qr/^WARNING:  \w{5}: .*\S/m, "$what: $function warns");
        cmp_ok($answer->{seconds}, '<', 2, "$what: $function keeps its deadline");
    }
    has_failed($queued, "$what: an asynchronous call");
    my $error = SteadyText::Calls::ask($cluster, $SteadyText::Calls::ALL[0][1], 'error');
    like($error->{state}, qr/^(?:08|55|53|HYT00)/, "$what: on_failure = error: SQLSTATE $error->{state}");
}

# Every function in every mode, while nobody listens.
$cluster->append_conf("steadytext.daemons = 'tcp://127.0.0.1:$closed_port'");
$cluster->reload;
ok($cluster->poll_until(q(SELECT breaker FROM steadytext_daemons), 'open'), 'a daemon that is down');
for my $case (@SteadyText::Calls::ALL) {
    my ($function, $call, $degraded, $null) = @$case;
    my $answer = SteadyText::Calls::ask($cluster, $call, 'fallback');
    is($answer->{out}, $degraded, "$function: fallback") or diag $answer->{err};
    like($answer->{err}, qr/^WARNING:  08001: .*\S/m, "$function: fallback warns");
    $answer = SteadyText::Calls::ask($cluster, $call, 'null');
    is($answer->{out}, $null, "$function: null") or diag $answer->{err};
    like($answer->{err}, qr/^WARNING:  08001: .*\S/m, "$function: null warns");
    $answer = SteadyText::Calls::ask($cluster, $call, 'error');
    is($answer->{state}, '08001', "$function: error") or diag $answer->{out};
    like($answer->{err}, qr/^HINT:  .*\S/m, "$function: error has a hint");
}
my $patient = enqueue(q('generate', '{"prompt": "whenever you can", "use_cache": false}'), 20);
my @queued = map { enqueue($_->[1], 0) } @SteadyText::Calls::QUEUED;
has_failed($queued[$_], "$SteadyText::Calls::QUEUED[$_][0], asynchronously") for 0 .. $#queued;
my $asked_for = $cluster->try_sql("SELECT steadytext_get_async_result('$queued[0]{out}')");
is($asked_for->{state}, '38000', 'who asks for its result gets an error');
like($asked_for->{err}, qr/no inference daemon can be reached/, 'with the reason');
ok($cluster->poll_until("SELECT status = 'pending' AND error ~ 'no inference daemon can be reached' AND result IS NULL FROM steadytext_check_async('$patient->{out}')"),
    'one that has attempts left is pending, and says why');
kill 'KILL', $web_pid;
waitpid $web_pid, 0;

# After all of them a daemon that works is found.
my $echo = $cluster->start_echo;
$cluster->append_conf("steadytext.daemons = '$echo->{endpoint}'");
$cluster->reload;
ok($cluster->poll_until(q(SELECT steadytext_generate('at last', use_cache => false)), 'at last'), 'a daemon that works serves at once');
is($cluster->sql("SELECT steadytext_get_async_result('$patient->{out}', 60)"), 'whenever you can', 'and who was queued all the time has an answer');
done_testing;
