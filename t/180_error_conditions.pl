# Daemons that cannot be reached, named badly, or are something else: refused where a person can see it, and in a configuration
# file a call degrades. In default mode no call is an error, and none outlasts its deadline.
use strict;
use warnings;
use IO::Socket::INET;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.request_timeout = '1s'", 'steadytext.allow_plaintext = on' ]);
my $fallback = '[steadytext: no answer available]';

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

# [ function, a call, what it gives when nobody can answer: by default, with on_failure = null ]. In error mode all raise. The first
# ones are asked in every condition, all of them while a daemon is down.
my @calls = (
    [ 'generate', q(steadytext_generate('anybody there?', use_cache => false)), $fallback, 'NULL' ],
    [ 'embed', q(steadytext_embed('anybody there?', use_cache => false)::text), 'NULL', 'NULL' ],
    [ 'rerank', q((SELECT string_agg(document, ' ' ORDER BY score DESC) FILTER (WHERE score IS NOT NULL) FROM steadytext_rerank('red', ARRAY['blue', 'red']))),
        'red blue', 'NULL' ],
    [ 'batch', q((SELECT string_agg(response, ' ') FROM steadytext_generate_batch(ARRAY['anybody?', 'there?'], use_cache => false))),
        "$fallback $fallback", 'NULL' ],
    [ 'embed_batch', q((SELECT string_agg(embedding::text, ' ') FROM steadytext_embed_batch(ARRAY['anybody?', 'there?'], use_cache => false))), 'NULL', 'NULL' ],
    [ 'json', q(steadytext_generate_json('anybody?', '{"type": "integer"}', use_cache => false)), 'NULL', 'NULL' ],
    [ 'regex', q(steadytext_generate_regex('anybody?', 'a+', use_cache => false)), 'NULL', 'NULL' ],
    [ 'choice', q(steadytext_generate_choice('anybody?', ARRAY['yes', 'no'], use_cache => false)), 'NULL', 'NULL' ],
);
sub ask { my ($call, $mode) = @_; return $cluster->try_sql("SET steadytext.on_failure = '$mode'; SELECT coalesce($call, 'NULL')") }

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
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemon_status() WHERE status <> 'healthy' AND endpoint <> 'tcp://localhost:5555'), 1),
        "$what: in a file it is shown");
    for my $case (@calls[ 0 .. 3 ]) {
        my ($function, $call, $degraded) = @$case;
        my $answer = ask($call, 'fallback');
        is($answer->{out}, $degraded, "$what: $function degrades") or diag $answer->{err};
        like($answer->{err}, qr/^WARNING:  \w{5}: .*\S/m, "$what: $function warns");
        cmp_ok($answer->{seconds}, '<', 2, "$what: $function keeps its deadline");
    }
    my $error = ask($calls[0][1], 'error');
    like($error->{state}, qr/^(?:08|55|53|HYT00)/, "$what: on_failure = error: SQLSTATE $error->{state}");
}

# Every function in every mode, while nobody listens.
$cluster->append_conf("steadytext.daemons = 'tcp://127.0.0.1:$closed_port'");
$cluster->reload;
ok($cluster->poll_until(q(SELECT breaker FROM steadytext_daemons), 'open'), 'a daemon that is down');
for my $case (@calls) {
    my ($function, $call, $degraded, $null) = @$case;
    my $answer = ask($call, 'fallback');
    is($answer->{out}, $degraded, "$function: fallback") or diag $answer->{err};
    like($answer->{err}, qr/^WARNING:  08004: .*\S/m, "$function: fallback warns");
    $answer = ask($call, 'null');
    is($answer->{out}, $null, "$function: null") or diag $answer->{err};
    like($answer->{err}, qr/^WARNING:  08004: .*\S/m, "$function: null warns");
    $answer = ask($call, 'error');
    is($answer->{state}, '08004', "$function: error") or diag $answer->{out};
    like($answer->{err}, qr/^HINT:  .*\S/m, "$function: error has a hint");
}
kill 'KILL', $web_pid;
waitpid $web_pid, 0;

# After all of them a daemon that works is found.
my $echo = $cluster->start_echo;
$cluster->append_conf("steadytext.daemons = '$echo->{endpoint}'");
$cluster->reload;
ok($cluster->poll_until(q(SELECT steadytext_generate('at last', use_cache => false)), 'at last'), 'a daemon that works serves at once');
done_testing;
