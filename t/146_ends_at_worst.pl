# A daemon that ends its connection at the worst moment: while libzmq holds what it has sent, with pings between messages, or with a short time to live.
# libzmq ends the process if such a connection had been stopped at a high-water mark (libzmq#3937, libzmq#4364), so neither the gateway nor steadytextd has one.
use strict;
use warnings;
use IO::Socket::INET;
use IPC::Run qw(start timeout);
use JSON::PP;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);
use SteadyText::Cluster;
use SteadyText::Zmtp;
use Test::More;

my ($patience, $megabyte, $rounds) = (120, 1 << 20, 12);
my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
my $port     = $listener->sockport;
my $number   = '1.00000000000000011102230246251565404236316680908203125,';
my $slow     = frame('', 1) . frame('{"a":[' . $number x (15.5 * $megabyte / length $number) . '1]}');    # takes long to read
my $little   = frame('', 1) . frame('{"id": "control-7"}');
sub ping_frame { my ($tenths) = @_; return frame("\x04PING" . pack('n', $tenths) . 'context', 4) }

# Messages enough for any mark, pings between them; then a reset, or a time to live that passes while nothing is read.
my %ways = (
    reset => $slow . ($little x 40 . ping_frame(0)) x 60,
    lapse => ping_frame(1) . $slow x 3 . $little x 2000);
sub end_badly {
    my ($socket, $way) = @_;
    local $SIG{PIPE} = 'IGNORE';
    SteadyText::Zmtp::send_all($socket, $ways{$way}) or return;
    select undef, undef, undef, 0.3 if $way eq 'lapse';
    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
    return close $socket;
}

# A line for each connection that was ended.
pipe my $told, my $tell or die "pipe: $!";
my $liar = fork // die "fork: $!";
if ($liar == 0) {
    close $told;
    my $until = time + 2 * $patience;
    for (my $n = 0; time < $until; $n++) {
        my $gateway = $listener->accept or next;
        greet($gateway, 'ROUTER') or next;
        end_badly($gateway, (sort keys %ways)[ $n % 2 ]);
        syswrite $tell, "$n\n";
    }
    POSIX::_exit(0);
}
close $tell;
END { my $status = $?; kill 'KILL', $liar if $liar; waitpid $liar, 0 if $liar; $? = $status }

my $cluster = SteadyText::Cluster->new(daemon => 'echo', conf => ["steadytext.on_failure = 'error'"]);
my $honest  = $cluster->sql('SHOW steadytext.daemons');
my $gateway = $cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'gateway'));
$cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$honest, tcp://127.0.0.1:$port'; SELECT pg_reload_conf()");
local $SIG{ALRM} = sub { die "the gateway connected too seldom\n" };
alarm $patience;
my $ended = 0;
$ended++ while $ended < $rounds && defined <$told>;
alarm 0;
is($ended, $rounds, "$rounds connections ended badly");
is($cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'gateway')), $gateway, 'the gateway is the same');
is($cluster->sql(q(SELECT steadytext_generate('still here'))), 'still here', 'calls are answered');
unlike($cluster->log, qr/Assertion failed/, 'libzmq found nothing amiss');
$cluster->stop('fast');

# The same as a client of steadytextd.
chomp(my $models = `scripts/models --print-dir`);
my ($in, $log) = ('', '');
my $daemon = start [ 'build/steadytextd', '--endpoint', 'tcp://127.0.0.1:*', '--exit-on-stdin-eof', '--threads', 1, '--embedding-model', "$models/all-minilm-l6-v2.gguf" ],
    '<', \$in, '>&', \$log, timeout(5 * $patience);
$daemon->pump until $log =~ /steadytextd: ready/;
my ($its_port) = $log =~ /listening on tcp:\/\/127\.0\.0\.1:(\d+)/ or BAIL_OUT("no port: $log");
my $json = JSON::PP->new->utf8->canonical;
sub client { my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $its_port) or return; greet($socket, 'DEALER') or return; return $socket }
for my $n (1 .. $rounds) {
    my $socket = client() or last;
    end_badly($socket, (sort keys %ways)[ $n % 2 ]);
}
my $client = client();
ok($client && send_message($client, $json->encode({ id => 'last', method => 'ping' })), 'steadytextd is there after such clients');
my $answer = $client ? read_message($client, $patience) // '{}' : '{}';
is($json->decode($answer)->{id}, 'last', 'and answers');
$daemon->pump_nb;
unlike($log, qr/Assertion failed/, 'libzmq found nothing amiss');
$in = '';
$daemon->kill_kill;
done_testing;
