# Daemons that cannot be reached, named badly, or are something else: refused where a person can see it, and in a configuration
# file a call degrades. In default mode no call is an error, and none outlasts its deadline.
use strict;
use warnings;
use IO::Socket::INET;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.request_timeout = '2s'", 'steadytext.allow_plaintext = on' ]);
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

sub generate { return $cluster->try_sql(q(SELECT coalesce(steadytext_generate('anybody there?', use_cache => false), 'NULL'))) }
sub embed    { return $cluster->try_sql(q(SELECT coalesce(steadytext_embed('anybody there?', use_cache => false)::text, 'NULL'))) }

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
    my $answer = generate();
    is($answer->{out}, $fallback, "$what: a generated text degrades") or diag $answer->{err};
    like($answer->{err}, qr/^WARNING:  \w{5}: .*\S/m, "$what: with a warning");
    cmp_ok($answer->{seconds}, '<', 3, "$what: within the deadline");
    is(embed()->{out}, 'NULL', "$what: an embedding is NULL, never zeros");
    my $error = $cluster->try_sql(q(SET steadytext.on_failure = 'error'; SELECT steadytext_generate('anybody there?', use_cache => false)));
    like($error->{state}, qr/^(?:08|55|53|HYT00)/, "$what: on_failure = error: SQLSTATE $error->{state}");
}
kill 'KILL', $web_pid;
waitpid $web_pid, 0;

# After all of them a daemon that works is found.
my $echo = $cluster->start_echo;
$cluster->append_conf("steadytext.daemons = '$echo->{endpoint}'");
$cluster->reload;
ok($cluster->poll_until(q(SELECT steadytext_generate('at last', use_cache => false)), 'at last'), 'a daemon that works serves at once');
done_testing;
