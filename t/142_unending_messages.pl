# A daemon that sends parts of a ZeroMQ message and never the last: libzmq would keep them all. The gateway's own memory stays bounded, other daemons
# serve meanwhile, and the log names the daemon.
use strict;
use warnings;
use IO::Socket::INET;
use POSIX ();
use SteadyText::Cluster;
use SteadyText::Zmtp;
use Test::More;

plan skip_all => 'no /proc/self/statm' unless -r '/proc/self/statm';
my $megabyte = 1 << 20;
my $most     = 4096;    # megabytes in a connection
my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
my $port     = $listener->sockport;

# Parts of a megabyte, each with more to come. A line for each connection's end: megabytes sent.
pipe my $told, my $tell or die "pipe: $!";
my $liar = fork // die "fork: $!";
if ($liar == 0) {
    close $told;
    local $SIG{PIPE} = 'IGNORE';
    my $until = time + 300;
    my $part  = pack('CQ>', 3, $megabyte) . 'x' x $megabyte;
    while (time < $until) {
        my $client = $listener->accept or next;
        my $sent   = 0;
        greet($client, 'ROUTER') or next;
        $sent++ while $sent < $most && print {$client} $part;
        syswrite $tell, "$sent\n";
        close $client;
    }
    POSIX::_exit(0);
}
END { my $status = $?; kill 'KILL', $liar if $liar; waitpid $liar, 0 if $liar; $? = $status }

my $cluster = SteadyText::Cluster->new(daemon => 'echo', conf => [ "steadytext.on_failure = 'error'", "steadytext.payload_memory = '4MB'", "steadytext.cache_enabled = off" ]);
my $gateway = $cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'gateway'));
my $page    = POSIX::sysconf(POSIX::_SC_PAGESIZE());
sub own_megabytes { open my $file, '<', "/proc/$gateway/statm" or return 0; my (undef, $resident, $shared) = split ' ', <$file>; return ($resident - $shared) * $page / $megabyte }
my $before = own_megabytes();
my $honest = $cluster->sql('SHOW steadytext.daemons');
is($cluster->sql(q(SELECT steadytext_generate('before'))), 'before', 'an honest daemon answers');
$cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$honest, tcp://127.0.0.1:$port'; SELECT pg_reload_conf()");

# Until three of its connections have ended.
my ($largest, $calls, $right, @sent) = (0, 0, 0);
my $end = time + 240;
$told->blocking(0);
while (@sent < 3 && time < $end) {
    while (defined(my $line = <$told>)) { chomp $line; push @sent, $line }
    $calls++;
    $right++ if $cluster->try_sql("SELECT steadytext_generate('call $calls')")->{out} eq "call $calls";
    my $now = own_megabytes();
    $largest = $now if $now > $largest;
}
is(scalar(@sent), 3, 'three connections of the liar end') or diag "@sent";
is(scalar(grep { $_ >= $most } @sent), 0, "before it has sent all it would: @sent MB");
cmp_ok($largest - $before, '<', 1024, sprintf 'the gateway has %d MB, and had %d', $largest, $before);
is($right, $calls, "meanwhile $calls calls of the honest daemon are answered");
is($cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'gateway')), $gateway, 'by the same gateway');
like($cluster->log, qr/daemon "tcp:\/\/127\.0\.0\.1:$port" sends a message that does not end/, 'the log names the liar');
unlike($cluster->log, qr/daemon "\Q$honest\E" sends a message/, 'and not the other');
ok($cluster->poll_until("SELECT breaker FROM steadytext_daemons WHERE endpoint ~ '$port'", 'open'), 'its breaker is open');
kill 'KILL', $liar;
waitpid $liar, 0;
$liar = 0;

# One that goes by itself once it has sent too much, so that the memory is free at the next look: nobody else is blamed for it, however long it was silent.
my $escaper = fork // die "fork: $!";
if ($escaper == 0) {
    my $until = time + 300;
    my $parts = frame('', 1) . frame('x' x $megabyte, 1) x 60;
    while (time < $until) {
        my $client = $listener->accept or next;
        greet($client, 'ROUTER') or next;
        for (1 .. 7) { SteadyText::Zmtp::send_all($client, $parts) or last }
        select undef, undef, undef, 0.055;    # a look is taken each 100 ms
        shutdown $client, 2;
        syswrite $tell, "end\n";
        select undef, undef, undef, 1;
    }
    POSIX::_exit(0);
}
END { my $status = $?; kill 'KILL', $escaper if $escaper; waitpid $escaper, 0 if $escaper; $? = $status }
my $free = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0)->sockport;
my $slow = $cluster->start_echo(name => 'slow', endpoint => "tcp://127.0.0.1:$free", options => [ '--delay-ms', 400 ])->{endpoint};
$cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$slow, tcp://127.0.0.1:$port'; SELECT pg_reload_conf()");
$cluster->poll_until("SELECT state FROM steadytext_daemons WHERE endpoint = '$slow'", 'ready');
my ($ends, @wrong);
($calls, $ends, $end) = (0, 0, time + 150);
while ($ends < 4 && time < $end) {
    while (defined(my $line = <$told>)) { $ends++ if $line eq "end\n" }
    $calls++;
    my $result = $cluster->try_sql("SELECT steadytext_generate('call $calls')");
    push @wrong, $result->{err} || $result->{out} if $result->{out} ne "call $calls";
}
is($ends, 4, 'four bursts of one that goes by itself');
is("@wrong", '', "all $calls calls of a slow daemon are answered");
unlike($cluster->log, qr/daemon "\Q$slow\E" sends/, 'and the log does not blame it');
kill 'KILL', $escaper;
waitpid $escaper, 0;
$escaper = 0;

# One that sends few bytes, in parts without any, and waits: sixteen megabytes of them would take libzmq more than 500. The bound holds whatever bytes are divided into.
my $hoarder = fork // die "fork: $!";
if ($hoarder == 0) {
    my $until = time + 300;
    my $parts = frame('', 1) x ($megabyte / 8);
    while (time < $until) {
        my $client = $listener->accept or next;
        greet($client, 'ROUTER') or next;
        my $sent = 0;
        for (1 .. 64) { SteadyText::Zmtp::send_all($client, $parts) or last; $sent++; select undef, undef, undef, 0.02 }
        1 while sysread $client, my $pings, 65536;
        syswrite $tell, "$sent\n";
        close $client;
    }
    POSIX::_exit(0);
}
close $tell;
END { my $status = $?; kill 'KILL', $hoarder if $hoarder; waitpid $hoarder, 0 if $hoarder; $? = $status }
$cluster->restart;
$gateway = $cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'gateway'));
$before  = own_megabytes();
my $lines = sub { return my @all = $cluster->log =~ /daemon "tcp:\/\/127\.0\.0\.1:$port" sends a message that does not end/g };
my $known = $lines->();
($largest, $calls, $end, @wrong) = (0, 0, time + 120);
while ($lines->() == $known && time < $end) {
    $calls++;
    my $result = $cluster->try_sql("SELECT steadytext_generate('call $calls')");
    push @wrong, $result->{err} || $result->{out} if $result->{out} ne "call $calls";
    my $now = own_megabytes();
    $largest = $now if $now > $largest;
}
is($lines->(), $known + 1, 'empty parts are a message that does not end');
cmp_ok($largest - $before, '<', 250, sprintf 'of which the gateway keeps no more than of others: it has %d MB, and had %d', $largest, $before);
is("@wrong", '', "all $calls calls are answered meanwhile");
unlike($cluster->log, qr/daemon "\Q$slow\E" sends/, 'and nobody else is blamed');
done_testing;
