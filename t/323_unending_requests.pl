# Clients of steadytextd over TCP that send parts of a message and never the last, with many bytes or with none, or more messages than are read: their connections
# are closed, the daemon's memory stays bounded, and others are served, one that sends a long request slowly too.
use strict;
use warnings;
use IO::Socket::INET;
use IPC::Run qw(start timeout);
use JSON::PP;
use POSIX ();
use SteadyText::Zmtp;
use Test::More;

plan skip_all => 'no /proc/self/statm' unless -r '/proc/self/statm';
my ($patience, $megabyte) = (120, 1 << 20);
my $json = JSON::PP->new->utf8->canonical;
chomp(my $models = `scripts/models --print-dir`);
my ($in, $log) = ('', '');
my $daemon = start [ 'build/steadytextd', '--endpoint', 'tcp://127.0.0.1:*', '--exit-on-stdin-eof', '--threads', 1, '--embedding-model', "$models/all-minilm-l6-v2.gguf" ],
    '<', \$in, '>&', \$log, timeout(10 * $patience);
$daemon->pump until $log =~ /steadytextd: ready/;
my ($port) = $log =~ /listening on tcp:\/\/127\.0\.0\.1:(\d+)/ or BAIL_OUT("no port: $log");
my $pid = $daemon->{KIDS}[0]{PID};

sub client { my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "connect: $!"; greet($socket, 'DEALER') or die 'no greeting'; return $socket }
sub own_megabytes { open my $file, '<', "/proc/$pid/statm" or return 0; my (undef, $resident, $shared) = split ' ', <$file>; return ($resident - $shared) * POSIX::sysconf(POSIX::_SC_PAGESIZE()) / $megabyte }
sub ping { my ($socket, $id, $padding) = @_; return send_message($socket, $json->encode({ id => $id, method => 'ping', padding => $padding // '' })) }
sub is_answered { my ($socket, $id) = @_; my $text = read_message($socket, $patience) // return 0; return $json->decode($text)->{id} eq $id }
sub lines { $daemon->pump_nb; return scalar(my @all = $log =~ /a client sends a message that does not end/g) }

my $honest = client();
ping($honest, 'first');
ok(is_answered($honest, 'first'), 'a client is served');
ping($honest, 'long', 'x' x (15 * $megabyte));
ok(is_answered($honest, 'long'), 'one that sends as much as a message may have');
my $before = own_megabytes();

# Until its connection is closed, 200 MB at most.
my $liar  = client();
my $part  = frame('x' x $megabyte, 1);
my $sent  = 0;
my $largest = 0;
while ($sent < 200 && SteadyText::Zmtp::send_all($liar, $part)) {
    $sent++;
    select undef, undef, undef, 0.02;
    $largest = own_megabytes() if own_megabytes() > $largest;
}
cmp_ok($sent, '<', 200, "a message that does not end: its connection is closed after $sent MB");
is(lines(), 1, 'and the log says so');
cmp_ok($largest - $before, '<', 150, sprintf 'the daemon has %d MB, and had %d', $largest, $before);
ping($honest, 'second');
ok(is_answered($honest, 'second'), 'others are served');

# Parts without bytes, 12 MB of them each: the third is too many. Meanwhile one sends a long request slowly.
my @hoarders;
sub hoard { push @hoarders, client(); return SteadyText::Zmtp::send_all($hoarders[-1], frame('', 1) x (6 * $megabyte)) }
my $request = frame('', 1) . frame($json->encode({ id => 'slow', method => 'ping', padding => 'y' x (3 * $megabyte) }));
sub send_slowly {
    my ($socket) = @_;
    my $size = POSIX::ceil(length($request) / 10);
    for my $piece (0 .. 9) {
        SteadyText::Zmtp::send_all($socket, substr $request, $piece * $size, $size) or return 0;
        hoard() if $piece == 5;
        select undef, undef, undef, 0.1;
    }
    return is_answered($socket, 'slow');
}
hoard() for 1 .. 2;
my ($is_answered, $from);
do { $from = time; $is_answered = send_slowly(client()) } until $is_answered || time - $from < 8;    # longer than a ping may be without an answer: a busy machine
ok($is_answered, 'a request that comes slowly is answered');
my $until = time + 30;
select undef, undef, undef, 0.1 while lines() < 2 && time < $until;
cmp_ok(lines(), '>=', 2, 'empty parts are bounded in all');
my $later = client();
ping($later, 'third');
ok(is_answered($later, 'third'), 'and others are served');
close $_ for @hoarders;
$until = time + 30;
select undef, undef, undef, 0.1 while own_megabytes() > $before + 200 && time < $until;
cmp_ok(own_megabytes() - $before, '<=', 200, 'what they had kept is free once they are gone');

# Whole messages, from more clients than may fill their shares together: a client may leave some 530 MB unread, all of them twice as much.
my @floods = map {
    my $child = fork() // die "fork: $!";
    if (!$child) {
        local $SIG{PIPE} = 'IGNORE';
        my $socket  = client();
        my $message = frame('', 1) . frame('z' x (15 * $megabyte));
        for (1 .. 100) { SteadyText::Zmtp::send_all($socket, $message) or last }
        POSIX::_exit(0);
    }
    $child;
} 1 .. 6;
$largest = 0;
my $flooding = @floods;
$until = time + $patience;
while ($flooding && time < $until) {
    $flooding = grep { waitpid($_, POSIX::WNOHANG()) == 0 } @floods;
    $largest = own_megabytes() if own_megabytes() > $largest;
    select undef, undef, undef, 0.05;
}
kill KILL => @floods if $flooding;
cmp_ok($largest - $before, '<', 1700, sprintf 'six clients that send without a pause: the daemon had %d MB at most', $largest);
my $last = client();
ping($last, 'fourth');
ok(is_answered($last, 'fourth'), 'and others are served');

$in = '';
$daemon->kill_kill;
done_testing;
