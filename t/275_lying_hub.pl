# A hub that lies to an independent node: it takes a bounded amount of memory in one worker, and calls go on. t/273 has the same of a standby.
use strict;
use warnings;
use IO::Socket::INET;
use POSIX ();
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $node     = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'steadytext.read_ahead = off' ]);
my $generate = sub { my ($prompt) = @_; return $node->sql("SELECT steadytext_generate('$prompt')") };
$generate->('before');

# Logs everybody in and answers the first statement as $mode says: without end, until the other side closes.
my $message = sub { my ($type, $body) = @_; return $type . pack('N', 4 + length $body) . $body };
my $liar    = sub {
    my ($listener, $mode) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $until = time + 120;
    while (time < $until) {
        my $client = $listener->accept or next;
        sysread $client, my $start, 65536;
        (syswrite $client, 'N'), sysread $client, $start, 65536 if unpack('x4N', $start) == 80877103;    # no TLS
        my %settings = (server_version => '15.0', client_encoding => 'UTF8', in_hot_standby => 'off', default_transaction_read_only => 'off');
        syswrite $client, $message->('R', pack 'N', 0) . join('', map { $message->('S', "$_\0$settings{$_}\0") } sort keys %settings) . $message->('K', pack 'NN', 1, 2) . $message->('Z', 'I');
        my $columns = $message->('T', pack('n', 2) . join '', map { pack 'Z*NnNnNn', $_, 0, 0, 23, 4, 0xffffffff, 0 } qw(taken refused));
        my %says = (
            unasked => [ 'N' . pack('N', 1 << 30), 'x' x 65536 ],
            rows    => [ $message->('1', '') . $message->('2', '') . $columns, $message->('D', pack('nN/a*N/a*', 2, '1' x 4000, '0')) x 16 ],
            row     => [ $message->('1', '') . $message->('2', '') . $columns . 'D' . pack('N', 1 << 30), 'x' x 65536 ],
            state   => [ $message->('E', "SERROR\0C00000\0Mno error\0\0") . $message->('Z', 'I') ],
        );
        my ($first, $then) = @{ $says{$mode} };
        sysread $client, my $asked, 65536 unless $mode eq 'unasked';
        syswrite $client, $first or next;
        if (defined $then) { 1 while time < $until && syswrite $client, $then }
        else               { sysread $client, $asked, 65536 }
        close $client;
    }
};
my $megabytes = sub { my $kilobytes = $node->memory($_[0], 'RssAnon'); return ($kilobytes // 0) / 1024 };
for my $mode (qw(unasked rows row state)) {
    my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
    my $child    = fork // die "fork: $!";
    if ($child == 0) { $liar->($listener, $mode); POSIX::_exit(0) }
    $node->append_conf("steadytext.hub_conninfo = 'host=127.0.0.1 port=${\ $listener->sockport} user=node'");
    $node->reload;
    my ($most, $calls, $right) = (0, 0, 0);
    ok($node->wait_for(sub {
        $calls++;
        $right++ if $generate->("$mode $calls") eq "$mode $calls";
        my $worker = $node->worker_pid('node worker');
        my $now    = $worker eq '' ? 0 : $megabytes->($worker);
        $most = $now if $now > $most;
        return ($node->sql('SELECT reason FROM pg_stat_steadytext_hub') // '') =~ /^(08|53)/;
    }, 40), "$mode: the view says that something is wrong");
    cmp_ok($most, '<', 250, sprintf '%s: the worker has %.0f MB at most', $mode, $most);
    is($right, $calls, "$mode: $calls calls were answered meanwhile");
    is($node->sql('SELECT standing FROM pg_stat_steadytext_node'), 'alone', "$mode: it has become nobody's node");
    $node->append_conf("steadytext.hub_conninfo = ''");
    $node->reload;
    ok($node->wait_for(sub { $node->worker_pid('node worker') eq '' }), 'without a hub there is no worker');
    kill 'KILL', $child;
    waitpid $child, 0;
}
is($generate->('before'), 'before', 'the server goes on');
unlike($node->log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
done_testing;
